package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// conflictCases prove I2: every acknowledged change survives.
func conflictCases() []Case {
	return group("I2",
		named{"swap_counts_versions", swapCounts},
		named{"swap_at_wrong_version", swapWrongVersion},
		named{"swap_of_locked_session", swapLocked},
		named{"parallel_swaps_one_wins", parallelSwaps},
		named{"retry_loops_keep_every_change", retryLoops},
		named{"create_of_existing", createExisting},
		named{"parallel_creates_one_wins", parallelCreates},
		named{"returned_slices_are_the_callers", returnedSlices},
		named{"passed_slices_are_not_retained", passedSlices},
	)
}

func swapCounts(w *world) {
	r := w.session("alice")
	r.Version = 41 // stored as version 1 all the same
	w.mustCreate(creation(r))
	r.Version = 1
	w.same("after Create with version 41", r)
	for range 5 {
		r.Label += "x"
		r = w.mustSwap(r, at(time.Minute))
		w.same("after Swap", r)
	}
}

func swapWrongVersion(w *world) {
	r := w.create("alice")
	r = w.mustSwap(r, at(time.Minute))
	for _, version := range []uint64{0, 1, 3, 1 << 62} {
		late := clone(r)
		late.Version, late.Label, late.Verifier = version, "late", store.Verifier{1}
		late.Parts = []store.Part{{Name: "app", Sealed: []byte("late")}, {Name: "other", Sealed: []byte("late")}}
		late.Locked, late.Limit, late.Seen = true, at(time.Hour), at(time.Hour)
		w.is(fmt.Sprintf("Swap at version %d of 2", version), w.swap(late, at(time.Minute)), store.ErrConflict)
		w.same("after a Swap in conflict", r, "app", "other")
	}
}

// swapLocked: a locked session is alive, and unlocking screens keep values.
func swapLocked(w *world) {
	r := w.create("alice")
	w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectLock})
	r.Label = "desk"
	r = w.mustSwap(r, at(time.Minute))
	r.Locked = true
	w.same("after Swap of a locked session", r)
}

func parallelSwaps(w *world) {
	const writers = 8
	w.rounds(func() {
		r := w.create("alice")
		var won atomic.Int32
		var winner atomic.Value
		w.race(writers, func(i int, s store.Store) {
			mine := clone(r)
			mine.Label = fmt.Sprint("writer ", i)
			mine.Parts = []store.Part{{Name: "app", Generation: 2, Sealed: []byte(mine.Label)}}
			switch err := s.Swap(w.Context(), mine, at(time.Minute)); {
			case err == nil:
				won.Add(1)
				winner.Store(mine)
			default:
				w.is("Swap that lost", err, store.ErrConflict)
			}
		})
		if n := won.Load(); n != 1 {
			w.Errorf("%d of %d parallel Swaps at one version were acknowledged, want 1", n, writers)
			return
		}
		want := winner.Load().(store.Record)
		want.Version = 2
		w.same("after parallel Swaps", want)
	})
}

// retryLoops is what the manager does: reload, apply, try again on conflict.
func retryLoops(w *world) {
	const writers, changes = 6, 4
	w.rounds(func() {
		r := w.create("alice")
		w.race(writers, func(i int, s store.Store) {
			for j := range changes {
				w.addMark(s, r.Handle, fmt.Sprintf("<%d.%d>", i, j))
			}
		})
		got := w.load(r.Handle)
		for i := range writers {
			for j := range changes {
				if mark := fmt.Sprintf("<%d.%d>", i, j); strings.Count(string(got.Parts[0].Sealed), mark) != 1 {
					w.Errorf("acknowledged change %s is stored %d times, want once", mark, strings.Count(string(got.Parts[0].Sealed), mark))
				}
			}
		}
		if want := uint64(1 + writers*changes); got.Version != want {
			w.Errorf("after %d acknowledged Swaps the version is %d, want %d", writers*changes, got.Version, want)
		}
	})
}

