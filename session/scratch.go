package session

import (
	"bytes"
	"slices"
	"sync/atomic"

	"cloakroom.example/session/store"
)

// scratch is memory that a request needs for the session's values and that another
// request uses again. What is in it is in the clear, so that it must never reach
// that other request: nothing outside of the session keeps a view of it, whoever
// looks at it without the session's lock holds it meanwhile, and it is cleared
// before anybody else gets it. A request that is over has lost it, and loads
// again whatever is asked for.
type scratch struct {
	values    table  // as stored
	valuesErr error  // why they do not open
	seen      []slot // what this request has read, as it was; value nil means absent
	origin    store.Client

	holders atomic.Int32 // who look at it without the lock
	filled  bool         // the values have been loaded into opened
	stored  bool         // the values are in changed

	opened  []byte // the values as loaded, opened in place
	changed []byte // the values as changed
	kept    []byte // what is going to be changed
	context [128]byte

	// Where lists begin.
	seenRoom    [2]slot
	changesRoom [2]slot
	parts       [2]store.Part
}

// scratchMost is the size of what is kept of a buffer for other requests.
const scratchMost = 64 << 10

// scratchLocked returns the request's scratch.
func (s *Session) scratchLocked() *scratch {
	if s.scratch == nil && s.recycles {
		s.scratch = s.m.scratches.Get().(*scratch)
	} else if s.scratch == nil {
		s.scratch = new(scratch) // nobody says when it is not needed any more
	}
	return s.scratch
}

// haveValuesLocked takes these for the values of the session.
func (s *Session) haveValuesLocked(values table) {
	w := s.scratchLocked()
	w.values, w.valuesErr, s.valuesOpen = values, nil, true
}

// dropValuesLocked forgets the values, which are loaded again when needed.
func (s *Session) dropValuesLocked() {
	s.valuesOpen = false
	if w := s.scratch; w != nil {
		w.values, w.valuesErr = nil, nil
	}
}

// dropListsLocked forgets what this request has read and wanted to change.
func (s *Session) dropListsLocked() {
	s.changes = nil
	if w := s.scratch; w != nil {
		w.seen = nil
	}
}

// originLocked returns where the request came from.
func (s *Session) originLocked() store.Client {
	w := s.scratchLocked()
	if w.origin == (store.Client{}) {
		w.origin = s.client()
	}
	return w.origin
}

// hold keeps the scratch from other requests until it is let go.
func (w *scratch) hold() *scratch {
	w.holders.Add(1)
	return w
}

func (w *scratch) letGo() {
	if w != nil {
		w.holders.Add(-1)
	}
}

// room returns where changed values can be put, or nil if they are there already.
func (w *scratch) room() *[]byte {
	if w.stored {
		return nil
	}
	return &w.changed
}

// keep returns a copy of a value that is going to be stored.
func (w *scratch) keep(value []byte) []byte {
	switch n := len(w.kept); {
	case len(value) == 0:
		return []byte{} // nil would mean "removed"
	case n+len(value) > scratchMost:
		return bytes.Clone(value)
	default:
		w.kept = append(w.kept, value...)
		return slices.Clip(w.kept[n:])
	}
}

// recycle gives the scratch to other requests, unless somebody still looks at it.
// Everything of the session that points into it is forgotten.
func (s *Session) recycle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := s.scratch
	s.scratch, s.recycles = nil, false
	if w == nil {
		return
	}
	s.valuesOpen, s.record.Parts, s.whole, s.changes = false, nil, false, nil
	if w.holders.Load() == 0 {
		w.clear()
		s.m.scratches.Put(w)
	}
}

// clear forgets what is in the scratch. Behind the length of a buffer there are
// only zeros.
func (w *scratch) clear() {
	for _, b := range []*[]byte{&w.opened, &w.changed, &w.kept} {
		if clear(*b); cap(*b) > scratchMost {
			*b = nil
		}
		*b = (*b)[:0]
	}
	if w.seenRoom[0].name != "" {
		clear(w.seenRoom[:])
	}
	if w.changesRoom[0].name != "" {
		clear(w.changesRoom[:])
	}
	clear(w.parts[:])
	w.values, w.valuesErr, w.seen, w.origin = nil, nil, nil, store.Client{}
	w.filled, w.stored = false, false
}
