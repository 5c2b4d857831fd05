package sqlite_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// operation is one call of the contract, on the records of a scene.
type operation struct {
	name string
	run  func(ctx context.Context, s *sqlstore.Store, namespace string) error
}

func operations() []operation {
	link := store.Link{7}
	revoke := func(v store.Revocation) func(context.Context, *sqlstore.Store, string) error {
		return func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			v := v // the subtests run at the same time
			v.Namespace, v.Now, v.Cause, v.By = namespace, start(), "admin", "root"
			_, err := s.Revoke(ctx, v)
			return err
		}
	}
	return []operation{
		{"create", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			r := record(9, "alice")
			r.Namespace, r.Links = namespace, []store.Link{link}
			_, err := s.Create(ctx, store.Creation{Record: r, Now: start(), Since: start(), Max: 2, EvictOldest: true,
				Replace: &store.Replace{Handle: handle(1), Version: 1}})
			return err
		}},
		{"load", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.Load(ctx, store.Key{Namespace: namespace, Handle: handle(1)}, []string{"values"})
			return err
		}},
		{"swap", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			r := record(1, "alice")
			r.Namespace, r.Version, r.Label = namespace, 1, "changed"
			r.Parts = []store.Part{{Name: "values", Generation: 2, Sealed: []byte("new")}, {Name: "jar", Generation: 1, Sealed: []byte("jar")}}
			return s.Swap(ctx, r, start())
		}},
		{"touch", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			at := start().Add(time.Minute)
			return s.Touch(ctx, namespace, []store.Touch{{Handle: handle(1), Seen: at}, {Handle: handle(2), Seen: at}})
		}},
		{"revoke handle", revoke(store.Revocation{Handle: handle(1)})},
		{"revoke subject", revoke(store.Revocation{Subject: "alice"})},
		{"revoke link", revoke(store.Revocation{Link: link})},
		{"revoke all", revoke(store.Revocation{All: true})},
		{"lock subject", revoke(store.Revocation{Subject: "alice", Effect: store.EffectLock})},
		{"list", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.List(ctx, store.Query{Namespace: namespace, Now: start()})
			return err
		}},
		{"count", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.Count(ctx, store.Query{Namespace: namespace, Now: start()})
			return err
		}},
		{"sweep", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.Sweep(ctx, store.Sweeping{Namespace: namespace, Now: start().Add(24 * time.Hour)})
			return err
		}},
	}
}

// scene makes the records that operations work on: three of alice's with links,
// one of bob's, and a tombstone.
func scene(t testing.TB, s store.Store, namespace string) {
	t.Helper()
	for i, subject := range []string{"alice", "alice", "alice", "bob", "carol"} {
		r := record(i+1, subject)
		r.Namespace, r.Links = namespace, []store.Link{{7}, {byte(i + 1)}}
		create(t, s, r)
	}
	_, err := s.Revoke(context.Background(), store.Revocation{Namespace: namespace, Handle: handle(5), Now: start().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
}

// mostCalls is more than any operation makes.
const mostCalls = 60

// copyScene copies the scene of one namespace to those called "to 1", "to 2" and
// so on.
func copyScene(t testing.TB, db *sql.DB, from, to string) {
	t.Helper()
	for table, columns := range map[string]string{
		"sessions": `handle, version, state, subject, role, tenant, created, seen, idle, idle_locks, ` +
			`auth_at, deadline, locked, limit_at, ended_at, cause, ended_by, epoch, facts, head`,
		"session_parts": `handle, name, generation, sealed`,
		"session_links": `handle, link`,
	} {
		edit(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) `+
			`INSERT INTO `+table+` (namespace, `+columns+`) SELECT ? || ' ' || i, `+columns+` FROM n, `+table+
			` WHERE namespace = ?`, mostCalls, to, from)
	}
}

// visible describes everything of a scene that can be seen.
func visible(t testing.TB, s store.Store, namespace string) string {
	t.Helper()
	p, err := s.List(context.Background(), store.Query{Namespace: namespace, Ended: true, Now: start()})
	if err != nil {
		t.Fatal(err)
	}
	text := ""
	for _, r := range p.Records {
		if !r.Ended() {
			if r, err = s.Load(context.Background(), r.Key(), []string{"values", "jar"}); err != nil {
				t.Fatal(err)
			}
		}
		r.Namespace = ""
		text += fmt.Sprintf("%+v\n", r)
	}
	return text
}

// TestFaultAtEveryStep lets the first, second, third … call of the driver fail,
// in every way, during every operation, until the operation has no more calls.
// What can be seen afterwards through another connection is all of the operation
// or nothing of it, as its error says, and the next operation works.
func TestFaultAtEveryStep(t *testing.T) {
	for _, op := range operations() {
		t.Run(op.name, func(t *testing.T) {
			t.Parallel()
			name := file(t)
			watch, direct := openWith(t, name, sqlstore.Options{Readers: 2})
			scene(t, watch, "clean")
			for _, kind := range kinds() {
				copyScene(t, direct, "clean", kind.name)
			}
			before := visible(t, watch, "clean")
			if err := op.run(t.Context(), watch, "clean"); err != nil {
				t.Fatal(err)
			}
			after := visible(t, watch, "clean")
			db, f := faultyDB(t, name)
			s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), sqlstore.Options{Readers: 1, BusyTimeout: 5 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close(context.Background())
			for _, kind := range kinds() {
				t.Run(kind.name, func(t *testing.T) { everyStep(t, s, f, op, kind, watch, before, after) })
			}
		})
	}
}

// everyStep runs the operation on s, which fails as f says, once for each of its
// calls, each time in a fresh scene; watch sees what became of it.
func everyStep(t *testing.T, s *sqlstore.Store, f *faults, op operation, kind fault, watch store.Store, before, after string) {
	for n := 1; n <= mostCalls; n++ {
		namespace := fmt.Sprint(kind.name, " ", n)
		ctx, cancel := context.WithCancel(t.Context())
		f.arm(kind, n, cancel)
		err := op.run(ctx, s, namespace)
		fired := f.disarm()
		cancel()
		// This also waits for an operation that its caller left alone.
		next := record(1, "next")
		next.Namespace = namespace + " next"
		if _, failed := s.Create(t.Context(), store.Creation{Record: next, Now: start()}); failed != nil {
			t.Fatalf("call %d: the operation afterwards: %v", n, failed)
		}
		checkOutcome(t, n, err, visible(t, watch, namespace), before, after)
		if !fired {
			if err != nil || n == 1 {
				t.Fatalf("call %d: got error %v without a fault, want none", n, err)
			}
			t.Logf("%d calls", n-1)
			return
		}
	}
	t.Fatalf("the operation makes more than %d calls", mostCalls)
}

func checkOutcome(t *testing.T, n int, err error, got, before, after string) {
	t.Helper()
	switch {
	case err == nil:
		if got != after {
			t.Errorf("call %d: got no error and state\n%s\nwant\n%s", n, got, after)
		}
	case errors.Is(err, store.ErrUnavailable):
		if got != before {
			t.Errorf("call %d: got %v and state\n%s\nwant\n%s", n, err, got, before)
		}
	case errors.Is(err, store.ErrUnknownOutcome):
		if got != before && got != after {
			t.Errorf("call %d: got %v and state\n%s\nwant\n%s\nor\n%s", n, err, got, before, after)
		}
	default:
		t.Errorf("call %d: got error %v, want ErrUnavailable or ErrUnknownOutcome", n, err)
	}
}
