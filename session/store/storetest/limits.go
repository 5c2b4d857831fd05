package storetest

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// limitCases prove I6: parallel logins never leave more than the limit.
func limitCases() []Case {
	return group("I6",
		named{"refuse", limitRefuses},
		named{"evict_oldest", limitEvicts},
		named{"evict_down_to_the_limit", limitEvictsSeveral},
		named{"counts_live_active_sessions_of_the_subject", limitCounts},
		named{"does_not_count_the_replaced", limitReplace},
		named{"applies_to_active_sessions_only", limitStates},
		named{"parallel_creates_refuse", func(w *world) { limitParallel(w, false) }},
		named{"parallel_creates_evict", func(w *world) { limitParallel(w, true) }},
		named{"parallel_replaces_keep_the_limit", limitParallelReplace},
		named{"create_races_end", limitRacesEnd},
	)
}

// limited is a creation i seconds after at(0) with a limit.
func (w *world) limited(subject string, i, most int, evict bool) store.Creation {
	c := creation(w.session(subject, func(r *store.Record) {
		t := at(time.Duration(i) * time.Second)
		r.Created, r.Seen = t, t
	}))
	c.Max, c.EvictOldest = most, evict
	return c
}

// wantEvicted creates, and checks who had to go.
func (w *world) wantEvicted(c store.Creation, want ...store.Record) {
	w.Helper()
	created := w.mustCreate(c)
	if !sameHandles(created.Evicted, handles(want)) {
		w.Errorf("Create with limit %d evicted %v, want %v", c.Max, created.Evicted, handles(want))
	}
	for _, r := range want {
		r.Finish(store.End{At: c.Now, Cause: store.CauseLimit})
		w.same("evicted session", r)
	}
	w.same("created session", c.Record)
}

func limitRefuses(w *world) {
	for i := range 3 {
		w.wantEvicted(w.limited("alice", i, 3, false))
	}
	w.refused(w.limited("alice", 4, 3, false), store.ErrLimit)
	w.refused(w.limited("alice", 4, 1, false), store.ErrLimit)
	w.wantEvicted(w.limited("alice", 4, 4, false))
	w.wantEvicted(w.limited("alice", 5, 0, false)) // no limit
	w.wantEvicted(w.limited("bob", 5, 1, false))
	if n := len(w.list(store.Query{Subject: "alice"})); n != 5 {
		w.Errorf("%d sessions are alive, want 5", n)
	}
}

func limitEvicts(w *world) {
	var made []store.Record
	for i := range 7 {
		c := w.limited("alice", i, 3, true)
		if i < 3 {
			w.wantEvicted(c)
		} else {
			w.wantEvicted(c, made[i-3])
		}
		made = append(made, c.Record)
		// The oldest is the one created first, not the one seen longest ago.
		w.touch(made[max(0, i-2)].Handle, at(time.Minute))
		for j := range made {
			made[j] = w.load(made[j].Handle)
		}
	}
}

func limitEvictsSeveral(w *world) {
	var made []store.Record
	for i := range 5 {
		c := w.limited("alice", i, 0, false)
		w.wantEvicted(c)
		made = append(made, c.Record)
	}
	w.wantEvicted(w.limited("alice", 6, 2, true), made[:4]...)
	w.alive("the youngest before", made[4].Handle)
	w.wantEvicted(w.limited("bob", 6, 1, true))
}

func limitCounts(w *world) {
	now := func(r *store.Record) { r.Created = at(10 * time.Minute); r.Seen = r.Created }
	ended := w.create("alice")
	w.revoke(store.Revocation{Handle: ended.Handle})
	idle := w.create("alice", func(r *store.Record) { r.Idle = time.Minute })
	past := w.create("alice", func(r *store.Record) { r.Deadline = at(10 * time.Minute) })
	w.create("alice", func(r *store.Record) { r.State = store.Pending })
	w.create("alicia")
	elsewhere := w.session("alice", func(r *store.Record) { r.Namespace = "other" })
	w.mustCreate(creation(elsewhere))

	c := creation(w.session("alice", now))
	c.Max = 1
	w.wantEvicted(c)
	w.same("expired session, not counted", idle)
	w.same("expired session, not counted", past)

	w.revoke(store.Revocation{Handle: c.Record.Handle, Effect: store.EffectLock})
	next := creation(w.session("alice", now))
	next.Max = 1
	w.refused(next, store.ErrLimit) // a locked session is alive
	locks := w.create("bob", func(r *store.Record) { r.IdleLocks, r.Idle = true, time.Minute })
	next = creation(w.session("bob", now))
	next.Max, next.EvictOldest = 1, true
	w.wantEvicted(next, locks) // and so is one that locked itself
}

