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

// background writes batches of touches, looks after open channels and sweeps,
// until the manager is closed.
func (m *Manager) background(ctx context.Context) {
	defer close(m.stopped)
	flush, check := time.NewTicker(flushEvery), time.NewTicker(channelCheck)
	defer flush.Stop()
	defer check.Stop()
	sweep := time.NewTimer(sweepPause())
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.wakeup:
			m.flush(ctx)
		case <-flush.C:
			m.flush(ctx)
		case <-check.C:
			m.channels.check(ctx)
		case <-sweep.C:
			m.sweep(ctx)
			sweep.Reset(sweepPause())
		}
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
	}
	sweeper, ok := m.store.(store.Sweeper)
	if !ok {
		return
	}
	for ctx.Err() == nil {
		done, err := m.sweepOnce(ctx, sweeper)
		if err != nil {
			m.emit(nil, Event{Type: EventStoreFailed, Cause: err.Error()})
			return
		}
		for i := range done.Expired {
			r := &done.Expired[i]
			m.channels.end(r.Handle)
			m.emit(nil, Event{Type: EventExpired, Handle: r.Handle, Subject: r.Subject, Cause: r.End.Cause})
		}
		if !done.More {
			return
		}
		time.Sleep(time.Millisecond) // let requests have the store
	}
}

func (m *Manager) sweepOnce(ctx context.Context, sweeper store.Sweeper) (store.Swept, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.StoreTimeout)
	defer cancel()
	done, err := sweeper.Sweep(ctx, store.Sweeping{Namespace: m.cfg.Namespace, Now: m.now(), Max: sweepMost})
	return done, fromStore("sweeping", err)
}

// countAnonymous counts visitors' sessions for the budget, roughly where the
// store can do that without looking at each.
func (m *Manager) countAnonymous(ctx context.Context) (int, error) {
	if e, ok := m.store.(store.Estimator); ok {
		return e.EstimateAnonymous(ctx, m.cfg.Namespace)
	}
	return m.count(ctx, store.Query{State: store.Anonymous})
}
