package storetest

import (
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// expiryCases prove I10 without sweeping.
func expiryCases() []Case {
	return group("I10",
		named{"store_reads_no_clock", noClock},
		named{"load_leaves_expiry_to_the_caller", loadExpired},
		named{"swap_at_its_time", swapAtItsTime},
		named{"only_expired_ends_what_has_expired", onlyExpired},
		named{"expiry_is_acknowledged_once", expiryOnce},
	)
}

// noClock lives through a session's life decades before and after the wall
// clock's time.
func noClock(w *world) {
	for _, epoch := range []time.Time{time.Date(1998, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(2150, 1, 1, 0, 0, 0, 1, time.UTC)} {
		subject := epoch.Format("user of 2006")
		born := func(r *store.Record) {
			r.Created, r.Seen, r.Rotated, r.Assurance.At = epoch, epoch, epoch, epoch
			r.Deadline = epoch.Add(12 * time.Hour)
		}
		r := w.create(subject, born, linked(1))
		w.same("session", r)
		r.Label = "phone"
		r = w.mustSwap(r, epoch.Add(time.Minute))
		w.touch(r.Handle, epoch.Add(20*time.Minute))
		r.Seen = epoch.Add(20 * time.Minute)
		w.same("session after Touch", r)
		w.wantList("live", store.Query{Subject: subject, Now: epoch.Add(49 * time.Minute)}, []store.Record{r})
		w.wantList("expired", store.Query{Subject: subject, Now: epoch.Add(50 * time.Minute)}, []store.Record{r})
		c := creation(w.session(subject, born))
		c.Max, c.Now = 1, epoch.Add(49*time.Minute)
		w.refused(c, store.ErrLimit)
		c.Now = epoch.Add(50 * time.Minute)
		w.mustCreate(c)
		w.is("Swap after the idle timeout", w.swap(r, epoch.Add(50*time.Minute)), store.ErrNotFound)
		w.revoke(store.Revocation{Subject: subject, Now: epoch.Add(time.Hour)})
		r.Finish(store.End{At: epoch.Add(time.Hour), Cause: "admin", By: "root"})
		w.same("revoked session", r)
		late := creation(w.session(subject, born))
		late.Since = epoch.Add(time.Hour - 1)
		w.refused(late, store.ErrRevoked)
		late.Since = epoch.Add(time.Hour + 1)
		w.mustCreate(late)
	}
}

// loadExpired: a session that has run out comes back as it is, for only the
// caller knows the time, and whoever reports its end.
func loadExpired(w *world) {
	r := w.create("alice", func(r *store.Record) { r.Idle, r.Deadline = time.Nanosecond, at(2) })
	for range 3 {
		w.same("expired session", r)
		w.list(store.Query{Now: at(100 * time.Hour)})
	}
}

func swapAtItsTime(w *world) {
	for name, change := range map[string]func(*store.Record){
		"idle":     func(r *store.Record) { r.Idle = time.Minute },
		"deadline": func(r *store.Record) { r.Idle, r.Deadline = 0, at(time.Minute) },
		"limit":    func(r *store.Record) { r.Idle, r.Limit = 0, at(time.Minute) },
	} {
		r := w.create("alice", change)
		w.is("Swap when expired: "+name, w.swap(r, at(time.Minute)), store.ErrNotFound)
		w.is("Swap long after: "+name, w.swap(r, at(100*time.Hour)), store.ErrNotFound)
		w.same("after a refused Swap", r)
		r = w.mustSwap(r, at(time.Minute-1))
		w.same("after a Swap in the last nanosecond", r)
	}
	locks := w.create("alice", func(r *store.Record) { r.IdleLocks = true })
	locks = w.mustSwap(locks, at(time.Hour))
	w.same("Swap of a session that locked itself", locks)
}

func onlyExpired(w *world) {
	for _, c := range []struct {
		name, cause string
		change      func(*store.Record)
		expires     time.Duration
	}{
		{"idle", store.CauseIdle, func(r *store.Record) {}, 30 * time.Minute},
		{"absolute", store.CauseAbsolute, func(r *store.Record) { r.Deadline = at(10 * time.Minute) }, 10 * time.Minute},
		{"limit", store.CauseAbsolute, func(r *store.Record) { r.Limit = at(5 * time.Minute) }, 5 * time.Minute},
		{"both at once", store.CauseAbsolute, func(r *store.Record) { r.Deadline = at(30 * time.Minute) }, 30 * time.Minute},
		{"locks when idle", store.CauseAbsolute, func(r *store.Record) { r.IdleLocks = true }, 12 * time.Hour},
	} {
		r := w.create("alice", c.change)
		v := store.Revocation{Handle: r.Handle, OnlyExpired: true, Cause: "ignored", By: "node 1", Now: at(c.expires - 1)}
		if changed := w.revoke(v); len(changed) != 0 {
			w.Errorf("%s: a session was ended as expired before its time", c.name)
		}
		w.same(c.name+": session before its time", r)
		v.Now = at(c.expires)
		if changed := w.revoke(v); !sameHandles(changed, []store.Handle{r.Handle}) {
			w.Errorf("%s: changed %v, want the expired session", c.name, changed)
		}
		r.Finish(store.End{At: v.Now, Cause: c.cause, By: "node 1"})
		w.same(c.name+": expired session", r)
		v.Now = at(c.expires + time.Hour)
		if changed := w.revoke(v); len(changed) != 0 {
			w.Errorf("%s: the expiry was acknowledged twice", c.name)
		}
		w.same(c.name+": expired session", r)
	}
}

// expiryOnce: requests on several nodes and the sweepers find the same session
// expired; one of them reports it.
func expiryOnce(w *world) {
	sweeper := w.sweeper()
	w.rounds(func() {
		r := w.create("alice")
		var acknowledged atomic.Int32
		w.race(8, func(i int, s store.Store) {
			if i%4 == 3 && sweeper != nil {
				swept, err := s.(store.Sweeper).Sweep(w.Context(), store.Sweeping{Namespace: w.ns, Now: at(time.Hour)})
				if err != nil {
					w.Errorf("Sweep: %v", err)
				}
				acknowledged.Add(int32(len(swept.Expired)))
				return
			}
			v := store.Revocation{Namespace: w.ns, Handle: r.Handle, OnlyExpired: true, Now: at(time.Hour)}
			revoked, err := s.Revoke(w.Context(), v)
			if err != nil {
				w.Errorf("Revoke: %v", err)
			}
			acknowledged.Add(int32(len(revoked.Changed)))
		})
		if n := acknowledged.Load(); n != 1 {
			w.Errorf("an expiry was acknowledged %d times, want once", n)
		}
		w.ended("expired session", r.Handle, store.CauseIdle)
	})
}
