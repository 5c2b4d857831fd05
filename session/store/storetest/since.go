package storetest

import (
	"errors"
	"fmt"
	"time"

	"cloakroom.example/session/store"
)

// sinceCases prove the part of I5 that is about logins still under way.
func sinceCases() []Case {
	return group("I5",
		named{"since_before_revocation_is_refused", sinceRefused},
		named{"since_concerns_the_revoked_only", sinceOthers},
		named{"since_survives_later_revocations", sinceKeepsLatest},
		named{"since_by_another_clock", sinceOtherClock},
		named{"since_of_an_authentication_revoked", sinceAuthenticated},
		named{"create_races_revoke_subject", func(w *world) { createRacesRevoke(w, "subject") }},
		named{"create_races_revoke_link", func(w *world) { createRacesRevoke(w, "link") }},
		named{"create_races_revoke_all", func(w *world) { createRacesRevoke(w, "all") }},
		named{"replace_races_revoke_subject", replaceRacesRevokeSubject},
	)
}

// login is a creation whose authentication began at since.
func (w *world) login(subject string, since time.Time, changes ...func(*store.Record)) store.Creation {
	c := creation(w.session(subject, changes...))
	c.Since, c.Now = since, at(10*time.Minute)
	return c
}

// sinceRefused: the revocation came while the password was being checked, for
// a subject that may have had no session at all.
func sinceRefused(w *world) {
	revoked := at(5 * time.Minute)
	for _, way := range []string{"subject", "link", "all"} {
		subject, link := "user of "+way, linkOf(w.serial.Add(1))
		early := w.login(subject, revoked.Add(-time.Second), func(r *store.Record) { r.Links = []store.Link{linkOf(7), link} })
		v := waysToEnd(store.Record{Subject: subject, Links: []store.Link{link}})[way]
		v.Now = revoked
		w.revoke(v)
		w.refused(early, store.ErrRevoked)
		early.Since = revoked.Add(-1)
		w.refused(early, store.ErrRevoked)
		early.Since = revoked.Add(-48 * time.Hour)
		w.refused(early, store.ErrRevoked)
		for _, since := range []time.Time{{}, revoked.Add(1), revoked.Add(time.Minute)} {
			c := w.login(subject, since, func(r *store.Record) { r.Links = []store.Link{link} })
			w.mustCreate(c)
			w.same(fmt.Sprintf("login since %v, %s revoked at %v", since, way, revoked), c.Record)
		}
	}
}

func sinceOthers(w *world) {
	ended := w.create("alice", linked(3))
	w.revoke(store.Revocation{Subject: "alice", Now: at(5 * time.Minute)})
	w.revoke(store.Revocation{Link: linkOf(1), Now: at(5 * time.Minute)})
	w.revoke(store.Revocation{Handle: ended.Handle, Now: at(5 * time.Minute)})
	w.revoke(store.Revocation{Namespace: "other", All: true, Now: at(5 * time.Minute)})
	for _, c := range []store.Creation{
		w.login("bob", at(0)), w.login("Alice", at(0)), w.login("alice2", at(0)), w.login("", at(0)),
		w.login("bob", at(0), linked(2)), w.login("bob", at(0), linked(3)),
	} {
		w.mustCreate(c)
		w.same("login of somebody else", c.Record)
	}
	other := w.login("alice", at(0))
	other.Record.Namespace = "third"
	w.mustCreate(other)
}

// sinceOtherClock: the clock of the node that revokes may be behind the one of the
// node where the login began.
func sinceOtherClock(w *world) {
	for name, v := range map[string]store.Revocation{"subject": {Subject: "alice"}, "link": {Link: linkOf(1)}, "all": {All: true}} {
		for revoking, tolerance := range map[int64]time.Duration{7: 0, 8: store.ClockSkew} {
			w.ns = fmt.Sprint("clocks ", w.serial.Add(1)) // nothing revoked yet
			v.Now, v.Clock = at(0), revoking
			w.revoke(v)
			for since, overtaken := range map[time.Duration]bool{tolerance - 1: true, tolerance + 1: false} {
				c := w.login("alice", at(since), linked(1))
				c.Clock = 7
				if overtaken {
					w.refused(c, store.ErrRevoked)
				} else {
					w.mustCreate(c)
					w.same("login "+since.String()+" after a revocation of "+name, c.Record)
				}
			}
		}
	}
	w.ns = fmt.Sprint("clocks ", w.serial.Add(1)) // nothing revoked yet
	for clock := range int64(2) {                 // once there were two, neither can be sure
		w.revoke(store.Revocation{Subject: "alice", Now: at(0), Clock: clock})
	}
	c := w.login("alice", at(time.Second))
	c.Clock = 1
	w.refused(c, store.ErrRevoked)
	// … until one of them revokes again when no clock can be in doubt.
	w.revoke(store.Revocation{Subject: "alice", Now: at(10 * time.Second), Clock: 1})
	c = w.login("alice", at(10*time.Second+1))
	c.Clock = 1
	w.mustCreate(c)
	w.same("login after its own clock's revocation", c.Record)
}

