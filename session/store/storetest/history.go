package storetest

import (
	"encoding/binary"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// historyCases record what several callers see of one session and check it
// against what a single register with versions could have shown.
func historyCases() []Case {
	return group("I2", named{"history_is_that_of_one_register", histories})
}

// event is one call: when it began and ended, on a clock that ticks once per
// moment, and what it saw or wrote.
type event struct {
	began, ended int64
	version      uint64 // loaded, or made by an acknowledged Swap
	seen         time.Time
	dead         bool // loaded a tombstone
	refused      bool // a Swap that was not acknowledged
}

// history collects the events of one session.
type history struct {
	*world
	key   store.Key
	clock atomic.Int64

	mu      sync.Mutex // guards the events
	loads   []event
	swaps   []event
	revoked event // zero until Revoke was acknowledged
}

func histories(w *world) {
	w.rounds(func() {
		r := w.create("alice", func(r *store.Record) { r.Parts[0] = stamp(1) })
		h := &history{world: w, key: r.Key()}
		w.together(h.swap, h.load, h.swap, h.touch, h.swap, h.load, h.revoke)
		h.check()
	})
}

// stamp is a part that says which version it belongs to.
func stamp(version uint64) store.Part {
	return store.Part{Name: "app", Generation: version, Sealed: binary.BigEndian.AppendUint64(nil, version)}
}

func (h *history) record(to *[]event, e event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	*to = append(*to, e)
}

func (h *history) look(s store.Store) (store.Record, bool) {
	e := event{began: h.clock.Add(1)}
	r, err := s.Load(h.Context(), h.key, []string{"app"})
	e.ended = h.clock.Add(1)
	if err != nil {
		h.Errorf("Load: %v", err)
		return r, false
	}
	e.version, e.seen, e.dead = r.Version, r.Seen, r.Ended()
	if !e.dead && (len(r.Parts) != 1 || diff(store.Record{Parts: r.Parts}, store.Record{Parts: []store.Part{stamp(r.Version)}}) != "") {
		h.Errorf("version %d was loaded with the part %+v of another version", r.Version, r.Parts)
	}
	h.record(&h.loads, e)
	return r, true
}

func (h *history) load(s store.Store) {
	for range 20 {
		h.look(s)
	}
}

func (h *history) swap(s store.Store) {
	for i := range 10 {
		r, ok := h.look(s)
		if !ok {
			return
		}
		r.Parts = []store.Part{stamp(r.Version + 1)}
		work(i)
		e := event{began: h.clock.Add(1), version: r.Version + 1}
		err := s.Swap(h.Context(), r, at(time.Minute))
		e.ended, e.refused = h.clock.Add(1), err != nil
		if err != nil {
			checkKind(h.world, "Swap", err, store.ErrConflict, store.ErrNotFound)
		}
		h.record(&h.swaps, e)
	}
}

func (h *history) touch(s store.Store) {
	for i := range 10 {
		if err := s.Touch(h.Context(), h.ns, []store.Touch{{Handle: h.key.Handle, Seen: at(time.Duration(i) * time.Second)}}); err != nil {
			h.Errorf("Touch: %v", err)
		}
	}
}

func (h *history) revoke(s store.Store) {
	for range 5 { // let the others get going
		h.look(s)
	}
	e := event{began: h.clock.Add(1)}
	if _, err := s.Revoke(h.Context(), h.revocation(store.Revocation{Handle: h.key.Handle})); err != nil {
		h.Errorf("Revoke: %v", err)
	}
	e.ended = h.clock.Add(1)
	h.revoked = e
	h.look(s)
}

func (h *history) check() {
	h.checkVersions()
	for _, l := range h.loads {
		for _, s := range h.swaps {
			if !s.refused && s.ended < l.began && l.version < s.version {
				h.Errorf("a Load saw version %d after the Swap to %d had been acknowledged", l.version, s.version)
			}
		}
		for _, before := range h.loads {
			if before.ended < l.began && (l.version < before.version || l.seen.Before(before.seen)) {
				h.Errorf("a Load saw version %d, seen %v after another had seen version %d, seen %v", l.version, l.seen, before.version, before.seen)
			}
		}
		if h.revoked.ended < l.began && !l.dead {
			h.Errorf("a Load saw the session alive after Revoke had been acknowledged")
		}
		if l.dead && l.ended < h.revoked.began {
			h.Errorf("a Load saw the session ended before Revoke began")
		}
	}
	for _, s := range h.swaps {
		if !s.refused && h.revoked.ended < s.began {
			h.Errorf("a Swap was acknowledged that began after Revoke had been acknowledged")
		}
	}
}

// checkVersions: acknowledged versions are unique and without gap, and the
// tombstone comes next.
func (h *history) checkVersions() {
	made := map[uint64]int{}
	for _, s := range h.swaps {
		if !s.refused {
			made[s.version]++
		}
	}
	for v := uint64(2); v < uint64(2+len(made)); v++ {
		if made[v] != 1 {
			h.Errorf("version %d was acknowledged %d times, want once: %s", v, made[v], fmt.Sprint(made))
			return
		}
	}
	if got, want := h.world.load(h.key.Handle).Version, uint64(2+len(made)); got != want {
		h.Errorf("after %d acknowledged Swaps the tombstone has version %d, want %d", len(made), got, want)
	}
}
