package storetest

import (
	"time"

	"cloakroom.example/session/store"
)

// namespaceCases prove that namespaces share nothing: part of I8, for a store
// that looked across them would show one application's sessions to another.
func namespaceCases() []Case {
	return group("I8",
		named{"namespaces_are_isolated", isolated},
		named{"namespaces_are_not_confused", confusedNamespaces},
		named{"namespaces_expire_apart", sweptApart},
	)
}

// twins creates the same session in two namespaces.
func (w *world) twins() (here, there store.Record) {
	here = w.create("alice", linked(1))
	there = clone(here)
	there.Namespace, there.Label = "other", "twin"
	w.mustCreate(creation(there))
	return here, there
}

func (w *world) sameThere(what string, want store.Record) {
	w.Helper()
	got, err := w.other().Load(w.Context(), want.Key(), []string{"app"})
	if err != nil {
		w.Errorf("%s: Load: %v", what, err)
		return
	}
	if d := diff(got, want); d != "" {
		w.Errorf("%s in one namespace changed another:%s", what, d)
	}
}

func isolated(w *world) {
	here, there := w.twins()
	steps := []struct {
		name string
		do   func()
	}{
		{"Load", func() { w.same("twin", here) }},
		{"Swap", func() { here.Label = "phone"; w.mustSwap(here, at(time.Minute)) }},
		{"Touch", func() { w.touch(here.Handle, at(time.Minute)) }},
		{"Lock", func() { w.revoke(store.Revocation{Subject: "alice", Effect: store.EffectLock}) }},
		{"Revoke by handle", func() { w.revoke(store.Revocation{Handle: here.Handle}) }},
		{"Revoke by subject", func() { w.create("alice"); w.revoke(store.Revocation{Subject: "alice"}) }},
		{"Revoke by link", func() { w.create("alice", linked(1)); w.revoke(store.Revocation{Link: linkOf(1)}) }},
		{"Revoke all", func() { w.revoke(store.Revocation{All: true}) }},
		{"Create with a limit", func() {
			w.mustCreate(w.limited("alice", 1, 1, false))
			w.mustCreate(w.limited("alice", 2, 1, true))
		}},
		{"Replace", func() {
			c := w.replacing(there, "alice") // a handle of the other namespace
			w.refused(c, store.ErrNotFound)
		}},
	}
	for _, s := range steps {
		s.do()
		w.sameThere(s.name, there)
		w.wantList("list of the other namespace after "+s.name, store.Query{Namespace: "other", Ended: true}, []store.Record{there})
	}
	late := w.session("alice", linked(1), func(r *store.Record) { r.Namespace = "other" })
	c := creation(late)
	c.Since, c.Now = at(1), at(10*time.Minute)
	w.mustCreate(c)
	w.sameThere("login after revocations elsewhere", late)
}

// confusedNamespaces: keys built by joining strings make ("a", "b:c") and
// ("a:b", "c") one.
func confusedNamespaces(w *world) {
	var all []store.Record
	shared := w.session("").Handle
	for _, ns := range []string{"", "a", "A", "a ", "a:b", "a\x00b", "a/b", "a|b", "ä", "a%", "\xff", "shop"} {
		for _, subject := range []string{"c", "b:c", "b/c", "b|c", "b\x00c"} {
			all = append(all, w.create(subject, func(r *store.Record) {
				if r.Namespace = ns; subject == "c" {
					r.Handle = shared
				}
			}))
		}
	}
	for _, r := range all {
		w.sameThere("Create", r)
		q := store.Query{Namespace: r.Namespace, Subject: r.Subject, Now: at(0)}
		if got, err := pages(w, w.s(), q); err != nil || len(got) != 1 || got[0].Handle != r.Handle {
			w.Errorf("namespace %q, subject %q: listed %d sessions, error %v; want its own one", r.Namespace, r.Subject, len(got), err)
		}
	}
	for i, r := range all {
		if i%5 != 0 {
			continue
		}
		v := store.Revocation{Namespace: r.Namespace, All: true, Cause: "admin", Now: at(time.Minute)}
		if _, err := w.s().Revoke(w.Context(), v); err != nil {
			w.Fatalf("Revoke: %v", err)
		}
		for j, o := range all {
			got, err := w.other().Load(w.Context(), o.Key(), nil)
			if gone := j < i+5; err != nil || got.Ended() != gone {
				w.Errorf("after everything in namespace %q was revoked: namespace %q ended: %t, error %v; want %t", r.Namespace, o.Namespace, got.Ended(), err, gone)
			}
		}
	}
}

func sweptApart(w *world) {
	sweeper := w.sweeper()
	if sweeper == nil {
		return
	}
	here, there := w.twins()
	swept, err := sweeper.Sweep(w.Context(), store.Sweeping{Namespace: w.ns, Now: at(time.Hour)})
	if err != nil || len(swept.Expired) != 1 || swept.Expired[0].Key() != here.Key() {
		w.Errorf("Sweep gave %d sessions, error %v; want the one of its namespace", len(swept.Expired), err)
	}
	w.sameThere("Sweep", there)
	w.sweepAll(store.Sweeping{Namespace: w.ns, Now: at(100 * time.Hour)})
	w.absent("swept tombstone", here.Key())
	w.sameThere("removal of tombstones", there)
	w.wantList("list of the other namespace", store.Query{Namespace: "other"}, []store.Record{there})
}
