package storetest

import (
	"net/netip"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// tightenCases prove the half of I4 that is about what can only be tightened.
func tightenCases() []Case {
	return group("I4",
		named{"swap_cannot_loosen", swapLoosens},
		named{"swap_tightens", swapTightens},
		named{"swap_keeps_what_creation_fixed", swapFixed},
		named{"swap_changes_the_rest", swapRest},
		named{"lock_and_shorten_only_tighten", lockShorten},
		named{"lock_keeps_the_version", lockVersion},
		named{"swap_races_lock_and_shorten", swapRacesLock},
		named{"replace_of_unseen_lock", replaceUnseen},
	)
}

func swapLoosens(w *world) {
	r := w.create("alice")
	w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectLock})
	w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectShorten, Limit: at(time.Hour)})
	w.touch(r.Handle, at(time.Minute)) // refused, for it is locked
	want := clone(r)
	want.Locked, want.Limit = true, at(time.Hour)
	for _, limit := range []time.Time{{}, at(2 * time.Hour), at(time.Hour + 1), at(24 * time.Hour)} {
		r.Locked, r.Limit, r.Seen = false, limit, at(-time.Hour)
		r = w.mustSwap(r, at(time.Minute))
		want.Version = r.Version
		w.same("after a Swap that would loosen", want)
	}
}

func swapTightens(w *world) {
	r := w.create("alice")
	r.Limit = at(2 * time.Hour)
	r = w.mustSwap(r, at(time.Minute))
	w.same("Swap with an earlier limit", r)
	r.Limit, r.Locked = at(time.Hour), true
	r = w.mustSwap(r, at(time.Minute))
	w.same("Swap with a still earlier limit and a lock", r)
	w.is("Swap after the limit", w.swap(r, at(time.Hour)), store.ErrNotFound)
}

func swapFixed(w *world) {
	r := w.session("alice", linked(1), full)
	w.mustCreate(creation(r))
	other := clone(r)
	other.State, other.Subject, other.Transport = store.Pending, "root", store.Bearer
	other.Assurance = store.Assurance{Methods: []string{"hwk"}, Level: 3, At: at(time.Hour), Role: "admin", Tenant: "all"}
	other.Created, other.Deadline = at(time.Hour), at(1000*time.Hour)
	other.Idle, other.IdleLocks = 1000*time.Hour, !r.IdleLocks
	other.First = store.Client{Addr: netip.MustParseAddr("203.0.113.9"), Agent: "forged"}
	other.Links = []store.Link{linkOf(2)}
	other.End = store.End{At: at(1), Cause: "forged", By: "forged"}
	w.mustSwap(other, at(time.Minute))
	r.Version = 2
	w.same("after a Swap that would change what creation fixed", r, "app", "jar")
	for what, q := range map[string]store.Query{"subject": {Subject: "root"}, "link": {Link: linkOf(2)}, "state": {State: store.Pending}} {
		if n := len(w.list(q)); n != 0 {
			w.Errorf("a Swap with another %s moved the session into that list", what)
		}
	}
}

func swapRest(w *world) {
	r := w.session("alice", linked(1), full)
	w.mustCreate(creation(r))
	r.Verifier, r.Wrap, r.Rotated, r.Label = store.Verifier{3}, []byte("other"), at(time.Minute), ""
	r.Last = store.Client{Addr: netip.MustParseAddr("198.51.100.7"), Agent: "other"}
	r.Extensions = []store.Extension{{Name: "new", Critical: true, Value: []byte("key")}}
	r.Predecessor = &store.Predecessor{Verifier: store.Verifier{2}, Successor: []byte("s"), Confirmed: at(time.Minute)}
	r = w.mustSwap(r, at(time.Minute))
	w.same("Swap of everything changeable", r, "app", "jar")
	r.Wrap, r.Extensions, r.Predecessor, r.Last = nil, nil, nil, store.Client{}
	r = w.mustSwap(r, at(time.Minute))
	w.same("Swap to nothing", r, "app", "jar")
}