// sinceKeepsLatest: a revocation by a node whose clock is behind does not
// forget the one before it.
func sinceKeepsLatest(w *world) {
	w.create("alice", linked(1))
	for _, v := range []store.Revocation{{Subject: "alice"}, {Link: linkOf(1)}, {All: true}} {
		for _, d := range []time.Duration{5 * time.Minute, 5*time.Minute - 2*time.Second} {
			v.Now = at(d)
			w.revoke(v)
		}
	}
	w.refused(w.login("alice", at(5*time.Minute-time.Second)), store.ErrRevoked)
	w.refused(w.login("zoe", at(5*time.Minute-time.Second), linked(1)), store.ErrRevoked)
	w.refused(w.login("zoe", at(5*time.Minute-time.Second)), store.ErrRevoked)
}

// sinceAuthenticated: a password change ends what was authenticated before it,
// and that includes a login with the old password under way.
func sinceAuthenticated(w *world) {
	changed := at(5 * time.Minute)
	for _, v := range []store.Revocation{{Subject: "alice"}, {Link: linkOf(1)}, {All: true}} {
		v.AuthenticatedBefore, v.Now = changed, changed
		w.revoke(v)
		w.refused(w.login("alice", changed.Add(-time.Second), linked(1)), store.ErrRevoked)
		fresh := w.login("alice", changed.Add(time.Second), linked(1), func(r *store.Record) { r.Assurance.At = changed.Add(time.Second) })
		w.mustCreate(fresh)
		w.same("login after the change", fresh.Record)
	}
}

// createRacesRevoke: whether a login comes before the revocation and is ended,
// or after it and is refused, in the end nothing of it is alive.
func createRacesRevoke(w *world, way string) {
	const n = 6
	w.rounds(func() {
		// Each round needs a namespace in which nothing was revoked yet.
		w.ns = fmt.Sprint("shop ", w.serial.Add(1))
		subject, link := fmt.Sprint("user ", w.serial.Add(1)), linkOf(w.serial.Add(1))
		v := waysToEnd(store.Record{Subject: subject, Links: []store.Link{link}})[way]
		v.Now = at(5 * time.Minute)
		login := func(s store.Store) {
			for range n {
				c := w.login(subject, at(4*time.Minute), func(r *store.Record) { r.Links = []store.Link{link} })
				if _, err := s.Create(w.Context(), c); err != nil {
					w.is("Create", err, store.ErrRevoked)
				}
			}
		}
		w.together(login, login, func(s store.Store) {
			if _, err := s.Revoke(w.Context(), w.revocation(v)); err != nil {
				w.Errorf("Revoke: %v", err)
			}
		}, login, login)
		q := store.Query{Now: at(10 * time.Minute), Subject: subject}
		if alive := w.list(q); len(alive) != 0 {
			w.Errorf("%d sessions whose login began before Revoke by %s are alive after it", len(alive), way)
		}
		q.Ended = true
		for _, r := range w.list(q) {
			w.ended("login that raced Revoke by "+way, r.Handle, "admin")
		}
	})
}

// replaceRacesRevokeSubject: an elevation of a session while the subject is
// being revoked must not carry it over.
func replaceRacesRevokeSubject(w *world) {
	w.rounds(func() {
		subject := fmt.Sprint("user ", w.serial.Add(1))
		old := w.create(subject)
		c := w.replacing(old, subject)
		c.Since, c.Now = at(4*time.Minute), at(10*time.Minute)
		v := w.revocation(store.Revocation{Subject: subject, Now: at(5 * time.Minute)})
		w.together(func(s store.Store) {
			if _, err := s.Create(w.Context(), c); err != nil {
				checkKind(w, "Create", err, store.ErrRevoked, store.ErrNotFound, store.ErrConflict)
			}
		}, func(s store.Store) {
			if _, err := s.Revoke(w.Context(), v); err != nil {
				w.Errorf("Revoke: %v", err)
			}
		})
		for _, k := range []store.Key{old.Key(), c.Record.Key()} {
			r, err := w.other().Load(w.Context(), k, nil)
			if !errors.Is(err, store.ErrNotFound) && !r.Ended() {
				w.Errorf("after Revoke that raced Replace a session of the subject is alive (error %v)", err)
			}
		}
	})
}
