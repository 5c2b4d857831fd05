package storetest

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session/store"
)

// sweepCases prove I10 and the end of I1's tombstones for stores that sweep.
func sweepCases() []Case {
	cases := append(group("I10",
		named{"sweep_ends_what_has_expired", sweepEnds},
		named{"sweep_is_bounded", sweepBounded},
		named{"parallel_sweeps_report_once", parallelSweeps},
		named{"sweep_races_touch", sweepRacesTouch},
	), group("I1",
		named{"tombstones_stay_a_day", tombstonesStay},
		named{"tombstones_stay_as_long_as_asked", tombstonesKept},
		named{"tombstones_go_afterwards", tombstonesGo},
	)...)
	for i, c := range cases {
		cases[i].Run = func(t testing.TB, h Harness) {
			t.Helper()
			if _, ok := h.Open(t).(store.Sweeper); !ok {
				t.Log("left out: the store does not implement store.Sweeper")
				return
			}
			c.Run(t, h)
		}
	}
	return cases
}

// sweeper returns the store's, or nil and says so.
func (w *world) sweeper() store.Sweeper {
	s, ok := w.s().(store.Sweeper)
	if !ok {
		w.Log("left out: sweeps, for the store does not implement store.Sweeper")
		return nil
	}
	return s
}

func (w *world) sweep(s store.Sweeping) store.Swept {
	w.Helper()
	if s.Namespace == "" {
		s.Namespace = w.ns
	}
	swept, err := w.s().(store.Sweeper).Sweep(w.Context(), s)
	if err != nil {
		w.Fatalf("Sweep: %v", err)
	}
	return swept
}

// sweepAll sweeps until nothing is left to do.
func (w *world) sweepAll(s store.Sweeping) (all store.Swept) {
	w.Helper()
	for range 1000 {
		swept := w.sweep(s)
		all.Expired, all.Removed = append(all.Expired, swept.Expired...), all.Removed+swept.Removed
		if !swept.More {
			return all
		}
	}
	w.Fatalf("Sweep says More for ever")
	return all
}

func sweepEnds(w *world) {
	idle := w.create("alice", linked(1))
	deadline := w.create("bob", func(r *store.Record) { r.Idle, r.Deadline = 0, at(time.Hour) })
	limit := w.create("bob")
	w.revoke(store.Revocation{Handle: limit.Handle, Effect: store.EffectShorten, Limit: at(time.Hour)})
	w.touch(limit.Handle, at(29*time.Minute))
	limit = w.load(limit.Handle)
	live := []store.Record{
		w.create("carol", func(r *store.Record) { r.Idle, r.Deadline = 0, time.Time{} }),
		w.create("carol", func(r *store.Record) { r.Idle = time.Hour + 1 }),
		w.create("carol", func(r *store.Record) { r.IdleLocks = true }),
	}
	touched := w.create("carol")
	w.touch(touched.Handle, at(29*time.Minute))
	touched = w.load(touched.Handle)
	w.mustSwap(touched, at(29*time.Minute)) // no change of Seen; the sweep must know the last one
	touched.Version++
	touched = w.mustTouch(touched, at(58*time.Minute))
	ended := w.create("dora")
	w.revoke(store.Revocation{Handle: ended.Handle})

	swept := w.sweepAll(store.Sweeping{Now: at(time.Hour)})
	want := map[store.Handle]string{idle.Handle: store.CauseIdle, deadline.Handle: store.CauseAbsolute, limit.Handle: store.CauseAbsolute}
	w.wantSwept(swept, want)
	for _, r := range append(live, touched) {
		w.same("live session after Sweep", r)
	}
	w.ended("revoked session after Sweep", ended.Handle, "admin")
	for _, r := range []store.Record{idle, deadline, limit} {
		r.Finish(store.End{At: at(time.Hour), Cause: want[r.Handle]})
		w.same("swept session", r)
		w.is("Swap after Sweep", w.swap(r, at(0)), store.ErrNotFound)
	}
	w.wantSwept(w.sweepAll(store.Sweeping{Now: at(2 * time.Hour)}), map[store.Handle]string{
		live[1].Handle: store.CauseIdle, touched.Handle: store.CauseIdle,
	})
}

