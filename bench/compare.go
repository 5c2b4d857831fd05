package main

import (
	"context"
	"errors"
	"fmt"
	"io"
)

// compare measures the rows one after the other and prints what came out. A row
// that fails does not keep the others from being measured.
func compare(ctx context.Context, o options, chosen []row, stdout, stderr io.Writer) error {
	r := report{Version: 1, Scale: o.scale().Name, Machine: thisMachine(), Lines: []line{}}
	b := &bench{scale: o.scale()}
	failed, err := b.measureAll(ctx, chosen, &r, stderr)
	if err := errors.Join(err, b.closeServers()); err != nil {
		return err
	}
	if err := r.print(o, stdout); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return failed // whatever else the table says
	}
	return r.verdict()
}

// measureAll measures the rows into the report. It returns what rows have failed
// with, and an error if that is the end of everything.
func (b *bench) measureAll(ctx context.Context, chosen []row, r *report, stderr io.Writer) (failed, err error) {
	for i, row := range chosen {
		p := newProgress(stderr, fmt.Sprintf("%d of %d, %s", i+1, len(chosen), row.id))
		b.progress = p.show
		outcomes, err := row.measure(ctx, b)
		p.clear()
		if ctx.Err() != nil {
			return failed, fmt.Errorf("interrupted: %w", ctx.Err())
		}
		if why := (skipped{}); errors.As(err, &why) {
			fmt.Fprintf(stderr, "bench: %s is skipped: %s\n", row.id, why)
			for _, c := range row.lines {
				r.skip(row, c, why.reason)
			}
			continue
		}
		if err == nil && len(outcomes) != len(row.lines) {
			err = fmt.Errorf("got %d outcomes, want %d", len(outcomes), len(row.lines))
		}
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("measuring %s: %w", row.id, err))
			continue
		}
		for i, out := range outcomes {
			r.add(row, row.lines[i], out)
		}
	}
	return failed, nil
}
