package sqlstore

import (
	"context"
	"database/sql"
	"strings"

	"cloakroom.example/session/store"
)

// briefQuery reads a living record together with n named parts: a row for each
// part that exists, and one without a part if none does. It is short because
// every column costs: where its last column before the parts says so, the
// session may have ended, and has to be read with wholeQuery.
func briefQuery(n int) string {
	return `SELECT s.version, s.state, s.subject, s.role, s.tenant, s.created, s.seen, s.idle, s.idle_locks, ` +
		`s.auth_at, s.deadline, s.locked, s.limit_at, s.head, ` +
		`s.ended_at <> 0 OR EXISTS (SELECT 1 FROM session_epochs x WHERE x.namespace = s.namespace AND x.epoch > s.epoch)` +
		withParts(` FROM sessions s`, n)
}

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
	var r store.Record
	err := s.read(ctx, func(c *connection) (err error) {
		// Reading by key takes microseconds, and where the disk hangs, the end
		// of a context would not help.
		r, err = s.load(context.Background(), c, k, parts)
		return err
	})
	if err != nil {
		return store.Record{}, worded("loading session "+k.Handle.String(), err)
	}
	return r, nil
}

func (s *Store) load(ctx context.Context, c *connection, k store.Key, names []string) (store.Record, error) {
	args := make([]any, 0, len(names)+2)
	for _, name := range names {
		args = append(args, name)
	}
	w := row{handle: k.Handle.String()}
	args = append(args, k.Namespace, w.handle)
	var ended bool
	parts, err := readParts(ctx, c, s.briefQuery(len(names)), args, w.briefDest(&ended))
	if err == nil && ended {
		parts, err = readParts(ctx, c, wholeQuery(len(names)), args, w.dest())
	}
	if err != nil {
		return store.Record{}, err
	}
	f := w.record(k.Namespace)
	if f.unreadable != nil {
		return store.Record{}, f.unreadable
	}
	if !f.Ended() {
		f.Parts = parts
	}
	return f.Record, nil
}

// briefQuery returns the statement from those built when the store was opened.
func (s *Store) briefQuery(n int) string {
	if n < len(s.brief) {
		return s.brief[n]
	}
	return briefQuery(n)
}

// readParts reads the row of one record into dest, and the parts behind it.
func readParts(ctx context.Context, c *connection, query string, args, dest []any) (parts []store.Part, err error) {
	var name sql.NullString
	var generation sql.NullInt64
	var sealed []byte
	if len(args) > 2 {
		dest = append(dest, &name, &generation, sealedIn{&sealed})
	}
	there := false
	err = c.query(ctx, query, args, func(scan scan) error {
		there = true
		if err := scan(dest...); err != nil {
			return err
		}
		if name.Valid {
			parts = append(parts, store.Part{Name: name.String, Generation: uint64(generation.Int64), Sealed: sealed})
		}
		return nil
	})
	if err == nil && !there {
		err = store.ErrNotFound
	}
	return parts, err
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