func (w *world) mustTouch(r store.Record, seen time.Time) store.Record {
	w.Helper()
	w.touch(r.Handle, seen)
	r.Seen = seen
	w.same("after Touch", r)
	return r
}

// wantSwept compares what a sweep ended, by cause, and asks for the facts that
// events are made of.
func (w *world) wantSwept(swept store.Swept, want map[store.Handle]string) {
	w.Helper()
	var got []store.Handle
	for _, r := range swept.Expired {
		got = append(got, r.Handle)
		if r.End.Cause != want[r.Handle] || r.Namespace != w.ns || r.State == 0 || r.Subject == "" {
			w.Errorf("Sweep reports %v of %q, state %v, with end %+v; want cause %q", r.Handle, r.Subject, r.State, r.End, want[r.Handle])
		}
	}
	var wanted []store.Handle
	for h := range want {
		wanted = append(wanted, h)
	}
	if !sameHandles(got, wanted) {
		w.Errorf("Sweep ended %v, want %v", got, wanted)
	}
}

func sweepBounded(w *world) {
	const n, most = 10, 3
	for range n {
		w.create("alice")
	}
	expired, calls := map[store.Handle]string{}, 0
	for more := true; more; calls++ {
		swept := w.sweep(store.Sweeping{Now: at(time.Hour), Max: most})
		if len(swept.Expired) > most || swept.Removed > most {
			w.Errorf("Sweep ended %d and removed %d, want at most %d", len(swept.Expired), swept.Removed, most)
		}
		for _, r := range swept.Expired {
			expired[r.Handle] = r.End.Cause
		}
		if more = swept.More; calls > 10*n {
			w.Fatalf("Sweep says More for ever")
		}
	}
	if len(expired) != n {
		w.Errorf("bounded sweeps ended %d sessions until they said that there is no more, want %d", len(expired), n)
	}
	swept := w.sweepAll(store.Sweeping{Now: at(48 * time.Hour), Max: most})
	if swept.Removed != n {
		w.Errorf("bounded sweeps removed %d tombstones, want %d", swept.Removed, n)
	}
}

func parallelSweeps(w *world) {
	w.rounds(func() {
		const n = 12
		for range n {
			w.create(fmt.Sprint("user ", w.serial.Add(1)))
		}
		var mu sync.Mutex
		reports := map[store.Handle]int{}
		w.race(4, func(i int, s store.Store) {
			for more := true; more; {
				swept, err := s.(store.Sweeper).Sweep(w.Context(), store.Sweeping{Namespace: w.ns, Now: at(time.Hour), Max: 5})
				if err != nil {
					w.Errorf("Sweep: %v", err)
					return
				}
				mu.Lock()
				for _, r := range swept.Expired {
					reports[r.Handle]++
				}
				mu.Unlock()
				more = swept.More
			}
		})
		for h, times := range reports {
			if times != 1 {
				w.Errorf("the expiry of %v was reported %d times, want once", h, times)
			}
		}
		if len(reports) != n {
			w.Errorf("parallel sweeps reported %d expiries, want %d", len(reports), n)
		}
	})
}

