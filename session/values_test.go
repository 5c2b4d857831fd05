package session_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store/memory"
)

// valuesModel is what a table means.
type valuesModel map[string]session.TestOnlySlot

// referenceTable reads a table without the library's code: version 1, then for
// each value length and name, flags, codec, length and bytes; lengths as
// minimal uvarints, names ascending.
func referenceTable(b []byte) (valuesModel, bool) {
	m := valuesModel{}
	if len(b) == 0 {
		return m, true
	}
	if b[0] != 1 {
		return nil, false
	}
	b = b[1:]
	field := func() ([]byte, bool) {
		n, size := binary.Uvarint(b)
		if size < 1 || !bytes.Equal(binary.AppendUvarint(nil, n), b[:size]) || n > uint64(len(b)-size) {
			return nil, false
		}
		out := b[size : size+int(n)]
		b = b[size+int(n):]
		return out, true
	}
	for last := ""; len(b) > 0; {
		name, ok := field()
		if !ok || len(b) < 2 || len(m) > 0 && string(name) <= last {
			return nil, false
		}
		s := session.TestOnlySlot{Name: string(name), Flags: b[0], Codec: b[1]}
		b, last = b[2:], s.Name
		if s.Value, ok = field(); !ok {
			return nil, false
		}
		m[s.Name] = s
	}
	return m, true
}

// encode writes the model down without the library's code.
func (m valuesModel) encode() []byte {
	out := []byte{1}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		s := m[name]
		out = append(binary.AppendUvarint(out, uint64(len(name))), name...)
		out = append(out, s.Flags, s.Codec)
		out = append(binary.AppendUvarint(out, uint64(len(s.Value))), s.Value...)
	}
	return out
}

// checkTable compares a table with the model in every way there is to look.
func checkTable(t *testing.T, doing string, table session.TestOnlyTable, m valuesModel) {
	t.Helper()
	if err := table.Check(); err != nil {
		t.Fatalf("%s: got error %v", doing, err)
	}
	if want := m.encode(); !bytes.Equal(table, want) && len(table)+len(m) > 0 {
		t.Fatalf("%s: got table %x, want %x", doing, table, want)
	}
	if got := len(table.Slots()); got != len(m) {
		t.Fatalf("%s: got %d slots, want %d", doing, got, len(m))
	}
	for name, want := range m {
		got, ok := table.Get(name)
		if !ok || got.Value == nil || got.Name != name || got.Flags != want.Flags || got.Codec != want.Codec || !bytes.Equal(got.Value, want.Value) {
			t.Fatalf("%s: Get(%q): got %+v, %v; want %+v", doing, name, got, ok, want)
		}
		if cap(got.Value) != len(got.Value) {
			t.Fatalf("%s: Get(%q): appending to the value would write into the table", doing, name)
		}
		for _, other := range []string{name + "\x00", name[:max(0, len(name)-1)], "zzz" + name} {
			_, want := m[other]
			if _, ok := table.Get(other); ok != want {
				t.Fatalf("%s: Get(%q): got %v, want %v", doing, other, ok, want)
			}
		}
	}
	for _, flags := range []byte{0, 1, 2, 3, 0x80} {
		kept := maps.Clone(m)
		maps.DeleteFunc(kept, func(_ string, s session.TestOnlySlot) bool { return s.Flags&flags != flags })
		if got := table.Only(flags); !bytes.Equal(got, kept.encode()) {
			t.Fatalf("%s: Only(%d): got %x, want %x", doing, flags, got, kept.encode())
		}
	}
}

// valuesStep is one step of a random program.
func valuesStep(program []byte) (s session.TestOnlySlot, rest []byte) {
	names := []string{"", "a", "aa", "ab", "b", "basket", "\xff", strings.Repeat("n", 255), "Z", "a\x00"}
	op, arg := program[0], program[1]
	s = session.TestOnlySlot{Name: names[int(op)%len(names)], Flags: arg & 3, Codec: arg >> 2}
	switch op / 64 {
	case 0: // delete
	case 1:
		s.Value = []byte{}
	case 2:
		s.Value = bytes.Repeat([]byte{arg}, int(arg))
	default:
		n := min(int(arg), len(program)-2)
		s.Value = append([]byte{}, program[2:2+n]...)
	}
	return s, program[2:]
}

