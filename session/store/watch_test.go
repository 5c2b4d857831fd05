package store_test

import (
	"context"
	"testing"

	"cloakroom.example/session/store"
)

func TestFresh(t *testing.T) {
	ctx := context.Background()
	if store.IsFresh(ctx) {
		t.Error("got a fresh context, want one that allows copies")
	}
	derived, cancel := context.WithCancel(store.Fresh(ctx))
	defer cancel()
	if !store.IsFresh(derived) {
		t.Error("got a context that allows copies, want it fresh as the one it derives from")
	}
}
