package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cloakroom.example/session/store"
)

// A program is a sequence of steps over a small universe: two namespaces, a
// few handles, subjects and links, and times that mostly go forward. Steps name
// versions relative to the stored one, so that a program still makes sense when
// some of its steps are taken out.
type program []step

type step interface {
	fmt.Stringer
	op() Op
	// send performs the step on s and returns its error.
	send(x *execution, s store.Store) error
	// run performs the step on the store and on the model, and says how the
	// answers differ.
	run(x *execution) error
}

// execution is one run of a program. Each has namespaces of its own, so that
// all of them can use one store.
type execution struct {
	ctx    context.Context
	s      store.Store // what steps go to
	peer   store.Store // what the state is read from: s, or a second handle
	m      *model
	prefix string
	keys   [namesInPlay][handlesInPlay]store.Key
}

func newExecution(ctx context.Context, s store.Store, prefix string) *execution {
	x := &execution{ctx: ctx, s: s, peer: s, m: newModel(), prefix: prefix}
	for ns := range x.keys {
		for h := range x.keys[ns] {
			x.keys[ns][h] = store.Key{Namespace: x.namespace(ns), Handle: handleInPlay(h)}
		}
	}
	return x
}

func handleInPlay(h int) store.Handle { return handleOf(uint64(1_000_000 + h)) }

const (
	handlesInPlay = 14
	namesInPlay   = 2
)

// place names a record of the universe.
type place struct{ ns, h int }

func (p place) String() string { return fmt.Sprintf("%c%d", 'a'+p.ns, p.h) }

func (x *execution) namespace(n int) string { return fmt.Sprintf("%s%c", x.prefix, 'a'+n) }

func (x *execution) key(p place) store.Key {
	return x.keys[p.ns][p.h]
}

// names turns handles back into the names that programs are printed with.
func names(hs []store.Handle) string {
	var out []string
	for _, h := range hs {
		name := h.String()
		for i := range handlesInPlay {
			if h == handleInPlay(i) {
				name = fmt.Sprint(i)
			}
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return "[" + strings.Join(out, " ") + "]"
}

// run executes the program and returns the first difference between the store
// and the model, with the number of the step that showed it.
func (p program) run(x *execution) (at int, err error) {
	for i, s := range p {
		if err := s.run(x); err != nil {
			return i, err
		}
		if err := x.compare(i%8 == 7 || i == len(p)-1); err != nil {
			return i, err
		}
	}
	for ns := range namesInPlay {
		for _, ended := range []bool{true, false} {
			q := listStep{ns: ns, ended: ended, now: 1 << 40, size: 4}
			if err := q.run(x); err != nil {
				return len(p), err
			}
		}
	}
	return 0, nil
}

// compare compares every record, and looks for those that should not be, if
// asked to: they are many.
func (x *execution) compare(absent bool) error {
	parts := []string{"app", "jar"}
	for ns := range namesInPlay {
		for h := range handlesInPlay {
			p := place{ns, h}
			if !absent && x.m.records[x.key(p)] == nil {
				continue
			}
			want, wantErr := x.m.Load(x.ctx, x.key(p), parts)
			got, err := x.peer.Load(x.ctx, x.key(p), parts)
			if d := wrong(err, wantErr); d != nil {
				return fmt.Errorf("then Load of %v: %w", p, d)
			}
			if err == nil && !equal(got, want) {
				return fmt.Errorf("then the record %v differs:%s", p, diff(got, want))
			}
		}
	}
	return nil
}

// equal is a faster diff.
func equal(a, b store.Record) bool {
	return len(a.Parts) < 2 && bytes.Equal(a.Append(nil), b.Append(nil)) || diff(a, b) == ""
}

// wrong compares an error with those that are allowed; nil is success.
func wrong(got error, allowed ...error) error {
	for _, want := range allowed {
		if got == nil && want == nil || want != nil && errors.Is(got, want) && len(kindsOf(got)) == 1 {
			return nil
		}
	}
	return fmt.Errorf("got error %v, want %v", got, allowed)
}

// String prints the program as a numbered listing.
func (p program) String() string {
	var out strings.Builder
	for i, s := range p {
		fmt.Fprintf(&out, "\n\t%2d %v", i+1, s)
	}
	return out.String()
}

// shrink takes steps out, in halves, quarters and so on down to single ones,
// as long as what is left still fails.
func (p program) shrink(fails func(program) bool) program {
	for size := (len(p) + 1) / 2; size >= 1; {
		smaller := false
		for from := 0; from < len(p); {
			rest := slices.Concat(p[:from], p[min(len(p), from+size):])
			if fails(rest) {
				p, smaller = rest, true
			} else {
				from += size
			}
		}
		if !smaller || size > 1 {
			if size == 1 {
				break
			}
			size = (size + 1) / 2
		}
	}
	return p
}

// faultStep performs a step through [Faulty]: the store must be as if it had
// not happened, or as if it had.
type faultStep struct {
	step
	after bool
}

func (f faultStep) String() string {
	if f.after {
		return f.step.String() + ", and the answer is lost"
	}
	return f.step.String() + ", and it fails before"
}

func (f faultStep) run(x *execution) error {
	faulty := NewFaulty(x.s)
	if !f.after {
		faulty.Fail(f.op(), 1, nil)
		return wrong(f.send(x, faulty), store.ErrUnavailable)
	}
	faulty.FailAfter(f.op(), 1, nil)
	err := wrong(f.send(x, faulty), store.ErrUnknownOutcome)
	_ = f.send(x, x.m) // the answer is what was lost
	return err
}

func clock(d time.Duration) string {
	return fmt.Sprintf("%+v", d)
}
