package mariadb_test

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestLoadsTogether: loads that share a statement get each its own record, and of
// its parts those asked for, however alike their keys are.
func TestLoadsTogether(t *testing.T) {
	s := open(t, database(t), sqlstore.Options{Readers: 1})
	namespaces := []string{"", "a", "A", "a ", "a\x00", "\x00", "shop"}
	for i, namespace := range namespaces {
		r := sqltest.Record(1, fmt.Sprint("subject ", i))
		r.Namespace = namespace
		r.Parts = []store.Part{{Name: "p", Generation: 1, Sealed: []byte{byte(i)}}, {Name: "q", Generation: 2, Sealed: []byte{}}}
		sqltest.Create(t, s, r)
	}
	revoked := sqltest.Record(2, "revoked")
	sqltest.Create(t, s, revoked)
	if _, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Handle: revoked.Handle, Now: sqltest.Start()}); err != nil {
		t.Fatal(err)
	}
	asked := [][]string{nil, {"p"}, {"q"}, {"q", "p"}, {"P", "p "}, {"q", "other", ""}}
	var wg sync.WaitGroup
	for i, namespace := range namespaces {
		for _, names := range asked {
			wg.Go(func() {
				for range 20 {
					loadOne(t, s, store.Key{Namespace: namespace, Handle: sqltest.Handle(1)}, names, i)
				}
			})
		}
	}
	wg.Go(func() {
		for range 20 {
			if r, err := s.Load(t.Context(), revoked.Key(), []string{"p"}); err != nil || !r.Ended() || len(r.Parts) > 0 {
				t.Errorf("revoked session: got %+v, error %v, want a tombstone", r, err)
			}
			if _, err := s.Load(t.Context(), sqltest.Key(3), nil); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("no session: got %v, want ErrNotFound", err)
			}
		}
	})
	wg.Wait()
}

func loadOne(t *testing.T, s store.Store, k store.Key, names []string, i int) {
	r, err := s.Load(t.Context(), k, names)
	var got, want []string
	for _, p := range r.Parts {
		got = append(got, p.Name)
	}
	for _, name := range []string{"p", "q"} {
		if slices.Contains(names, name) {
			want = append(want, name)
		}
	}
	slices.Sort(got)
	if err != nil || r.Subject != fmt.Sprint("subject ", i) || !slices.Equal(got, want) {
		t.Errorf("namespace %q, parts %q: got subject %q with parts %q, error %v; want subject %d with %q", k.Namespace, names, r.Subject, got, err, i, want)
	}
}

// TestSwapsTogether: of Swaps that share a transaction each is done or refused for
// itself, with all of its parts.
func TestSwapsTogether(t *testing.T) {
	const sessions, rivals, rounds = 12, 3, 15
	s := open(t, database(t), sqlstore.Options{Writers: 1})
	for n := range sessions {
		r := sqltest.Record(n, "alice")
		r.Parts[0].Generation = 0
		sqltest.Create(t, s, r)
	}
	var wg sync.WaitGroup
	for n := range sessions * rivals {
		wg.Go(func() {
			for done := 0; done < rounds && !t.Failed(); {
				r, err := s.Load(t.Context(), sqltest.Key(n%sessions), []string{"values"})
				if err != nil {
					t.Errorf("loading: %v", err)
					return
				}
				r.Parts[0].Generation++
				r.Parts[0].Sealed = fmt.Appendf(nil, "session %d, version %d", n%sessions, r.Version+1)
				if r.Version%5 == 4 {
					r.Parts = append(r.Parts, store.Part{Name: "removed"})
				}
				switch err = s.Swap(t.Context(), r, sqltest.Start()); {
				case err == nil:
					done++
				case !errors.Is(err, store.ErrConflict):
					t.Errorf("swapping: %v", err)
				}
			}
		})
	}
	wg.Wait()
	for n := range sessions {
		r, err := s.Load(t.Context(), sqltest.Key(n), []string{"values"})
		const version = 1 + rivals*rounds
		want := fmt.Sprintf("session %d, version %d", n, version)
		if err != nil || r.Version != version || r.Parts[0].Generation != version-1 || string(r.Parts[0].Sealed) != want {
			t.Errorf("session %d: got version %d with %q, error %v; want %q", n, r.Version, r.Parts[0].Sealed, err, want)
		}
	}
}

// TestManyTouches: touches of more sessions than fit into a statement, some of
// them several times.
func TestManyTouches(t *testing.T) {
	s := open(t, database(t), sqlstore.Options{})
	var touches []store.Touch
	for n := range 3000 {
		touches = append(touches, store.Touch{Handle: sqltest.Handle(n % 2900), Seen: sqltest.Start().Add(time.Duration(n+1) * time.Nanosecond)})
	}
	for _, n := range []int{0, 99, 2000} {
		sqltest.Create(t, s, sqltest.Record(n, "alice"))
	}
	if err := s.Touch(t.Context(), "shop", touches); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]time.Duration{0: 2901, 99: 3000, 2000: 2001} {
		r, err := s.Load(t.Context(), sqltest.Key(n), nil)
		if got := r.Seen.Sub(sqltest.Start()); err != nil || got != want {
			t.Errorf("session %d: seen %v after the start, error %v, want %v", n, got, err, want)
		}
	}
}
