package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// visits returns a contender: a browser that has signed in, with what fill puts
// into the session, sends the same request again and again.
func visits(lib library, fill, do step) (contender, error) {
	b := newBrowser()
	if err := b.visit(page(lib, loginStep(fill)), http.MethodGet, "/login"); err != nil {
		return contender{}, fmt.Errorf("%s: signing in: %w", lib.name(), err)
	}
	base, err := b.request(http.MethodGet, "/")
	if err != nil {
		return contender{}, err
	}
	h, w := page(lib, do), newAnswer()
	return contender{name: lib.name(), serve: func(n int) error {
		for range n {
			w.reset()
			// A request of its own for each: what a library keeps in one must not
			// serve the next.
			h.ServeHTTP(w, base.WithContext(base.Context()))
			if w.status >= 400 {
				return fmt.Errorf("got status %d: %s", w.status, w.body)
			}
		}
		return nil
	}}, nil
}

// costs are what sessions cost in each round, above the bare handler.
type costs struct {
	names       []string
	nanoseconds map[string][]float64
	allocations map[string][]float64
}

// compareCosts measures the libraries against a bare handler that does the same.
func compareCosts(ctx context.Context, b *bench, s schedule, libs []library, fill, do step) (costs, error) {
	out := costs{nanoseconds: make(map[string][]float64), allocations: make(map[string][]float64)}
	var cs []contender
	for _, lib := range append([]library{newBare()}, libs...) {
		c, err := visits(lib, fill, do)
		if err != nil {
			return out, err
		}
		cs = append(cs, c)
	}
	measured, err := alternate(ctx, s, b.progress, cs...)
	if err != nil {
		return out, err
	}
	base := measured[cs[0].name]
	for _, c := range cs[1:] {
		out.names = append(out.names, c.name)
		out.nanoseconds[c.name] = above(measured[c.name].nanoseconds, base.nanoseconds)
		out.allocations[c.name] = above(measured[c.name].allocations, base.allocations)
	}
	return out, nil
}

// timeOutcome compares the first library's cost with the second's: it must be at
// most the part of it that limit says.
func (c costs) timeOutcome(limit float64) outcome {
	ours, peer := c.names[0], c.names[1]
	out := outcome{
		ours:  microseconds(ours, c.nanoseconds[ours]),
		ratio: spreadOf(ratios(c.nanoseconds[ours], c.nanoseconds[peer])),
	}
	for _, name := range c.names[1:] {
		out.peers = append(out.peers, microseconds(name, c.nanoseconds[name]))
	}
	out.shown, out.reached = fraction(out.ratio), out.ratio.Median <= limit
	return out
}

// allocationOutcome: the first library makes at most so many.
func (c costs) allocationOutcome(most float64) outcome {
	ours := c.names[0]
	out := outcome{ours: whole(count(ours, c.allocations[ours], "allocations"))}
	for _, name := range c.names[1:] {
		out.peers = append(out.peers, whole(count(name, c.allocations[name], "allocations")))
	}
	out.reached = out.ours.Median <= most
	out.ratio = spreadOf(ratios(c.allocations[ours], c.allocations[c.names[1]]))
	out.shown = fraction(out.ratio)
	return out
}

// whole rounds what is a whole number but for what the runtime does beside.
func whole(e entry) entry {
	e.Text = fmt.Sprintf("%.0f", e.Median)
	return e
}

// memoryLibraries are the libraries of the rows without a database. The second is
// what the goals speak of.
func memoryLibraries(dir string) ([]library, error) {
	ours, err := newCloakroomMemory(nil)
	if err != nil {
		return nil, err
	}
	return []library{ours, newSCS(0), newSCS(scsIdle), newGorillaCookie(), newGorillaFile(dir)}, nil
}

// requestRow is a row about the costs of one kind of request, with sessions in
// memory. Outcomes turns the costs into the row's lines.
func requestRow(id, about string, lines []claim, fill, do step, outcomes func(costs) []outcome) row {
	return row{id: id, about: about, lines: lines, measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
		dir, done, err := scratch()
		if err != nil {
			return nil, err
		}
		defer done()
		libs, err := memoryLibraries(dir)
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, closeAll(ctx, libs)) }()
		measured, err := compareCosts(ctx, b, b.requests(), libs, fill, do)
		if err != nil {
			return nil, err
		}
		return outcomes(measured), nil
	}}
}

func closeAll(ctx context.Context, libs []library) (err error) {
	for _, lib := range libs {
		err = errors.Join(err, lib.close(ctx))
	}
	return err
}
