package sqlstore

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"cloakroom.example/session/store"
)

// rowColumns are the columns that row.dest reads. They come with rowFrom.
//
// The join finds the first revocation of everything that ended the session,
// so that ending all of them writes one row and is seen by whoever looks next.
const (
	rowColumns = `s.handle, s.version, s.state, s.subject, s.role, s.tenant, s.created, s.seen, ` +
		`s.idle, s.idle_locks, s.auth_at, s.deadline, s.locked, s.limit_at, ` +
		`s.ended_at, s.cause, s.ended_by, s.head, ` +
		`COALESCE(e.at, 0), COALESCE(e.cause, ''), COALESCE(e.ended_by, '')`
	rowFrom = ` FROM sessions s LEFT JOIN session_epochs e ON e.namespace = s.namespace AND ` +
		`s.ended_at = 0 AND e.epoch = (SELECT MIN(x.epoch) FROM session_epochs x ` + endedByEpoch + `)`
	endedByEpoch = `WHERE x.namespace = s.namespace AND x.epoch > s.epoch AND ` +
		`(x.auth_before = 0 OR s.auth_at <> 0 AND s.auth_at < x.auth_before)`
)

// row is one row of sessions as it is read.
type row struct {
	handle                                     string
	version, state                             int64
	subject, role, tenant                      string
	created, seen, idle, idleLocks             int64
	authAt, deadline, locked, limitAt, endedAt int64
	cause, endedBy                             string
	head                                       []byte
	epochAt                                    int64 // 0: no revocation of everything applies
	epochCause, epochBy                        string
}

func (w *row) dest() []any {
	return []any{
		&w.handle, &w.version, &w.state, &w.subject, &w.role, &w.tenant, &w.created, &w.seen,
		&w.idle, &w.idleLocks, &w.authAt, &w.deadline, &w.locked, &w.limitAt,
		&w.endedAt, &w.cause, &w.endedBy, &w.head,
		&w.epochAt, &w.epochCause, &w.epochBy,
	}
}

// found is a record as it was read for changing it.
type found struct {
	store.Record
	// stored is the version in the row. It differs from Record.Version when a
	// revocation of everything has ended the session since.
	stored uint64
	// unreadable says why the blob could not be decoded; the record then holds
	// what the columns say.
	unreadable error
}

// record puts the record together: the blob, and over it the columns.
func (w *row) record(namespace string) found {
	r, err := store.DecodeRecord(w.head)
	if err != nil {
		r = store.Record{}
	}
	f := found{Record: r, stored: uint64(w.version), unreadable: err}
	if f.Handle, err = store.ParseHandle(w.handle); err != nil {
		f.unreadable = fmt.Errorf("%w: %w", store.ErrFormat, err)
	}
	if w.state < 0 || w.state > 255 {
		f.unreadable = fmt.Errorf("state %d: %w", w.state, store.ErrFormat)
	}
	f.Namespace, f.Version, f.State = namespace, uint64(w.version), store.State(w.state)
	f.Subject, f.Assurance.Role, f.Assurance.Tenant = w.subject, w.role, w.tenant
	f.Created, f.Seen, f.Assurance.At = timeOf(w.created), timeOf(w.seen), timeOf(w.authAt)
	f.Idle, f.IdleLocks, f.Deadline = time.Duration(w.idle), w.idleLocks != 0, timeOf(w.deadline)
	f.Locked, f.Limit = w.locked != 0, timeOf(w.limitAt)
	f.End = store.End{At: timeOf(w.endedAt), Cause: w.cause, By: w.endedBy}
	f.Parts = nil
	switch {
	case w.endedAt != 0 && f.Wrap != nil:
		// Somebody ended the session by editing the column.
		version := f.Version
		f.Finish(f.End)
		f.Version = version
	case w.epochAt != 0:
		f.Finish(store.End{At: timeOf(w.epochAt), Cause: w.epochCause, By: w.epochBy})
	}
	return f
}

// headOf encodes what no column holds.
func headOf(r *store.Record) []byte {
	h := *r
	h.Namespace, h.Subject, h.Version, h.State = "", "", 0, 0
	h.Assurance.Role, h.Assurance.Tenant, h.Assurance.At = "", "", time.Time{}
	h.Created, h.Seen, h.Deadline, h.Limit = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	h.Idle, h.IdleLocks, h.Locked, h.End, h.Parts = 0, false, false, store.End{}, nil
	return h.Append(make([]byte, 0, 512))
}

// factsOf is a hash of what headOf encodes and a Swap cannot change. Who swaps a
// record whose hash is that of the row may replace the blob without reading it.
func factsOf(r *store.Record) int64 {
	fixed := store.Record{
		Transport: r.Transport, Assurance: store.Assurance{Methods: r.Assurance.Methods, Level: r.Assurance.Level},
		Absolute: r.Absolute, First: r.First, Links: r.Links,
	}
	h := fnv.New64a()
	h.Write(fixed.Append(make([]byte, 0, 512)))
	return int64(h.Sum64())
}

