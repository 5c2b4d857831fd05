package sqlstore

import (
	"context"
	"errors"
	"fmt"

	"cloakroom.example/session/store"
)

// Revoke implements [store.Store]. Revoking everything writes one row, however
// many sessions there are.
func (s *Store) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	if err := check(v); err != nil {
		return store.Revoked{}, fmt.Errorf("sqlstore: revoking: %w", err)
	}
	var done store.Revoked
	err := s.write(ctx, "revoking", func(ctx context.Context, tx tx) (err error) {
		done, err = s.revoke(ctx, tx, v)
		return err
	})
	if err != nil {
		return store.Revoked{}, err
	}
	return done, nil
}

// check refuses calls that name no target, several, or one that the effect
// cannot be applied to.
func check(v store.Revocation) error {
	targets := 0
	for _, named := range []bool{!v.Handle.IsZero(), v.Subject != "", v.Link != store.Link{}, v.All} {
		if named {
			targets++
		}
	}
	switch {
	case targets != 1:
		return fmt.Errorf("got %d targets, want 1", targets)
	case v.All && v.Effect != store.EffectEnd:
		return errors.New("everything can be ended only")
	}
	return nil
}

func (s *Store) revoke(ctx context.Context, tx tx, v store.Revocation) (done store.Revoked, err error) {
	if v.All {
		return done, s.revokeAll(ctx, tx, v)
	}
	named, err := s.named(ctx, tx, v)
	if err != nil {
		return done, err
	}
	for i := range named {
		f := &named[i]
		if !f.Revoke(v) {
			continue
		}
		if f.Ended() {
			err = s.put(ctx, tx, f)
		} else {
			err = s.tighten(ctx, tx, f)
		}
		if err != nil {
			return done, err
		}
		done.Changed = append(done.Changed, f.Handle)
	}
	return done, nil
}

// named reads the records that a revocation names, after noting its time, which
// refuses logins that began earlier.
func (s *Store) named(ctx context.Context, tx tx, v store.Revocation) ([]found, error) {
	if !v.Handle.IsZero() {
		f, err := s.find(ctx, tx, v.Namespace, v.Handle)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil
		}
		return []found{f}, err
	}
	n := linkName(v.Link)
	if v.Subject != "" {
		n = subjectName(v.Subject)
	}
	if s.dialect.lock != nil {
		if err := s.dialect.lock(ctx, tx, v.Namespace, []name{n}); err != nil {
			return nil, err
		}
	}
	if err := s.remember(ctx, tx, v, n); err != nil {
		return nil, err
	}
	if v.Subject != "" {
		return s.ofSubject(ctx, tx, v.Namespace, v.Subject)
	}
	return s.findAll(ctx, tx, v.Namespace, `SELECT l.handle FROM session_links l WHERE l.namespace = ? AND l.link = ?`, v.Link[:])
}

// remember notes when a name was revoked.
func (s *Store) remember(ctx context.Context, tx tx, v store.Revocation, n name) error {
	if v.Effect != store.EffectEnd || v.OnlyExpired {
		return nil
	}
	_, err := tx.exec(ctx, s.dialect.upsertRevocation, v.Namespace, n.kind, n.value, nanos(v.Now), v.Clock)
	return err
}

func (s *Store) revokeAll(ctx context.Context, tx tx, v store.Revocation) error {
	if s.dialect.lock != nil {
		if err := s.dialect.lock(ctx, tx, v.Namespace, nil); err != nil {
			return err
		}
	}
	_, err := tx.exec(ctx, `INSERT INTO session_epochs (namespace, epoch, auth_before, at, clock, cause, ended_by) `+
		`SELECT ?, COALESCE(MAX(epoch), 0) + 1, ?, ?, ?, ?, ? FROM session_epochs WHERE namespace = ?`,
		v.Namespace, nanos(v.AuthenticatedBefore), nanos(v.Now), v.Clock, v.Cause, v.By, v.Namespace)
	return err
}
