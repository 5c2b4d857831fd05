package sqlite_test

import (
	"context"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// TestWatchRests: copies that nobody has wanted for some time are hardly older than
// others when somebody does.
func TestWatchRests(t *testing.T) {
	s := open(t, file(t), sqlstore.Options{})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var resting, done time.Time
	confirmed := 0
	_ = s.Watch(ctx, "shop", store.Watching{
		Ready: func() { resting = time.Now().Add(time.Second) },
		Confirmed: func(began time.Time) {
			if began.After(resting) {
				confirmed++
			}
			if confirmed == 50 {
				done = time.Now()
				cancel()
			}
		},
		Changed: func([]store.Handle) {}, ChangedAll: func() {},
		Wanted: func() bool { return false },
	})
	if took := done.Sub(resting); done.IsZero() || took > 2*time.Second {
		t.Errorf("got %d heartbeats at rest, the last after %v, want 50 within two seconds", confirmed, took)
	}
}
