package storetest

import (
	"errors"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// rotationCases prove I3: rotation is a Swap, or a Create that replaces.
func rotationCases() []Case {
	return group("I3",
		named{"swap_rotates", swapRotates},
		named{"replace_ends_the_old", replaceEnds},
		named{"replace_at_wrong_version", replaceWrongVersion},
		named{"replace_of_dead_session", replaceDead},
		named{"refused_replace_changes_nothing", replaceRefused},
		named{"replace_races_swap", replaceRacesSwap},
		named{"replace_races_replace", replaceRacesReplace},
		named{"replace_races_revoke", replaceRacesRevoke},
	)
}

// replacing is a creation one minute later that supersedes old.
func (w *world) replacing(old store.Record, subject string) store.Creation {
	fresh := w.session(subject, func(r *store.Record) {
		r.Created, r.Seen, r.Rotated = at(time.Minute), at(time.Minute), at(time.Minute)
	})
	c := creation(fresh)
	c.Replace = &store.Replace{Handle: old.Handle, Version: old.Version}
	return c
}

func swapRotates(w *world) {
	r := w.create("alice")
	r.Predecessor = &store.Predecessor{Verifier: r.Verifier, Successor: []byte("sealed successor")}
	r.Verifier, r.Wrap, r.Rotated = store.Verifier{7}, []byte("new wrap"), at(15*time.Minute)
	r = w.mustSwap(r, at(15*time.Minute))
	w.same("after rotation", r)
	if n := len(w.list(store.Query{Subject: "alice", Ended: true})); n != 1 {
		w.Errorf("rotation left %d records, want 1: it is an update in place", n)
	}
	r.Predecessor.Confirmed = at(16 * time.Minute)
	r = w.mustSwap(r, at(16*time.Minute))
	w.same("after confirmation", r)
	r.Predecessor = nil
	r = w.mustSwap(r, at(17*time.Minute))
	w.same("after grace", r)
}

func replaceEnds(w *world) {
	old := w.create("", func(r *store.Record) { r.State = store.Anonymous })
	c := w.replacing(old, "alice")
	w.mustCreate(c)
	old.Finish(store.End{At: c.Now, Cause: store.CauseRenewed})
	w.same("replaced session", old)
	w.same("replacing session", c.Record)
}

func replaceWrongVersion(w *world) {
	old := w.create("alice")
	old = w.mustSwap(old, at(time.Second))
	for _, version := range []uint64{0, 1, 3} {
		c := w.replacing(old, "alice")
		c.Replace.Version = version
		w.refused(c, store.ErrConflict)
		w.same("after Replace at a wrong version", old)
	}
}

func replaceDead(w *world) {
	ended := w.create("alice")
	w.revoke(store.Revocation{Handle: ended.Handle, Now: at(time.Second)})
	tombstone := w.load(ended.Handle)
	expired := w.create("alice", func(r *store.Record) { r.Idle = time.Minute })
	unknown := w.session("alice")
	for _, old := range []store.Record{ended, tombstone, expired, unknown} {
		w.refused(w.replacing(old, "alice"), store.ErrNotFound)
	}
	w.same("ended session after Replace", tombstone)
	w.same("expired session after Replace", expired)
}

func replaceRefused(w *world) {
	old, taken := w.create("alice", linked(5)), w.create("bob")
	w.create("carol")

	exists := w.replacing(old, "alice")
	exists.Record.Handle = taken.Handle
	w.refused(exists, store.ErrExists)

	limit := w.replacing(old, "carol")
	limit.Max = 1
	w.refused(limit, store.ErrLimit)

	w.revoke(store.Revocation{Subject: "dora", Now: at(time.Second)})
	revoked := w.replacing(old, "dora")
	revoked.Since = at(0)
	w.refused(revoked, store.ErrRevoked)

	w.same("replaced session after refused creations", old)
	w.same("other session after refused creations", taken)
}

// replaceRacesSwap: a login and a late request on the session before it. If
// both were acknowledged, the request's change was lost.
func replaceRacesSwap(w *world) {
	w.rounds(func() {
		old := w.create("alice")
		var wrote, replaced atomic.Int32
		swap := func(s store.Store) {
			if err := s.Swap(w.Context(), clone(old), at(time.Minute)); err == nil {
				wrote.Add(1)
			} else {
				checkKind(w, "Swap", err, store.ErrConflict, store.ErrNotFound)
			}
		}
		replace := func(s store.Store) {
			if _, err := s.Create(w.Context(), w.replacing(old, "alice")); err == nil {
				replaced.Add(1)
			} else {
				checkKind(w, "Create", err, store.ErrConflict)
			}
		}
		w.together(swap, replace, swap, swap)
		if wrote.Load()+replaced.Load() != 1 {
			w.Errorf("%d Swaps and %d Replaces of one version were acknowledged, want one of all", wrote.Load(), replaced.Load())
		}
		if got := w.load(old.Handle); got.Ended() != (replaced.Load() == 1) {
			w.Errorf("after %d acknowledged Replaces the old session has end %+v", replaced.Load(), got.End)
		}
	})
}

// replaceRacesReplace: two logins from one anonymous session.
func replaceRacesReplace(w *world) {
	w.rounds(func() {
		old := w.create("")
		var won atomic.Int32
		w.race(6, func(i int, s store.Store) {
			c := w.replacing(old, "alice")
			_, err := s.Create(w.Context(), c)
			if err == nil {
				won.Add(1)
				return
			}
			checkKind(w, "Create that lost", err, store.ErrConflict, store.ErrNotFound)
			if _, err := s.Load(w.Context(), c.Record.Key(), nil); !errors.Is(err, store.ErrNotFound) {
				w.Errorf("Create that lost left a record (error %v)", err)
			}
		})
		if n := won.Load(); n != 1 {
			w.Errorf("%d of 6 parallel Replaces of one session were acknowledged, want 1", n)
		}
		w.ended("after parallel Replaces", old.Handle, store.CauseRenewed)
	})
}

// replaceRacesRevoke: a login and the end of the session before it. One of
// them ends it, and a login that lost leaves nothing.
func replaceRacesRevoke(w *world) {
	w.rounds(func() {
		old := w.create("")
		c := w.replacing(old, "alice")
		var replaced, revoked atomic.Bool
		w.together(func(s store.Store) {
			_, err := s.Create(w.Context(), c)
			if err != nil {
				checkKind(w, "Create", err, store.ErrNotFound, store.ErrConflict)
			}
			replaced.Store(err == nil)
		}, func(s store.Store) {
			got, err := s.Revoke(w.Context(), w.revocation(store.Revocation{Handle: old.Handle}))
			if err != nil {
				w.Errorf("Revoke: %v", err)
			}
			revoked.Store(len(got.Changed) == 1)
		})
		if replaced.Load() == revoked.Load() {
			w.Errorf("Replace ended the session: %t, Revoke ended it: %t; want exactly one", replaced.Load(), revoked.Load())
		}
		if !replaced.Load() {
			w.absent("after a Replace that lost", c.Record.Key())
		}
	})
}
