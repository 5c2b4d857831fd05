package postgres_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// together runs the function in so many goroutines.
func together(n int, run func(worker int)) {
	var wg sync.WaitGroup
	for worker := range n {
		wg.Go(func() { run(worker) })
	}
	wg.Wait()
}

// TestPush: each write notifies the handles that it has changed, touches and
// refused writes none, and a revocation of everything all.
func TestPush(t *testing.T) {
	url := database(t)
	s := open(t, url, sqlstore.Options{Push: true})
	listener, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close(context.Background())
	if _, err := listener.Exec(t.Context(), `LISTEN `+sqlstore.PushChannel("public", "shop")); err != nil {
		t.Fatal(err)
	}
	h := func(n int) string { return sqltest.Handle(n).String() }
	for _, c := range []struct {
		name string
		run  func(ctx context.Context) error
		want []string
	}{
		{"create", func(ctx context.Context) error {
			_, err := s.Create(ctx, store.Creation{Record: sqltest.Record(1, "alice"), Now: sqltest.Start()})
			return err
		}, []string{h(1)}},
		{"replace", func(ctx context.Context) error {
			_, err := s.Create(ctx, store.Creation{Record: sqltest.Record(2, "alice"), Now: sqltest.Start(),
				Replace: &store.Replace{Handle: sqltest.Handle(1), Version: 1}})
			return err
		}, []string{h(1), h(2)}},
		{"swap", func(ctx context.Context) error {
			r := sqltest.Record(2, "alice")
			r.Version = 1
			return s.Swap(ctx, r, sqltest.Start())
		}, []string{h(2)}},
		{"swap of a row that has to be read", func(ctx context.Context) error {
			r := sqltest.Record(2, "alice")
			r.Version, r.Locked = 2, true
			return s.Swap(ctx, r, sqltest.Start())
		}, []string{h(2)}},
		{"swap refused", func(ctx context.Context) error {
			r := sqltest.Record(2, "alice")
			r.Version = 9
			s.Swap(ctx, r, sqltest.Start())
			return nil
		}, nil},
		{"touch", func(ctx context.Context) error {
			return s.Touch(ctx, "shop", []store.Touch{{Handle: sqltest.Handle(2), Seen: sqltest.Start().Add(time.Minute)}})
		}, nil},
		{"another namespace", func(ctx context.Context) error {
			r := sqltest.Record(2, "alice")
			r.Namespace = "other\x00\xff"
			_, err := s.Create(ctx, store.Creation{Record: r, Now: sqltest.Start()})
			return err
		}, nil},
		{"shorten", func(ctx context.Context) error {
			_, err := s.Revoke(ctx, store.Revocation{Namespace: "shop", Subject: "alice", Effect: store.EffectShorten,
				Limit: sqltest.Start().Add(time.Hour), Now: sqltest.Start()})
			return err
		}, []string{h(2)}},
		{"sweep", func(ctx context.Context) error {
			_, err := s.Sweep(ctx, store.Sweeping{Namespace: "shop", Now: sqltest.Start().Add(25 * time.Hour)})
			return err
		}, []string{h(1), h(2)}}, // one removed, one ended
		{"revoke all", func(ctx context.Context) error {
			_, err := s.Revoke(ctx, store.Revocation{Namespace: "shop", All: true, Now: sqltest.Start()})
			return err
		}, []string{"*"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := strings.Join(notified(t, listener), "")
			want := slices.Sorted(slices.Values(c.want))
			if got != strings.Join(want, "") {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// notified returns the payloads that have arrived, which they have once a
// statement on the listening connection was answered.
func notified(t *testing.T, listener *pgx.Conn) (payloads []string) {
	t.Helper()
	if _, err := listener.Exec(t.Context(), `SELECT 1`); err != nil {
		t.Fatal(err)
	}
	for {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		n, err := listener.WaitForNotification(ctx)
		cancel()
		if err != nil {
			return payloads
		}
		payloads = append(payloads, n.Payload)
	}
}

// TestPushOfMany: what does not fit into one notification goes into several, and
// Swaps that share a statement share one.
func TestPushOfMany(t *testing.T) {
	url := database(t)
	s := open(t, url, sqlstore.Options{Push: true, Writers: 1})
	const n = 400
	together(16, func(worker int) {
		for i := worker; i < n; i += 16 {
			sqltest.Create(t, s, sqltest.Record(i, "alice"))
		}
	})
	listener, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close(context.Background())
	if _, err := listener.Exec(t.Context(), `LISTEN `+sqlstore.PushChannel("public", "shop")); err != nil {
		t.Fatal(err)
	}
	together(n, func(i int) {
		r := sqltest.Record(i, "alice")
		r.Version = 1
		if err := s.Swap(t.Context(), r, sqltest.Start()); err != nil {
			t.Error(err)
		}
	})
	swaps := notified(t, listener)
	if got := handles(t, swaps); len(got) != n || len(swaps) > n/4 {
		t.Errorf("got %d handles in %d notifications, want %d in fewer than %d", len(got), len(swaps), n, n/4)
	}
	if _, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Subject: "alice", Now: sqltest.Start()}); err != nil {
		t.Fatal(err)
	}
	revoked := notified(t, listener)
	if got := handles(t, revoked); len(got) != n || len(revoked) != 2 {
		t.Errorf("got %d handles in %d notifications, want %d in 2", len(got), len(revoked), n)
	}
}

// handles cuts payloads into what they name, each once.
func handles(t *testing.T, payloads []string) map[store.Handle]bool {
	t.Helper()
	all := map[store.Handle]bool{}
	for _, p := range payloads {
		for ; p != ""; p = p[22:] {
			h, err := store.ParseHandle(p[:22])
			if err != nil {
				t.Fatal(fmt.Errorf("in a payload of %d bytes: %w", len(p), err))
			}
			all[h] = true
		}
	}
	return all
}
