package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// resurrectionCases prove I1: what has ended stays ended.
func resurrectionCases() []Case {
	return group("I1",
		named{"swap_after_revoke", swapAfterRevoke},
		named{"swap_of_unknown_creates_nothing", swapUnknown},
		named{"touch_after_revoke", touchAfterRevoke},
		named{"touch_of_unknown_creates_nothing", touchUnknown},
		named{"swap_and_touch_after_replace", writesAfterReplace},
		named{"create_over_tombstone", createOverTombstone},
		named{"second_revoke_keeps_first_cause", secondRevoke},
		named{"tombstone_opens_nothing", tombstoneContent},
		named{"every_expiry_setting_can_be_ended", everyExpirySetting},
		named{"revoke_races_swap", func(w *world) { revokeRacesWrites(w, swapOnce) }},
		named{"revoke_races_touch", func(w *world) { revokeRacesWrites(w, touchOnce) }},
		named{"revoke_races_revoke", revokeRacesRevoke},
	)
}

// waysToEnd are the revocations that end the session r, each naming it in
// another way.
func waysToEnd(r store.Record) map[string]store.Revocation {
	return map[string]store.Revocation{
		"handle":  {Handle: r.Handle},
		"subject": {Subject: r.Subject},
		"link":    {Link: r.Links[0]},
		"all":     {All: true},
	}
}

func linked(n uint64) func(*store.Record) {
	return func(r *store.Record) { r.Links = []store.Link{linkOf(n)} }
}

func swapAfterRevoke(w *world) {
	for _, way := range []string{"handle", "subject", "link", "all"} {
		r := w.create("alice", linked(1))
		before := w.load(r.Handle)
		w.revoke(waysToEnd(r)[way])
		for _, version := range []uint64{before.Version, w.load(r.Handle).Version} {
			r.Version = version
			r.Parts = []store.Part{{Name: "app", Generation: 2, Sealed: []byte("late")}}
			w.is(fmt.Sprintf("Swap at version %d after Revoke by %s", version, way), w.swap(r, at(2*time.Minute)), store.ErrNotFound)
		}
		before.Finish(store.End{At: at(time.Minute), Cause: "admin", By: "root"})
		w.same("after Revoke by "+way+" and a late Swap", before)
	}
}

func swapUnknown(w *world) {
	r := w.session("alice")
	for version := range uint64(3) {
		r.Version = version
		w.is("Swap of an unknown session", w.swap(r, at(0)), store.ErrNotFound)
	}
	w.absent("after a Swap of an unknown session", r.Key())
}

func touchAfterRevoke(w *world) {
	for _, way := range []string{"handle", "subject", "link", "all"} {
		r := w.create("alice", linked(1))
		w.revoke(waysToEnd(r)[way])
		tombstone := w.load(r.Handle)
		w.touch(r.Handle, at(2*time.Minute))
		w.ended("after Touch of a session revoked by "+way, r.Handle, "admin")
		w.same("after Touch of a session revoked by "+way, tombstone)
	}
}

func touchUnknown(w *world) {
	r := w.session("alice")
	w.touch(r.Handle, at(time.Minute))
	w.absent("after Touch of an unknown session", r.Key())
}

func writesAfterReplace(w *world) {
	old, fresh := w.create("alice"), w.session("alice")
	c := creation(fresh)
	c.Now, c.Replace = at(time.Minute), &store.Replace{Handle: old.Handle, Version: 1}
	w.mustCreate(c)
	w.is("Swap after Replace", w.swap(old, at(2*time.Minute)), store.ErrNotFound)
	w.touch(old.Handle, at(2*time.Minute))
	old.Finish(store.End{At: at(time.Minute), Cause: store.CauseRenewed})
	w.same("replaced session after a late Swap and a late Touch", old)
}

func createOverTombstone(w *world) {
	r := w.create("alice")
	w.revoke(store.Revocation{Handle: r.Handle})
	w.refused(creation(r), store.ErrExists)
	w.ended("after Create over a tombstone", r.Handle, "admin")
}

func secondRevoke(w *world) {
	r := w.create("alice", linked(1))
	w.revoke(store.Revocation{Handle: r.Handle, Cause: "logout", By: "alice", Now: at(time.Minute)})
	tombstone := w.load(r.Handle)
	for way, v := range waysToEnd(r) {
		v.Cause, v.By, v.Now = "admin", "root", at(2*time.Minute)
		if changed := w.revoke(v); len(changed) != 0 {
			w.Errorf("Revoke by %s of an ended session changed %v, want nothing", way, changed)
		}
		for _, effect := range []store.Effect{store.EffectLock, store.EffectShorten} {
			if v.All {
				continue
			}
			v.Effect, v.Limit = effect, at(3*time.Minute)
			if changed := w.revoke(v); len(changed) != 0 {
				w.Errorf("Revoke by %s with effect %d of an ended session changed %v, want nothing", way, effect, changed)
			}
		}
		w.same("after a second Revoke by "+way, tombstone)
	}
}

