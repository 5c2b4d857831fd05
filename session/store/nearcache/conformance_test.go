package nearcache_test

import (
	"context"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/nearcache"
	"cloakroom.example/session/store/storetest"
)

// fresh is a near-cache that is asked for fresh answers.
type fresh struct {
	nearcache.Store
	hub *hub
}

// Load implements store.Store.
func (f fresh) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	return f.Store.Load(store.Fresh(ctx), k, parts)
}

// TestConformance runs the suite that every store passes: through one node, whose
// loads are answered from copies; and through two that ask for fresh answers,
// because without that each may be a moment behind the other.
func TestConformance(t *testing.T) {
	var hits uint64
	on := func(t testing.TB, h *hub) nearcache.Store {
		c := near(t, h, nearcache.Options{MaxBytes: 1 << 20})
		awaitCopies(t, c, "shop")
		t.Cleanup(func() { hits += c.Stats().Hits })
		return c
	}
	t.Run("one node", func(t *testing.T) {
		storetest.Run(t, storetest.Harness{Open: func(t testing.TB) store.Store { return on(t, newHub()) }})
		if hits < 10_000 {
			t.Errorf("got %d answers from copies, want more: the suite has tested something else", hits)
		}
	})
	t.Run("two nodes", func(t *testing.T) {
		storetest.Run(t, storetest.Harness{
			Open: func(t testing.TB) store.Store {
				h := newHub()
				return fresh{on(t, h), h}
			},
			Second: func(t testing.TB, s store.Store) store.Store {
				h := s.(fresh).hub
				return fresh{on(t, h), h}
			},
		})
	})
}
