package sqltest

import (
	"context"
	"strconv"
	"testing"
	"time"

	"cloakroom.example/session/store"
)

// Start is the time of the tests' clock; stores read none of their own.
func Start() time.Time { return time.Date(2031, 4, 5, 6, 7, 8, 9, time.UTC) }

// Handle returns the n-th handle.
func Handle(n int) (h store.Handle) {
	copy(h[:], "handle "+strconv.Itoa(n))
	return h
}

// Key returns the n-th session's key.
func Key(n int) store.Key { return store.Key{Namespace: "shop", Handle: Handle(n)} }

// Record returns a living record of the given subject with one sealed part.
func Record(n int, subject string) store.Record {
	now := Start()
	r := store.Record{
		Namespace: "shop", Handle: Handle(n), State: store.Active, Transport: store.Cookie,
		Subject: subject, Assurance: store.Assurance{Methods: []string{"pwd"}, Level: 1, At: now},
		Created: now, Seen: now, Rotated: now, Idle: 30 * time.Minute, Deadline: now.Add(12 * time.Hour),
		Wrap:  []byte("wrapped data key, which is about sixty bytes long in real life"),
		First: store.Client{Agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
		Parts: []store.Part{{Name: "values", Generation: 1, Sealed: make([]byte, 200)}},
	}
	r.Last = r.First
	r.Verifier[0] = byte(n)
	return r
}

// Create creates a session. It may be called in any goroutine.
func Create(t testing.TB, s store.Store, r store.Record) {
	t.Helper()
	if _, err := s.Create(context.Background(), store.Creation{Record: r, Now: Start()}); err != nil {
		t.Errorf("creating session: %v", err)
	}
}
