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

	mu   sync.Mutex
	held map[lockKey]*waiters
}

// lockKey is a stored session, or the request that is about to make one.
type lockKey struct {
	handle store.Handle
	maker  *Session
}

type waiters struct {
	turn  chan struct{} // holds one element while the lock is free
	count int           // holder and waiters
}

func newLocks(patience time.Duration) *locks {
	return &locks{patience: patience, held: make(map[lockKey]*waiters)}
}

func (l *locks) acquire(ctx context.Context, k lockKey) (release func(), err error) {
	l.mu.Lock()
	w := l.held[k]
	if w == nil {
		w = &waiters{turn: make(chan struct{}, 1)}
		w.turn <- struct{}{}
		l.held[k] = w
	}
	w.count++
	l.mu.Unlock()
	if err := w.wait(ctx, l.patience); err != nil {
		l.leave(k, w)
		return nil, err
	}
	return func() {
		w.turn <- struct{}{}
		l.leave(k, w)
	}, nil
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

func (l *locks) leave(k lockKey, w *waiters) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.count--; w.count == 0 {
		delete(l.held, k)
	}
}

// lock takes the lock of the session as it is now: while waiting, it can have
// been created or replaced.
func (s *Session) lock(ctx context.Context) (release func(), err error) {
	for {
		k := s.lockKey()
		release, err := s.m.locks.acquire(ctx, k)
		if err != nil {
			return nil, err
		}
		if s.lockKey() == k {
			return release, nil
		}
		release()
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
