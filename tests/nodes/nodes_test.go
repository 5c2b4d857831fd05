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
		t.Run(e.name, func(t *testing.T) { run(t, e, [2]string{}, 0) })
		if e.near != "" {
			t.Run(e.name+"_with_copies", func(t *testing.T) { run(t, e, [2]string{e.near, e.near}, lag) })
			// As while a deployment turns copies on: nobody else needs to know.
			t.Run(e.name+"_with_copies_on_one_node", func(t *testing.T) { run(t, e, [2]string{"", e.near}, lag) })
		}
	}
}

// run runs the suite on two nodes, each with its own options of the URL.
func run(t *testing.T, e engine, options [2]string, lag time.Duration) {
	sessiontest.RunNodes(t, sessiontest.Nodes{
		Open: func(t testing.TB) (stores [2]store.Store) {
			url := e.place(t)
			for i, option := range options {
				stores[i] = open(t, with(url, option))
			}
			return stores
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
