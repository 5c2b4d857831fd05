package storetest

import (
	"bytes"
	"time"

	"cloakroom.example/session/store"
)

// stepwiseCases prove I2 for records that are loaded step by step: what comes
// later belongs to what came first. They pass for stores that do not do that.
func stepwiseCases() []Case {
	return group("I2",
		named{"head_and_parts_are_one_record", headAndParts},
		named{"part_of_a_changed_record_conflicts", partOfAChangedRecord},
	)
}

// head loads a record without parts, if the store does so by itself.
func (w *world) head(k store.Key) (r store.Record, s store.Stepwise) {
	w.Helper()
	s, ok := w.other().(store.Stepwise)
	if !ok {
		return r, nil
	}
	if err := s.LoadHead(w.Context(), k, &r); err != nil {
		w.Fatalf("LoadHead: %v", err)
	}
	return r, s
}

func headAndParts(w *world) {
	from := func(r *store.Record) { r.First.Agent, r.Last.Agent = "Firefox", "Chromium" }
	rare := func(r *store.Record) {
		r.Label, r.Extensions = "phone", []store.Extension{{Name: "x/note", Value: []byte("kept")}}
		r.Predecessor = &store.Predecessor{Verifier: digest("verifier", 0), Successor: []byte("sealed")}
	}
	for _, r := range []store.Record{
		w.create("alice"), w.create("alice", threeParts), w.create("alice", linked(1), rare, from, threeParts),
		w.create("", func(r *store.Record) { r.State, r.Assurance, r.Parts = store.Anonymous, store.Assurance{}, nil }),
	} {
		want := clone(r)
		want.Parts = nil
		got, s := w.head(r.Key())
		if s == nil {
			return
		}
		if d := diff(got, want); d != "" {
			w.Errorf("LoadHead differs:%s", d)
		}
		room := bytes.Repeat([]byte("?"), 10)
		for _, name := range []string{"app", "jar", "a/b:c", "unknown"} {
			want := store.Part{}
			for _, p := range r.Parts {
				if p.Name == name {
					want = p
				}
			}
			p, err := s.LoadPart(w.Context(), &got, name, room)
			if err != nil || p.Name != want.Name || p.Generation != want.Generation || !bytes.Equal(p.Sealed, want.Sealed) {
				w.Errorf("LoadPart %q: got %+v, %v; want %+v", name, p, err, want)
			}
		}
	}
	r := w.create("alice")
	_, s := w.head(r.Key())
	r = store.Record{}
	w.is("LoadHead of nobody", s.LoadHead(w.Context(), store.Key{Namespace: w.ns, Handle: handleOf(1 << 40)}, &r), store.ErrNotFound)
	w.is("LoadHead elsewhere", s.LoadHead(w.Context(), store.Key{Namespace: "elsewhere"}, &r), store.ErrNotFound)
	if d := diff(r, store.Record{}); d != "" {
		w.Errorf("LoadHead of nobody left something:%s", d)
	}
}

func partOfAChangedRecord(w *world) {
	for _, c := range []struct {
		name   string
		change func(r store.Record)
		want   error
	}{
		{"nothing", func(store.Record) {}, nil},
		{"a touch", func(r store.Record) { w.touch(r.Handle, at(time.Minute)) }, nil},
		{"a swap", func(r store.Record) { w.mustSwap(r, at(time.Minute)) }, store.ErrConflict},
		{"a lock", func(r store.Record) {
			w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectLock})
		}, store.ErrConflict},
		{"a shorter limit", func(r store.Record) {
			w.revoke(store.Revocation{Handle: r.Handle, Effect: store.EffectShorten, Limit: at(time.Hour)})
		}, store.ErrConflict},
		{"the end", func(r store.Record) { w.revoke(store.Revocation{Handle: r.Handle}) }, store.ErrConflict},
		{"the end of everything", func(store.Record) { w.revoke(store.Revocation{All: true}) }, store.ErrConflict},
	} {
		r := w.create("alice", threeParts)
		seen, s := w.head(r.Key())
		if s == nil {
			return
		}
		c.change(r)
		p, err := s.LoadPart(w.Context(), &seen, "app", nil)
		if c.want == nil {
			if err != nil || string(p.Sealed) != "values" {
				w.Errorf("LoadPart after %s: got %q, %v", c.name, p.Sealed, err)
			}
			continue
		}
		w.is("LoadPart after "+c.name, err, c.want)
		if p.Sealed != nil {
			w.Errorf("LoadPart after %s gave %q away", c.name, p.Sealed)
		}
	}
}
