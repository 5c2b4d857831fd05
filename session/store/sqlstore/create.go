package sqlstore

import (
	"context"
	"slices"
	"strings"

	"cloakroom.example/session/store"
)

// name is what revocations are remembered by: a subject or a link.
type name struct {
	kind  string
	value []byte
}

func subjectName(subject string) name { return name{"subject", []byte(subject)} }
func linkName(l store.Link) name      { return name{"link", l[:]} }

// namesOf returns the names under which the record can be revoked, each once;
// never nil.
func namesOf(r *store.Record) []name {
	names := make([]name, 0, 1+len(r.Links))
	if r.Subject != "" {
		names = append(names, subjectName(r.Subject))
	}
	for i, l := range r.Links {
		if !slices.Contains(r.Links[:i], l) {
			names = append(names, linkName(l))
		}
	}
	return names
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	r := &c.Record
	r.Version, r.End = 1, store.End{}
	// The caller may be gone while the operation runs.
	head, names, parts := headOf(r), namesOf(r), cloneParts(r.Parts)
	c.Record.Parts, c.Record.Links = nil, nil
	if c.Replace != nil {
		replaced := *c.Replace
		c.Replace = &replaced
	}
	var created store.Created
	err := s.write(ctx, "creating session "+r.Handle.String(), func(ctx context.Context, tx tx) (err error) {
		created, err = s.create(ctx, tx, &c, head, names, parts)
		return err
	})
	if err != nil {
		return store.Created{}, err
	}
	return created, nil
}

func (s *Store) create(ctx context.Context, tx tx, c *store.Creation, head []byte, names []name, parts []store.Part) (done store.Created, err error) {
	locked := names
	if c.Max > 0 && c.Record.Subject == "" { // counted, though nobody can revoke it
		locked = append(slices.Clip(names), subjectName(""))
	}
	if s.dialect.lock != nil && (len(locked) > 0 || c.Replace != nil || !c.Since.IsZero()) {
		if err := s.dialect.lock(ctx, tx, c.Record.Namespace, locked); err != nil {
			return done, err
		}
	}
	if err := s.overtaken(ctx, tx, c, names); err != nil {
		return done, err
	}
	evict, err := s.overLimit(ctx, tx, c)
	if err != nil {
		return done, err
	}
	if err := s.replace(ctx, tx, c); err != nil {
		return done, err
	}
	if err := s.insert(ctx, tx, &c.Record, head); err != nil {
		return done, err
	}
	if err := s.putParts(ctx, tx, c.Record.Namespace, c.Record.Handle, parts); err != nil {
		return done, err
	}
	for _, n := range names {
		if n.kind != "link" {
			continue
		}
		if _, err := tx.exec(ctx, `INSERT INTO session_links (namespace, handle, link) VALUES (?, ?, ?)`,
			c.Record.Namespace, c.Record.Handle.String(), n.value); err != nil {
			return done, err
		}
	}
	for i := range evict {
		evict[i].Finish(store.End{At: c.Now, Cause: store.CauseLimit})
		if err := s.put(ctx, tx, &evict[i]); err != nil {
			return done, err
		}
		done.Evicted = append(done.Evicted, evict[i].Handle)
	}
	return done, nil
}

// overtaken says whether one of the names, or everything, was revoked after the
// authentication behind the creation began.
func (s *Store) overtaken(ctx context.Context, tx tx, c *store.Creation, names []name) error {
	if c.Since.IsZero() {
		return nil
	}
	// Says what store.Creation.Overtook says: later than Since by the same clock,
	// or by another that may be behind.
	const later = ` AND at > ? AND (clock <> ? OR at > ?)`
	when := []any{nanos(c.Since) - int64(store.ClockSkew), c.Clock, nanos(c.Since)}
	query := `SELECT 1 FROM session_epochs WHERE namespace = ?` + later
	args := append([]any{c.Record.Namespace}, when...)
	for _, n := range names {
		query += ` UNION ALL SELECT 1 FROM session_revocations WHERE namespace = ? AND kind = ? AND name = ?` + later
		args = append(append(args, c.Record.Namespace, n.kind, n.value), when...)
	}
	late, err := exists(ctx, tx, query, args...)
	if err == nil && late {
		return store.ErrRevoked
	}
	return err
}

// exists reports whether the query returns a row.
func exists(ctx context.Context, tx tx, query string, args ...any) (bool, error) {
	found := false
	err := tx.query(ctx, query, args, func(scan) error {
		found = true
		return nil
	})
	return found, err
}

