package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

const (
	// probeRounds is how often each operation is timed.
	probeRounds = 100
	// probePush is how long a push may take.
	probePush = 5 * time.Second
)

// probe tries a store with one session, in a namespace of its own.
type probe struct {
	store   store.Store
	watcher store.Watcher // may be nil
	record  store.Record
}

func newProbe(s store.Store, w store.Watcher) *probe {
	now := time.Now().UTC()
	p := &probe{store: s, watcher: w, record: store.Record{
		// Not a name that a manager could have.
		Namespace: "check." + strings.ToLower(rand.Text()[:16]), State: store.Anonymous, Transport: store.Cookie,
		Version: 1, Created: now, Seen: now, Rotated: now, Idle: time.Minute, Deadline: now.Add(time.Minute),
		Wrap:  make([]byte, 61),
		Parts: []store.Part{{Name: "app", Generation: 1, Sealed: make([]byte, 129)}},
	}}
	_, _ = rand.Read(p.record.Handle[:])
	_, _ = rand.Read(p.record.Verifier[:])
	_, _ = rand.Read(p.record.Wrap)
	_, _ = rand.Read(p.record.Parts[0].Sealed)
	return p
}

// latency is how long an operation took, in milliseconds.
type latency struct {
	What string  `json:"what"`
	P50  float64 `json:"p50_ms"`
	P99  float64 `json:"p99_ms"`
}

// measure creates the session, then times reading and writing it.
func (p *probe) measure(ctx context.Context) ([]latency, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	if _, err := p.store.Create(ctx, store.Creation{Record: p.record, Now: p.record.Created}); err != nil {
		return nil, err
	}
	read, err := timed("read", func() error {
		r, err := p.store.Load(ctx, p.record.Key(), []string{"app"})
		if err == nil && (r.Version != p.record.Version || len(r.Parts) != 1) {
			err = fmt.Errorf("got version %d with %d parts, want version %d with 1", r.Version, len(r.Parts), p.record.Version)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	write, err := timed("write", func() error { return p.swap(ctx) })
	return []latency{read, write}, err
}

// swap writes the session once.
func (p *probe) swap(ctx context.Context) error {
	err := p.store.Swap(ctx, p.record, p.record.Created)
	p.record.Version++
	p.record.Parts[0].Generation++
	return err
}

func timed(what string, do func() error) (latency, error) {
	times := make([]time.Duration, 0, probeRounds)
	for range probeRounds {
		began := time.Now()
		if err := do(); err != nil {
			return latency{}, err
		}
		times = append(times, time.Since(began))
	}
	slices.Sort(times)
	at := func(percent int) float64 { return float64(times[len(times)*percent/100].Microseconds()) / 1000 }
	return latency{what, at(50), at(99)}, nil
}

// push says whether changes are pushed to other nodes, and an error if they should
// be and are not.
func (p *probe) push(ctx context.Context) (string, error) {
	if p.watcher == nil {
		return "not pushed: copies near the program are not possible", nil
	}
	ctx, cancel := context.WithTimeout(ctx, probePush)
	defer cancel()
	ready, changed, ended := make(chan struct{}, 1), make(chan struct{}, 1), make(chan error, 1)
	tell := func(c chan struct{}) {
		select {
		case c <- struct{}{}:
		default:
		}
	}
	go func() {
		ended <- p.watcher.Watch(ctx, p.record.Namespace, store.Watching{
			Ready: func() { tell(ready) },
			Changed: func(handles []store.Handle) {
				if slices.Contains(handles, p.record.Handle) {
					tell(changed)
				}
			},
			ChangedAll: func() { tell(changed) },
			Confirmed:  func(time.Time) {},
		})
	}()
	wait := func(c chan struct{}) error {
		select {
		case <-c:
			return nil
		case err := <-ended:
			ended <- err
			return err
		}
	}
	defer func() {
		cancel()
		<-ended
	}()
	switch err := wait(ready); {
	case errors.Is(err, sqlstore.ErrNotNoted):
		return "noted from the first program on that keeps copies; so far there was none", nil
	case err != nil:
		return "not pushed", fmt.Errorf("copies near the program have to wait for a timeout: %w", err)
	}
	began := time.Now()
	if err := p.swap(ctx); err != nil {
		return "not tried", err
	}
	if err := wait(changed); err != nil {
		return "not pushed", fmt.Errorf("a change was not reported within %v: %w", probePush, err)
	}
	return fmt.Sprintf("pushed, the first after %v", time.Since(began).Round(10*time.Microsecond)), nil
}

// clearAway ends the session and removes what is left of it, where the engine does
// not do that by itself.
func (p *probe) clearAway(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, closeTimeout)
	defer cancel()
	_, err := p.store.Revoke(ctx, store.Revocation{
		Namespace: p.record.Namespace, Handle: p.record.Handle, Cause: "check", Now: p.record.Created, Clock: store.UnknownClock,
	})
	if sweeper, ok := p.store.(store.Sweeper); ok && err == nil {
		// Stores take the caller's word for the time.
		_, err = sweeper.Sweep(ctx, store.Sweeping{Namespace: p.record.Namespace, Now: p.record.Created.Add(store.TombstoneTime + time.Hour)})
	}
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("clearing away the session of the check: %w", err)
	}
	return nil
}
