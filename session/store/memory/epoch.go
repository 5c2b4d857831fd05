package memory

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// epoch is the counter that ends the sessions of a namespace at once: a record
// keeps the number it was created under, and has ended if one of the revocations
// since then means it.
//
// Every load reads it, so that it must not be a lock: states are replaced, never
// modified.
type epoch struct {
	mu      sync.Mutex // serialises revoke
	current atomic.Pointer[epochState]
}

type epochState struct {
	// revocations are all there ever were; the n-th one made the number n.
	// Administrators revoke everything rarely enough to keep them.
	revocations []revocation
	// last is when the last of them happened.
	last store.Mark
}

type revocation struct {
	before time.Time // means sessions authenticated before; zero means all
	end    store.End
}

// now returns the current state.
func (e *epoch) now() epochState {
	if state := e.current.Load(); state != nil {
		return *state
	}
	return epochState{}
}

func (s epochState) number() uint32 { return uint32(len(s.revocations)) }

// revoke ends everything, or what was authenticated before a time.
func (e *epoch) revoke(v store.Revocation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state := e.now()
	state.revocations = append(slices.Clip(state.revocations), revocation{
		before: v.AuthenticatedBefore, end: store.End{At: v.Now, Cause: v.Cause, By: v.By},
	})
	state.last = state.last.After(v)
	e.current.Store(&state)
}

// apply ends the record if a revocation since its creation means it.
func (e *epoch) apply(r *store.Record, created uint32) {
	state := e.current.Load()
	if state == nil || created == state.number() || r.Ended() {
		return
	}
	for _, v := range state.revocations[created:] {
		if v.before.IsZero() || !r.Assurance.At.IsZero() && r.Assurance.At.Before(v.before) {
			r.Finish(v.end)
			return
		}
	}
}