// FuzzValues: a table that passes the check means exactly one map, in exactly one
// spelling, and stays that way whatever is set and removed.
func FuzzValues(f *testing.F) {
	good := valuesModel{
		"basket": {Flags: 1, Codec: 2, Value: []byte(`["coat"]`)}, "note": {Codec: 1, Value: []byte{}},
		"notice": {Flags: 2, Codec: 2, Value: bytes.Repeat([]byte("x"), 200)},
	}.encode()
	program := []byte{0x41, 3, 0x85, 200, 0xc9, 5, 1, 2, 3, 4, 5, 0x01, 0, 0x45, 0x81, 0x05, 1}
	for _, table := range [][]byte{
		nil, {1}, {2}, {0}, good, good[:len(good)-1], append(slices.Clone(good), 0), {1, 0, 0, 0, 0}, {1, 0, 0, 0, 0, 0, 0, 0, 0},
		{1, 1, 'b', 0, 0, 0, 1, 'a', 0, 0, 0}, {1, 1, 'a', 0, 0, 0, 1, 'a', 0, 0, 0}, {1, 0x81, 0, 'a', 0, 0, 0}, {1, 1, 'a', 0, 0, 0x80, 0},
		{1, 1, 'a', 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1}, {1, 1, 'a', 0}, {1, 1}, {1, 0x80}, {1, 1, 'a', 0, 0, 1},
		{1, 1, 'a', 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1},
	} {
		f.Add(table, program)
	}
	f.Fuzz(func(t *testing.T, input, program []byte) {
		table := session.TestOnlyTable(bytes.Clone(input))
		m, want := referenceTable(input)
		if err := table.Check(); (err == nil) != want {
			t.Fatalf("checking %x: got %v, want well formed: %v", input, err, want)
		}
		if !want {
			table, m = nil, valuesModel{}
		}
		checkTable(t, "as given", table, m)
		for steps := 0; len(program) >= 2 && steps < 20; steps++ {
			var s session.TestOnlySlot
			s, program = valuesStep(program)
			before := bytes.Clone(table)
			next := table.With(s)
			if !bytes.Equal(before, table) {
				t.Fatalf("setting %q: got the old table changed to %x, want %x", s.Name, table, before)
			}
			if s.Value == nil {
				delete(m, s.Name)
			} else {
				m[s.Name] = s
			}
			checkTable(t, "after setting "+s.Name, next, m)
			table = next
		}
	})
}

func TestValuesOrderDoesNotMatter(t *testing.T) {
	slots := []session.TestOnlySlot{
		{Name: "a", Value: []byte("1")}, {Name: "aa", Flags: 1, Value: []byte("2")}, {Name: "b", Codec: 7, Value: []byte{}}, {Name: "é", Value: []byte("4")},
	}
	var want session.TestOnlyTable
	for _, s := range slots {
		want = want.With(s)
	}
	for _, order := range [][]int{{3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1, 2, 0}} {
		var got session.TestOnlyTable
		for _, i := range order {
			got = got.With(slots[i])
		}
		if !bytes.Equal(got, want) {
			t.Errorf("set in order %v: got %x, want %x", order, got, want)
		}
	}
	if got := want.Slots(); !reflect.DeepEqual(got, slots) {
		t.Errorf("got slots %+v\nwant %+v", got, slots)
	}
}

func TestValuesRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		table []byte
		want  string
	}{
		"unknown version":  {[]byte{2, 1, 'a', 0, 0, 0}, "unknown version 2 of values"},
		"zero version":     {[]byte{0}, "unknown version 0 of values"},
		"twice":            {[]byte{1, 1, 'a', 0, 0, 0, 1, 'a', 0, 0, 0}, "malformed values"},
		"out of order":     {[]byte{1, 1, 'b', 0, 0, 0, 1, 'a', 0, 0, 0}, "malformed values"},
		"long length":      {[]byte{1, 0x81, 0, 'a', 0, 0, 0}, "malformed values"},
		"cut":              {[]byte{1, 1, 'a', 0, 0}, "malformed values"},
		"value cut":        {[]byte{1, 1, 'a', 0, 0, 2, 'x'}, "malformed values"},
		"length overflows": {append([]byte{1}, bytes.Repeat([]byte{0xff}, 11)...), "malformed values"},
	} {
		if err := session.TestOnlyTable(c.table).Check(); err == nil || err.Error() != c.want {
			t.Errorf("%s: got error %v, want %q", name, err, c.want)
		}
	}
}

