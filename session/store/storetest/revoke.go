package storetest

import (
	"fmt"
	"time"

	"cloakroom.example/session/store"
)

// revokeCases prove the part of I5 that needs no parallel creations.
func revokeCases() []Case {
	return group("I5",
		named{"handle", revokeHandle},
		named{"subject", revokeSubject},
		named{"link", revokeLink},
		named{"all", revokeAll},
		named{"all_again_keeps_first_cause", revokeAllAgain},
		named{"all_then_new_sessions_live", allThenNew},
		named{"except", revokeExcept},
		named{"authenticated_before", revokeAuthenticatedBefore},
		named{"all_authenticated_before", revokeAllAuthenticatedBefore},
		named{"effects_by_subject_and_link", revokeEffects},
		named{"unknown_is_no_error", revokeUnknown},
		named{"expired_is_ended_too", revokeExpired},
		named{"everything_created_in_parallel", revokeParallelCreations},
	)
}

// household creates sessions of alice and others in every state, and returns
// those of alice and the rest.
func (w *world) household() (hers, others []store.Record) {
	for i := range 6 {
		hers = append(hers, w.create("alice", func(r *store.Record) {
			r.State, r.Links = []store.State{store.Active, store.Pending}[i%2], []store.Link{linkOf(uint64(i)), linkOf(99)}
			r.IdleLocks = i%3 == 0
		}))
	}
	w.revoke(store.Revocation{Handle: hers[2].Handle, Effect: store.EffectLock})
	hers[2].Locked = true
	others = []store.Record{
		w.create("bob", linked(98)), w.create("alic"), w.create("alice2"), w.create("Alice"),
		w.create("", func(r *store.Record) { r.State = store.Anonymous }),
	}
	return hers, others
}

func handles(rs []store.Record) (hs []store.Handle) {
	for _, r := range rs {
		hs = append(hs, r.Handle)
	}
	return hs
}

// wantRevoked checks a revocation's answer, and both groups of records.
func (w *world) wantRevoked(what string, v store.Revocation, hit, spared []store.Record) {
	w.Helper()
	v = w.revocation(v)
	changed := w.revoke(v)
	if v.All && len(changed) != 0 {
		w.Errorf("%s: Changed is %v, want it empty: everything is a counter", what, changed)
	}
	if !v.All && !sameHandles(changed, handles(hit)) {
		w.Errorf("%s: changed %v, want %v", what, changed, handles(hit))
	}
	for _, r := range hit {
		r = clone(r)
		if !r.Revoke(v) {
			w.Fatalf("%s: the case is wrong: the revocation does not change %+v", what, r)
		}
		w.same(what+": revoked session", r)
	}
	for _, r := range spared {
		w.same(what+": session not meant", r)
	}
}

func revokeHandle(w *world) {
	hers, others := w.household()
	w.wantRevoked("by handle", store.Revocation{Handle: hers[0].Handle}, hers[:1], append(hers[1:], others...))
}

func revokeSubject(w *world) {
	hers, others := w.household()
	w.wantRevoked("by subject", store.Revocation{Subject: "alice"}, hers, others)
	hers = []store.Record{w.create("alice")}
	w.wantRevoked("by subject, once more", store.Revocation{Subject: "alice"}, hers, others)
}

func revokeLink(w *world) {
	hers, others := w.household()
	w.wantRevoked("by one session's link", store.Revocation{Link: linkOf(1)}, hers[1:2], others)
	hers = append(hers[:1], hers[2:]...)
	w.wantRevoked("by a shared link", store.Revocation{Link: linkOf(99)}, hers, others)
}

func revokeAll(w *world) {
	hers, others := w.household()
	w.wantRevoked("all", store.Revocation{All: true}, append(hers, others...), nil)
	if n := len(w.list(store.Query{})); n != 0 {
		w.Errorf("after revoking everything %d sessions are listed as alive", n)
	}
}

func revokeAllAgain(w *world) {
	first := w.create("alice")
	w.revoke(store.Revocation{All: true, Cause: "breach", By: "root", Now: at(time.Minute)})
	second := w.create("alice")
	w.revoke(store.Revocation{All: true, Cause: "drill", By: "admin", Now: at(2 * time.Minute)})
	first.Finish(store.End{At: at(time.Minute), Cause: "breach", By: "root"})
	second.Finish(store.End{At: at(2 * time.Minute), Cause: "drill", By: "admin"})
	w.same("session ended by the first of two", first)
	w.same("session ended by the second of two", second)
}

// allThenNew also lets the creating node's clock go behind the revoking one's.
func allThenNew(w *world) {
	old := w.create("alice")
	w.revoke(store.Revocation{All: true, Now: at(time.Hour)})
	for _, d := range []time.Duration{time.Hour + time.Second, time.Hour, time.Hour - time.Second, time.Hour - 2*time.Second} {
		r := w.create("alice", func(r *store.Record) { r.Created, r.Seen, r.Assurance.At = at(d), at(d), at(d) })
		w.same(fmt.Sprintf("created %v after everything was revoked", d-time.Hour), r)
		r.Label = "new"
		r = w.mustSwap(r, at(time.Hour))
		w.touch(r.Handle, at(time.Hour+time.Minute))
		r.Seen = at(time.Hour + time.Minute)
		w.same("new session after Swap and Touch", r)
	}
	w.ended("old session", old.Handle, "admin")
}

