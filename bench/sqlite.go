package main

import (
	"context"
	"errors"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite", for everybody
)

// sqliteLibraries are those that keep sessions in a database, in the folder. The
// peers get synchronous=NORMAL, with which their writes need not wait for the
// disk; ours do.
func sqliteLibraries(ctx context.Context, dir string) ([]library, error) {
	ours, err := newCloakroomSQLite(ctx, dir, 0)
	if err != nil {
		return nil, err
	}
	libs := []library{ours}
	for _, idle := range []time.Duration{scsIdle, 0} {
		peer, err := newSCSSQLite(ctx, dir, idle)
		if err != nil {
			return nil, errors.Join(err, closeAll(ctx, libs))
		}
		libs = append(libs, peer)
	}
	return libs, nil
}

// sqliteReadRow is the reading request with a database, and the proof that it
// writes nothing.
func sqliteReadRow() row {
	return row{
		id: "sqlite-read", about: "the reading request, sessions in SQLite, and what it writes",
		lines: []claim{
			{measure: "read-only request, SQLite: session cost", goal: "≤ 1/3 of scs idle"},
			{measure: "read-only requests that wrote to the database, besides due touches", goal: "0", correctness: true},
		},
		measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
			dir, done, err := scratch()
			if err != nil {
				return nil, err
			}
			defer done()
			libs, err := sqliteLibraries(ctx, dir)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, closeAll(ctx, libs)) }()
			measured, err := compareCosts(ctx, b, b.requests(), libs, fillBytes, readUser)
			if err != nil {
				return nil, err
			}
			written, err := writesOfReads(ctx, b)
			return []outcome{measured.timeOutcome(1.0 / 3), written}, err
		},
	}
}
