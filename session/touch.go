package session

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// touchInterval returns how often last-seen is written at most: a tenth of the
// idle timeout, at most once a minute. A session may end that much early, never
// late (I4, I9).
func touchInterval(idle time.Duration) time.Duration { return min(time.Minute, idle/10) }

// touchDueLocked reports whether last-seen has to be written for this request.
func (s *Session) touchDueLocked() bool {
	return s.status == statusLive && !s.notActivity && s.record.Idle > 0 &&
		s.opened.Sub(s.record.Seen) >= touchInterval(s.record.Idle) && !s.record.LockedAt(s.opened)
}

// touchUrgentLocked reports whether so little is left of the idle time that
// another node could expire the session before a batch gets written.
func (s *Session) touchUrgentLocked() bool {
	return s.record.Seen.Add(s.record.Idle).Sub(s.opened) < 4*flushEvery || s.record.Idle < 20*flushEvery
}

const (
	flushEvery = time.Second
	flushMost  = 1024
)

// toucher collects last-seen times and writes them in batches.
type toucher struct {
	m *Manager

	mu      sync.Mutex
	waiting map[store.Handle]time.Time
	writing map[store.Handle]time.Time // taken by the flush that is running
	any     atomic.Bool                // whether there are any, for a look without the lock
	flushMu sync.Mutex                 // one flush at a time
}

func newToucher(m *Manager) *toucher {
	return &toucher{m: m, waiting: make(map[store.Handle]time.Time)}
}

// add notes that a session was used. An urgent touch is written before add
// returns, and so is one for a store in this process.
func (t *toucher) add(h store.Handle, seen time.Time, urgent bool) {
	if urgent || t.m.local || t.m.closed.Load() {
		ctx, cancel := t.m.detached(context.Background())
		defer cancel()
		if t.m.store.Touch(ctx, t.m.cfg.Namespace, []store.Touch{{Handle: h, Seen: seen}}) == nil {
			return
		}
	}
	t.mu.Lock()
	if seen.After(t.waiting[h]) {
		t.waiting[h] = seen
	}
	t.any.Store(true)
	full := len(t.waiting) >= flushMost
	t.mu.Unlock()
	if full {
		t.m.wake()
	}
}

// pending returns the last-seen time that is not written yet.
func (t *toucher) pending(h store.Handle) time.Time {
	if !t.any.Load() {
		return time.Time{}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	seen := t.waiting[h]
	if w := t.writing[h]; w.After(seen) {
		seen = w
	}
	return seen
}

// flush writes what waits. What a store that was unavailable did not take waits
// for the next time, up to a bound.
func (t *toucher) flush(ctx context.Context) error {
	t.flushMu.Lock()
	defer t.flushMu.Unlock()
	t.mu.Lock()
	batch := t.waiting
	if len(batch) == 0 {
		t.mu.Unlock()
		return nil
	}
	t.waiting, t.writing = make(map[store.Handle]time.Time), batch
	t.mu.Unlock()

	touches := make([]store.Touch, 0, len(batch))
	for h, seen := range batch {
		touches = append(touches, store.Touch{Handle: h, Seen: seen})
	}
	err := t.m.store.Touch(ctx, t.m.cfg.Namespace, touches)

	t.mu.Lock()
	defer t.mu.Unlock()
	t.writing = nil
	if err != nil && !errors.Is(err, store.ErrUnknownOutcome) && len(t.waiting) < 64*flushMost {
		for h, seen := range batch {
			if seen.After(t.waiting[h]) {
				t.waiting[h] = seen
			}
		}
	}
	t.any.Store(len(t.waiting) > 0)
	return fromStore("touching", err)
}