// overLimit returns the sessions that have to end so that one more fits, or
// ErrLimit.
func (s *Store) overLimit(ctx context.Context, tx tx, c *store.Creation) ([]found, error) {
	if c.Max <= 0 || c.Record.State != store.Active {
		return nil, nil
	}
	live, err := s.ofSubject(ctx, tx, c.Record.Namespace, c.Record.Subject)
	if err != nil {
		return nil, err
	}
	live = slices.DeleteFunc(live, func(f found) bool {
		replaced := c.Replace != nil && c.Replace.Handle == f.Handle
		return replaced || f.State != store.Active || !f.Alive(c.Now)
	})
	over := len(live) + 1 - c.Max
	if over <= 0 {
		return nil, nil
	}
	if !c.EvictOldest {
		return nil, store.ErrLimit
	}
	slices.SortFunc(live, func(a, b found) int {
		if d := a.Created.Compare(b.Created); d != 0 {
			return d
		}
		return strings.Compare(string(a.Handle[:]), string(b.Handle[:]))
	})
	return live[:over], nil
}

// ofSubject reads the subject's records that have no tombstone yet.
func (s *Store) ofSubject(ctx context.Context, tx tx, namespace, subject string) ([]found, error) {
	if s.dialect.keyFirst {
		return s.findAll(ctx, tx, namespace, `SELECT s.handle FROM sessions s WHERE s.namespace = ? AND s.ended_at = 0 AND `+
			bySubject(subject), subject)
	}
	return readAll(ctx, tx, namespace, `SELECT `+rowColumns+rowFrom+
		` WHERE s.namespace = ? AND s.ended_at = 0 AND `+bySubject(subject)+s.dialect.forUpdateAll, namespace, subject)
}

// bySubject is the condition on the subject. The second half lets SQLite see
// that the partial index applies, which leaves out the many sessions without.
func bySubject(subject string) string {
	if subject == "" {
		return `s.subject = ?`
	}
	return `s.subject = ? AND s.subject <> ''`
}

// insert stores the head. The session belongs to the current epoch: what was
// revoked together with everything before does not concern it.
func (s *Store) insert(ctx context.Context, tx tx, r *store.Record, head []byte) error {
	n, err := tx.exec(ctx, s.dialect.insert+` INTO sessions (namespace, handle, version, state, subject, role, tenant, `+
		`created, seen, idle, idle_locks, auth_at, deadline, locked, limit_at, ended_at, cause, ended_by, facts, head, epoch) `+
		`VALUES (?, ?, 1, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '', '', ?, ?, `+
		`(SELECT COALESCE(MAX(epoch), 0) FROM session_epochs WHERE namespace = ?))`+s.dialect.orIgnore,
		r.Namespace, r.Handle.String(), int64(r.State), r.Subject, r.Assurance.Role, r.Assurance.Tenant,
		nanos(r.Created), nanos(r.Seen), int64(r.Idle), flag(r.IdleLocks), nanos(r.Assurance.At),
		nanos(r.Deadline), flag(r.Locked), nanos(r.Limit), factsOf(r), head, r.Namespace)
	if err == nil && n == 0 || err != nil && s.dialect.duplicate != nil && s.dialect.duplicate(err) {
		return store.ErrExists
	}
	return err
}

// replace ends the record that the new one supersedes.
func (s *Store) replace(ctx context.Context, tx tx, c *store.Creation) error {
	if c.Replace == nil {
		return nil
	}
	old, err := s.find(ctx, tx, c.Record.Namespace, c.Replace.Handle)
	switch {
	case err != nil:
		return err
	case !old.Alive(c.Now):
		return store.ErrNotFound
	case !c.Replace.Fits(&old.Record):
		return store.ErrConflict
	}
	old.Finish(store.End{At: c.Now, Cause: store.CauseRenewed})
	return s.put(ctx, tx, &old)
}

// putParts writes parts over those of the same name; one whose Sealed is nil is
// removed.
func (s *Store) putParts(ctx context.Context, tx tx, namespace string, h store.Handle, parts []store.Part) error {
	for _, p := range parts {
		var err error
		if p.Sealed == nil {
			_, err = tx.exec(ctx, `DELETE FROM session_parts WHERE namespace = ? AND handle = ? AND name = ?`,
				namespace, h.String(), p.Name)
		} else {
			_, err = tx.exec(ctx, s.dialect.upsertPart, namespace, h.String(), p.Name, int64(p.Generation), p.Sealed)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func cloneParts(parts []store.Part) []store.Part {
	parts = slices.Clone(parts)
	for i := range parts {
		parts[i].Sealed = slices.Clone(parts[i].Sealed)
	}
	return parts
}
