package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// load finds out whose request this is. It never fails: what cannot be used
// leaves the request without a session, and the reason goes to the observers.
func (m *Manager) load(s *Session) {
	var token Token
	var result found
	if s.transport == store.Bearer {
		token, result = bearerToken(s.r)
	} else {
		token, result = cookieToken(s.r, m.cfg.CookieName)
	}
	switch result {
	case foundNothing:
		s.vacant = true
		return
	case foundConflict:
		m.emit(s, Event{Type: EventCookieConflict})
		return
	case foundMalformed:
		m.emit(s, Event{Type: EventUnknownToken, Cause: "malformed"})
		return
	}
	ctx, cancel := m.bounded(s.r.Context())
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	m.loadLocked(ctx, s, token)
}

// bounded limits a store operation to Config.StoreTimeout. A store in this
// process has nothing to wait for.
func (m *Manager) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if m.local {
		return ctx, func() {}
	}
	if m.copies {
		return newPatience(ctx, m.cfg.StoreTimeout)
	}
	return context.WithTimeout(ctx, m.cfg.StoreTimeout)
}

// loadLocked loads the session of a well-formed token.
func (m *Manager) loadLocked(ctx context.Context, s *Session, token Token) {
	k := store.Key{Namespace: m.cfg.Namespace, Handle: token.handle(m.cfg.Namespace)}
	if m.stepwise != nil {
		// Into its place: copying so many pointers is work for the collector.
		if err := m.stepwise.LoadHead(ctx, k, &s.record); err != nil {
			m.notLoadedLocked(s, k.Handle, err)
			return
		}
		m.acceptLocked(s, token, &s.record)
		if s.status != statusLive {
			s.record = store.Record{}
		}
		return
	}
	r, err := m.store.Load(ctx, k, m.parts)
	if err != nil {
		m.notLoadedLocked(s, k.Handle, err)
		return
	}
	s.whole = true
	m.acceptLocked(s, token, &r)
}

// notLoadedLocked leaves the request without a session because of an error.
func (m *Manager) notLoadedLocked(s *Session, h store.Handle, err error) {
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.vacant = true
		m.emit(s, Event{Type: EventUnknownToken, Handle: h, Cause: "unknown"})
	case errors.Is(err, store.ErrFormat):
		m.emit(s, Event{Type: EventUnreadable, Handle: h, Cause: err.Error()})
	default:
		s.status, s.err = statusUnavailable, fmt.Errorf("session: loading: %w", ErrUnavailable)
		if s.r.Context().Err() == nil {
			m.emit(s, Event{Type: EventStoreFailed, Handle: h, Cause: err.Error()})
		}
	}
}

// acceptLocked decides whether the token opens the record. Every refusal leaves
// the request anonymous: an attacker must not learn that the handle exists.
func (m *Manager) acceptLocked(s *Session, token Token, r *store.Record) {
	verifier := token.verifier(r.Handle)
	current := r.Verifier.Equal(verifier)
	previous := !current && r.Predecessor != nil && r.Predecessor.Verifier.Equal(verifier)
	if m.copies && !s.confirmed && !s.believesLocked(r, current) {
		m.askLocked(s, token)
		return
	}
	switch {
	case !current && !previous:
		m.emit(s, Event{Type: EventUnknownToken, Handle: r.Handle, Cause: "wrong secret"})
		return
	case r.Transport != s.transport || r.State == store.Pending:
		m.emit(s, Event{Type: EventUnknownToken, Handle: r.Handle, Cause: "wrong kind"})
		return
	case r.Ended():
		m.refuseEndedLocked(s, r)
		return
	}
	if seen := m.touches.pending(r.Handle); seen.After(r.Seen) {
		r.Seen = seen
	}
	if _, expired := r.Expired(s.opened); expired {
		m.expireLocked(s, r)
		return
	}
	if m.refuseCritical(s, r) {
		return
	}
	if previous {
		if token, previous = m.succeedLocked(s, token, r); !previous {
			return
		}
	}
	if !current {
		verifier = token.verifier(r.Handle)
	}
	m.adoptLocked(s, token, verifier, r, current)
}

// refuseCritical reports whether the record says that it must not be used by who
// does not know one of its extensions. We know none.
func (m *Manager) refuseCritical(s *Session, r *store.Record) bool {
	i := slices.IndexFunc(r.Extensions, func(e store.Extension) bool { return e.Critical })
	if i < 0 {
		return false
	}
	m.emit(s, Event{Type: EventUnreadable, Handle: r.Handle, Cause: "unknown critical extension " + r.Extensions[i].Name})
	return true
}

// adoptLocked makes the record the session of the request, once its facts have
// proved to be those it was created with.
func (m *Manager) adoptLocked(s *Session, token Token, verifier store.Verifier, r *store.Record, current bool) {
	var key *unwrappedKey
	if !m.local {
		var err error
		if key, err = m.unwrapFor(token, verifier, r); err != nil {
			m.emit(s, Event{Type: EventUnreadable, Handle: r.Handle, Subject: r.Subject, Cause: err.Error()})
			// The row was tampered with; only the browser that holds the
			// current token comes here, so nothing newer can be erased. What a
			// newer version of us sealed is left alone.
			s.clear = errors.Is(err, errSeal) && current && s.transport == store.Cookie
			s.setToken = false
			return
		}
	}
	s.status, s.err = statusLive, nil
	s.token = token
	if r != &s.record {
		s.record = *r
	}
	s.key, s.verified = key, current
	s.dropValuesLocked()
	s.confirm = current && r.Predecessor != nil && r.Predecessor.Confirmed.IsZero()
	if r.LockedAt(s.opened) && !r.Locked {
		m.noteLockLocked(s)
	}
}