// sweepRacesTouch: a session is either touched in time or swept, never both.
func sweepRacesTouch(w *world) {
	w.rounds(func() {
		r := w.create("alice")
		var swept store.Swept
		w.together(func(s store.Store) {
			var err error
			if swept, err = s.(store.Sweeper).Sweep(w.Context(), store.Sweeping{Namespace: w.ns, Now: at(time.Hour)}); err != nil {
				w.Errorf("Sweep: %v", err)
			}
		}, func(s store.Store) {
			// A node whose request came in long ago reports late.
			if err := s.Touch(w.Context(), w.ns, []store.Touch{{Handle: r.Handle, Seen: at(29 * time.Minute)}}); err != nil {
				w.Errorf("Touch: %v", err)
			}
			if err := s.Touch(w.Context(), w.ns, []store.Touch{{Handle: r.Handle, Seen: at(58 * time.Minute)}}); err != nil {
				w.Errorf("Touch: %v", err)
			}
		})
		got := w.load(r.Handle)
		if got.Ended() != (len(swept.Expired) == 1) {
			w.Errorf("Sweep ended %d sessions and the session has end %+v", len(swept.Expired), got.End)
		}
		if !got.Ended() && !got.Alive(at(time.Hour)) {
			w.Errorf("Sweep passed over a session that had expired: seen %v", got.Seen)
		}
		w.revoke(store.Revocation{Handle: r.Handle})
	})
}

// buried creates sessions and ends them at at(0) in every way.
func (w *world) buried() (all []store.Record) {
	for _, way := range []string{"handle", "subject", "link", "all"} {
		r := w.create("alice", linked(1), func(r *store.Record) { r.Idle, r.Deadline = 0, time.Time{} })
		v := waysToEnd(r)[way]
		v.Now = at(0)
		w.revoke(v)
		all = append(all, r)
	}
	expired := w.create("alice", func(r *store.Record) { r.Deadline = at(0) })
	w.revoke(store.Revocation{Handle: expired.Handle, OnlyExpired: true, Now: at(0)})
	return append(all, expired)
}

func tombstonesStay(w *world) {
	all := w.buried()
	for _, s := range []store.Sweeping{{Now: at(0)}, {Now: at(time.Hour), Keep: time.Minute}, {Now: at(24*time.Hour - 1)}, {Now: at(23 * time.Hour), Keep: -time.Hour}} {
		if swept := w.sweepAll(s); swept.Removed != 0 {
			w.Errorf("Sweep at +%v removed %d tombstones, want none before 24 hours", s.Now.Sub(at(0)), swept.Removed)
		}
		for _, r := range all {
			if got, err := w.other().Load(w.Context(), r.Key(), nil); err != nil || !got.Ended() {
				w.Errorf("tombstone after Sweep at +%v: end %+v, error %v", s.Now.Sub(at(0)), got.End, err)
			}
		}
	}
}

func tombstonesKept(w *world) {
	all := w.buried()
	w.sweepAll(store.Sweeping{Now: at(71 * time.Hour), Keep: 72 * time.Hour})
	for _, r := range all {
		if _, err := w.other().Load(w.Context(), r.Key(), nil); err != nil {
			w.Errorf("tombstone asked to be kept for 72 hours: %v", err)
		}
	}
	w.sweepAll(store.Sweeping{Now: at(73 * time.Hour), Keep: 72 * time.Hour})
	for _, r := range all {
		w.absent("after 72 hours", r.Key())
	}
}

func tombstonesGo(w *world) {
	all := w.buried()
	live := w.create("alice", func(r *store.Record) { r.Idle, r.Deadline = 0, time.Time{} })
	if swept := w.sweepAll(store.Sweeping{Now: at(24*time.Hour + 1)}); swept.Removed != len(all) {
		w.Errorf("Sweep removed %d tombstones, want %d", swept.Removed, len(all))
	}
	for _, r := range all {
		w.absent("after 24 hours", r.Key())
		if err := w.swap(r, at(0)); !errors.Is(err, store.ErrNotFound) {
			w.Errorf("Swap after the tombstone went: got error %v, want ErrNotFound", err)
		}
		w.touch(r.Handle, at(time.Minute))
		w.absent("after Touch of what has gone", r.Key())
	}
	w.same("live session", live)
	w.wantList("list with ended ones", store.Query{Ended: true, Now: at(25 * time.Hour)}, []store.Record{live})
}
