package memory

import (
	"context"

	"cloakroom.example/session/store"
)

// Revoke implements [store.Store].
func (s *Store) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	if err := unavailable(ctx); err != nil {
		return store.Revoked{}, err
	}
	sp := s.space(v.Namespace)
	switch {
	case v.All:
		sp.epoch.revoke(v)
		return store.Revoked{}, nil
	case v.Subject != "":
		return sp.revokeKey(subjectKey(v.Subject), v), nil
	case v.Link != (store.Link{}):
		return sp.revokeKey(linkKey(v.Link), v), nil
	}
	r, changed := sp.revokeOne(v.Handle, v)
	if !changed {
		return store.Revoked{}, nil
	}
	if r.Ended() {
		sp.retire(&r)
	}
	return store.Revoked{Changed: []store.Handle{v.Handle}}, nil
}

// revokeOne applies a revocation to one session and reports whether that
// changed it.
func (sp *space) revokeOne(h store.Handle, v store.Revocation) (store.Record, bool) {
	sh := sp.shardOf(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	i, found := sh.byHandle[h]
	if !found {
		return store.Record{}, false
	}
	r := sh.peek(i, sp)
	if !r.Revoke(v) {
		return r, false
	}
	sh.rewrite(i, &r)
	return r, true
}

// revokeKey applies a revocation to all sessions of a subject or link.
func (sp *space) revokeKey(k key, v store.Revocation) (done store.Revoked) {
	ks := sp.keyShardOf(k)
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if v.Effect == store.EffectEnd {
		ks.markLocked(k, v)
	}
	ks.walkLocked(k, func(h store.Handle) bool {
		r, changed := sp.revokeOne(h, v)
		if changed {
			done.Changed = append(done.Changed, h)
		}
		return !r.Ended()
	})
	return done
}
