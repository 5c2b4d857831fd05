package main

import (
	"context"
	"errors"
	"fmt"
)

// engineReadRow lets many browsers read at once, each its own session: how many
// requests are answered, by the clock, handlers and server sharing the machine.
func engineReadRow(e engine) row {
	lines := []claim{{
		measure: fmt.Sprintf("%s: read-only requests, %d in parallel", e.name, writers), goal: fmt.Sprintf("≥ %s× scs idle", digits(e.goal)),
	}}
	if e.near {
		lines = append(lines, claim{
			measure: fmt.Sprintf("%s: the same with a near-cache", e.name), goal: fmt.Sprintf("≥ %s× scs idle", digits(e.nearGoal)),
		})
	}
	return row{
		id: e.id + "-read", about: fmt.Sprintf("reading requests in parallel, sessions in %s", e.name), lines: lines, engine: true,
		measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
			libs, err := b.openAll(ctx, e, e.openers())
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, closeAll(ctx, libs)) }()
			measured, err := b.rates(ctx, libs, func() step { return readUser })
			if err != nil {
				return nil, err
			}
			if !e.near {
				return []outcome{readOutcome(measured[0], measured[1:], e.goal)}, nil
			}
			return []outcome{
				readOutcome(measured[0], measured[2:], e.goal), readOutcome(measured[1], measured[2:], e.nearGoal),
			}, nil
		},
	}
}

// writeGoal is how many times as many writing requests as with scs are to be
// answered, on every engine.
const writeGoal = 1.5

// engineWriteRow lets many browsers change their sessions at once, and then many
// requests one session.
func engineWriteRow(e engine) row {
	return row{
		id: e.id + "-write", about: fmt.Sprintf("writing requests in parallel, sessions in %s, and whether all is kept", e.name), engine: true,
		lines: []claim{
			{measure: fmt.Sprintf("%s: writing requests, %d sessions in parallel", e.name, writers), goal: fmt.Sprintf("≥ %v× scs idle", writeGoal)},
			{measure: fmt.Sprintf("%s: 50 parallel changes to one session that survive", e.name), goal: "50 of 50", correctness: true},
		},
		measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
			libs, err := b.openAll(ctx, e, append([]func(context.Context, place) (library, error){e.open(false)}, e.peers...))
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, closeAll(ctx, libs)) }()
			measured, err := b.rates(ctx, libs, changeBytes)
			if err != nil {
				return nil, err
			}
			kept, err := survivors(libs, max(1, b.scale.repeats/4), func(int, int) {})
			return []outcome{rateOutcome(measured[0], measured[1:], writeGoal), kept}, err
		},
	}
}

// rate is how many requests a library answers in a second, in each round.
type rate struct {
	name string
	each []float64
}

// rates lets the libraries take turns, each with as many browsers as there are
// writers, all at once.
func (b *bench) rates(ctx context.Context, libs []library, newStep func() step) (out []rate, err error) {
	var cs []contender
	for _, lib := range libs {
		c, err := parallel(lib, newStep)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", lib.name(), err)
		}
		cs = append(cs, c)
	}
	s := schedule{rounds: b.scale.longRounds, batch: b.scale.longBatch, clock: wallClock()}
	measured, err := alternate(ctx, s, b.progress, cs...)
	for _, lib := range libs {
		out = append(out, rate{lib.name(), perSecond(measured[lib.name()].nanoseconds)})
	}
	return out, err
}

func perSecond(nanoseconds []float64) (out []float64) {
	for _, ns := range nanoseconds {
		out = append(out, 1e9/ns)
	}
	return out
}

func (r rate) entry() entry {
	e := count(r.name, r.each, "requests/s")
	e.Text = digits(e.Median) + "/s"
	return e
}

// rateOutcome compares ours with the first peer: it has to be as many times as
// fast as the goal says.
func rateOutcome(ours rate, peers []rate, goal float64) outcome {
	out := outcome{ours: ours.entry(), ratio: spreadOf(ratios(ours.each, peers[0].each))}
	for _, p := range peers {
		out.peers = append(out.peers, p.entry())
	}
	out.shown, out.reached = times(out.ratio), out.ratio.Median >= goal
	return out
}

// readOutcome says besides how ours compares with the second peer, which is the
// first one without an idle timeout and so without its write.
func readOutcome(ours rate, peers []rate, goal float64) outcome {
	out := rateOutcome(ours, peers, goal)
	out.note = "against scs without an idle timeout, which writes nothing: " + times(spreadOf(ratios(ours.each, peers[1].each)))
	return out
}
