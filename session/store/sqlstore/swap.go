package sqlstore

import (
	"context"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// Swap implements [store.Store].
func (s *Store) Swap(ctx context.Context, r store.Record, now time.Time) error {
	to := cloneChangeable(r)
	return s.write(ctx, "changing session "+r.Handle.String(), func(ctx context.Context, tx tx) error {
		f, err := s.find(ctx, tx, to.Namespace, to.Handle)
		switch {
		case err != nil:
			return err
		case !f.Alive(now):
			return store.ErrNotFound
		case f.unreadable != nil:
			return f.unreadable
		case f.Version != to.Version:
			return store.ErrConflict
		}
		f.Change(&to)
		if err := s.put(ctx, tx, &f); err != nil {
			return err
		}
		return s.putParts(ctx, tx, to.Namespace, to.Handle, to.Parts)
	})
}

// cloneChangeable copies what a Swap reads, because it may still be reading when
// the caller has gone.
func cloneChangeable(r store.Record) store.Record {
	if r.Predecessor != nil {
		p := *r.Predecessor
		p.Successor = slices.Clone(p.Successor)
		r.Predecessor = &p
	}
	r.Wrap = slices.Clone(r.Wrap)
	r.Extensions = slices.Clone(r.Extensions)
	for i := range r.Extensions {
		r.Extensions[i].Value = slices.Clone(r.Extensions[i].Value)
	}
	r.Parts = cloneParts(r.Parts)
	return r
}

// Touch implements [store.Store]. The statement says what [store.Record.Touch]
// says, in a form that changes nothing but the column seen.
func (s *Store) Touch(ctx context.Context, namespace string, touches []store.Touch) error {
	if len(touches) == 0 {
		return nil
	}
	touches = slices.Clone(touches)
	return s.write(ctx, "recording last-seen times", func(ctx context.Context, tx tx) error {
		for _, t := range touches {
			at := nanos(t.Seen)
			_, err := tx.exec(ctx, `UPDATE sessions AS s SET seen = ? WHERE s.namespace = ? AND s.handle = ? `+
				`AND s.seen < ? AND s.ended_at = 0 AND s.locked = 0 AND (s.ends_at = 0 OR s.ends_at > ?) `+
				`AND (s.idle <= 0 OR s.seen > ? - s.idle) `+
				`AND NOT EXISTS (SELECT 1 FROM session_epochs x `+endedByEpoch+`)`,
				at, namespace, t.Handle.String(), at, at, at)
			if err != nil {
				return err
			}
		}
		return nil
	})
}
