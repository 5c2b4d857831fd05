package session

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

// locks make the changes that requests of this process want to make to one
// session wait for each other, so that they do not meet as conflicts in the
// store. Correctness does not depend on it.
type locks struct {
	patience time.Duration // how long to wait at most

	mu    sync.Mutex
	held  map[lockKey]*waiters
	spare []*waiters // to be used again, with their turn free
}

// maxSpare bounds what is kept after many sessions were changed at once.
const maxSpare = 64

// lockKey is a stored session, or the request that is about to make one.
type lockKey struct {
	handle store.Handle
	maker  *Session
}

type waiters struct {
	turn  chan struct{} // holds one element while the lock is free
	count int           // holder and waiters
}

// turn is a lock that is held.
type turn struct {
	locks   *locks
	key     lockKey
	waiters *waiters
}

func newLocks(patience time.Duration) *locks {
	return &locks{patience: patience, held: make(map[lockKey]*waiters)}
}

func (l *locks) acquire(ctx context.Context, k lockKey) (turn, error) {
	w := l.join(k)
	if err := w.wait(ctx, l.patience); err != nil {
		l.leave(k, w)
		return turn{}, err
	}
	return turn{l, k, w}, nil
}

func (t turn) release() {
	t.waiters.turn <- struct{}{}
	t.locks.leave(t.key, t.waiters)
}

func (l *locks) join(k lockKey) *waiters {
	l.mu.Lock()
	defer l.mu.Unlock()
	w := l.held[k]
	if n := len(l.spare); w == nil && n > 0 {
		w, l.spare = l.spare[n-1], l.spare[:n-1]
	} else if w == nil {
		w = &waiters{turn: make(chan struct{}, 1)}
		w.turn <- struct{}{}
	}
	w.count++
	l.held[k] = w
	return w
}

func (l *locks) leave(k lockKey, w *waiters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.count--; w.count > 0 {
		return
	}
	delete(l.held, k)
	if len(l.spare) < maxSpare {
		l.spare = append(l.spare, w)
	}
}

// wait waits for the turn, for a bounded time.
func (w *waiters) wait(ctx context.Context, patience time.Duration) error {
	select {
	case <-w.turn:
		return nil
	default:
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-w.turn:
		return nil
	case <-timer.C:
		return fmt.Errorf("session: waiting for other changes of the session: %w", ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("session: waiting for other changes of the session: %w: %w", ErrUnavailable, ctx.Err())
	}
}

// lock takes the lock of the session as it is now: while waiting, it can have
// been created or replaced.
func (s *Session) lock(ctx context.Context) (turn, error) {
	for {
		k := s.lockKey()
		held, err := s.m.locks.acquire(ctx, k)
		if err != nil {
			return turn{}, err
		}
		if s.lockKey() == k {
			return held, nil
		}
		held.release()
	}
}

func (s *Session) lockKey() lockKey {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != statusLive {
		return lockKey{maker: s}
	}
	return lockKey{handle: s.record.Handle}
}