// readAll reads the rows of a query for rowColumns.
func readAll(ctx context.Context, tx tx, namespace, query string, args ...any) (all []found, err error) {
	err = tx.query(ctx, query, args, func(scan scan) error {
		var w row
		err := scan(w.dest()...)
		if err != nil && err != errMisfit {
			return err
		}
		f := w.record(namespace)
		if err != nil {
			f.unreadable = err
		}
		all = append(all, f)
		return nil
	})
	return all, err
}

// find reads one record in order to change it.
func (s *Store) find(ctx context.Context, tx tx, namespace string, h store.Handle) (found, error) {
	all, err := readAll(ctx, tx, namespace, `SELECT `+rowColumns+rowFrom+
		` WHERE s.namespace = ? AND s.handle = ?`+s.dialect.forUpdate, namespace, h.String())
	if err != nil {
		return found{}, err
	}
	if len(all) == 0 {
		return found{}, store.ErrNotFound
	}
	return all[0], nil
}

// mostFound is how many records are read by one statement of findAll.
const mostFound = 256

// findAll reads the records whose handles a query finds, in order to change them,
// in the order of these handles. Some may have ended. The query locks nothing; who
// calls holds a lock against further records.
func (s *Store) findAll(ctx context.Context, tx tx, namespace, query string, arg any) (all []found, err error) {
	var handles []string
	err = tx.query(ctx, query, []any{namespace, arg}, func(scan scan) error {
		handles = append(handles, "")
		return scan(&handles[len(handles)-1])
	})
	if err != nil {
		return nil, err
	}
	slices.Sort(handles)
	most := mostFound
	if !s.dialect.keyFirst {
		most = 1 // PostgreSQL may filter the whole namespace by several
	}
	for chunk := range slices.Chunk(handles, most) {
		args := []any{namespace}
		for i := range rounded(len(chunk)) {
			args = append(args, chunk[min(i, len(chunk)-1)])
		}
		some, err := readAll(ctx, tx, namespace, `SELECT `+rowColumns+rowFrom+` WHERE s.namespace = ? AND s.handle IN (?`+
			strings.Repeat(`, ?`, len(args)-2)+`)`+s.dialect.forUpdate, args...)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
	}
	return all, nil
}

// put writes back a record that find has read: all of it if it has become a
// tombstone, which loses its parts.
func (s *Store) put(ctx context.Context, tx tx, f *found) error {
	if !f.Ended() {
		return s.putLiving(ctx, tx, f)
	}
	n, err := tx.exec(ctx, `UPDATE sessions SET version = ?, ended_at = ?, cause = ?, ended_by = ?, head = ? `+
		`WHERE namespace = ? AND handle = ? AND version = ?`,
		int64(f.Version), nanos(f.End.At), f.End.Cause, f.End.By, headOf(&f.Record),
		f.Namespace, f.Handle.String(), int64(f.stored))
	if err = one(n, err); err != nil {
		return err
	}
	_, err = tx.exec(ctx, `DELETE FROM session_parts WHERE namespace = ? AND handle = ?`,
		f.Namespace, f.Handle.String())
	return err
}

// putLiving names only the columns that can have changed, because SQLite writes
// an index anew for each column named, changed or not.
func (s *Store) putLiving(ctx context.Context, tx tx, f *found) error {
	return one(tx.exec(ctx, `UPDATE sessions SET version = ?, seen = ?, locked = ?, limit_at = ?, head = ? `+
		`WHERE namespace = ? AND handle = ? AND version = ?`,
		int64(f.Version), nanos(f.Seen), flag(f.Locked), nanos(f.Limit), headOf(&f.Record),
		f.Namespace, f.Handle.String(), int64(f.stored)))
}

// one turns a row that was not there any more into a conflict.
func one(changed int64, err error) error {
	if err == nil && changed != 1 {
		return store.ErrConflict
	}
	return err
}

// tighten writes back what a revocation sets that does not end the session. It
// leaves the blob alone, which may be unreadable.
func (s *Store) tighten(ctx context.Context, tx tx, f *found) error {
	_, err := tx.exec(ctx, `UPDATE sessions SET locked = ?, limit_at = ? WHERE namespace = ? AND handle = ?`,
		flag(f.Locked), nanos(f.Limit), f.Namespace, f.Handle.String())
	return err
}

// errMisfit says that a column holds a value of the wrong kind, which takes an
// edited database. It does not say which.
var errMisfit = fmt.Errorf("a column holds a value of the wrong kind: %w", store.ErrFormat)

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}

func timeOf(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}

func flag(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
