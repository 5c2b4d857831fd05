package nearcache

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// Load implements [store.Store]. It answers from a copy if there is one that can
// be relied on, and otherwise asks the store and keeps the answer.
func (s *cache) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	fresh := store.IsFresh(ctx)
	sp := s.known(k.Namespace)
	if sp == nil && !fresh { // where everybody reads past copies, none are needed
		sp = s.space(k.Namespace)
	}
	if sp == nil {
		return s.inner.Load(ctx, k, parts)
	}
	id := recordID{sp.number, k.Handle}
	if fresh {
		return s.loadThrough(ctx, sp, k, s.supersede(sp, id, parts), parts)
	}
	sp.wanted()
	// One of those who ask for the same record at the same time loads it. The
	// others wait for him, and then look for his copy as for any other: what
	// they get is no older than a copy may be. If there is none, they load.
	for patient := true; ; patient = false {
		reliable := sp.reliable(s.now(), s.maxAge)
		found := s.lookUp(sp, id, parts, reliable, patient && reliable)
		if found.body != nil {
			if r, err := decode(found.body, found.seen, parts); err == nil {
				return r, nil
			}
			s.forget(id) // cannot happen; if it does, the store knows better
		}
		if found.landed == nil {
			return s.loadThrough(ctx, sp, k, found, parts)
		}
		wait(ctx, found.landed)
	}
}

// patience is how long to wait for somebody else's answer.
const patience = 50 * time.Millisecond

func wait(ctx context.Context, landed <-chan struct{}) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case <-landed:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// found is what looking for a copy has led to: a copy, somebody to wait for, or
// the task to load.
type found struct {
	body []byte // of the entry, copied
	seen int64

	landed <-chan struct{}

	flight *flight  // nil: what is loaded is not kept
	parts  []string // to load
}

// lookUp looks for a copy that holds the parts.
func (s *cache) lookUp(sp *space, id recordID, parts []string, reliable, patient bool) found {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	e := sh.find(id)
	generation := sp.generation.Load()
	if sh.isWritten(id) || sp.revoking.Load() > 0 {
		// Somebody here may have been told the new state before the old copy is
		// dropped; it must not seem to come back.
		sh.misses++
		return found{parts: parts}
	}
	if e != nil && reliable && isUp(generation) && e.generation() == generation && holds(e, parts) {
		e.set(flagAsked)
		sh.hits++
		return found{body: bytes.Clone(e.body()), seen: e.seen()}
	}
	f := sh.flights[id]
	if f != nil && patient {
		if f.landed == nil {
			f.landed = make(chan struct{})
		}
		return found{landed: f.landed}
	}
	sh.misses++
	if f != nil || !isUp(generation) {
		return found{parts: parts}
	}
	return found{flight: sh.begin(id, generation), parts: united(e, parts)}
}

// supersede prepares a Load whose answer is to be kept whatever is on its way.
func (s *cache) supersede(sp *space, id recordID, parts []string) found {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.misses++
	generation := sp.generation.Load()
	sh.overtake(id)
	if !isUp(generation) || sh.isWritten(id) {
		return found{parts: parts}
	}
	return found{flight: sh.begin(id, generation), parts: united(sh.find(id), parts)}
}

func (s *shard) begin(id recordID, generation uint64) *flight {
	f := &flight{generation: generation}
	s.flights[id] = f
	return f
}

// holds reports whether an entry can say what these parts are. A tombstone has
// none.
func holds(e entry, parts []string) bool {
	if len(parts) == 0 || e.is(flagEnded) {
		return true
	}
	names, _ := split(e.body())
	return !slices.ContainsFunc(parts, func(name string) bool { return !knows(names, name) })
}

// united returns the names together with those that an entry knows already, so
// that callers who want different parts do not undo each other's copies.
func united(e entry, parts []string) []string {
	if e == nil {
		return parts
	}
	names, _ := split(e.body())
	for _, name := range askedNames(names) {
		if !slices.Contains(parts, name) {
			parts = append(slices.Clip(parts), name)
		}
	}
	return parts
}

// loadThrough asks the store, and keeps what it answers if that was the task.
func (s *cache) loadThrough(ctx context.Context, sp *space, k store.Key, task found, parts []string) (store.Record, error) {
	id := recordID{sp.number, k.Handle}
	if task.flight == nil {
		return s.inner.Load(ctx, k, task.parts)
	}
	landed := false
	defer func() {
		if !landed { // a panic of the store must not keep others waiting
			s.land(id, task.flight, nil, false)
		}
	}()
	r, err := s.inner.Load(ctx, k, task.parts)
	landed = true
	if err != nil {
		s.land(id, task.flight, nil, !errors.Is(err, store.ErrUnavailable))
		return r, err
	}
	s.keep(id, task, &r)
	r.Parts = wanted(r.Parts, parts)
	return r, nil
}

// keep makes the answer a copy, if nothing has overtaken it.
func (s *cache) keep(id recordID, task found, r *store.Record) {
	buffer := s.bodies.Get().(*[]byte)
	body, ok := appendBody((*buffer)[:0], r, task.parts)
	if *buffer = body; cap(body) <= perShard {
		defer s.bodies.Put(buffer)
	}
	if !ok {
		s.land(id, task.flight, nil, true)
		return
	}
	m := &image{id: id, generation: task.flight.generation, marks: marksOf(s.seed, r), ended: r.Ended(), body: body}
	s.land(id, task.flight, m, true)
}

// land ends a Load. If nothing has overtaken it, its answer takes the place of the
// copy there is; replace says whether that goes if there is no other.
func (s *cache) land(id recordID, f *flight, m *image, replace bool) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if f.landed != nil {
		close(f.landed)
	}
	if f.dropped {
		return
	}
	delete(sh.flights, id)
	if e := sh.find(id); e != nil && replace {
		sh.drop(e)
	}
	if m != nil { // of the generation in which it was asked for: others will not find it
		sh.put(*m)
	}
}
