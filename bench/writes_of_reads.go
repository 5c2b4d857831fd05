package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// writesOfReads counts how many of many reading requests changed the database,
// by asking SQLite after each of them.
func writesOfReads(ctx context.Context, b *bench) (out outcome, err error) {
	dir, done, err := scratch()
	if err != nil {
		return out, err
	}
	defer done()
	libs, err := sqliteLibraries(ctx, dir)
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, closeAll(ctx, libs[1:])) }()
	if out, err = ourWrites(ctx, libs[0].(*cloakroom), b.scale.reads); err != nil {
		return out, fmt.Errorf("%s: %w", libs[0].name(), err)
	}
	for _, lib := range libs[1:] {
		guests, err := signIn(lib)
		if err != nil {
			return out, err
		}
		n, err := writesDuring(ctx, lib.(*scsLibrary).database, func(look func() error) error {
			return readAll(lib, guests, b.scale.reads, look)
		})
		if err != nil {
			return out, fmt.Errorf("%s: %w", lib.name(), err)
		}
		out.peers = append(out.peers, writesEntry(lib, n, b.scale.reads))
	}
	out.ratio = single(out.ours.Median / max(1, out.peers[0].Median))
	return out, nil
}

func writesEntry(lib library, n, of int) entry {
	return entry{lib.name(), single(float64(n)), "requests", fmt.Sprintf("%d of %d", n, of)}
}

// guests is how many sessions share the requests.
const guests = 20

func signIn(lib library) (all []*browser, err error) {
	for range guests {
		b := newBrowser()
		if err := b.visit(page(lib, loginStep(fillBytes)), http.MethodGet, "/login"); err != nil {
			return nil, fmt.Errorf("signing in: %w", err)
		}
		all = append(all, b)
	}
	return all, nil
}

// readAll sends reading requests and calls look after each.
func readAll(lib library, all []*browser, requests int, look func() error) error {
	h := page(lib, readUser)
	for i := range requests {
		if err := errors.Join(all[i%len(all)].visit(h, http.MethodGet, "/"), look()); err != nil {
			return err
		}
	}
	return nil
}

// writesDuring runs do, which calls look from time to time, and returns how many
// looks, the last one after do included, have found the database changed.
func writesDuring(ctx context.Context, file string, do func(look func() error) error) (changes int, err error) {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	conn, err := db.Conn(ctx)
	if err != nil {
		return 0, err
	}
	defer conn.Close()
	last := int64(-1)
	look := func() error {
		var version int64
		// It changes when another connection has committed a change.
		if err := conn.QueryRowContext(ctx, `PRAGMA data_version`).Scan(&version); err != nil {
			return err
		}
		if last >= 0 && version != last {
			changes++
		}
		last = version
		return nil
	}
	err = errors.Join(look(), do(look), look())
	return changes, err
}

// ourWrites sends requests while no touch is due, then a minute later, when every
// session owes one, and then again. Each time the manager is closed, so that
// nothing waits to be written later. Only the second time may change anything,
// and then nothing but last-seen times.
func ourWrites(ctx context.Context, c *cloakroom, requests int) (out outcome, err error) {
	defer func() { err = errors.Join(err, c.close(ctx)) }()
	var ahead atomic.Int64
	clock := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	all, err := signIn(c)
	if err != nil {
		return out, err
	}
	if err := c.m.Close(ctx); err != nil {
		return out, err
	}
	var writes [3]int
	var shown [3]string
	var seen [3]int64
	for i, wait := range []time.Duration{0, time.Minute + time.Second, 0} {
		ahead.Add(int64(wait))
		if c.m, err = newManager(c.store, clock); err != nil {
			return out, err
		}
		writes[i], err = writesDuring(ctx, c.database, func(look func() error) error {
			return errors.Join(readAll(c, all, requests, look), c.m.Close(ctx))
		})
		if err != nil {
			return out, err
		}
		if shown[i], seen[i], err = contents(ctx, c.database); err != nil {
			return out, err
		}
	}
	undue := writes[0] + writes[2]
	if shown[1] != shown[0] || seen[1] <= seen[0] {
		undue += max(1, writes[1]) // something else was written, or the touches were not
	}
	out.ours, out.reached = writesEntry(c, undue, 3*requests), undue == 0
	out.note = fmt.Sprintf("a minute after %d sign-ins, %d requests wrote the %d due last-seen times in %d transactions and nothing else",
		guests, requests, guests, writes[1])
	return out, nil
}

// contents returns everything that the database holds of sessions but for the
// times of last use, and the earliest of these.
func contents(ctx context.Context, file string) (all string, seen int64, err error) {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return "", 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.QueryRowContext(ctx, `SELECT MIN(seen) FROM sessions`).Scan(&seen); err != nil {
		return "", 0, err
	}
	for _, table := range []string{"sessions", "session_parts"} {
		text, err := dump(ctx, db, table)
		if err != nil {
			return "", 0, err
		}
		all += text
	}
	return all, seen, nil
}

// dump prints a table without the columns that a touch changes.
func dump(ctx context.Context, db *sql.DB, table string) (string, error) {
	rows, err := db.QueryContext(ctx, `SELECT * FROM `+table+` ORDER BY handle`)
	if err != nil {
		return "", err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var out strings.Builder
	values, places := make([]any, len(columns)), make([]any, len(columns))
	for i := range values {
		places[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(places...); err != nil {
			return "", err
		}
		for i, name := range columns {
			if name != "seen" && name != "expires_at" { // the latter follows from the former
				fmt.Fprintf(&out, "%s=%v ", name, values[i])
			}
		}
		out.WriteString("\n")
	}
	return out.String(), rows.Err()
}
