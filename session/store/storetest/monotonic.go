package storetest

import (
	"fmt"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// monotonicCases prove the half of I4 that is about Touch.
func monotonicCases() []Case {
	return group("I4",
		named{"touch_moves_seen_forward_only", touchForward},
		named{"touch_writes_nothing_else", touchNothingElse},
		named{"touch_refused", touchRefused},
		named{"touch_up_to_the_last_nanosecond", touchBorder},
		named{"touch_batch", touchBatch},
		named{"touch_disturbs_no_swap", touchBetweenLoadAndSwap},
		named{"parallel_touches_keep_the_latest", parallelTouches},
		named{"touches_race_swaps", touchesRaceSwaps},
	)
}

func touchForward(w *world) {
	r := w.create("alice", func(r *store.Record) { r.Idle = time.Hour })
	for _, d := range []time.Duration{5 * time.Minute, 3 * time.Minute, 0, -time.Hour, 5*time.Minute + 1, 5 * time.Minute, 20 * time.Minute} {
		w.touch(r.Handle, at(d))
		if at(d).After(r.Seen) {
			r.Seen = at(d)
		}
		w.same(fmt.Sprintf("after Touch at +%v", d), r)
	}
}

func touchNothingElse(w *world) {
	r := w.session("alice", linked(1), full)
	w.mustCreate(creation(r))
	w.touch(r.Handle, at(time.Minute))
	r.Seen = at(time.Minute)
	w.same("after Touch", r, "app", "jar")
}

// touchRefused: at each touch's time the session was not alive, or locked.
func touchRefused(w *world) {
	for _, c := range []struct {
		name   string
		change func(*store.Record)
		revoke store.Revocation
		at     time.Duration
	}{
		{"idle", func(r *store.Record) {}, store.Revocation{}, 31 * time.Minute},
		{"absolute", func(r *store.Record) { r.Idle = 0 }, store.Revocation{}, 13 * time.Hour},
		{"locked for being idle", func(r *store.Record) { r.IdleLocks = true }, store.Revocation{}, 31 * time.Minute},
		{"shortened", func(r *store.Record) {}, store.Revocation{Effect: store.EffectShorten, Limit: at(5 * time.Minute)}, 6 * time.Minute},
		{"locked", func(r *store.Record) {}, store.Revocation{Effect: store.EffectLock}, 6 * time.Minute},
		{"ended", func(r *store.Record) {}, store.Revocation{Cause: "logout"}, 6 * time.Minute},
		{"ended, touched before", func(r *store.Record) {}, store.Revocation{Now: at(9 * time.Minute)}, 6 * time.Minute},
	} {
		r := w.create("alice", c.change)
		if c.revoke != (store.Revocation{}) {
			c.revoke.Handle = r.Handle
			w.revoke(c.revoke)
		}
		want := w.load(r.Handle)
		w.touch(r.Handle, at(c.at))
		w.same("Touch of a session that is "+c.name, want)
	}
}

func touchBorder(w *world) {
	idle := w.create("alice", func(r *store.Record) { r.Idle = 10*time.Minute + 1 })
	end := w.create("alice", func(r *store.Record) { r.Deadline = at(20*time.Minute + 1) })
	locks := w.create("alice", func(r *store.Record) { r.IdleLocks = true })
	for _, c := range []struct {
		r    store.Record
		last time.Duration
	}{{idle, 10 * time.Minute}, {end, 20 * time.Minute}, {locks, 30*time.Minute - 1}} {
		w.touch(c.r.Handle, at(c.last+1))
		w.same("Touch in the nanosecond of expiry", c.r)
		w.touch(c.r.Handle, at(c.last))
		c.r.Seen = at(c.last)
		w.same("Touch in the nanosecond before expiry", c.r)
	}
}

func touchBatch(w *world) {
	live := []store.Record{w.create("alice"), w.create("bob"), w.create("")}
	ended, locked := w.create("carol"), w.create("dora")
	w.revoke(store.Revocation{Handle: ended.Handle})
	w.revoke(store.Revocation{Handle: locked.Handle, Effect: store.EffectLock})
	expired := w.create("emil", func(r *store.Record) { r.Idle = time.Minute })
	var batch []store.Touch
	for i, r := range []store.Record{ended, live[0], w.session("nobody"), live[1], locked, expired, live[2]} {
		batch = append(batch, store.Touch{Handle: r.Handle, Seen: at(5*time.Minute + time.Duration(i))})
	}
	// One session twice, the later time first: it must win all the same.
	batch = append(batch, store.Touch{Handle: live[0].Handle, Seen: at(2 * time.Minute)})
	for _, touches := range [][]store.Touch{batch, nil, batch} {
		if err := w.s().Touch(w.Context(), w.ns, touches); err != nil {
			w.Fatalf("Touch of %d: %v", len(touches), err)
		}
	}
	for i, r := range live {
		r.Seen = at(5*time.Minute + []time.Duration{1, 3, 6}[i]) // their places in the batch
		w.same("live session in a batch", r)
	}
	ended.Finish(store.End{At: at(time.Minute), Cause: "admin", By: "root"})
	locked.Locked = true
	for _, r := range []store.Record{ended, locked, expired} {
		w.same("session that a batch passes over", r)
	}
}

func touchBetweenLoadAndSwap(w *world) {
	r := w.create("alice")
	w.touch(r.Handle, at(5*time.Minute))
	r.Label, r.Seen = "phone", at(4*time.Minute)
	r = w.mustSwap(r, at(6*time.Minute))
	r.Seen = at(5 * time.Minute)
	w.same("Swap of a record loaded before a Touch", r)
	r.Seen = at(7 * time.Minute)
	r = w.mustSwap(r, at(7*time.Minute))
	w.same("Swap that moves Seen forward", r)
}

func parallelTouches(w *world) {
	w.rounds(func() {
		r := w.create("alice")
		w.race(8, func(i int, s store.Store) {
			for j := range 4 {
				seen := at(time.Duration((i*7+j*3)%32) * time.Second)
				if err := s.Touch(w.Context(), w.ns, []store.Touch{{Handle: r.Handle, Seen: seen}}); err != nil {
					w.Errorf("Touch: %v", err)
				}
			}
		})
		var latest int
		for i := range 8 {
			for j := range 4 {
				latest = max(latest, (i*7+j*3)%32)
			}
		}
		r.Seen = at(time.Duration(latest) * time.Second)
		w.same("after parallel Touches", r)
	})
}

// touchesRaceSwaps: Spring Session's touch wrote whole rows, and with them the
// token from before the login.
func touchesRaceSwaps(w *world) {
	w.rounds(func() {
		r := w.create("alice")
		var clock atomic.Int64
		touch := func(s store.Store) {
			for range 8 {
				seen := at(time.Duration(clock.Add(1)) * time.Second)
				if err := s.Touch(w.Context(), w.ns, []store.Touch{{Handle: r.Handle, Seen: seen}}); err != nil {
					w.Errorf("Touch: %v", err)
				}
			}
		}
		want := clone(r)
		w.together(touch, touch, func(s store.Store) {
			for i := range 8 {
				want.Verifier, want.Label = digest("rotated", uint64(i)), fmt.Sprint("label ", i)
				if err := s.Swap(w.Context(), clone(want), at(time.Minute)); err != nil {
					w.Errorf("Swap beside Touches: %v", err)
					return
				}
				want.Version++
			}
		}, touch)
		want.Seen = at(time.Duration(clock.Load()) * time.Second)
		w.same("after Touches that raced Swaps", want)
	})
}
