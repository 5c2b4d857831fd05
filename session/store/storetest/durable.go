package storetest

import (
	"errors"
	"testing"
	"time"

	"cloakroom.example/session/store"
)

// durableCases prove I7 as far as Reopen can show it: what was acknowledged is
// there in the next life.
func durableCases() []Case {
	cases := group("I7",
		named{"records_survive", recordsSurvive},
		named{"last_create_survives", func(w *world) { w.create("alice"); w.lastSurvives() }},
		named{"last_swap_survives", func(w *world) { w.mustSwap(w.create("alice"), at(time.Minute)); w.lastSurvives() }},
		named{"last_touch_survives", func(w *world) { w.touch(w.create("alice").Handle, at(time.Minute)); w.lastSurvives() }},
		named{"last_revoke_survives", lastRevokeSurvives},
		named{"revocations_survive_for_logins", sinceSurvives},
		named{"limits_survive", limitsSurvive},
		named{"cursors_survive", cursorsSurvive},
	)
	for i, c := range cases {
		cases[i].Run = func(t testing.TB, h Harness) {
			t.Helper()
			if h.Reopen == nil {
				t.Log("left out: the harness has no Reopen, so the store is taken not to be durable")
				return
			}
			h.Second = nil // it would not survive either
			c.Run(t, h)
		}
	}
	return cases
}

func (w *world) reopen() {
	w.Helper()
	w.stores = []store.Store{w.h.Reopen(w, w.s())}
}

// lastSurvives compares every record before and after the store is opened
// again, right after a write.
func (w *world) lastSurvives() {
	w.Helper()
	before := w.list(store.Query{Ended: true})
	for i, r := range before {
		before[i] = w.load(r.Handle)
	}
	w.reopen()
	if n := len(w.list(store.Query{Ended: true})); n != len(before) {
		w.Errorf("%d records are listed after opening again, want %d", n, len(before))
	}
	for _, r := range before {
		got, err := w.s().Load(w.Context(), r.Key(), []string{"app"})
		if err != nil {
			w.Errorf("after opening again: %v", err)
			continue
		}
		if d := diff(got, r); d != "" {
			w.Errorf("after opening again a record differs:%s", d)
		}
	}
}

func recordsSurvive(w *world) {
	w.mustCreate(creation(w.session("alice", linked(1), full)))
	hers, _ := w.household()
	swapped := w.mustSwap(hers[1], at(time.Second))
	w.touch(hers[0].Handle, at(2*time.Second))
	w.revoke(store.Revocation{Handle: hers[3].Handle, Cause: "logout"})
	w.revoke(store.Revocation{Handle: hers[4].Handle, Effect: store.EffectShorten, Limit: at(time.Hour)})
	c := w.replacing(swapped, "alice")
	w.mustCreate(c)
	w.lastSurvives()
	w.ended("replaced session", swapped.Handle, store.CauseRenewed)
	w.is("Swap after the store was opened again", w.swap(hers[3], at(time.Minute)), store.ErrNotFound)
	r := w.mustSwap(c.Record, at(time.Minute))
	w.same("Swap after the store was opened again", r)
}

func lastRevokeSurvives(w *world) {
	for _, way := range []string{"handle", "subject", "link", "all"} {
		r := w.create("alice", linked(1))
		w.revoke(waysToEnd(r)[way])
		w.lastSurvives()
		w.ended("revoked by "+way+" before the store was opened again", r.Handle, "admin")
	}
}

func sinceSurvives(w *world) {
	w.revoke(store.Revocation{Subject: "alice", Now: at(5 * time.Minute)})
	w.revoke(store.Revocation{Link: linkOf(1), Now: at(5 * time.Minute)})
	w.reopen()
	w.refused(w.login("alice", at(4*time.Minute)), store.ErrRevoked)
	w.refused(w.login("bob", at(4*time.Minute), linked(1)), store.ErrRevoked)
	w.mustCreate(w.login("bob", at(4*time.Minute)))
	w.revoke(store.Revocation{All: true, Now: at(5 * time.Minute)})
	w.reopen()
	w.refused(w.login("carol", at(4*time.Minute)), store.ErrRevoked)
	fresh := w.create("carol")
	w.reopen()
	w.same("created after everything was revoked", fresh)
}

func limitsSurvive(w *world) {
	first := w.limited("alice", 0, 2, false)
	w.mustCreate(first)
	w.mustCreate(w.limited("alice", 1, 2, false))
	w.reopen()
	w.refused(w.limited("alice", 2, 2, false), store.ErrLimit)
	w.wantEvicted(w.limited("alice", 2, 2, true), first.Record)
}

// cursorsSurvive: an administrator's next page after a restart continues, or
// is refused; it does not silently leave out sessions.
func cursorsSurvive(w *world) {
	for range 5 {
		w.create("alice")
	}
	q := store.Query{Namespace: w.ns, Now: at(0), Max: 2}
	page, err := w.s().List(w.Context(), q)
	if err != nil {
		w.Fatalf("List: %v", err)
	}
	w.reopen()
	q.Cursor = page.Next
	rest, err := pages(w, w.s(), q)
	if err == nil && len(rest)+len(page.Records) != 5 {
		w.Errorf("a list across a restart has %d records, want 5 or an error", len(rest)+len(page.Records))
	}
	if errors.Is(err, store.ErrNotFound) {
		w.Errorf("List: %v", err)
	}
}