// refuseEndedLocked deals with the token of a session that has ended. For a
// short while such requests are late ones that were sent before the end; they
// are refused quietly, and must not set a cookie that could erase a newer one
// (I3). Later they are reported, and whoever sends them may begin anew.
func (m *Manager) refuseEndedLocked(s *Session, r *store.Record) {
	late := s.opened.Sub(r.End.At) < grace
	s.vacant = !late || ofTime(r.End.Cause)
	if late {
		s.status, s.err = statusEnded, ErrEnded
		return
	}
	m.emit(s, Event{Type: EventUseAfterExpire, Handle: r.Handle, Subject: r.Subject, Initiator: r.End.By, Cause: r.End.Cause})
}

// expireLocked ends a session that has run out. Of all that notice it, the one
// whose revocation changes the record reports it.
func (m *Manager) expireLocked(s *Session, r *store.Record) {
	s.vacant = true
	ctx, cancel := m.detached(s.r.Context())
	defer cancel()
	cause, _ := r.Expired(s.opened)
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Handle: r.Handle, OnlyExpired: true, Now: s.opened,
	})
	if err != nil {
		// It has expired whether or not that could be written down.
		m.emit(s, Event{Type: EventStoreFailed, Handle: r.Handle, Cause: err.Error()})
		return
	}
	if len(done.Changed) > 0 {
		m.emit(s, Event{Type: EventExpired, Handle: r.Handle, Subject: r.Subject, Cause: cause})
	}
	m.channels.end(r.Handle)
}

// noteLockLocked writes down that the session has locked itself; the one whose
// write changes the record reports it.
func (m *Manager) noteLockLocked(s *Session) {
	ctx, cancel := m.detached(s.r.Context())
	defer cancel()
	h := s.record.Handle
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Handle: h, Effect: store.EffectLock, Cause: store.CauseIdle, Now: s.opened,
	})
	if err == nil && len(done.Changed) > 0 {
		m.emit(s, Event{Type: EventLocked, Handle: h, Subject: s.record.Subject, Cause: store.CauseIdle})
	}
	m.channels.end(h)
}

// reload is reloadLocked with the lock.
func (m *Manager) reload(ctx context.Context, s *Session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return m.reloadLocked(ctx, s)
}

// reloadLocked loads the session again, after somebody else has changed it.
func (m *Manager) reloadLocked(ctx context.Context, s *Session) error {
	token := s.token
	r, err := m.store.Load(m.fresh(ctx), s.record.Key(), m.parts)
	if err != nil {
		if errors.Is(err, store.ErrNotFound) {
			s.status, s.err = statusEnded, ErrEnded
			return ErrEnded
		}
		return fromStore("reloading", err)
	}
	s.whole, s.confirmed = true, true
	set, confirm := s.setToken, s.confirm
	s.status, s.err = statusEnded, ErrEnded // unless it is accepted again
	if s.sameFactsLocked(token, &r) {
		// Rotated more than once while this request ran. It has proved itself
		// when it began, and the facts are those that were proved then.
		s.status, s.err, s.record, s.verified, s.confirm, s.setToken, s.outrun = statusLive, nil, r, false, false, false, true
		s.dropValuesLocked()
		return nil
	}
	m.acceptLocked(s, token, &r)
	s.setToken = s.setToken || set && s.status == statusLive
	// The client has presented the successor only if it did so at first: what
	// we hold now can be the answer to the predecessor.
	s.confirm = s.confirm && confirm
	if s.status != statusLive {
		return ErrEnded
	}
	return nil
}

// sameFactsLocked reports whether the token has been superseded more than once in
// a session that is otherwise the one this request was admitted to.
func (s *Session) sameFactsLocked(token Token, r *store.Record) bool {
	if s.key == nil && s.openKeyLocked() != nil {
		return false
	}
	v := token.verifier(r.Handle)
	_, expired := r.Expired(s.opened)
	known := r.Verifier.Equal(v) || r.Predecessor != nil && r.Predecessor.Verifier.Equal(v)
	return !known && !r.Ended() && !expired && !s.m.refuseCritical(s, r) &&
		bytes.Equal(appendFacts(nil, r), appendFacts(nil, &s.record))
}

// now returns the time, later than any it has returned before, so that what
// happens one after the other can be told apart. A clock that was set back by
// more than the tolerated skew is believed.
func (m *Manager) now() time.Time {
	for {
		t, last := m.cfg.Now().UnixNano(), m.last.Load()
		if t <= last && last-t < int64(store.ClockSkew) {
			t = last + 1
		}
		if m.last.CompareAndSwap(last, t) {
			return time.Unix(0, t).UTC()
		}
	}
}