// TestUpdate: what Update promises about its function.
func TestUpdate(t *testing.T) {
	rig, count := newKeyRig(t, nil), session.NewKey[int]("count")
	refusal := errors.New("refused by the function")
	rig.must(func(ctx context.Context, s *session.Session) {
		noError(t, "first Update", count.Update(ctx, s, func(n *int) error { *n += 1; return nil }))
		wantError(t, "refusing Update", count.Update(ctx, s, func(n *int) error { *n = 100; return refusal }), refusal)
		if got, _ := count.Get(s); got != 1 {
			t.Errorf("after a refused Update: got %d, want 1", got)
		}
		noError(t, "Set", count.Set(s, 5))
		noError(t, "Update after Set", count.Update(ctx, s, func(n *int) error { *n *= 2; return nil }))
		noError(t, "Update that reads the session", count.Update(ctx, s, func(n *int) error {
			if got, ok := count.Get(s); !ok || got != 10 || s.Subject() != "" || s.Err() != nil {
				t.Errorf("inside Update: got %d, %v; want 10", got, ok)
			}
			*n++
			return nil
		}))
	})
	rig.must(func(_ context.Context, s *session.Session) {
		if got, _ := count.Get(s); got != 11 {
			t.Errorf("next request: got %d, want 11", got)
		}
	})
}

// TestUpdateRunsAgain: when another node changes the session meanwhile, the
// function runs again with what is stored then, and nothing is lost.
func TestUpdateRunsAgain(t *testing.T) {
	shared, list := memory.New(), session.NewKey[[]string]("list")
	here := newKeyRig(t, func(c *session.Config) { c.Store = shared })
	there := newKeyRig(t, func(c *session.Config) { c.Store = shared })
	here.must(func(_ context.Context, s *session.Session) { noError(t, "Set", list.Set(s, []string{"old"})) })
	there.cookies = here.cookies
	add := func(what string, before func()) keyStep {
		return func(ctx context.Context, s *session.Session) {
			noError(t, "Update", list.Update(ctx, s, func(l *[]string) error {
				before()
				*l = append(*l, what)
				return nil
			}))
		}
	}
	runs := 0
	here.must(add("here", func() {
		if runs++; runs <= 3 {
			there.must(add(fmt.Sprint("there ", runs), func() {}))
		}
	}))
	here.must(func(_ context.Context, s *session.Session) {
		got, _ := list.Get(s)
		if want := []string{"old", "there 1", "there 2", "there 3", "here"}; runs != 4 || !slices.Equal(got, want) {
			t.Errorf("got %q after %d runs, want %q after 4", got, runs, want)
		}
	})
}

// TestUpdateNested: an Update inside an Update cannot work; it must say so in
// time, and leave the session usable.
func TestUpdateNested(t *testing.T) {
	rig, count := newKeyRig(t, func(c *session.Config) { c.StoreTimeout = 50 * time.Millisecond }), session.NewKey[int]("count")
	rig.must(func(_ context.Context, s *session.Session) { noError(t, "Set", count.Set(s, 1)) })
	began := time.Now()
	rig.run(func(ctx context.Context, s *session.Session) {
		err := count.Update(ctx, s, func(*int) error {
			return count.Update(ctx, s, func(*int) error { t.Error("the inner function ran"); return nil })
		})
		wantError(t, "nested Update", err, session.ErrUnavailable)
	})
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("got an answer after %v, want it within StoreTimeout", took)
	}
	rig.must(func(ctx context.Context, s *session.Session) {
		noError(t, "Update afterwards", count.Update(ctx, s, func(n *int) error { *n++; return nil }))
		if got, _ := count.Get(s); got != 2 {
			t.Errorf("afterwards: got %d, want 2", got)
		}
	})
}

