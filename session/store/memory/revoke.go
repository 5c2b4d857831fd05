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
		return sp.revokeKey(sp.subjectKey(v.Subject), v), nil
	case v.Link != (store.Link{}):
		return sp.revokeKey(sp.linkKey(v.Link), v), nil
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
func (sp *space) revokeOne(h store.Handle, v store.Revocation) (r store.Record, changed bool) {
	sh := sp.shardOf(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.find(h); p != 0 {
		changed = sh.revoke(p, sp, &r, v)
	}
	return r, changed
}

// revoke applies a revocation to the record at p, which is decoded into r, if that is
// named.
func (sh *shard) revoke(p place, sp *space, r *store.Record, v store.Revocation) (changed bool) {
	sh.peek(p, sp, r)
	if changed = names(v, r) && r.Revoke(v); changed {
		sh.rewrite(p, r)
	}
	return changed
}

// names reports whether the revocation names the record, which has been found by
// its handle or under a key, that can be somebody else's too.
func names(v store.Revocation, r *store.Record) bool {
	switch {
	case v.Subject != "":
		return r.Subject == v.Subject
	case v.Link != (store.Link{}):
		return r.HasLink(v.Link)
	}
	return true
}

// revokeKey applies a revocation to all sessions of a subject or link.
func (sp *space) revokeKey(k key, v store.Revocation) (done store.Revoked) {
	ks := sp.keyShardOf(k)
	ks.mu.Lock()
	defer ks.mu.Unlock()
	if v.Effect == store.EffectEnd {
		ks.marks.add(k, v)
	}
	ks.walkLocked(k, func(x ref) bool {
		sh, i := sp.at(x)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		p := sh.place(i)
		if p == 0 {
			return false
		}
		var r store.Record
		if sh.revoke(p, sp, &r, v) {
			done.Changed = append(done.Changed, r.Handle)
		}
		return !r.Ended()
	})
	return done
}
