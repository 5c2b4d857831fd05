package storeurl_test

import (
	"context"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"cloakroom.example/storeurl"
)

// TestSecondHandle: the store may keep as many connections as it is allowed to; who
// else works with the database gets some all the same.
func TestSecondHandle(t *testing.T) {
	s := open(t, storeurl.File(filepath.Join(t.TempDir(), "sessions.db")), storeurl.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for n := range 2*runtime.GOMAXPROCS(0) + 8 { // more than the store may have
		c, err := s.DB.Conn(ctx)
		if err != nil {
			t.Fatalf("connection number %d: %v", n, err)
		}
		defer c.Close()
	}
}
