package postgres_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"cloakroom.example/session/pgwatch"
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

// watch is a watch of a namespace, and what it has reported.
type watch struct {
	testing.TB
	ready chan struct{}
	ended chan error
	stop  func()

	mu        sync.Mutex
	changed   []string // "*": any
	confirmed time.Time
}

// startWatch watches a namespace until the test ends.
func startWatch(t testing.TB, url, namespace string) *watch {
	t.Helper()
	config, err := pgx.ParseConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w := &watch{TB: t, ready: make(chan struct{}), ended: make(chan error, 1)}
	exited := make(chan struct{})
	w.stop = func() { cancel(); <-exited }
	t.Cleanup(w.stop)
	go func() {
		defer close(exited)
		w.ended <- pgwatch.New(config).Watch(ctx, namespace, store.Watching{
			Ready: func() { close(w.ready) },
			Changed: func(handles []store.Handle) {
				for _, h := range handles {
					w.note(h.String())
				}
			},
			ChangedAll: func() { w.note("*") },
			Confirmed: func(began time.Time) {
				w.mu.Lock()
				defer w.mu.Unlock()
				w.confirmed = began
			},
		})
	}()
	return w
}

func (w *watch) note(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.ready:
	default:
		w.Error("got a report before Ready")
	}
	w.changed = append(w.changed, what)
}

// awaitReady waits until the watch has begun.
func (w *watch) awaitReady() {
	w.Helper()
	select {
	case <-w.ready:
	case err := <-w.ended:
		w.Fatal(err)
	case <-time.After(20 * time.Second):
		w.Fatal("waited in vain for Ready")
	}
}

// reported returns what has been reported, each handle once, of all that was
// acknowledged before the call, and forgets it.
func (w *watch) reported() []string {
	w.Helper()
	for asked := time.Now(); time.Since(asked) < 20*time.Second; time.Sleep(time.Millisecond) {
		w.mu.Lock()
		if w.confirmed.After(asked) {
			got := w.changed
			w.changed = nil
			w.mu.Unlock()
			slices.Sort(got)
			return slices.Compact(got)
		}
		w.mu.Unlock()
	}
	w.Fatal("waited in vain for a confirmation")
	return nil
}

