package main

import (
	"context"
	"fmt"
	"math"
	"os"

	"cloakroom.example/servers"
)

// row is one measurement. It makes one or more lines of the table.
type row struct {
	id    string
	about string // for the list in the help
	lines []claim
	// engine says that it needs a database server.
	engine bool
	// measure returns an outcome for each line, in their order.
	measure func(ctx context.Context, b *bench) ([]outcome, error)
}

// claim is a line of the table as it is known before anything was measured.
type claim struct {
	measure string
	goal    string
	// correctness says that the goal is a promise and does not depend on the
	// machine.
	correctness bool
}

// outcome is what was measured for a line.
type outcome struct {
	ours    entry
	peers   []entry // the goal speaks of the first, if it speaks of peers
	ratio   spread  // ours to the first peer, or to what the goal names
	shown   string  // the ratio for people
	reached bool
	note    string // what has to be said besides
}

// entry is one number of one library.
type entry struct {
	Name   string `json:"name"`
	spread        // in the unit
	Unit   string `json:"unit"`
	Text   string `json:"text"` // for people
}

// rows lists everything there is to measure, in the order of the tables. Who adds
// a row adds it here, or to engineRows.
func rows() []row { return append(ownRows(), engineRows()...) }

// engineRows need a database server.
func engineRows() (all []row) {
	for _, of := range []func(engine) row{commandsRow, engineReadRow, engineWriteRow} {
		for _, e := range engines() {
			all = append(all, of(e))
		}
	}
	for _, e := range engines() {
		if e.near {
			all = append(all, revocationRow(e))
		}
	}
	all = append(all, redisMemoryRow(), touchesRow(redisEngine()), touchesRow(postgresEngine()))
	for _, e := range engines() {
		all = append(all, engineGrowthRow(e))
	}
	return all
}

// ownRows need nothing.
func ownRows() []row {
	return []row{
		readRow(), readBytesRow(), readProfileRow(), writeRow(), sqliteReadRow(), durableRow(),
		serverRow(), sessionsRow(), growthRow(),
		changesRow(), logoutRow(),
	}
}

// bench is one run of the program.
type bench struct {
	scale scale
	// progress is told how far the current row is.
	progress func(done, all int)

	servers map[string]*servers.Server // by engine, those that were needed so far
	places  int                        // how many were given out there
}

// requests is the schedule of rows that call handlers in this process: on one
// processor, by processor time.
func (b *bench) requests() schedule {
	return schedule{rounds: b.scale.rounds, batch: b.scale.batch, clock: cpuTime, procs: 1}
}

// scratch makes a folder that is gone when done is called.
func scratch() (dir string, done func(), err error) {
	dir, err = os.MkdirTemp("", "cloakroom-bench-")
	if err != nil {
		return "", nil, fmt.Errorf("making a folder: %w", err)
	}
	return dir, func() { _ = os.RemoveAll(dir) }, nil
}

// microseconds is an entry for a time in nanoseconds.
func microseconds(name string, nanoseconds []float64) entry {
	s := spreadOf(nanoseconds)
	us := spread{s.Median / 1e3, s.Low / 1e3, s.High / 1e3}
	return entry{name, us, "µs", digits(us.Median) + " µs"}
}

// count is an entry for a number of things.
func count(name string, values []float64, unit string) entry {
	s := spreadOf(values)
	return entry{name, s, unit, digits(s.Median)}
}

// digits shows three digits of a number, whole numbers as they are.
func digits(v float64) string {
	switch {
	case v == math.Trunc(v) || math.Abs(v) >= 100:
		return fmt.Sprintf("%.0f", v)
	case math.Abs(v) >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

// times shows how many times something is something else.
func times(s spread) string {
	return bracketed(s, func(v float64) string { return digits(v) + "×" })
}

// fraction shows the same as a part, 1/11, if it is less.
func fraction(s spread) string {
	if s.Median >= 1 {
		return times(s)
	}
	return bracketed(s, func(v float64) string {
		if v <= 0 {
			return "0"
		}
		return "1/" + digits(1/v)
	})
}

// bracketed shows a median with its quartiles, if they differ.
func bracketed(s spread, show func(float64) string) string {
	if s.Low == s.High {
		return show(s.Median)
	}
	return fmt.Sprintf("%s (%s–%s)", show(s.Median), show(s.Low), show(s.High))
}
