// Package nodes_test runs what must hold for several managers on one engine, on
// every engine there is, with and without copies near the managers.
package nodes_test

import (
	"context"
	"testing"
	"time"

	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store"
	"cloakroom.example/storeurl"
)

// lag is what a node with copies may take to notice a change: what it promises, a
// second, and as much again for a machine that is busy with other tests.
const lag = 2 * time.Second

func TestNodes(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) { run(t, e.place, 0) })
		if e.near != "" {
			near := func(t testing.TB) string { return with(e.place(t), e.near) }
			t.Run(e.name+"_with_copies", func(t *testing.T) { run(t, near, lag) })
		}
	}
}

func run(t *testing.T, place func(t testing.TB) string, lag time.Duration) {
	sessiontest.RunNodes(t, sessiontest.Nodes{
		Open: func(t testing.TB) [2]store.Store {
			url := place(t)
			return [2]store.Store{open(t, url), open(t, url)}
		},
		Lag: lag,
	})
}

func open(t testing.TB, url string) store.Store {
	t.Helper()
	opened, err := storeurl.Open(t.Context(), url, storeurl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := opened.Close(ctx); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return opened.Store
}