// marks returns how many namespaces are marked as watched.
func marks(t *testing.T, url string) (n int) {
	t.Helper()
	if err := connect(t, url).QueryRow(`SELECT COUNT(*) FROM session_watched`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestPush: each write, by a store that knows nothing of the watch or by hand, is
// reported with the handles that it has changed, touches and refused writes with
// none, and a revocation of everything with all.
func TestPush(t *testing.T) {
	url := database(t)
	s, db := openWith(t, url, sqlstore.Options{})
	odd := sqltest.Record(2, "alice")
	odd.Namespace = "odd\x00\xff"
	w, oddly := startWatch(t, url, "shop"), startWatch(t, url, odd.Namespace)
	w.awaitReady()
	oddly.awaitReady()
	h := func(n int) string { return sqltest.Handle(n).String() }
	hand := func(statement string) func(context.Context) error {
		return func(ctx context.Context) error {
			_, err := db.ExecContext(ctx, statement)
			return err
		}
	}
	for _, c := range []struct {
		name      string
		run       func(ctx context.Context) error
		want, odd []string
	}{
		{"create", func(ctx context.Context) error {
			_, err := s.Create(ctx, store.Creation{Record: sqltest.Record(1, "alice"), Now: sqltest.Start()})
			return err
		}, nil, nil},
		{"replace", func(ctx context.Context) error {
			_, err := s.Create(ctx, store.Creation{Record: sqltest.Record(2, "alice"), Now: sqltest.Start(),
				Replace: &store.Replace{Handle: sqltest.Handle(1), Version: 1}})
			return err
		}, []string{h(1)}, nil},
		{"swap", func(ctx context.Context) error {
			r := sqltest.Record(2, "alice")
			r.Version = 1
			return s.Swap(ctx, r, sqltest.Start())
		}, []string{h(2)}, nil},
		{"swap of a row that has to be read", func(ctx context.Context) error {
			r := sqltest.Record(2, "alice")
			r.Version, r.Locked = 2, true
			return s.Swap(ctx, r, sqltest.Start())
		}, []string{h(2)}, nil},
		{"swap refused", func(ctx context.Context) error {
			r := sqltest.Record(2, "alice")
			r.Version = 9
			if err := s.Swap(ctx, r, sqltest.Start()); !errors.Is(err, store.ErrConflict) {
				return err
			}
			return nil
		}, nil, nil},
		{"touch", func(ctx context.Context) error {
			return s.Touch(ctx, "shop", []store.Touch{{Handle: sqltest.Handle(2), Seen: sqltest.Start().Add(time.Minute)}})
		}, nil, nil},
		{"create in another namespace", func(ctx context.Context) error {
			_, err := s.Create(ctx, store.Creation{Record: odd, Now: sqltest.Start()})
			return err
		}, nil, nil},
		{"lock in another namespace", func(ctx context.Context) error {
			_, err := s.Revoke(ctx, store.Revocation{Namespace: odd.Namespace, Handle: odd.Handle, Effect: store.EffectLock, Now: sqltest.Start()})
			return err
		}, nil, []string{h(2)}},
		{"shorten", func(ctx context.Context) error {
			_, err := s.Revoke(ctx, store.Revocation{Namespace: "shop", Subject: "alice", Effect: store.EffectShorten,
				Limit: sqltest.Start().Add(time.Hour), Now: sqltest.Start()})
			return err
		}, []string{h(2)}, nil},
		{"by hand", hand(`UPDATE sessions SET limit_at = limit_at - 1 WHERE namespace = 'shop' AND ended_at = 0`), []string{h(2)}, nil},
		{"by hand, from elsewhere", hand(`BEGIN; SET LOCAL search_path = pg_catalog;
			UPDATE public.sessions SET limit_at = limit_at - 1 WHERE namespace = 'shop' AND ended_at = 0; COMMIT`), []string{h(2)}, nil},
		{"sweep", func(ctx context.Context) error {
			_, err := s.Sweep(ctx, store.Sweeping{Namespace: "shop", Now: sqltest.Start().Add(25 * time.Hour)})
			return err
		}, []string{h(1), h(2)}, nil}, // one removed, one ended
		{"revoke all", func(ctx context.Context) error {
			_, err := s.Revoke(ctx, store.Revocation{Namespace: "shop", All: true, Now: sqltest.Start()})
			return err
		}, []string{"*"}, nil},
		{"emptied by hand", hand(`TRUNCATE sessions`), []string{"*"}, []string{"*"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := c.run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if got := w.reported(); !slices.Equal(got, slices.Sorted(slices.Values(c.want))) {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if got := oddly.reported(); !slices.Equal(got, c.odd) {
				t.Errorf("in the other namespace: got %q, want %q", got, c.odd)
			}
		})
	}
}

// TestPushOfMany: nothing is left out where a statement or a transaction changes
// many sessions.
func TestPushOfMany(t *testing.T) {
	url := database(t)
	s := open(t, url, sqlstore.Options{Writers: 1})
	const n = 400
	together(16, func(worker int) {
		for i := worker; i < n; i += 16 {
			sqltest.Create(t, s, sqltest.Record(i, "alice"))
		}
	})
	w := startWatch(t, url, "shop")
	w.awaitReady()
	together(n, func(i int) {
		r := sqltest.Record(i, "alice")
		r.Version = 1
		if err := s.Swap(t.Context(), r, sqltest.Start()); err != nil {
			t.Error(err)
		}
	})
	if got := len(w.reported()); got != n {
		t.Errorf("after the Swaps: got %d sessions, want %d", got, n)
	}
	if _, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Subject: "alice", Now: sqltest.Start()}); err != nil {
		t.Fatal(err)
	}
	if got := len(w.reported()); got != n {
		t.Errorf("after the revocation: got %d sessions, want %d", got, n)
	}
}

// TestWatchWaitsForWritersOfBefore: a transaction that has written before the watch
// began notifies nobody. So nobody keeps a copy before it has ended.
func TestWatchWaitsForWritersOfBefore(t *testing.T) {
	for _, c := range []struct{ name, statement string }{
		{"a session", `UPDATE sessions SET locked = 1`},
		{"everything", `INSERT INTO session_epochs VALUES ('shop', 1, 0, 1, 0, '', '')`},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := database(t)
			s, db := openWith(t, url, sqlstore.Options{})
			sqltest.Create(t, s, sqltest.Record(1, "alice"))
			slow, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer slow.Rollback()
			if _, err := slow.Exec(c.statement); err != nil {
				t.Fatal(err)
			}
			w := startWatch(t, url, "shop")
			for marks(t, url) == 0 {
				time.Sleep(time.Millisecond)
			}
			// Those of afterwards neither wait nor are waited for.
			later, err := db.BeginTx(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer later.Rollback()
			if _, err := later.Exec(`UPDATE session_epochs SET at = 1 WHERE namespace = 'other'`); err != nil {
				t.Fatal(err)
			}
			select {
			case <-w.ready:
				t.Fatal("got Ready while a transaction of before was running")
			case <-time.After(300 * time.Millisecond):
			}
			if err := slow.Commit(); err != nil {
				t.Fatal(err)
			}
			w.awaitReady()
		})
	}
}

