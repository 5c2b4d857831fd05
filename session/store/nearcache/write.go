package nearcache

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// What is written through this store is dropped here before the call returns,
// whatever its answer: the push that says the same is still on its way. A write
// whose outcome is unknown may also happen later; then the push alone tells.

// Create implements [store.Store].
func (s *cache) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	subject, namespace := c.Record.Subject, c.Record.Namespace
	if c.Replace != nil {
		defer s.writing(namespace, c.Replace.Handle)()
	}
	done, err := s.inner.Create(ctx, c)
	sp := s.known(namespace)
	if sp == nil {
		return done, err
	}
	s.forget(recordID{sp.number, c.Record.Handle})
	for _, h := range done.Evicted {
		s.forget(recordID{sp.number, h})
	}
	if c.EvictOldest && c.Max > 0 && inDoubt(err) {
		s.forgetMarked(sp, markOf(s.seed, []byte(subject)))
	}
	return done, err
}

// inDoubt reports whether a write that failed may have happened all the same.
func inDoubt(err error) bool {
	if err == nil || errors.Is(err, store.ErrUnknownOutcome) {
		return err != nil
	}
	for _, certain := range []error{
		store.ErrExists, store.ErrConflict, store.ErrNotFound, store.ErrLimit, store.ErrRevoked, store.ErrUnavailable,
	} {
		if errors.Is(err, certain) {
			return false
		}
	}
	return true // not of the contract
}

// Swap implements [store.Store].
func (s *cache) Swap(ctx context.Context, r store.Record, now time.Time) error {
	// The copy goes after an error too: a conflict says that it is old.
	defer s.writing(r.Namespace, r.Handle)()
	return s.inner.Swap(ctx, r, now)
}

// Touch implements [store.Store]. Copies stay, and follow.
func (s *cache) Touch(ctx context.Context, namespace string, touches []store.Touch) (err error) {
	sp := s.known(namespace)
	if sp == nil {
		return s.inner.Touch(ctx, namespace, touches)
	}
	noted := slices.Clone(touches)
	for _, t := range noted {
		id := recordID{sp.number, t.Handle}
		sh := s.shard(id)
		sh.mu.Lock()
		sh.writes[id]++
		sh.mu.Unlock()
	}
	err = store.ErrUnknownOutcome // if it panics
	defer func() {
		for _, t := range noted {
			s.touched(recordID{sp.number, t.Handle}, t.Seen, err)
		}
	}()
	err = s.inner.Touch(ctx, namespace, touches)
	return err
}

// touched moves the last-seen time of a copy as the store has done. A Load under way
// may have been answered before the touch, and is not kept.
func (s *cache) touched(id recordID, seen time.Time, failed error) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.written(id)
	sh.overtake(id)
	e := sh.find(id)
	switch {
	case e == nil:
		return
	case failed != nil:
		sh.forget(id)
		return
	}
	r, err := decode(bytes.Clone(e.body()), e.seen(), nil)
	if err == nil && r.Touch(seen) {
		e.setSeen(seen.UnixNano())
	}
}

// Revoke implements [store.Store].
func (s *cache) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	sp := s.known(v.Namespace)
	switch {
	case !v.Handle.IsZero():
		defer s.writing(v.Namespace, v.Handle)()
	case sp != nil:
		sp.revoking.Add(1)
		defer sp.revoking.Add(-1)
	}
	done, err := s.inner.Revoke(ctx, v)
	if sp = s.known(v.Namespace); sp == nil { // it may be since a moment ago
		return done, err
	}
	for _, h := range done.Changed {
		s.forget(recordID{sp.number, h})
	}
	// More than what changed by this call: a session that another node has
	// ended a moment ago must not be served after a call that names it either.
	switch {
	case v.All:
		sp.dropAll()
	case v.Subject != "":
		s.forgetMarked(sp, markOf(s.seed, []byte(v.Subject)))
	case v.Link != store.Link{}:
		s.forgetMarked(sp, markOf(s.seed, v.Link[:]))
	}
	return done, err
}

// List implements [store.Store]. It always asks the store.
func (s *cache) List(ctx context.Context, q store.Query) (store.Page, error) {
	return s.inner.List(ctx, q)
}

// sweeping is a [Store] before a store that has to be swept.
type sweeping struct {
	*cache
	sweeper store.Sweeper
}

// sweeping returns the cache with the methods that the decorated store has.
func (s *cache) sweeping() Store {
	if sweeper, ok := s.inner.(store.Sweeper); ok {
		return sweeping{s, sweeper}
	}
	return s
}

// Sweep implements [store.Sweeper].
func (s sweeping) Sweep(ctx context.Context, w store.Sweeping) (store.Swept, error) {
	done, err := s.sweeper.Sweep(ctx, w)
	sp := s.known(w.Namespace)
	if sp == nil {
		return done, err
	}
	for i := range done.Expired {
		s.forget(recordID{sp.number, done.Expired[i].Handle})
	}
	switch {
	case err != nil:
		sp.dropAll() // nobody knows how far it came
	case done.Removed > 0:
		s.forgetIf(sp, func(e entry) bool { return e.is(flagEnded) })
	}
	return done, err
}

// Count implements [store.Counter].
func (s *cache) Count(ctx context.Context, q store.Query) (n int, err error) {
	if c, ok := s.inner.(store.Counter); ok {
		return c.Count(ctx, q)
	}
	q.Cursor = ""
	for {
		page, err := s.inner.List(ctx, q)
		if err != nil {
			return 0, err
		}
		n += len(page.Records)
		if page.Next == "" {
			return n, nil
		}
		q.Cursor = page.Next
	}
}

// EstimateAnonymous implements [store.Estimator].
func (s *cache) EstimateAnonymous(ctx context.Context, namespace string) (int, error) {
	if e, ok := s.inner.(store.Estimator); ok {
		return e.EstimateAnonymous(ctx, namespace)
	}
	return s.Count(ctx, store.Query{Namespace: namespace, State: store.Anonymous, Now: s.now()})
}
