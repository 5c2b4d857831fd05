package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"time"
)

// writers is how many sessions are changed at the same time.
const writers = 64

// durableRow changes many sessions in parallel, each change being on the disk
// before it is acknowledged. Against the bare update of a row, one transaction each,
// the least that somebody can do who does not group his writes, stand our store's
// changes, and then whole requests of ours. Those stand against themselves
// ungrouped, too: what grouping alone brings.
func durableRow() row {
	return row{
		id: "sqlite-write", about: "durable changes of 64 sessions in parallel, sessions in SQLite",
		lines: []claim{
			{measure: "durable writes on SQLite, 64 parallel sessions", goal: "≥ 4× one transaction per write"},
			{measure: "the same in whole requests, which read, check, open and seal besides"},
		},
		measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
			dir, done, err := scratch()
			if err != nil {
				return nil, err
			}
			defer done()
			ours, err := newCloakroomSQLite(ctx, dir, 0)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, ours.close(ctx)) }()
			ungrouped, err := newCloakroomSQLite(ctx, dir, 1)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, ungrouped.close(ctx)) }()
			peer, err := newSCSSQLite(ctx, dir, 0)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, peer.close(ctx)) }()
			plain, closePlain, err := plainUpdates(ctx, dir)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, closePlain()) }()
			swaps, closeStore, err := storeWrites(ctx, dir)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, closeStore(ctx)) }()
			cs := []contender{swaps, plain}
			for _, lib := range []library{ours, ungrouped, peer} {
				c, err := parallelWrites(lib)
				if err != nil {
					return nil, err
				}
				cs = append(cs, c)
			}
			if err := peer.durable(ctx); err != nil { // not while signing in, which takes long enough
				return nil, err
			}
			return compareDurable(ctx, b, cs)
		},
	}
}

// compareDurable measures our store's writes, the plain ones, our requests, those
// ungrouped and the peer's, in this order.
func compareDurable(ctx context.Context, b *bench, cs []contender) ([]outcome, error) {
	s := schedule{rounds: b.scale.longRounds, batch: b.scale.longBatch, clock: wallClock()}
	measured, err := alternate(ctx, s, b.progress, cs...)
	if err != nil {
		return nil, err
	}
	rate := func(i int) entry {
		e := count(cs[i].name, perSecond(measured[cs[i].name].nanoseconds), "writes/s")
		e.Text = digits(e.Median) + "/s"
		return e
	}
	against := func(ours, other int) spread {
		return spreadOf(ratios(measured[cs[other].name].nanoseconds, measured[cs[ours].name].nanoseconds))
	}
	writes := outcome{ours: rate(0), peers: []entry{rate(1)}, ratio: against(0, 1)}
	writes.shown, writes.reached = times(writes.ratio), writes.ratio.Median >= 4
	requests := outcome{ours: rate(2), peers: []entry{rate(1), rate(3), rate(4)}, ratio: against(2, 1), reached: true}
	requests.shown = times(requests.ratio)
	requests.note = "grouping alone brings " + times(against(2, 3))
	return []outcome{writes, requests}, nil
}

// wallClock is the time of day, for what waits for a disk.
func wallClock() func() time.Duration {
	began := time.Now()
	return func() time.Duration { return time.Since(began) }
}

// parallelWrites is a contender whose browsers each change a value of a kilobyte.
func parallelWrites(lib library) (contender, error) { return parallel(lib, changeBytes) }

// changeBytes returns a step that changes the value of a kilobyte each time.
func changeBytes() step {
	turn, values := 0, sampleBytes()
	return func(lib library, w http.ResponseWriter, r *http.Request) error {
		turn++
		return lib.setBytes(w, r, values[turn&1])
	}
}

// parallel is a contender: as many browsers as there are writers, each with a
// session of its own and a step of its own.
func parallel(lib library, newStep func() step) (contender, error) {
	all := make([]contender, writers)
	err := inParallel(writers, func(i, _ int) (err error) {
		all[i], err = visits(lib, fillBytes, newStep())
		return err
	})
	if err != nil {
		return contender{}, err
	}
	return contender{name: lib.name(), least: writers, serve: func(n int) error {
		return inParallel(n, func(i, n int) error { return all[i].serve(n) })
	}}, nil
}

// inParallel shares n calls between the writers.
func inParallel(n int, do func(writer, n int) error) error {
	errs, all := make([]error, writers), sync.WaitGroup{}
	for i := range writers {
		share := n / writers
		if i < n%writers {
			share++
		}
		if share > 0 {
			all.Go(func() { errs[i] = do(i, share) })
		}
	}
	all.Wait()
	return errors.Join(errs...)
}

// plainUpdates is a contender that does nothing but update rows of a kilobyte by
// their key, with a prepared statement, one transaction each. All go through one
// connection: with several, SQLite would make them wait by sleeping.
func plainUpdates(ctx context.Context, dir string) (c contender, done func() error, err error) {
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "plain.db")+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)")
	if err != nil {
		return c, nil, err
	}
	db.SetMaxOpenConns(1)
	fail := func(err error) (contender, func() error, error) { return c, nil, errors.Join(err, db.Close()) }
	if _, err = db.ExecContext(ctx, `CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL)`); err != nil {
		return fail(err)
	}
	values := sampleBytes()
	key := func(i int) string { return fmt.Sprintf("session-%040d", i) }
	for i := range writers {
		if _, err := db.ExecContext(ctx, `INSERT INTO sessions VALUES (?, ?)`, key(i), values[0]); err != nil {
			return fail(err)
		}
	}
	if _, err := db.ExecContext(ctx, `PRAGMA synchronous = FULL`); err != nil { // there is one connection
		return fail(err)
	}
	update, err := db.PrepareContext(ctx, `UPDATE sessions SET data = ? WHERE token = ?`)
	if err != nil {
		return fail(err)
	}
	var turns [writers]int // SQLite does not write what is there already
	c = contender{name: "plain UPDATE", least: writers, serve: func(n int) error {
		return inParallel(n, func(i, n int) error {
			for range n {
				turns[i]++
				result, err := update.ExecContext(ctx, values[turns[i]&1], key(i))
				if err != nil {
					return err
				}
				if changed, err := result.RowsAffected(); err != nil || changed != 1 {
					return errors.Join(err, fmt.Errorf("%w: %d rows changed", errAnswer, changed))
				}
			}
			return nil
		})
	}}
	return c, func() error { return errors.Join(update.Close(), db.Close()) }, nil
}
