package redis_test

import (
	"testing"

	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// TestConformance runs the suite that every store passes, on one server that is
// killed and started again.
func TestConformance(t *testing.T) {
	e := engine{"one", single}
	storetest.Run(t, storetest.Harness{
		Open:   func(t testing.TB) store.Store { return e.open(t) },
		Second: second,
		Reopen: func(t testing.TB, s store.Store) store.Store {
			server, err := oneServer()
			if err != nil {
				t.Fatal(err)
			}
			server.Kill()
			if err := server.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			return second(t, s)
		},
	})
}

// TestConformanceInCluster runs it where a session, its subject and its links are
// on different servers.
func TestConformanceInCluster(t *testing.T) {
	e := engine{"cluster", clustered}
	storetest.Run(t, storetest.Harness{Open: func(t testing.TB) store.Store { return e.open(t) }, Second: second})
}

// TestConformanceWithSentinel runs it where the primary is found by asking.
func TestConformanceWithSentinel(t *testing.T) {
	e := engine{"sentinel", sentinel}
	storetest.Run(t, storetest.Harness{Open: func(t testing.TB) store.Store { return e.open(t) }, Second: second})
}

// second opens another store on the same data.
func second(t testing.TB, s store.Store) store.Store {
	o := s.(opened)
	return open(t, o.option, redisstore.Options{Prefix: o.options.Prefix})
}
