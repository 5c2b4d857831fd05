package session

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// Verdict is what Config.Admit decides about a request.
type Verdict uint8

// The verdicts.
const (
	// Allow lets the request pass.
	Allow Verdict = iota
	// StepUp lets it pass, but nothing that needs fresh authentication, see
	// [Manager.RequireFresh], until the user has re-authenticated.
	StepUp
	// Lock locks the session: it answers nothing until the user has
	// re-authenticated.
	Lock
	// End ends the session.
	End
)

// causeAdmission is why Admit ended or locked a session.
const causeAdmission = "admission"

// admit asks Config.Admit about a signed-in session. What it decides holds even
// if it cannot be stored: then the request has no session (I11).
func (m *Manager) admit(s *Session) {
	if m.cfg.Admit == nil {
		return
	}
	snap, ok := s.Snapshot()
	if !ok || snap.State != store.Active || snap.Locked {
		return
	}
	v := store.Revocation{Namespace: m.cfg.Namespace, Handle: snap.Handle, Cause: causeAdmission, Now: m.now()}
	e := Event{Type: EventExpired, Handle: snap.Handle, Subject: snap.Subject, Cause: causeAdmission}
	switch m.cfg.Admit(s.r, snap) {
	case Allow:
		return
	case StepUp:
		s.mu.Lock()
		s.stepUp = true
		s.mu.Unlock()
		return
	case Lock:
		v.Effect, e.Type = store.EffectLock, EventLocked
	}
	ctx, cancel := m.detached(s.r.Context())
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	done, err := m.endAdmittedLocked(ctx, s, v, snap.Series)
	m.channels.end(snap.Handle)
	if err != nil {
		s.status, s.err = statusUnavailable, fromStore("admitting", err)
		m.emit(s, Event{Type: EventStoreFailed, Handle: snap.Handle, Cause: err.Error()})
		return
	}
	if len(done.Changed) > 0 {
		m.emit(s, e)
	}
	if v.Effect == store.EffectLock {
		s.record.Locked = true
		return
	}
	s.status, s.err = statusEnded, ErrEnded
}

// endAdmittedLocked ends or locks a session, and ends what it would come back from:
// the lock too would be over when the session has run out.
func (m *Manager) endAdmittedLocked(ctx context.Context, s *Session, v store.Revocation, series Handle) (store.Revoked, error) {
	if !series.IsZero() {
		if _, err := m.endRecord(ctx, s, series, v.Cause, ""); err != nil {
			return store.Revoked{}, err
		}
	}
	done, err := m.store.Revoke(ctx, v)
	if err == nil && v.Effect == store.EffectEnd && !series.IsZero() {
		_, err = m.endSessionsOfLocked(ctx, s, series, v.Cause, "")
	}
	return done, err
}

// CheckLogin returns nil if somebody is signed in. Errors: ErrLoginRequired,
// ErrLocked, ErrUnavailable, ErrOutside.
func (s *Session) CheckLogin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subjectLocked() != "" {
		return nil
	}
	switch s.status {
	case statusUnavailable, statusOutside:
		return s.usableLocked()
	case statusLive:
		if s.record.LockedAt(s.opened) {
			return ErrLocked
		}
	}
	return ErrLoginRequired
}

// CheckCurrent is [Session.CheckLogin], but takes no copy's word for it: where the
// store may answer from copies, it asks the engine, once in a request. Then nobody
// passes whose session another node has ended a moment ago. Without copies it costs
// nothing more. Control: admin-revoke.
func (s *Session) CheckCurrent() error {
	if err := s.CheckLogin(); err != nil {
		return err
	}
	if err := s.confirmRecord(); err != nil && !errors.Is(err, ErrEnded) {
		return err
	}
	return s.CheckLogin()
}

// CheckFresh returns nil if the user has authenticated within the last d, in this
// session and not in one that it was restored from. It is
// decided from the facts each time, never remembered, and never from a copy, see
// [Session.CheckCurrent]. Errors: as CheckLogin, and ErrStale. Control: step-up.
func (s *Session) CheckFresh(d time.Duration) error {
	if err := s.CheckCurrent(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stepUp || slices.ContainsFunc(s.record.Assurance.Methods, isRemember) || s.opened.Sub(s.record.Assurance.At) > d {
		return ErrStale
	}
	return nil
}

// RequireLogin passes on requests of signed-in users and refuses the others
// through Config.Denied.
func (m *Manager) RequireLogin(next http.Handler) http.Handler {
	return m.require((*Session).CheckLogin, next)
}

// RequireCurrent is [Manager.RequireLogin] with [Session.CheckCurrent]: for what
// administrators do, and whatever else must not happen once more after a session
// was revoked on another node.
func (m *Manager) RequireCurrent(next http.Handler) http.Handler {
	return m.require((*Session).CheckCurrent, next)
}

// RequireFresh passes on requests of users who have authenticated within the
// last d and refuses the others through Config.Denied.
func (m *Manager) RequireFresh(d time.Duration, next http.Handler) http.Handler {
	return m.require(func(s *Session) error { return s.CheckFresh(d) }, next)
}

func (m *Manager) require(check func(*Session) error, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := check(m.From(r.Context())); err != nil {
			m.Deny(w, r, err)
			return
		}
		next.ServeHTTP(w, r)
	})
}
