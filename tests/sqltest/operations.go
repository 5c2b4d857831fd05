package sqltest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// Operation is one call of the contract, on the records of a scene.
type Operation struct {
	Name string
	Run  func(ctx context.Context, s *sqlstore.Store, namespace string) error
}

// Operations returns every call of the contract, some of them in several forms.
func Operations() []Operation {
	link := store.Link{7}
	return []Operation{
		{"create", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			r := Record(9, "alice")
			r.Namespace, r.Links = namespace, []store.Link{link}
			_, err := s.Create(ctx, store.Creation{Record: r, Now: Start(), Since: Start(), Max: 2, EvictOldest: true,
				Replace: &store.Replace{Handle: Handle(1), Version: 1}})
			return err
		}},
		{"load", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.Load(ctx, store.Key{Namespace: namespace, Handle: Handle(1)}, []string{"values"})
			return err
		}},
		{"swap", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			r := Record(1, "alice")
			r.Namespace, r.Version, r.Label = namespace, 1, "changed"
			r.Parts = []store.Part{{Name: "values", Generation: 2, Sealed: []byte("new")}, {Name: "jar", Generation: 1, Sealed: []byte("jar")}}
			return s.Swap(ctx, r, Start())
		}},
		{"swap of a row that has to be read", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			r := Record(1, "alice")
			r.Namespace, r.Version, r.Label, r.Locked = namespace, 1, "changed", true
			r.Parts = []store.Part{{Name: "values"}}
			return s.Swap(ctx, r, Start())
		}},
		{"touch", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			at := Start().Add(time.Minute)
			return s.Touch(ctx, namespace, []store.Touch{{Handle: Handle(1), Seen: at}, {Handle: Handle(2), Seen: at}})
		}},
		{"revoke handle", revoke(store.Revocation{Handle: Handle(1)})},
		{"revoke subject", revoke(store.Revocation{Subject: "alice"})},
		{"revoke link", revoke(store.Revocation{Link: link})},
		{"revoke all", revoke(store.Revocation{All: true})},
		{"lock subject", revoke(store.Revocation{Subject: "alice", Effect: store.EffectLock})},
		{"list", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.List(ctx, store.Query{Namespace: namespace, Now: Start()})
			return err
		}},
		{"count", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.Count(ctx, store.Query{Namespace: namespace, Now: Start()})
			return err
		}},
		{"sweep", func(ctx context.Context, s *sqlstore.Store, namespace string) error {
			_, err := s.Sweep(ctx, store.Sweeping{Namespace: namespace, Now: Start().Add(24 * time.Hour)})
			return err
		}},
	}
}

func revoke(v store.Revocation) func(context.Context, *sqlstore.Store, string) error {
	return func(ctx context.Context, s *sqlstore.Store, namespace string) error {
		v := v // the subtests run at the same time
		v.Namespace, v.Now, v.Cause, v.By = namespace, Start(), "admin", "root"
		_, err := s.Revoke(ctx, v)
		return err
	}
}

// Scene makes the records that operations work on: three of alice's with links,
// one of bob's, and a tombstone.
func Scene(t testing.TB, s store.Store, namespace string) {
	t.Helper()
	for i, subject := range []string{"alice", "alice", "alice", "bob", "carol"} {
		r := Record(i+1, subject)
		r.Namespace, r.Links = namespace, []store.Link{{7}, {byte(i + 1)}}
		Create(t, s, r)
	}
	_, err := s.Revoke(context.Background(), store.Revocation{Namespace: namespace, Handle: Handle(5), Now: Start().Add(-time.Hour)})
	if err != nil {
		t.Fatal(err)
	}
}

// visible describes everything of a scene that can be seen.
func visible(t testing.TB, s store.Store, namespace string) string {
	t.Helper()
	p, err := s.List(context.Background(), store.Query{Namespace: namespace, Ended: true, Now: Start()})
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
