package session

import (
	"context"
	"time"

	"cloakroom.example/session/store"
)

// succeedLocked deals with the old token of a periodic rotation. As long as the
// new one has not been presented, and for a grace period after that, the old one
// is answered with the same new one, so that lost responses and parallel tabs
// sign nobody out. Its use after that means that two parties hold tokens of one
// session: the session ends. Control: rotate-periodic (I3).
func (m *Manager) succeedLocked(s *Session, old Token, r *store.Record) (successor Token, ok bool) {
	p := r.Predecessor
	if !p.Confirmed.IsZero() && s.opened.Sub(p.Confirmed) > grace {
		m.endReusedLocked(s, r)
		return Token{}, false
	}
	successor, err := openSuccessor(old, p.Successor, r.Handle)
	if err != nil {
		m.emit(s, Event{Type: EventUnreadable, Handle: r.Handle, Subject: r.Subject, Cause: err.Error()})
		return Token{}, false
	}
	s.setToken = s.transport == store.Cookie
	return successor, true
}

// endReusedLocked ends a session of which a superseded token was used.
func (m *Manager) endReusedLocked(s *Session, r *store.Record) {
	ctx, cancel := m.detached(s.r.Context())
	defer cancel()
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Handle: r.Handle, Cause: CauseReuse, Now: s.opened,
	})
	if err != nil {
		m.emit(s, Event{Type: EventStoreFailed, Handle: r.Handle, Cause: err.Error()})
	}
	m.emit(s, Event{Type: EventReuse, Handle: r.Handle, Subject: r.Subject})
	if len(done.Changed) > 0 {
		m.emit(s, Event{Type: EventExpired, Handle: r.Handle, Subject: r.Subject, Cause: CauseReuse})
	}
	m.channels.end(r.Handle)
	if h, _ := seriesOf(r); !h.IsZero() { // who has the one cookie can have the other
		if err := m.endSeriesLocked(ctx, s, h, CauseReuse, ""); err != nil {
			m.emit(s, Event{Type: EventStoreFailed, Handle: h, Cause: err.Error()})
		}
	}
	s.status, s.err = statusEnded, ErrEnded
}

// CauseReuse is why a session ended of which a superseded token was used.
const CauseReuse = "reuse"

// rotationDue reports whether the token has been in use for long enough. While
// the predecessor of an earlier rotation may still arrive, there is no further
// one.
func (m *Manager) rotationDue(r *store.Record, now time.Time) bool {
	if m.cfg.InsecureNoRotation || now.Sub(r.Rotated) < m.cfg.Limits.Rotate {
		return false
	}
	p := r.Predecessor
	return p == nil || !p.Confirmed.IsZero() && now.Sub(p.Confirmed) > grace
}

// maintainLocked makes the changes that are due in the head of the record, which
// is about to be swapped: the first use of a successor, the client's new
// address, the time, and a rotation if a cookie can still be sent. It returns the
// new token if there is one.
func (s *Session) maintainLocked(r *store.Record, key dataKey) (rotated Token, ok bool) {
	if s.confirm && r.Predecessor != nil {
		p := *r.Predecessor
		p.Confirmed = s.opened
		r.Predecessor = &p
	}
	if s.remember != nil && s.remember.confirmed {
		r.Extensions = confirmSeries(r.Extensions)
	}
	r.Last = s.originLocked()
	if !s.notActivity {
		r.Touch(s.opened)
	}
	if !s.mayRotateLocked(r) {
		return Token{}, false
	}
	rotated = s.token.successor()
	r.Predecessor = &store.Predecessor{
		Verifier: r.Verifier, Successor: sealSuccessor(s.token, rotated, r.Handle),
	}
	r.Verifier, r.Rotated = rotated.verifier(r.Handle), s.opened
	r.Wrap = sealKey(rotated, key, r, s.m.keys)
	return rotated, true
}

// upkeep makes the changes that are due although the request stored nothing. It
// is not the user's business if that fails: the next request tries again.
func (s *Session) upkeep(ctx context.Context) {
	s.mu.Lock()
	due, touch := s.upkeepDueLocked(), s.touchDueLocked()
	// A client that has moved is written down with the touch that is due anyway.
	moved := touch && s.record.Last != s.originLocked()
	h, seen, urgent := s.record.Handle, s.opened, s.touchUrgentLocked()
	s.mu.Unlock()
	if due || moved {
		_ = s.store(ctx, nil) // writes the touch too, unless somebody else was faster
		s.mu.Lock()
		touch = s.touchDueLocked()
		s.mu.Unlock()
	}
	if touch {
		s.m.touches.add(h, seen, urgent)
	}
}

// upkeepDueLocked reports whether the head of the record has to change: a
// successor to confirm, its own or that of its series, or a rotation.
func (s *Session) upkeepDueLocked() bool {
	if s.status != statusLive || s.record.LockedAt(s.opened) {
		return false
	}
	return s.confirm || s.remember != nil && s.remember.confirmed && s.unconfirmedLocked() || s.mayRotateLocked(&s.record)
}

func (s *Session) upkeepDue() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.upkeepDueLocked()
}

// mayRotateLocked reports whether a rotation is due and the new token can reach
// the client. Responses to Upgrade requests never rotate: many clients drop
// their cookies.
func (s *Session) mayRotateLocked(r *store.Record) bool {
	return !s.sent && !s.upgrade && !s.outrun && !s.setToken && s.transport == store.Cookie && s.m.rotationDue(r, s.opened)
}
