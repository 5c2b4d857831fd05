package session

import (
	"context"
	"errors"
	"fmt"

	"cloakroom.example/session/store"
)

// Logout signs out: the session has ended in the store when Logout returns, for
// every copy of its token, on every node; the cookie is cleared, and the browser
// is told to clear its cache and storage for this site. What this request wanted
// to change is dropped. Without a session there is nothing to do. Logout by GET is
// refused, because every image on the web can cause one. Errors: ErrUnavailable
// and ErrUnknownOutcome, with the cookie left alone; ErrCSRF.
// Controls: logout-server-side, logout-client-cleanup.
func (m *Manager) Logout(ctx context.Context) error {
	s := m.From(ctx)
	ctx, cancel := m.detached(ctx)
	defer cancel()
	if err := m.endSession(ctx, s); err != nil {
		return err
	}
	m.endPending(ctx, s)
	return nil
}

// endSession ends the session of the request.
func (m *Manager) endSession(ctx context.Context, s *Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.m == nil:
		return ErrOutside
	case s.status == statusUnavailable:
		return s.err
	case s.csrfOwed:
		return ErrCSRF
	case s.transport == store.Cookie && safeMethod(s.r.Method):
		// Any page of any site can make a browser send a GET.
		return fmt.Errorf("%w: logout must be a POST", ErrCSRF)
	}
	former, err := m.forgetBrowserLocked(ctx, s) // first, so that it brings nothing back
	if err != nil || s.status != statusLive {
		return err
	}
	h, subject := s.record.Handle, s.record.Subject
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Handle: h, Cause: CauseLogout, By: subject, Now: m.now(),
	})
	if err != nil {
		return fromStore("logging out", err)
	}
	if len(done.Changed) > 0 {
		m.emit(s, Event{Type: EventLogout, Handle: h, Subject: subject, Initiator: subject})
		m.channels.end(h)
	}
	successors := 0 // came of the remembered login in the meantime
	for _, series := range former.handles {
		n, err := m.endSessionsOfLocked(ctx, s, series, CauseLogout, subject)
		if err != nil {
			return err
		}
		successors += n
	}
	if len(done.Changed) == 0 {
		return m.alreadyEndedLocked(ctx, s, successors > 0)
	}
	s.forgetLocked()
	s.clear, s.clearSite = s.transport == store.Cookie, s.transport == store.Cookie
	if former.cookie {
		s.rememberLocked().clear = true
	}
	s.renewCSRFLocked()
	return nil
}

// forgetBrowserLocked ends what the browser is remembered by. The sessions of it
// have still to be ended, if there is one in this request.
func (m *Manager) forgetBrowserLocked(ctx context.Context, s *Session) (formerSeries, error) {
	former, err := s.formerSeriesLocked(ctx)
	for _, h := range former.handles {
		if err == nil {
			_, err = m.endRecord(ctx, s, h, CauseLogout, s.initiatorLocked())
		}
		if err == nil && s.status != statusLive {
			s.rememberLocked().clear = true // it was the cookie that proved itself
			_, err = m.endSessionsOfLocked(ctx, s, h, CauseLogout, "")
		}
	}
	return former, err
}

// alreadyEndedLocked deals with a logout that came second. The cookie is left
// alone: the browser may hold a newer one. If the session goes on under another
// token, and that could not be ended with what is remembered, the user has to be
// told that he is still signed in.
func (m *Manager) alreadyEndedLocked(ctx context.Context, s *Session, successorToo bool) error {
	r, err := m.store.Load(m.fresh(ctx), s.record.Key(), nil)
	s.forgetLocked()
	s.status, s.err = statusEnded, ErrEnded
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case err != nil:
		return fromStore("logging out", err)
	case r.End.Cause == store.CauseRenewed && !successorToo:
		return ErrEnded
	}
	return nil
}

// CauseLogout is why a session ended whose user signed out.
const CauseLogout = "logout"

// forgetLocked makes the request anonymous.
func (s *Session) forgetLocked() {
	s.status, s.err = statusNone, nil
	s.token, s.record = Token{}, store.Record{}
	s.key = nil
	s.dropValuesLocked()
	s.dropListsLocked()
	s.setToken, s.confirm, s.stepUp, s.remember = false, false, false, nil
	s.confirmed = false
}
