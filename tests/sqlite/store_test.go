package sqlite_test

import (
	"io"
	"os"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/session/store/storetest"
)

// opened remembers on which file a store was opened.
type opened struct {
	*sqlstore.Store
	file string
}

// TestConformance runs the suite that every store passes.
func TestConformance(t *testing.T) {
	openFile := func(t testing.TB, name string) store.Store {
		return opened{open(t, name, sqlstore.Options{}), name}
	}
	storetest.Run(t, storetest.Harness{
		Open: func(t testing.TB) store.Store { return openFile(t, file(t)) },
		// The first store stays open: what is opened is a copy of its files, as
		// a crash would have left them.
		Reopen: func(t testing.TB, s store.Store) store.Store {
			return openFile(t, copied(t, s.(opened).file))
		},
		Second: func(t testing.TB, s store.Store) store.Store { return openFile(t, s.(opened).file) },
	})
}

// copied copies the database and its log, while they are in use, and returns the
// new name.
func copied(t testing.TB, name string) string {
	t.Helper()
	to := file(t)
	for _, suffix := range []string{"", "-wal"} {
		from, err := os.Open(name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		defer from.Close()
		out, err := os.Create(to + suffix)
		if err != nil {
			t.Fatal(err)
		}
		defer out.Close()
		if _, err := io.Copy(out, from); err != nil {
			t.Fatal(err)
		}
	}
	return to
}
