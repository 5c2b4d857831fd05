package sqlite_test

import (
	"context"
	"errors"
	"os"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// TestFull: when there is no more space, writes say so and change nothing, reads
// and revocations go on, and once a sweep has made room, everything works again
// without a restart.
func TestFull(t *testing.T) {
	s := open(t, "file:"+file(t)+"?_pragma=max_page_count(120)", sqlstore.Options{})
	n, err := fill(s)
	if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) {
		t.Fatalf("after %d sessions: got %v, want ErrUnavailable", n, err)
	}
	if n < 10 {
		t.Fatalf("got %d sessions before it was full, want some", n)
	}
	if _, err := s.Load(t.Context(), key(n), nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("session that did not fit: got %v, want ErrNotFound", err)
	}
	for i := range n {
		if r, err := s.Load(t.Context(), key(i), []string{"values"}); err != nil || len(r.Parts) != 1 {
			t.Fatalf("session %d while full: got %d parts, error %v", i, len(r.Parts), err)
		}
	}
	// Ending a session makes it smaller, so this must work even now.
	if _, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Handle: handle(0), Now: start()}); err != nil {
		t.Errorf("Revoke while full: %v", err)
	}
	for _, d := range []time.Duration{13 * time.Hour, 40 * time.Hour} {
		if _, err := s.Sweep(t.Context(), store.Sweeping{Namespace: "shop", Now: start().Add(d)}); err != nil {
			t.Errorf("Sweep while full: %v", err)
		}
	}
	if again, _ := fill(s); again < n/2 {
		t.Errorf("got room for %d sessions after the sweep, want about %d", again, n)
	}
}

// fill creates sessions until one fails.
func fill(s store.Store) (n int, err error) {
	for ; ; n++ {
		r := record(n, "alice")
		r.Parts[0].Sealed = make([]byte, 3000)
		if _, err = s.Create(context.Background(), store.Creation{Record: r, Now: start()}); err != nil {
			return n, err
		}
	}
}

// TestFullSparesOthers: an operation that does not fit leaves no trace, and does
// not take the others of its transaction with it for good.
func TestFullSparesOthers(t *testing.T) {
	s := open(t, "file:"+file(t)+"?_pragma=max_page_count(400)", sqlstore.Options{})
	var wg sync.WaitGroup
	for n := range 40 {
		wg.Go(func() {
			r := record(n, "alice")
			if n%4 == 0 {
				r.Parts[0].Sealed = make([]byte, 4<<20)
			}
			for {
				_, err := s.Create(context.Background(), store.Creation{Record: r, Now: start()})
				if err == nil && n%4 != 0 {
					return
				}
				if !errors.Is(err, store.ErrUnavailable) {
					t.Errorf("session %d: got %v", n, err)
				}
				if n%4 == 0 {
					return
				}
			}
		})
	}
	wg.Wait()
	for n := range 40 {
		_, err := s.Load(t.Context(), key(n), nil)
		if fits := n%4 != 0; fits != (err == nil) {
			t.Errorf("session %d: got %v, want it there: %v", n, err, fits)
		}
	}
}

// TestLogStaysShort: the log does not grow with what is written.
func TestLogStaysShort(t *testing.T) {
	name := file(t)
	s := open(t, name, sqlstore.Options{})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			r := record(w, "alice")
			r.Parts[0].Sealed = make([]byte, 6000)
			create(t, s, r)
			for r.Version = 1; r.Version < 150; r.Version++ {
				if err := s.Swap(context.Background(), r, start()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	info, err := os.Stat(name + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	written := int64(16 * 150 * 6000)
	if info.Size() > written {
		t.Errorf("got a log of %d bytes after %d were written, want less", info.Size(), written)
	}
	t.Logf("%d MiB written, log of %d MiB", written>>20, info.Size()>>20)
}
