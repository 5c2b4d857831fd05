package main

import (
	"context"
	"runtime"
	"testing"
	"time"
)

// TestSecondHandle: the store may keep as many connections as it is allowed to; who
// else works with the database gets some all the same.
func TestSecondHandle(t *testing.T) {
	s, err := openSessions(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := s.close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := range 2*runtime.GOMAXPROCS(0) + 8 { // more than the store may have
		c, err := s.database.Conn(ctx)
		if err != nil {
			t.Fatalf("connection number %d: %v", n, err)
		}
		defer c.Close()
	}
}
