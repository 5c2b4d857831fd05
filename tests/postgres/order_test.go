package postgres_test

import (
	"errors"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestLockOrder: whoever writes several sessions locks them in the order of their
// handles' texts, which is not that of their bytes. So those who write the same ones
// at the same time wait for each other, and none has to be undone.
func TestLockOrder(t *testing.T) {
	first, last := store.Handle{62 << 2}, store.Handle{0} // "-…" and "A…"
	for _, c := range []struct {
		name string
		run  func(s *sqlstore.Store) error
	}{
		{"touches", func(s *sqlstore.Store) error {
			seen := sqltest.Start().Add(time.Minute)
			return s.Touch(t.Context(), "shop", []store.Touch{{Handle: first, Seen: seen}, {Handle: last, Seen: seen}})
		}},
		{"revocation by link", func(s *sqlstore.Store) error {
			_, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Link: store.Link{7}, Effect: store.EffectLock, Now: sqltest.Start()})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := database(t)
			s, db := openWith(t, url, sqlstore.Options{})
			for _, h := range []store.Handle{last, first} { // in the table, the other way round
				r := sqltest.Record(1, "alice")
				r.Handle, r.Links = h, []store.Link{{7}}
				sqltest.Create(t, s, r)
			}
			admin := connect(t, url)
			holder, err := admin.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer holder.Rollback()
			if _, err := holder.Exec(`SELECT 1 FROM sessions WHERE handle = $1 FOR UPDATE`, first.String()); err != nil {
				t.Fatal(err)
			}
			// One after the other waits for the first row; none holds the last one
			// meanwhile, or they would soon wait for each other.
			results := make(chan error, 2)
			await := func(waiters int) {
				t.Helper()
				for end, n := time.Now().Add(20*time.Second), 0; n < waiters; time.Sleep(time.Millisecond) {
					if err := admin.QueryRow(`SELECT COUNT(DISTINCT pid) FROM pg_locks WHERE NOT granted`).Scan(&n); err != nil || time.Now().After(end) {
						t.Fatalf("got %d waiters, error %v, want %d", n, err, waiters)
					}
				}
			}
			go func() {
				_, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Subject: "alice", Effect: store.EffectShorten,
					Limit: sqltest.Start().Add(time.Hour), Now: sqltest.Start()})
				results <- err
			}()
			await(1)
			go func() { results <- c.run(s) }()
			await(2)
			if err := holder.Rollback(); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := <-results; err != nil {
					t.Error(err)
				}
			}
			// The server's processes have reported what happened when they end.
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			db.Close()
			admin.SetMaxOpenConns(1)
			n := 2
			for end := time.Now().Add(20 * time.Second); n > 1 && time.Now().Before(end); {
				if err := admin.QueryRow(`SELECT numbackends FROM pg_stat_database WHERE datname = current_database()`).Scan(&n); err != nil {
					t.Fatal(err)
				}
			}
			if err := admin.QueryRow(`SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()`).Scan(&n); err != nil || n != 0 {
				t.Errorf("got %d deadlocks, error %v, want none", n, err)
			}
		})
	}
}

// TestLimitWithoutSubject: the limit holds for sessions of nobody too.
func TestLimitWithoutSubject(t *testing.T) {
	s := open(t, database(t), sqlstore.Options{Writers: 8})
	together(16, func(worker int) {
		r := sqltest.Record(worker, "")
		_, err := s.Create(t.Context(), store.Creation{Record: r, Now: sqltest.Start(), Max: 1})
		if err != nil && !errors.Is(err, store.ErrLimit) {
			t.Error(err)
		}
	})
	if n, err := s.Count(t.Context(), store.Query{Namespace: "shop", Now: sqltest.Start()}); err != nil || n != 1 {
		t.Errorf("got %d sessions, error %v, want 1", n, err)
	}
}
