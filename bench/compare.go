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
	var failed error
	for i, row := range chosen {
		p := newProgress(stderr, fmt.Sprintf("%d of %d, %s", i+1, len(chosen), row.id))
		outcomes, err := row.measure(ctx, &bench{scale: o.scale(), progress: p.show})
		p.clear()
		if ctx.Err() != nil {
			return fmt.Errorf("interrupted: %w", ctx.Err())
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
	if err := r.print(o, stdout); err != nil {
		return errors.Join(failed, err)
	}
	if failed != nil {
		return failed // whatever else the table says
	}
	return r.verdict()
}
