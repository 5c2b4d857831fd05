package session

import (
	"context"
	"math/rand/v2"
	"time"

	"cloakroom.example/session/store"
)

const (
	sweepEvery = 30 * time.Second
	sweepMost  = 1000
)

// wake makes the background write waiting touches soon.
func (m *Manager) wake() {
	select {
	case m.wakeup <- struct{}{}:
	default:
	}
}

// background writes batches of touches, looks after open channels, sweeps and
// forgets keys, until the manager is closed. The four do not wait for each other.
func (m *Manager) background(ctx context.Context) {
	m.work.Go(func() {
		for m.wait(ctx, flushEvery, m.wakeup) {
			m.flush(ctx)
		}
	})
	m.work.Go(func() {
		for m.wait(ctx, channelCheck, nil) {
			m.channels.check(ctx)
		}
	})
	m.work.Go(func() {
		for m.wait(ctx, sweepPause(), nil) {
			m.sweep(ctx)
		}
	})
	m.work.Go(func() {
		for m.wait(ctx, forgetEvery, nil) {
			m.unwrapped.forget()
		}
	})
}

// wait waits for a while, or until it is woken up, and reports whether there is
// still anything to do.
func (m *Manager) wait(ctx context.Context, d time.Duration, wakeup <-chan struct{}) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-wakeup:
		return true
	case <-ctx.Done():
		return false
	}
}

// sweepPause spreads the sweeps of several nodes over time.
func sweepPause() time.Duration { return sweepEvery/2 + rand.N(sweepEvery) }

func (m *Manager) flush(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StoreTimeout)
	defer cancel()
	if err := m.touches.flush(ctx); err != nil && ctx.Err() == nil {
		m.emit(nil, Event{Type: EventStoreFailed, Cause: err.Error()})
	}
}

// sweep ends what has expired, in bounded batches with pauses between them, and
// counts visitors' sessions.
func (m *Manager) sweep(ctx context.Context) {
	if n, err := m.countAnonymous(ctx); err == nil {
		m.budget.counted(n)
	} else if ctx.Err() == nil {
		m.emit(nil, Event{Type: EventStoreFailed, Cause: err.Error()})
	}
	sweeper, ok := m.store.(store.Sweeper)
	if !ok {
		return
	}
	m.sweepAll(ctx, sweeper, m.cfg.Namespace, EventExpired)
	if m.cfg.Remember.on() {
		m.sweepAll(ctx, sweeper, m.series, EventForgotten)
	}
}

// sweepAll sweeps one namespace, whose expiries go by the given name.
func (m *Manager) sweepAll(ctx context.Context, sweeper store.Sweeper, namespace, event string) {
	for ctx.Err() == nil {
		done, err := m.sweepOnce(ctx, sweeper, namespace)
		if err != nil {
			m.emit(nil, Event{Type: EventStoreFailed, Cause: err.Error()})
			return
		}
		for i := range done.Expired {
			r := &done.Expired[i]
			m.channels.end(r.Handle)
			m.emit(nil, Event{Type: event, Handle: r.Handle, Subject: r.Subject, Cause: r.End.Cause})
		}
		if !done.More {
			return
		}
		if !m.wait(ctx, time.Millisecond, nil) { // let requests have the store
			return
		}
	}
}

func (m *Manager) sweepOnce(ctx context.Context, sweeper store.Sweeper, namespace string) (store.Swept, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StoreTimeout)
	defer cancel()
	done, err := sweeper.Sweep(ctx, store.Sweeping{Namespace: namespace, Now: m.now(), Max: sweepMost})
	return done, fromStore("sweeping", err)
}

// countAnonymous counts visitors' sessions for the budget, roughly where the
// store can do that without looking at each.
func (m *Manager) countAnonymous(ctx context.Context) (int, error) {
	if e, ok := m.store.(store.Estimator); ok {
		ctx, cancel := context.WithTimeout(ctx, m.cfg.StoreTimeout)
		defer cancel()
		n, err := e.EstimateAnonymous(ctx, m.cfg.Namespace)
		return n, fromStore("counting", err)
	}
	return m.count(ctx, store.Query{State: store.Anonymous})
}
