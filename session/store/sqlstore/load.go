package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"

	"cloakroom.example/session/store"
)

// briefQuery reads a living record together with n named parts: a row for each
// part that exists, and one without a part if none does. It is short because
// every column costs: where its last column before the parts says so, the
// session may have ended, and has to be read with wholeQuery.
func briefQuery(n int) string {
	return `SELECT ` + briefColumns + withParts(` FROM sessions s`, n)
}

const briefColumns = `s.version, s.state, s.subject, s.role, s.tenant, s.created, s.seen, s.idle, s.idle_locks, ` +
	`s.auth_at, s.deadline, s.locked, s.limit_at, s.head, ` +
	`s.ended_at <> 0 OR EXISTS (SELECT 1 FROM session_epochs x WHERE x.namespace = s.namespace AND x.epoch > s.epoch)`

func (w *row) briefDest(ended *bool) []any {
	return []any{
		&w.version, &w.state, &w.subject, &w.role, &w.tenant, &w.created, &w.seen, &w.idle, &w.idleLocks,
		&w.authAt, &w.deadline, &w.locked, &w.limitAt, &w.head, ended,
	}
}

// wholeQuery reads the same of any record.
func wholeQuery(n int) string { return `SELECT ` + rowColumns + withParts(rowFrom, n) }

func withParts(from string, n int) string {
	const where = ` WHERE s.namespace = ? AND s.handle = ?`
	if n == 0 {
		return from + where
	}
	return `, p.name, p.generation, p.sealed` + from +
		` LEFT JOIN session_parts p ON p.namespace = s.namespace AND p.handle = s.handle AND p.name IN (?` +
		strings.Repeat(`, ?`, n-1) + `)` + where
}

// Load implements [store.Store]. A row that cannot be decoded is an error
// wrapping [store.ErrFormat].
func (s *Store) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	l := &loading{key: k, names: parts, brief: &s.brief}
	err := patiently(ctx, s.busy, s.dialect.failure, func() error { return s.reader.load(ctx, l) })
	if err != nil {
		return store.Record{}, worded("loading session "+k.Handle.String(), err)
	}
	return l.record, nil
}

// loading is one Load.
type loading struct {
	key   store.Key
	names []string   // of the parts
	brief *[4]string // :: number of parts named → statement

	record store.Record
}

// read does it with a statement of its own.
func (l *loading) read(ctx context.Context, c *connection) error {
	args := make([]any, 0, len(l.names)+2)
	for _, name := range l.names {
		args = append(args, name)
	}
	w := row{handle: l.key.Handle.String()}
	args = append(args, l.key.Namespace, w.handle)
	var ended bool
	parts, err := readParts(ctx, c, l.briefQuery(), args, w.briefDest(&ended))
	if err == nil && ended {
		parts, err = readParts(ctx, c, wholeQuery(len(l.names)), args, w.dest())
	}
	if err != nil {
		return err
	}
	return l.take(&w, parts)
}

// take makes the record of what was read.
func (l *loading) take(w *row, parts []store.Part) error {
	f := w.record(l.key.Namespace)
	if f.unreadable != nil {
		return f.unreadable
	}
	if !f.Ended() {
		f.Parts = parts
	}
	l.record = f.Record
	return nil
}

// briefQuery returns the statement from those built when the store was opened.
func (l *loading) briefQuery() string {
	if n := len(l.names); n < len(l.brief) {
		return l.brief[n]
	}
	return briefQuery(len(l.names))
}

// errOpen says that a load was not answered by a statement for several.
var errOpen = errors.New("the session has to be loaded alone")

// loadTogether runs a statement for several loads and returns the answer to each:
// errOpen where the session has ended, or may have, or where a row cannot be
// read.
func loadTogether(ctx context.Context, c *connection, loads []*loading, query string, args []any) ([]error, error) {
	rows, parts := make([]row, len(loads)), make([][]store.Part, len(loads))
	answers := make([]error, len(loads))
	for i := range answers {
		answers[i] = store.ErrNotFound
	}
	err := c.query(ctx, query, args, func(scan scan) error {
		var n int
		var w row
		var ended bool
		var p partIn
		err := scan(append(append([]any{&n}, w.briefDest(&ended)...), p.dest()...)...)
		if err != nil && err != errMisfit {
			return err
		}
		if rows[n].head == nil || err != nil || ended {
			rows[n], answers[n] = w, nil
		}
		if err != nil || ended {
			answers[n] = errOpen
		}
		if slices.Contains(loads[n].names, p.name.String) { // others may be there for other loads
			parts[n] = p.appendTo(parts[n])
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i, l := range loads {
		if answers[i] == nil {
			rows[i].handle = l.key.Handle.String()
			answers[i] = l.take(&rows[i], parts[i])
		}
	}
	return answers, nil
}

// readParts reads the row of one record into dest, and the parts behind it.
func readParts(ctx context.Context, c *connection, query string, args, dest []any) (parts []store.Part, err error) {
	var p partIn
	if len(args) > 2 {
		dest = append(dest, p.dest()...)
	}
	there := false
	err = c.query(ctx, query, args, func(scan scan) error {
		there = true
		if err := scan(dest...); err != nil {
			return err
		}
		parts = p.appendTo(parts)
		return nil
	})
	if err == nil && !there {
		err = store.ErrNotFound
	}
	return parts, err
}

// partIn reads the columns of a part, which are null where there is none.
type partIn struct {
	name       sql.NullString
	generation sql.NullInt64
	sealed     []byte
}

func (p *partIn) dest() []any { return []any{&p.name, &p.generation, sealedIn{&p.sealed}} }

func (p *partIn) appendTo(parts []store.Part) []store.Part {
	if !p.name.Valid {
		return parts
	}
	return append(parts, store.Part{Name: p.name.String, Generation: uint64(p.generation.Int64), Sealed: p.sealed})
}

// sealedIn reads a sealed part. Drivers return an empty blob as nil, which would
// mean that the part is not there.
type sealedIn struct{ to *[]byte }

// Scan implements [sql.Scanner].
func (in sealedIn) Scan(value any) error {
	b, ok := value.([]byte)
	if !ok && value != nil {
		return errMisfit
	}
	*in.to = append([]byte{}, b...)
	return nil
}
