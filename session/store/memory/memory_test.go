package memory_test

import (
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open: func(testing.TB) store.Store { return memory.New() },
	})
}
