package storetest

import (
	"fmt"
	"time"

	"cloakroom.example/session/store"
)

// partCases prove I2 for parts: one caller's basket is not another's cookie
// jar.
func partCases() []Case {
	return group("I2",
		named{"load_returns_named_parts_only", loadNamedParts},
		named{"parts_are_swapped_separately", swapParts},
		named{"part_without_value_is_removed", removePart},
		named{"empty_part_is_kept", emptyPart},
		named{"parallel_parts_all_survive", parallelParts},
	)
}

func part(name string, generation uint64, sealed string) store.Part {
	return store.Part{Name: name, Generation: generation, Sealed: []byte(sealed)}
}

func threeParts(r *store.Record) {
	r.Parts = []store.Part{part("app", 1, "values"), part("jar", 7, "cookies"), part("a/b:c", 1, "odd name")}
}

func loadNamedParts(w *world) {
	r := w.create("alice", threeParts)
	for _, c := range []struct{ names, want []string }{
		{[]string{}, nil},
		{[]string{"app"}, []string{"app"}},
		{[]string{"jar", "app"}, []string{"app", "jar"}},
		{[]string{"a/b:c"}, []string{"a/b:c"}},
		{[]string{"unknown"}, nil},
		{[]string{"unknown", "jar", "App", ""}, []string{"jar"}},
	} {
		want := clone(r)
		want.Parts = nil
		for _, name := range c.want {
			for _, p := range r.Parts {
				if p.Name == name {
					want.Parts = append(want.Parts, p)
				}
			}
		}
		w.same(fmt.Sprintf("Load of parts %q", c.names), want, c.names...)
	}
}

func swapParts(w *world) {
	r := w.create("alice", threeParts)
	r.Parts = []store.Part{part("jar", 8, "fresh"), part("new", 1, "added")}
	r = w.mustSwap(r, at(time.Minute))
	r.Parts = []store.Part{part("app", 1, "values"), part("a/b:c", 1, "odd name"), part("jar", 8, "fresh"), part("new", 1, "added")}
	w.same("after Swap of two parts", r, "app", "jar", "a/b:c", "new")

	facts := clone(r)
	facts.Label, facts.Parts = "phone", nil
	w.mustSwap(facts, at(time.Minute))
	r.Version, r.Label = 3, "phone"
	w.same("after Swap of no part", r, "app", "jar", "a/b:c", "new")
}

func removePart(w *world) {
	r := w.create("alice", threeParts)
	r.Parts = []store.Part{{Name: "jar"}, {Name: "never there"}}
	r = w.mustSwap(r, at(time.Minute))
	r.Parts = []store.Part{part("app", 1, "values"), part("a/b:c", 1, "odd name")}
	w.same("after removal of a part", r, "app", "jar", "a/b:c", "never there")

	r.Parts = []store.Part{part("jar", 1, "again")}
	r = w.mustSwap(r, at(time.Minute))
	r.Parts = []store.Part{part("app", 1, "values"), part("a/b:c", 1, "odd name"), part("jar", 1, "again")}
	w.same("after the part came back", r, "app", "jar", "a/b:c")
}

// emptyPart: emptied is not removed (CVE-2023-20862: an empty context could not
// be stored, so the full one stayed).
func emptyPart(w *world) {
	r := w.create("alice", threeParts)
	r.Parts = []store.Part{{Name: "app", Generation: 2, Sealed: []byte{}}}
	w.mustSwap(r, at(time.Minute))
	got := w.load(r.Handle, "app")
	if len(got.Parts) != 1 || len(got.Parts[0].Sealed) != 0 || got.Parts[0].Generation != 2 {
		w.Errorf("after Swap of an empty part: got parts %+v, want one, empty, of generation 2", got.Parts)
	}
}

// parallelParts: writers of different parts lose nothing to each other.
func parallelParts(w *world) {
	const writers = 5
	w.rounds(func() {
		r := w.create("alice", func(r *store.Record) { r.Parts = nil })
		w.race(writers, func(i int, s store.Store) {
			for j := range uint64(3) {
				w.writePart(s, r.Handle, part(fmt.Sprint("p", i), j, fmt.Sprint("value ", j)))
			}
		})
		r.Version, r.Parts = 1+writers*3, nil
		var names []string
		for i := range writers {
			names = append(names, fmt.Sprint("p", i))
			r.Parts = append(r.Parts, part(names[i], 2, "value 2"))
		}
		w.same("after parallel Swaps of different parts", r, names...)
	})
}

func (w *world) writePart(s store.Store, h store.Handle, p store.Part) {
	for {
		r, err := s.Load(w.Context(), store.Key{Namespace: w.ns, Handle: h}, nil)
		if err != nil {
			w.Errorf("Load: %v", err)
			return
		}
		r.Parts = []store.Part{p}
		err = s.Swap(w.Context(), r, at(time.Minute))
		if err == nil {
			return
		}
		if w.is("Swap", err, store.ErrConflict); w.Failed() {
			return
		}
	}
}