func lockShorten(w *world) {
	r := w.create("alice")
	for _, c := range []struct {
		v       store.Revocation
		changes bool
	}{
		{store.Revocation{Effect: store.EffectShorten, Limit: at(13 * time.Hour)}, false}, // after the deadline
		{store.Revocation{Effect: store.EffectShorten, Limit: at(12 * time.Hour)}, false},
		{store.Revocation{Effect: store.EffectShorten, Limit: at(2 * time.Hour)}, true},
		{store.Revocation{Effect: store.EffectShorten, Limit: at(3 * time.Hour)}, false},
		{store.Revocation{Effect: store.EffectShorten, Limit: at(time.Hour)}, true},
		{store.Revocation{Effect: store.EffectLock}, true},
		{store.Revocation{Effect: store.EffectLock}, false},
		{store.Revocation{Effect: store.EffectShorten, Limit: at(time.Hour - 1)}, true},
	} {
		c.v.Handle = r.Handle
		changed := w.revoke(c.v)
		if r.Revoke(w.revocation(c.v)); (len(changed) == 1) != c.changes {
			w.Errorf("effect %d, limit %v: changed %v, want a change: %t", c.v.Effect, c.v.Limit, changed, c.changes)
		}
		w.same("after tightening", r)
	}
	endless := w.create("bob", func(r *store.Record) { r.Deadline = time.Time{} })
	w.revoke(store.Revocation{Handle: endless.Handle, Effect: store.EffectShorten, Limit: at(time.Hour)})
	endless.Limit = at(time.Hour)
	w.same("shortened session without deadline", endless)
}

// lockVersion: tightening must not make a request in flight lose its change.
func lockVersion(w *world) {
	r := w.create("alice")
	w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectLock})
	w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectShorten, Limit: at(time.Hour)})
	r = w.mustSwap(r, at(time.Minute))
	r.Locked, r.Limit = true, at(time.Hour)
	w.same("Swap of a record loaded before it was tightened", r)
}

// replaceUnseen: an elevation that loaded the session before it was locked or
// shortened must not carry it away from that.
func replaceUnseen(w *world) {
	for name, v := range map[string]store.Revocation{
		"lock": {Effect: store.EffectLock}, "limit": {Effect: store.EffectShorten, Limit: at(time.Hour)},
	} {
		old := w.create("alice", func(r *store.Record) { r.Limit = at(2 * time.Hour) })
		c := w.replacing(old, "alice")
		c.Replace.Limit = at(2 * time.Hour)
		v.Handle = old.Handle
		w.revoke(v)
		old.Revoke(w.revocation(v))
		w.refused(c, store.ErrConflict)
		w.same("after Replace in ignorance of its "+name, old)
		c.Replace.Locked, c.Replace.Limit = old.Locked, old.Limit
		w.mustCreate(c)
		w.ended("after Replace in knowledge of its "+name, old.Handle, store.CauseRenewed)
	}
}

func swapRacesLock(w *world) {
	w.rounds(func() {
		r := w.create("alice")
		var swaps atomic.Int32
		tighten := func(v store.Revocation) func(store.Store) {
			return func(s store.Store) {
				v.Handle = r.Handle
				if got, err := s.Revoke(w.Context(), w.revocation(v)); err != nil || len(got.Changed) != 1 {
					w.Errorf("Revoke: changed %v, error %v; want one", got.Changed, err)
				}
			}
		}
		swap := func(s store.Store) {
			for i := range 6 {
				if swapOnce(w, s, r.Handle, i) == nil {
					swaps.Add(1)
				}
			}
		}
		w.together(swap, tighten(store.Revocation{Effect: store.EffectLock}), swap,
			tighten(store.Revocation{Effect: store.EffectShorten, Limit: at(time.Hour)}))
		got := w.load(r.Handle)
		if !got.Locked || !got.Limit.Equal(at(time.Hour)) {
			w.Errorf("after Swaps that raced Revoke: locked %t, limit %v; want true, %v", got.Locked, got.Limit, at(time.Hour))
		}
		if want := uint64(swaps.Load()) + 1; got.Version != want {
			w.Errorf("after %d acknowledged Swaps the version is %d, want %d", swaps.Load(), got.Version, want)
		}
	})
}
