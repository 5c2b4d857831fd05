package session

import (
	"context"

	"cloakroom.example/session/store"
)

// A store may answer from copies ([store.Copier]), which lag behind for a moment and,
// as to when a session was used last, for longer. What a copy is believed is that a
// session lives, and that it has ended. Everything else is asked of the engine before
// anything follows from it: that a session has run out or locked itself, that a secret
// is the wrong one, or that of a predecessor. So is whatever a gate decides that must
// not be a moment late, see [Session.CheckCurrent].

// fresh returns the context under which the store answers from no copy.
func (m *Manager) fresh(ctx context.Context) context.Context {
	if !m.copies {
		return ctx
	}
	return store.Fresh(ctx)
}

// believesLocked reports whether what a copy says about the session can be acted on.
func (s *Session) believesLocked(r *store.Record, current bool) bool {
	return r.Ended() || current && r.Alive(s.opened) && !r.LockedAt(s.opened)
}

// askLocked loads the session of a token again, past any copy.
func (m *Manager) askLocked(s *Session, token Token) {
	ctx, cancel := m.bounded(s.r.Context())
	defer cancel()
	s.confirmed = true
	m.loadLocked(store.Fresh(ctx), s, token)
}

// confirmRecord loads a live session again if what is known of it may be a copy.
func (s *Session) confirmRecord() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || !s.m.copies || s.confirmed || s.status != statusLive {
		return nil
	}
	ctx, cancel := s.m.bounded(s.r.Context())
	defer cancel()
	return s.m.reloadLocked(ctx, s)
}
