package storetest_test

import (
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// TestModel: the model passes its own suite.
func TestModel(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open:   func(testing.TB) store.Store { return storetest.TestOnlyModel() },
		Reopen: func(_ testing.TB, s store.Store) store.Store { return s },
		Second: func(_ testing.TB, s store.Store) store.Store { return s },
	})
}

// TestMemory: so does the reference implementation.
func TestMemory(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open:   func(testing.TB) store.Store { return memory.New() },
		Second: func(_ testing.TB, s store.Store) store.Store { return s },
	})
}
