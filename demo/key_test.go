package demo_test

import (
	"bytes"
	"sync"
	"testing"

	"cloakroom.example/demo"
)

// TestKey starts several shops on a new folder at once: they share one key.
func TestKey(t *testing.T) {
	dir := t.TempDir()
	keys := make([][]byte, 8)
	var wg sync.WaitGroup
	for i := range keys {
		wg.Go(func() {
			var err error
			if keys[i], err = demo.Key(dir); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for i, key := range keys {
		if len(key) != 32 || !bytes.Equal(key, keys[0]) {
			t.Errorf("key %d has %d bytes, and is not key 0", i, len(key))
		}
	}
	if other, err := demo.Key(t.TempDir()); err != nil || bytes.Equal(other, keys[0]) {
		t.Errorf("another folder has the same key, or none: %v", err)
	}
}
