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
// before its request is answered. It compares whole requests of ours with the
// bare update of a row, one transaction each: the least that a library can do
// which does not group its writes. And with its own requests, ungrouped: what
// grouping alone brings.
func durableRow() row {
	return row{
		id: "sqlite-write", about: "durable changes of 64 sessions in parallel, sessions in SQLite",
		lines: []claim{{
			measure: "durable writes on SQLite, 64 parallel sessions", goal: "≥ 4× one transaction per write",
		}},
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
			cs := []contender{plain}
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
			o, err := compareDurable(ctx, b, cs[1], cs[0], cs[2], cs[3])
			return []outcome{o}, err
		},
	}
}

func compareDurable(ctx context.Context, b *bench, ours contender, others ...contender) (out outcome, err error) {
	cs := append([]contender{ours}, others...)
	s := schedule{rounds: b.scale.longRounds, batch: b.scale.longBatch, clock: wallClock()}
	measured, err := alternate(ctx, s, b.progress, cs...)
	if err != nil {
		return out, err
	}
	for i, c := range cs {
		e := count(c.name, perSecond(measured[c.name].nanoseconds), "writes/s")
		e.Text = digits(e.Median) + "/s"
		if i == 0 {
			out.ours = e
		} else {
			out.peers = append(out.peers, e)
		}
	}
	against := func(peer contender) spread {
		return spreadOf(ratios(measured[peer.name].nanoseconds, measured[ours.name].nanoseconds))
	}
	out.ratio = against(others[0])
	out.shown, out.reached = times(out.ratio), out.ratio.Median >= 4
	out.note = "grouping alone brings " + times(against(others[1])) + "; the plain UPDATE neither reads, checks nor seals"
	return out, nil
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
