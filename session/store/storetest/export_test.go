package storetest

import "cloakroom.example/session/store"

// TestOnlyModel returns the model as a store.
var TestOnlyModel = func() store.Store { return newModel() }