// addMark appends to the part "app" and retries on conflict only.
func (w *world) addMark(s store.Store, h store.Handle, mark string) {
	for {
		r, err := s.Load(w.Context(), store.Key{Namespace: w.ns, Handle: h}, []string{"app"})
		if err != nil || len(r.Parts) != 1 {
			w.Errorf("Load: %d parts, error %v", len(r.Parts), err)
			return
		}
		r.Parts[0].Sealed = append(r.Parts[0].Sealed, mark...)
		work(len(mark) + int(r.Version))
		err = s.Swap(w.Context(), r, at(time.Minute))
		if errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			w.Errorf("Swap: %v", err)
		}
		return
	}
}

func createExisting(w *world) {
	r := w.create("alice")
	thief := w.session("mallory", func(s *store.Record) { s.Handle = r.Handle })
	w.refused(creation(thief), store.ErrExists)
	w.same("after a second Create of the handle", r)
	if n := len(w.list(store.Query{Subject: "mallory", Ended: true})); n != 0 {
		w.Errorf("the refused record is listed %d times", n)
	}
	w.refused(creation(r), store.ErrExists) // the same once more, as a retry sends it
	w.same("after a repeated Create", r)
}

func parallelCreates(w *world) {
	w.rounds(func() {
		h := w.session("x").Handle
		var won atomic.Int32
		var winner atomic.Value
		w.race(8, func(i int, s store.Store) {
			r := w.session(fmt.Sprint("user", i), func(r *store.Record) { r.Handle = h })
			_, err := s.Create(w.Context(), creation(r))
			if err == nil {
				won.Add(1)
				winner.Store(r)
			} else {
				w.is("Create that lost", err, store.ErrExists)
			}
		})
		if n := won.Load(); n != 1 {
			w.Errorf("%d of 8 parallel Creates of one handle were acknowledged, want 1", n)
			return
		}
		w.same("after parallel Creates", winner.Load().(store.Record))
	})
}

// scribble overwrites everything that a record shares with others.
func scribble(r *store.Record) {
	for _, b := range [][]byte{r.Wrap, r.Predecessor.Successor, r.Parts[0].Sealed, r.Extensions[0].Value} {
		for i := range b {
			b[i] = '!'
		}
	}
	r.Predecessor.Verifier, r.Assurance.Methods[0] = store.Verifier{'!'}, "!"
	r.Links[0], r.Extensions[0].Name, r.Parts[0].Name = store.Link{'!'}, "!", "!"
}

func returnedSlices(w *world) {
	r := w.session("alice", linked(1), full)
	w.mustCreate(creation(clone(r)))
	for _, s := range w.stores {
		got, err := s.Load(w.Context(), r.Key(), []string{"app"})
		if err != nil {
			w.Fatalf("Load: %v", err)
		}
		_ = append(got.Parts[0].Sealed, "more"...)
		scribble(&got)
		w.same("after a loaded record was written over", r, "app", "jar")
	}
	page, err := w.s().List(w.Context(), store.Query{Namespace: w.ns, Now: at(0)})
	if err != nil || len(page.Records) != 1 {
		w.Fatalf("List: %d records, error %v; want 1", len(page.Records), err)
	}
	listed := page.Records[0]
	listed.Parts = slices.Clone(r.Parts) // lists carry none
	listed.Parts[0].Sealed = nil
	scribble(&listed)
	w.same("after a listed record was written over", r, "app", "jar")
}

func passedSlices(w *world) {
	r := w.session("alice", linked(1), full)
	passed := clone(r)
	w.mustCreate(creation(passed))
	scribble(&passed)
	w.same("after the created record was written over", r, "app", "jar")

	passed = clone(r)
	w.mustSwap(passed, at(time.Minute))
	scribble(&passed)
	r.Version = 2
	w.same("after the swapped record was written over", r, "app", "jar")
}
