package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"time"
)

// nearCommands is how much of a command a request may cost with a near-cache.
const nearCommands = 0.02

// commandsRow counts, by the server's own books, what a reading request asks of it,
// and what it makes it write.
func commandsRow(e engine) row {
	lines := []claim{{measure: fmt.Sprintf("%s: %s per read-only request", e.name, e.unit), goal: "1"}}
	if e.near {
		lines = append(lines, claim{measure: fmt.Sprintf("%s: the same with a near-cache", e.name), goal: fmt.Sprintf("≤ %v", nearCommands)})
	}
	if e.log != "" {
		lines = append(lines, claim{measure: fmt.Sprintf("%s: bytes of %s per read-only request", e.name, e.log), goal: "0"})
	}
	return row{
		id: e.id + "-commands", about: fmt.Sprintf("what a reading request asks of %s", e.name), lines: lines, engine: true,
		measure: func(ctx context.Context, b *bench) ([]outcome, error) {
			var each []work
			var names []string
			note := ""
			all := e.openers()
			for i, open := range all {
				b.progress(i, len(all))
				lib, p, err := b.openOne(ctx, e, open)
				if err != nil {
					return nil, err
				}
				w, remark, err := workOfReads(ctx, b, e, p, lib)
				if err := errors.Join(err, lib.close(ctx)); err != nil {
					return nil, fmt.Errorf("%s: %w", lib.name(), err)
				}
				each, names = append(each, w), append(names, lib.name())
				if i == 0 {
					note = remark
				}
			}
			return commandsOutcomes(e, names, each, note), nil
		},
	}
}

// openOne opens one library in a place of its own.
func (b *bench) openOne(ctx context.Context, e engine, open func(context.Context, place) (library, error)) (library, place, error) {
	p, err := b.place(ctx, e)
	if err != nil {
		return nil, p, err
	}
	lib, err := open(ctx, p)
	if err != nil {
		return nil, p, fmt.Errorf("opening a library on %s: %w", e.name, err)
	}
	return lib, p, nil
}

// workOfReads returns what reading requests cost each, and for ours what those cost
// together that find a last-seen time due.
func workOfReads(ctx context.Context, b *bench, e engine, p place, lib library) (w work, remark string, err error) {
	all, err := signIn(lib)
	if err != nil {
		return w, "", err
	}
	read := func() error { return readAll(lib, all, b.scale.reads, func() error { return nil }) }
	if err := read(); err != nil { // statements are prepared, and copies made
		return w, "", err
	}
	if err := settle(ctx, e, p); err != nil {
		return w, "", err
	}
	if w, err = workDuring(ctx, e, p, read); err != nil {
		return w, "", err
	}
	w.statements, w.logBytes = w.statements/float64(b.scale.reads), w.logBytes/float64(b.scale.reads)
	c, ours := lib.(*cloakroom)
	if !ours {
		return w, "", nil
	}
	due, err := workOfTouches(ctx, e, p, c, all)
	return w, fmt.Sprintf("a minute later, the due last-seen times of %d sessions took %s %s together",
		len(all), digits(due.statements), e.unit), err
}

// settle waits until the server has done what there was left to do behind the
// sign-ins, so that it is not counted; not for ever, as something else may be it.
func settle(ctx context.Context, e engine, p place) error {
	const quiet, patience = 300 * time.Millisecond, 10 * time.Second
	for began, last := time.Now(), -1.0; time.Since(began) < patience; time.Sleep(quiet) {
		w, err := e.work(ctx, p)
		if err != nil || w.logBytes == last {
			return err
		}
		last = w.logBytes
	}
	return nil
}

// workOfTouches moves the clock on by a minute and returns what it takes to write
// down that every session was used, without the loads.
func workOfTouches(ctx context.Context, e engine, p place, c *cloakroom, all []*browser) (w work, err error) {
	if err := c.m.Close(ctx); err != nil {
		return w, err
	}
	var ahead atomic.Int64
	ahead.Store(int64(time.Minute + time.Second))
	if c.m, err = newManager(c.store, func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }); err != nil {
		return w, err
	}
	w, err = workDuring(ctx, e, p, func() error {
		return errors.Join(readAll(c, all, len(all), func() error { return nil }), c.m.Close(ctx))
	})
	w.statements -= float64(len(all)) // the loads
	return w, err
}

// workDuring returns what the server has done while do ran, without what it takes
// to ask.
func workDuring(ctx context.Context, e engine, p place, do func() error) (w work, err error) {
	var looks [3]work
	for i := range looks {
		if i == 2 {
			if err := do(); err != nil {
				return w, err
			}
		}
		if looks[i], err = e.work(ctx, p); err != nil {
			return w, err
		}
	}
	own := looks[1].statements - looks[0].statements
	return work{
		statements: math.Max(0, looks[2].statements-looks[1].statements-own),
		logBytes:   math.Max(0, looks[2].logBytes-looks[1].logBytes),
	}, nil
}

func commandsOutcomes(e engine, names []string, each []work, note string) (out []outcome) {
	first := 1 // of the peers
	if e.near {
		first = 2
	}
	line := func(ours int, property func(work) float64, unit string, limit float64) outcome {
		entryOf := func(i int) entry {
			v := property(each[i])
			return entry{names[i], single(v), unit, digits(math.Round(v*1000) / 1000)}
		}
		o := outcome{ours: entryOf(ours), reached: property(each[ours]) <= limit}
		for i := first; i < len(each); i++ {
			o.peers = append(o.peers, entryOf(i))
		}
		o.ratio = single(o.ours.Median / max(o.peers[0].Median, 1e-9))
		return o
	}
	statements := func(w work) float64 { return w.statements }
	out = append(out, line(0, statements, e.unit, 1))
	out[0].note = note
	if e.near {
		out = append(out, line(1, statements, e.unit, nearCommands))
	}
	if e.log != "" {
		out = append(out, line(0, func(w work) float64 { return w.logBytes }, "bytes", 0))
	}
	return out
}