func revokeExcept(w *world) {
	hers, others := w.household()
	spared := append([]store.Record{hers[3]}, others...)
	hit := append(append([]store.Record{}, hers[:3]...), hers[4:]...)
	w.wantRevoked("by subject except one", store.Revocation{Subject: "alice", Except: hers[3].Handle}, hit, spared)
	w.wantRevoked("except somebody else's", store.Revocation{Subject: "alice", Except: others[0].Handle}, hers[3:4], others)
}

// authenticated creates sessions that authenticated never, before, at, and
// after at(10 minutes).
func (w *world) authenticated(subject string) (before, rest []store.Record) {
	made := func(t time.Time) store.Record {
		return w.create(subject, linked(1), func(r *store.Record) { r.Assurance.At = t })
	}
	limit := at(10 * time.Minute)
	before = []store.Record{made(at(0)), made(limit.Add(-1))}
	return before, []store.Record{made(time.Time{}), made(limit), made(limit.Add(1))}
}

func revokeAuthenticatedBefore(w *world) {
	hit, spared := w.authenticated("alice")
	others, more := w.authenticated("bob")
	limit := at(10 * time.Minute)
	w.wantRevoked("subject authenticated before", store.Revocation{Subject: "alice", AuthenticatedBefore: limit, Now: limit}, hit, append(append(spared, others...), more...))
	w.wantRevoked("link authenticated before", store.Revocation{Link: linkOf(1), AuthenticatedBefore: limit, Now: limit}, others, append(spared, more...))
}

func revokeAllAuthenticatedBefore(w *world) {
	hit, spared := w.authenticated("alice")
	limit := at(10 * time.Minute)
	w.wantRevoked("all authenticated before", store.Revocation{All: true, AuthenticatedBefore: limit, Now: limit, Cause: "policy"}, hit, spared)
	// Restricting revocations do not undo wider ones, nor the other way round.
	w.wantRevoked("all", store.Revocation{All: true, Now: at(20 * time.Minute)}, spared, nil)
	for _, r := range hit {
		w.ended("ended by the first revocation", r.Handle, "policy")
	}
	late := w.create("alice") // authenticated before the limit, but created after the revocation
	w.same("created after the revocations", late)
}

func revokeEffects(w *world) {
	hers, others := w.household()
	others = append(others, hers[2]) // locked already
	free := append(append([]store.Record{}, hers[:2]...), hers[3:]...)
	w.wantRevoked("lock by subject", store.Revocation{Subject: "alice", Effect: store.EffectLock}, free, others)
	for i := range hers {
		hers[i].Locked = true
	}
	w.wantRevoked("shorten by link", store.Revocation{Link: linkOf(99), Effect: store.EffectShorten, Limit: at(time.Hour)}, hers, others[:5])
	for i := range hers {
		hers[i].Limit = at(time.Hour)
	}
	w.wantRevoked("end by link", store.Revocation{Link: linkOf(99)}, hers, others[:5])
}

func revokeUnknown(w *world) {
	_, others := w.household()
	for _, v := range []store.Revocation{
		{Handle: w.session("x").Handle}, {Subject: "nobody"}, {Subject: "alice "}, {Subject: "ALICE"}, {Link: linkOf(1234)},
		{Handle: w.session("x").Handle, OnlyExpired: true},
	} {
		w.wantRevoked("unknown target", v, nil, others)
	}
	w.wantRevoked("expiry of a live session", store.Revocation{Handle: others[0].Handle, OnlyExpired: true}, nil, others)
}

// revokeExpired: a session that has run out but was never acknowledged as
// expired is still there to be ended.
func revokeExpired(w *world) {
	r := w.create("alice", linked(1))
	w.wantRevoked("expired session", store.Revocation{Subject: "alice", Now: at(time.Hour)}, []store.Record{r}, nil)
}

// revokeParallelCreations: an index kept as a list that is read and written
// back loses sessions (better-auth 1.7.1: 9 of 10 survived "revoke all").
func revokeParallelCreations(w *world) {
	const n = 10
	w.rounds(func() {
		subject, link := fmt.Sprint("user ", w.serial.Add(1)), linkOf(w.serial.Add(1))
		made := make([]store.Record, n)
		w.race(n, func(i int, s store.Store) {
			made[i] = w.session(subject, func(r *store.Record) { r.Links = []store.Link{link} })
			if _, err := s.Create(w.Context(), creation(made[i])); err != nil {
				w.Errorf("Create: %v", err)
			}
		})
		if listed := w.list(store.Query{Subject: subject}); !sameHandles(handles(listed), handles(made)) {
			w.Errorf("of %d sessions created in parallel %d are listed", n, len(listed))
		}
		w.wantRevoked("created in parallel, by link", store.Revocation{Link: link, Effect: store.EffectLock}, made, nil)
		for i := range made {
			made[i].Locked = true
		}
		w.wantRevoked("created in parallel", store.Revocation{Subject: subject}, made, nil)
	})
}