func limitReplace(w *world) {
	first, second := w.limited("alice", 0, 2, false), w.limited("alice", 1, 2, false)
	w.wantEvicted(first)
	w.wantEvicted(second)
	c := w.replacing(first.Record, "alice")
	c.Max = 2
	w.wantEvicted(c)
	w.ended("replaced session", first.Record.Handle, store.CauseRenewed)
	w.alive("the other session", second.Record.Handle)

	e := w.replacing(c.Record, "alice")
	e.Max, e.EvictOldest = 1, true
	w.wantEvicted(e, second.Record)
	w.ended("replaced session", c.Record.Handle, store.CauseRenewed)
}

func limitStates(w *world) {
	kept := w.limited("alice", 0, 1, true)
	w.wantEvicted(kept)
	for _, state := range []store.State{store.Pending, store.Anonymous} {
		for i := range 3 {
			c := w.limited("alice", i, 1, i%2 == 0)
			c.Record.State = state
			w.wantEvicted(c)
		}
	}
	w.alive("the active session", kept.Record.Handle)
}

func limitParallel(w *world, evict bool) {
	const n, most = 8, 3
	w.rounds(func() {
		subject := fmt.Sprint("user ", w.serial.Add(1))
		var mu sync.Mutex
		var made, evicted []store.Handle
		w.race(n, func(i int, s store.Store) {
			c := w.limited(subject, i, most, evict)
			created, err := s.Create(w.Context(), c)
			if err != nil && (evict || kindsOf(err) == nil) {
				w.Errorf("Create: %v", err)
			} else if err != nil {
				w.is("Create over the limit", err, store.ErrLimit)
			}
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				made, evicted = append(made, c.Record.Handle), append(evicted, created.Evicted...)
			}
		})
		alive := w.list(store.Query{Subject: subject})
		if len(alive) != most {
			w.Errorf("%d parallel Creates with a limit of %d left %d sessions alive", n, most, len(alive))
		}
		if want := len(made) - most; len(evicted) != want {
			w.Errorf("%d Creates were acknowledged and %d evictions reported, want %d", len(made), len(evicted), want)
		}
		if !sameHandles(append(evicted, handles(alive)...), made) {
			w.Errorf("alive and evicted together are not the sessions created")
		}
	})
}

func limitParallelReplace(w *world) {
	const most = 2
	w.rounds(func() {
		subject := fmt.Sprint("user ", w.serial.Add(1))
		var made [most]store.Record
		for i := range made {
			made[i] = w.create(subject)
		}
		w.race(6, func(i int, s store.Store) {
			c := w.replacing(made[i%most], subject)
			c.Max, c.EvictOldest = most, i%3 == 0
			if _, err := s.Create(w.Context(), c); err != nil {
				checkKind(w, "Create", err, store.ErrNotFound, store.ErrConflict, store.ErrLimit)
			}
		})
		if n := len(w.list(store.Query{Subject: subject})); n != most {
			w.Errorf("parallel Replaces of %d sessions left %d alive, want %d", most, n, most)
		}
	})
}

// limitRacesEnd: a place is given away once.
func limitRacesEnd(w *world) {
	w.rounds(func() {
		subject := fmt.Sprint("user ", w.serial.Add(1))
		old := w.create(subject)
		var made atomic.Int32
		login := func(s store.Store) {
			for range 8 {
				_, err := s.Create(w.Context(), w.limited(subject, 1, 1, false))
				if err == nil {
					made.Add(1)
				} else {
					w.is("Create", err, store.ErrLimit)
				}
			}
		}
		w.together(func(s store.Store) {
			if _, err := s.Revoke(w.Context(), w.revocation(store.Revocation{Handle: old.Handle})); err != nil {
				w.Errorf("Revoke: %v", err)
			}
		}, login, login, login)
		if n := len(w.list(store.Query{Subject: subject})); n > 1 || n != int(made.Load()) {
			w.Errorf("%d sessions are alive and %d Creates were acknowledged, want the same and at most 1", n, made.Load())
		}
	})
}