// TestSetConflict: of two requests, the one that read a value and then finds it
// changed is refused; the one that only writes wins.
func TestSetConflict(t *testing.T) {
	note, other := session.NewKey[string]("note"), session.NewKey[string]("other")
	set := func(k session.Key[string], v string) keyStep {
		return func(_ context.Context, s *session.Session) { noError(t, "Set", k.Set(s, v)) }
	}
	read := func(k session.Key[string]) keyStep { return func(_ context.Context, s *session.Session) { k.Get(s) } }
	remove := func(_ context.Context, s *session.Session) { noError(t, "Delete", note.Delete(s)) }
	nothing := func(context.Context, *session.Session) {}
	update := func(ctx context.Context, s *session.Session) {
		noError(t, "Update", note.Update(ctx, s, func(v *string) error { *v += "+mine"; return nil }))
	}
	for _, c := range []struct {
		name                  string
		before, between, then keyStep
		status                int
		want                  string
	}{
		{"get, changed, set", read(note), set(note, "theirs"), set(note, "mine"), 409, "theirs"},
		{"get, changed, delete", read(note), set(note, "theirs"), remove, 409, "theirs"},
		{"get, removed, set", read(note), remove, set(note, "mine"), 409, ""},
		{"get, changed back, set", read(note), set(note, "old"), set(note, "mine"), 200, "mine"},
		{"get, changed, update", read(note), set(note, "theirs"), update, 200, "theirs+mine"},
		{"get, other changed, set", read(note), set(other, "theirs"), set(note, "mine"), 200, "mine"},
		{"get other, changed, set", read(other), set(note, "theirs"), set(note, "mine"), 200, "mine"},
		{"changed, set", nothing, set(note, "theirs"), set(note, "mine"), 200, "mine"},
		{"set, changed", set(note, "mine"), set(note, "theirs"), nothing, 200, "mine"},
		{"changed, delete", nothing, set(note, "theirs"), remove, 200, ""},
		{"get, changed, nothing", read(note), set(note, "theirs"), nothing, 200, "theirs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			rig := newKeyRig(t, nil)
			rig.must(set(note, "old"))
			status := rig.run(func(ctx context.Context, s *session.Session) {
				c.before(ctx, s)
				rig.must(c.between)
				c.then(ctx, s)
			})
			if status != c.status {
				t.Errorf("got status %d, want %d", status, c.status)
			}
			rig.must(func(_ context.Context, s *session.Session) {
				if got, _ := note.Get(s); got != c.want {
					t.Errorf("stored: got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// TestSessionOfManyGoroutines: one request may use its session from everywhere.
func TestSessionOfManyGoroutines(t *testing.T) {
	const workers, rounds = 6, 8
	rig, count := newKeyRig(t, nil), session.NewKey[int]("count")
	rig.must(func(ctx context.Context, s *session.Session) {
		var wg sync.WaitGroup
		for i := range workers {
			wg.Go(func() {
				mine := session.NewKey[int](fmt.Sprint("mine ", i))
				for n := range rounds {
					noError(t, "Set", errors.Join(mine.Set(s, n), note.Set(s, "shared"), s.Err(), notice.Delete(s)))
					noError(t, "Update", count.Update(ctx, s, func(c *int) error { *c++; return nil }))
					if got, ok := mine.Get(s); !ok || got != n {
						t.Errorf("worker %d: got %d, %v; want %d", i, got, ok, n)
					}
					_, popped, err := notice.Pop(ctx, s)
					noError(t, "Pop", err)
					_, token := s.Token()
					_, live := s.Snapshot()
					if popped || token || !live || s.Subject()+s.Role()+s.Tenant()+s.LockedSubject() != "" || s.Handle().IsZero() {
						t.Errorf("worker %d: got a session that is not the visitor's", i)
					}
					_, err = rig.w.CSRFToken(ctx)
					noError(t, "CSRFToken", err)
					_, stop := s.Watch(ctx)
					stop()
					s.NotActivity()
					wantError(t, "CheckLogin", s.CheckLogin(), session.ErrLoginRequired)
				}
			})
		}
		wg.Wait()
	})
	rig.must(func(_ context.Context, s *session.Session) {
		if got, _ := count.Get(s); got != workers*rounds {
			t.Errorf("got %d updates, want %d", got, workers*rounds)
		}
		for i := range workers {
			if got, ok := session.NewKey[int](fmt.Sprint("mine ", i)).Get(s); !ok || got != rounds-1 {
				t.Errorf("worker %d: got %d, %v; want %d", i, got, ok, rounds-1)
			}
		}
	})
}
