package sessiontest_test

import (
	"testing"

	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestRunNodes runs the suite on one store that two managers share.
func TestRunNodes(t *testing.T) {
	sessiontest.RunNodes(t, sessiontest.Nodes{Open: func(testing.TB) [2]store.Store {
		shared := memory.New()
		return [2]store.Store{shared, shared}
	}})
}