func tombstoneContent(w *world) {
	r := w.session("alice", linked(1), full)
	w.mustCreate(creation(r))
	w.revoke(store.Revocation{Handle: r.Handle, Cause: "logout", By: "alice"})
	got := w.load(r.Handle, "app", "jar")
	if len(got.Wrap) != 0 || len(got.Parts) != 0 || got.Predecessor == nil || len(got.Predecessor.Successor) != 0 {
		w.Errorf("tombstone keeps what opens values: wrap %x, parts %v, predecessor %s", got.Wrap, got.Parts, show(got.Predecessor))
	}
	if got.Verifier != r.Verifier || got.Predecessor != nil && got.Predecessor.Verifier != r.Predecessor.Verifier {
		w.Errorf("tombstone lost a verifier: a later use of the token is not recognised")
	}
	r.Finish(store.End{At: at(time.Minute), Cause: "logout", By: "alice"})
	w.same("tombstone", r)
}

// everyExpirySetting: Spring Session once guarded its DELETE with the condition
// meant for the sweeper, so that sessions without expiry could not be ended.
func everyExpirySetting(w *world) {
	for _, idle := range []time.Duration{0, time.Hour} {
		for _, deadline := range []time.Time{{}, at(12 * time.Hour)} {
			for _, way := range []string{"handle", "subject", "link", "all"} {
				r := w.create("alice", linked(1), func(r *store.Record) { r.Idle, r.Deadline = idle, deadline })
				w.revoke(waysToEnd(r)[way])
				w.ended(fmt.Sprintf("idle %v, deadline %v, by %s", idle, deadline, way), r.Handle, "admin")
			}
		}
	}
}

// revokeRacesWrites ends a session in every way while others write to it.
func revokeRacesWrites(w *world, write func(w *world, s store.Store, h store.Handle, i int) error) {
	for _, way := range []string{"handle", "subject", "link", "all"} {
		w.rounds(func() {
			r := w.create("alice", linked(1))
			var revoked atomic.Bool
			writer := func(s store.Store) {
				for i := range 12 {
					known := revoked.Load() // before the write begins
					err := write(w, s, r.Handle, i)
					if known && err == nil {
						w.Errorf("a write that began after Revoke by %s had returned was acknowledged", way)
					}
				}
			}
			w.together(writer, writer, func(s store.Store) {
				if _, err := s.Revoke(w.Context(), w.revocation(waysToEnd(r)[way])); err != nil {
					w.Errorf("Revoke: %v", err)
				}
				revoked.Store(true)
			}, writer, writer)
			w.ended("after writes that raced Revoke by "+way, r.Handle, "admin")
		})
	}
}

// swapOnce loads and swaps, as a request does; an error says that it was not
// written.
func swapOnce(w *world, s store.Store, h store.Handle, i int) error {
	r, err := s.Load(w.Context(), store.Key{Namespace: w.ns, Handle: h}, nil)
	if err != nil {
		w.Errorf("Load: %v", err)
		return err
	}
	work(i)
	r.Parts = []store.Part{{Name: "app", Generation: uint64(i), Sealed: []byte("late")}}
	err = s.Swap(w.Context(), r, at(time.Minute))
	if err != nil {
		checkKind(w, "Swap", err, store.ErrNotFound, store.ErrConflict)
	}
	return err
}

// touchOnce has no answer to say that nothing was moved; the race checks the
// record afterwards.
func touchOnce(w *world, s store.Store, h store.Handle, i int) error {
	seen := at(time.Duration(i) * time.Second)
	if err := s.Touch(w.Context(), w.ns, []store.Touch{{Handle: h, Seen: seen}}); err != nil {
		w.Errorf("Touch: %v", err)
	}
	return store.ErrNotFound
}

// revokeRacesRevoke: of several that end the same session one reports it.
func revokeRacesRevoke(w *world) {
	w.rounds(func() {
		r := w.create("alice", linked(1))
		var changes atomic.Int32
		ways := []store.Revocation{{Handle: r.Handle}, {Subject: r.Subject}, {Link: r.Links[0]}}
		w.race(9, func(i int, s store.Store) {
			v := w.revocation(ways[i%len(ways)])
			revoked, err := s.Revoke(w.Context(), v)
			if err != nil {
				w.Errorf("Revoke: %v", err)
			}
			changes.Add(int32(len(revoked.Changed)))
		})
		if n := changes.Load(); n != 1 {
			w.Errorf("%d of 9 parallel revocations report having ended the session, want 1", n)
		}
		w.ended("after parallel revocations", r.Handle, "admin")
	})
}

// checkKind reports an error of none of the kinds allowed.
func checkKind(w *world, what string, err error, allowed ...error) {
	w.Helper()
	for _, kind := range allowed {
		for _, is := range kindsOf(err) {
			if is == kind {
				return
			}
		}
	}
	w.Errorf("%s: got error %v, want one of %v", what, err, allowed)
}
