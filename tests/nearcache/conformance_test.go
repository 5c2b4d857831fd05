package nearcache_test

import (
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// TestConformance runs the suite that every store passes on one node, whose loads
// are answered from copies. What several nodes see of each other is in bound_test.go.
func TestConformance(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			var hits uint64
			storetest.Run(t, storetest.Harness{Open: func(t testing.TB) store.Store {
				p := e.place(t)
				c := p.near(t, p.address, p.address)
				t.Cleanup(func() { hits += c.Stats().Hits })
				return c
			}})
			t.Logf("%d answers from copies", hits)
			if hits < 1000 {
				t.Errorf("got %d answers from copies, want more: the suite has tested something else", hits)
			}
		})
	}
}
