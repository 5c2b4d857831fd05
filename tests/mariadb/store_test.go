package mariadb_test

import (
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/session/store/storetest"
)

// opened remembers on which database a store was opened.
type opened struct {
	*sqlstore.Store
	name string
}

// TestConformance runs the suite that every store passes.
func TestConformance(t *testing.T) {
	openName := func(t testing.TB, name string) store.Store {
		return opened{open(t, name, sqlstore.Options{}), name}
	}
	storetest.Run(t, storetest.Harness{
		Open: func(t testing.TB) store.Store { return openName(t, database(t)) },
		// The server dies a sudden death; the first store stays open.
		Reopen: func(t testing.TB, s store.Store) store.Store {
			server.Kill()
			if err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return openName(t, s.(opened).name)
		},
		Second: func(t testing.TB, s store.Store) store.Store { return openName(t, s.(opened).name) },
	})
}
