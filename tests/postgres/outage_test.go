package postgres_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// backends returns the server's processes that serve the database, but for the
// one that is asked.
func backends(t *testing.T, db *sql.DB) (pids []int) {
	t.Helper()
	rows, err := db.Query(`SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() ORDER BY pid`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var pid int
		if err := rows.Scan(&pid); err != nil {
			t.Fatal(err)
		}
		pids = append(pids, pid)
	}
	return pids
}

// TestHangUpCostsNoConnection: clients that hang up while their session is loaded
// or changed leave the connections as they are.
func TestHangUpCostsNoConnection(t *testing.T) {
	url := database(t)
	s := open(t, url, sqlstore.Options{Readers: 2, Writers: 2})
	db := connect(t, url)
	db.SetMaxOpenConns(1)
	sqltest.Create(t, s, sqltest.Record(1, "alice"))
	use := func(ctx context.Context) {
		s.Load(ctx, sqltest.Key(1), nil)
		r := sqltest.Record(1, "alice")
		r.Version = 77
		s.Swap(ctx, r, sqltest.Start())
		s.Revoke(ctx, store.Revocation{Namespace: "shop", Subject: "nobody", Now: sqltest.Start()})
	}
	var before []int
	for deadline := time.Now().Add(time.Minute); len(before) < 4 && time.Now().Before(deadline); before = backends(t, db) {
		together(8, func(int) { use(t.Context()) }) // until all connections are there
	}
	together(8, func(worker int) {
		for n := range 100 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration((worker+n)%50)*10*time.Microsecond)
			use(ctx)
			cancel()
		}
	})
	if after := backends(t, db); len(before) != 4 || !slices.Equal(after, before) {
		t.Errorf("got connections %v after the hang-ups, %v before, want the same 4", after, before)
	}
}

// TestFrozen: a server that stands still holds a request no longer than its
// context, whether its connection is there or not; nothing that is reported as
// not done is done later; and all is well as soon as it goes on.
func TestFrozen(t *testing.T) {
	url := database(t)
	s := open(t, url, sqlstore.Options{Readers: 2, Writers: 2, BusyTimeout: time.Second})
	sqltest.Create(t, s, sqltest.Record(1, "alice"))
	r := sqltest.Record(1, "alice")
	r.Version, r.Label = 1, "changed"
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	outcome := make(chan error, 16)
	together(16, func(worker int) {
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		_, err := s.Load(ctx, sqltest.Key(1), nil)
		if !errors.Is(err, store.ErrUnavailable) {
			t.Errorf("loading: got %v, want ErrUnavailable", err)
		}
		ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
		defer cancel()
		err = s.Swap(ctx, r, sqltest.Start())
		outcome <- err
		if !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrUnknownOutcome) {
			t.Errorf("changing: got %v, want ErrUnavailable or ErrUnknownOutcome", err)
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("got answers after %v, want them with the end of the contexts", took)
		}
	})
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	close(outcome)
	unknown := 0
	for err := range outcome {
		if errors.Is(err, store.ErrUnknownOutcome) {
			unknown++
		}
	}
	got := eventually(t, s)
	if got.Version > 1 && unknown == 0 {
		t.Errorf("got version %d, although every change was reported as not done", got.Version)
	}
	got.Label = "after"
	if err := s.Swap(t.Context(), got, sqltest.Start()); err != nil && !errors.Is(err, store.ErrConflict) {
		t.Errorf("changing after the outage: %v", err)
	}
}

// eventually loads the first session as soon as that works again.
func eventually(t *testing.T, s *sqlstore.Store) store.Record {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		r, err := s.Load(ctx, sqltest.Key(1), nil)
		cancel()
		if err == nil {
			return r
		}
		if !errors.Is(err, store.ErrUnavailable) || time.Now().After(deadline) {
			t.Fatalf("after the outage: %v", err)
		}
	}
}

// TestRestart: the server is killed and started again. Reads and writes go on by
// themselves, and what was acknowledged is there.
func TestRestart(t *testing.T) {
	url := database(t)
	s := open(t, url, sqlstore.Options{})
	sqltest.Create(t, s, sqltest.Record(1, "alice"))
	server.Kill()
	if _, err := s.Load(t.Context(), sqltest.Key(1), nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("without a server: got %v, want ErrUnavailable", err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := eventually(t, s)
	r.Label = "after"
	err := s.Swap(t.Context(), r, sqltest.Start())
	if errors.Is(err, store.ErrUnknownOutcome) { // the connection had not been idle for long
		err = s.Swap(t.Context(), r, sqltest.Start())
	}
	if err != nil {
		t.Errorf("after the restart: %v", err)
	}
}

// TestUnreachable: an error says what is wrong, and no password.
func TestUnreachable(t *testing.T) {
	db := connect(t, "postgres://shop:geheim@127.0.0.1:1/shop")
	_, err := sqlstore.Open(t.Context(), db, sqlstore.PostgreSQL(), sqlstore.Options{})
	if err == nil {
		t.Fatal("got no error")
	}
	if text := err.Error(); strings.Contains(text, "geheim") || !strings.Contains(text, "127.0.0.1:1") {
		t.Errorf("got %q, want the address and no password", text)
	}
}
