package memory

import (
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// epoch is the counter that ends every session of a namespace at once: a record
// keeps the number it was created under, and is dead when that is not the
// current one.
//
// Every load reads it, so that it must not be a lock: states are replaced, never
// modified.
type epoch struct {
	mu      sync.Mutex // serialises revoke
	current atomic.Pointer[epochState]
}

type epochState struct {
	number uint32
	end    store.End // of the sessions of earlier numbers
	// Sessions authenticated before this time are dead too.
	before    time.Time
	beforeEnd store.End
}

// now returns the current state.
func (e *epoch) now() epochState {
	if state := e.current.Load(); state != nil {
		return *state
	}
	return epochState{}
}

// revoke ends everything, or what was authenticated before a time.
func (e *epoch) revoke(v store.Revocation) {
	e.mu.Lock()
	defer e.mu.Unlock()
	state, end := e.now(), store.End{At: v.Now, Cause: v.Cause, By: v.By}
	if v.AuthenticatedBefore.IsZero() {
		state.number++
		state.end = end
	} else if v.AuthenticatedBefore.After(state.before) {
		state.before, state.beforeEnd = v.AuthenticatedBefore, end
	}
	e.current.Store(&state)
}

// apply ends the record if it was created under an earlier number, or
// authenticated too early.
func (e *epoch) apply(r *store.Record, created uint32) {
	if r.Ended() {
		return
	}
	state := e.current.Load()
	switch {
	case state == nil:
	case created != state.number:
		r.Finish(state.end)
	case !r.Assurance.At.IsZero() && r.Assurance.At.Before(state.before):
		r.Finish(state.beforeEnd)
	}
}

// overtook reports whether everything was revoked after an authentication that
// began at since.
func (s epochState) overtook(since time.Time) bool {
	return !since.IsZero() && (s.end.At.After(since) || s.before.After(since))
}