// TestUnwatched: nothing is notified unless somebody watches. A sweep takes the mark
// away when nobody does, not before; and the next one who watches misses nothing.
func TestUnwatched(t *testing.T) {
	url := database(t)
	s := open(t, url, sqlstore.Options{})
	sqltest.Create(t, s, sqltest.Record(1, "alice"))
	listener, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close(context.Background())
	if _, err := listener.Exec(t.Context(), `LISTEN `+sqlstore.PushChannel("public", "shop")); err != nil {
		t.Fatal(err)
	}
	shorten := func(limit time.Duration) {
		t.Helper()
		_, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Subject: "alice", Effect: store.EffectShorten,
			Limit: sqltest.Start().Add(limit), Now: sqltest.Start()})
		if err != nil {
			t.Fatal(err)
		}
	}
	notified := func(want string) {
		t.Helper()
		// What is notified has arrived once a later statement is answered.
		if _, err := listener.Exec(t.Context(), `SELECT 1`); err != nil {
			t.Fatal(err)
		}
		got := ""
		for {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			n, err := listener.WaitForNotification(ctx)
			cancel()
			if err != nil {
				break
			}
			got += n.Payload
		}
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	sweep := func(want int) {
		t.Helper()
		if _, err := s.Sweep(t.Context(), store.Sweeping{Namespace: "shop", Now: sqltest.Start()}); err != nil {
			t.Fatal(err)
		}
		if got := marks(t, url); got != want {
			t.Errorf("after a sweep: got %d marks, want %d", got, want)
		}
	}
	handle := sqltest.Handle(1).String()
	shorten(5 * time.Hour)
	notified("")
	for range 2 {
		first, second := startWatch(t, url, "shop"), startWatch(t, url, "shop")
		first.awaitReady()
		second.awaitReady()
		sweep(1)
		first.stop()
		sweep(1)
		shorten(4 * time.Hour)
		notified(handle)
		second.stop()
		awaitSweep := func() bool { // the server notices a moment later that the connection is gone
			_, err := s.Sweep(t.Context(), store.Sweeping{Namespace: "shop", Now: sqltest.Start()})
			return err != nil || marks(t, url) == 0
		}
		for end := time.Now().Add(20 * time.Second); !awaitSweep() && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
		shorten(3 * time.Hour)
		notified("")
		edit(t, connect(t, url), `UPDATE sessions SET limit_at = 0`)
	}
}

// TestMarkRemovedByHand: a watch on which nobody relies any more ends.
func TestMarkRemovedByHand(t *testing.T) {
	url := database(t)
	_, db := openWith(t, url, sqlstore.Options{})
	w := startWatch(t, url, "shop")
	w.awaitReady()
	edit(t, db, `DELETE FROM session_watched`)
	select {
	case err := <-w.ended:
		if err == nil || !strings.Contains(err.Error(), "session_watched") {
			t.Errorf("got %v, want an error with the table's name", err)
		}
	case <-time.After(20 * time.Second):
		t.Error("the watch goes on without a mark")
	}
}
