package session

import (
	"context"

	"cloakroom.example/session/store"
)

// Logout signs out: the session has ended in the store when Logout returns, for
// every copy of its token, on every node; the cookie is cleared, and the browser
// is told to clear its cache and storage for this site. What this request wanted
// to change is dropped. Without a session there is nothing to do. Errors:
// ErrUnavailable and ErrUnknownOutcome, with the cookie left alone; ErrCSRF.
// Controls: logout-server-side, logout-client-cleanup.
func (m *Manager) Logout(ctx context.Context) error {
	s := m.From(ctx)
	m.endPending(ctx, s)
	ctx, cancel := m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.m == nil:
		return ErrOutside
	case s.status == statusUnavailable:
		return s.err
	case s.csrfOwed:
		return ErrCSRF
	case s.status != statusLive:
		return nil
	}
	h, subject := s.record.Handle, s.record.Subject
	_, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Handle: h, Cause: CauseLogout, By: subject, Now: m.now(),
	})
	if err != nil {
		return fromStore("logging out", err)
	}
	m.emit(s, Event{Type: EventLogout, Handle: h, Subject: subject, Initiator: subject})
	m.channels.end(h)
	s.forgetLocked()
	s.clear, s.clearSite = true, true
	s.renewCSRFLocked()
	return nil
}

// CauseLogout is why a session ended whose user signed out.
const CauseLogout = "logout"

// forgetLocked makes the request anonymous.
func (s *Session) forgetLocked() {
	s.status, s.err = statusNone, nil
	s.token, s.key, s.record = Token{}, dataKey{}, store.Record{}
	s.values, s.valuesOpen = nil, false
	s.changes, s.reads = nil, nil
	s.setToken, s.confirm, s.stepUp = false, false, false
}
