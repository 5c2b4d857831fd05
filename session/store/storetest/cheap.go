package storetest

import (
	"time"

	"cloakroom.example/session/store"
)

// cheapCases prove the half of I9 that shows: what must not write does not.
func cheapCases() []Case {
	return group("I9",
		named{"reads_write_nothing", readsWriteNothing},
		named{"touch_takes_a_large_batch", largeBatch},
	)
}

// readsWriteNothing reads live, expired, locked and ended sessions in every
// way, and at every time.
func readsWriteNothing(w *world) {
	hers, others := w.household()
	all := append(hers, others...)
	w.revoke(store.Revocation{Handle: all[0].Handle})
	all[0].Finish(store.End{At: at(time.Minute), Cause: "admin", By: "root"})
	expired := w.create("alice", func(r *store.Record) { r.Idle = time.Second })
	all = append(all, expired)
	for range 3 {
		for _, r := range all {
			w.same("after reading only", r)
		}
		for _, now := range []time.Time{at(time.Minute), at(48 * time.Hour), at(0)} {
			for _, ended := range []bool{true, false} {
				w.list(store.Query{Now: now, Ended: ended})
				w.list(store.Query{Now: now, Ended: ended, Subject: "alice", Max: 2})
			}
		}
	}
}

func largeBatch(w *world) {
	const n = 300
	made := make([]store.Record, n)
	touches := make([]store.Touch, 0, 2*n)
	for i := range made {
		made[i] = w.create("alice")
		touches = append(touches, store.Touch{Handle: made[i].Handle, Seen: at(time.Duration(i+1) * time.Second)},
			store.Touch{Handle: w.session("").Handle, Seen: at(time.Second)})
	}
	if err := w.s().Touch(w.Context(), w.ns, touches); err != nil {
		w.Fatalf("Touch of %d: %v", len(touches), err)
	}
	for i, r := range made {
		r.Seen = at(time.Duration(i+1) * time.Second)
		w.same("session in a large batch", r)
	}
}
