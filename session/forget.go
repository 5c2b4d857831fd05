package session

import (
	"context"
	"errors"
	"slices"

	"cloakroom.example/session/store"
)

// formerSeries is what a browser was remembered by until now.
type formerSeries struct {
	handles []store.Handle // of the session's series, and of that whose token was presented
	cookie  bool           // there is a cookie to be removed
}

// formerSeries finds out what the browser of the request is remembered by: what
// its session says, and what its cookie proves.
func (s *Session) formerSeries(ctx context.Context) (formerSeries, error) {
	if s.m == nil {
		return formerSeries{}, nil
	}
	ctx, cancel := s.m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.formerSeriesLocked(ctx)
}

func (s *Session) formerSeriesLocked(ctx context.Context) (former formerSeries, err error) {
	if s.status == statusLive {
		if h, _ := seriesOf(&s.record); !h.IsZero() {
			former.handles = append(former.handles, h)
		}
	}
	if !s.m.cfg.Remember.on() || s.transport != store.Cookie {
		return former, nil
	}
	token, result := cookieToken(s.r, s.m.rememberCookie())
	former.cookie = result != foundNothing
	if result != foundOne {
		return former, nil
	}
	h := token.handle(s.m.series)
	if slices.Contains(former.handles, h) {
		return former, nil
	}
	// A handle is no secret: the token has to prove itself, or anybody could end
	// what others are remembered by.
	r, err := s.m.store.Load(store.Fresh(ctx), s.m.seriesKey(h), nil)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrFormat):
		return former, nil
	case err != nil:
		return former, fromStore("loading remembered login", err)
	}
	if current, previous := matches(&r, token); !r.Ended() && (current || previous) {
		former.handles = append(former.handles, h)
	}
	return former, nil
}

// matches reports whether the token is the current one of the record, or the one
// before.
func matches(r *store.Record, t Token) (current, previous bool) {
	v := t.verifier(r.Handle)
	current = r.Verifier.Equal(v)
	return current, !current && r.Predecessor != nil && r.Predecessor.Verifier.Equal(v)
}

// endSeriesLocked ends a remembered login and then its sessions: in this order,
// and with the time of the second step read after the first, so that a session
// that is being made from it meanwhile is either ended or refused.
func (m *Manager) endSeriesLocked(ctx context.Context, s *Session, h store.Handle, cause, by string) error {
	if _, err := m.endRecord(ctx, s, h, cause, by); err != nil {
		return err
	}
	_, err := m.endSessionsOfLocked(ctx, s, h, cause, by)
	return err
}

// endRecord ends the record of a remembered login, and reports whether it was
// alive until now.
func (m *Manager) endRecord(ctx context.Context, s *Session, h store.Handle, cause, by string) (bool, error) {
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.series, Handle: h, Cause: cause, By: by, Now: m.now(), Clock: m.clock,
	})
	if err != nil {
		return false, fromStore("forgetting", err)
	}
	m.reportForgotten(s, done.Changed, "", cause, by)
	return len(done.Changed) > 0, nil
}

func (m *Manager) reportForgotten(s *Session, handles []store.Handle, subject, cause, by string) {
	for _, h := range handles {
		m.emit(s, Event{Type: EventForgotten, Handle: h, Subject: subject, Initiator: by, Cause: cause})
	}
}

// endSessionsOfLocked ends the sessions of a remembered login that has ended, and
// returns how many. s may be nil, as for emit.
func (m *Manager) endSessionsOfLocked(ctx context.Context, s *Session, h store.Handle, cause, by string) (int, error) {
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Link: store.Link(h), Cause: cause, By: by, Now: m.now(), Clock: m.clock,
	})
	if err != nil {
		return 0, fromStore("forgetting", err)
	}
	for _, ended := range done.Changed {
		m.channels.end(ended)
		m.emit(s, Event{Type: EventExpired, Handle: ended, Initiator: by, Cause: cause})
		if s != nil && s.status == statusLive && s.record.Handle == ended {
			s.status, s.err = statusEnded, ErrEnded
		}
	}
	return len(done.Changed), nil
}

// forgetLogins carries a revocation out on the remembered logins, before it is
// carried out on the sessions: what is remembered could bring them back. It does
// so also while nothing is remembered here: other nodes may remember, and this one
// may do so again. It returns those whose sessions have to end too, and whether
// the handle was that of a remembered login.
func (m *Manager) forgetLogins(ctx context.Context, from *Session, v store.Revocation) (series store.Handle, named bool, err error) {
	if !v.Handle.IsZero() {
		return m.forgetNamed(ctx, from, v)
	}
	v.Namespace, v.Now = m.series, m.now()
	done, err := m.store.Revoke(ctx, v)
	if err != nil {
		return store.Handle{}, false, fromStore("revoking", err)
	}
	m.reportForgotten(from, done.Changed, v.Subject, v.Cause, v.By)
	return store.Handle{}, false, nil
}

// forgetNamed ends the remembered login that a handle names: that of a session, or
// its own. A session that has ended meanwhile still names the one that it would come
// back from, or already has.
func (m *Manager) forgetNamed(ctx context.Context, from *Session, v store.Revocation) (series store.Handle, named bool, err error) {
	r, err := m.store.Load(store.Fresh(ctx), store.Key{Namespace: m.cfg.Namespace, Handle: v.Handle}, nil)
	switch {
	case err == nil && r.Ended():
		if series, err = m.seriesAmong(ctx, r.Links); err != nil {
			return store.Handle{}, false, err
		}
	case err == nil:
		series, _ = seriesOf(&r)
	case errors.Is(err, store.ErrNotFound):
		series = v.Handle
	case !errors.Is(err, store.ErrFormat): // a session that cannot be read can be ended
		return store.Handle{}, false, fromStore("revoking", err)
	}
	if series.IsZero() {
		return store.Handle{}, false, nil
	}
	ended, err := m.endRecord(ctx, from, series, v.Cause, v.By)
	return series, ended && (series == v.Handle || r.Ended()), err
}

// seriesAmong returns which of an ended session's links names a remembered login,
// zero if none does: its links are what is left of it.
func (m *Manager) seriesAmong(ctx context.Context, links []store.Link) (store.Handle, error) {
	for _, l := range links {
		_, err := m.store.Load(store.Fresh(ctx), m.seriesKey(store.Handle(l)), nil)
		switch {
		case err == nil, errors.Is(err, store.ErrFormat): // what cannot be read can be ended
			return store.Handle(l), nil
		case !errors.Is(err, store.ErrNotFound):
			return store.Handle{}, fromStore("loading remembered login", err)
		}
	}
	return store.Handle{}, nil
}

// forgetEndedLocked ends what ended sessions would come back from, and what has come back
// from it since.
func (m *Manager) forgetEndedLocked(ctx context.Context, s *Session, ended []store.Handle, cause, by string) error {
	for _, h := range ended {
		r, err := m.store.Load(store.Fresh(ctx), store.Key{Namespace: m.cfg.Namespace, Handle: h}, nil)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return fromStore("forgetting", err)
		}
		series, err := m.seriesAmong(ctx, r.Links)
		if err == nil && !series.IsZero() {
			err = m.endSeriesLocked(ctx, s, series, cause, by)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// forgetEvicted ends what is remembered of sessions that had to go for others:
// otherwise each would come back, and another one go. What is left of an ended
// session is its links; the handles of series are among them. That of the request's
// session goes on: what had to go was the session from before.
func (m *Manager) forgetEvicted(ctx context.Context, s *Session, evicted []store.Handle) {
	if !m.cfg.Remember.on() {
		return
	}
	own, _ := seriesOf(&s.record)
	for _, h := range evicted {
		r, err := m.store.Load(store.Fresh(ctx), store.Key{Namespace: m.cfg.Namespace, Handle: h}, nil)
		for _, l := range r.Links {
			if err == nil && store.Handle(l) != own {
				_, err = m.endRecord(ctx, s, store.Handle(l), store.CauseLimit, "")
			}
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			m.emit(s, Event{Type: EventStoreFailed, Handle: h, Cause: err.Error()})
		}
	}
}

// renewSeries gives the browser of a session another token of its series, and
// makes the ones before worthless at once, whoever has copies. It returns the
// series; without a valid token in the request there is none to spare.
func (m *Manager) renewSeries(ctx context.Context, s *Session) store.Handle {
	if !m.cfg.Remember.on() {
		return store.Handle{}
	}
	ctx, cancel := m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	token, result := cookieToken(s.r, m.rememberCookie())
	own, _ := seriesOf(&s.record)
	if result != foundOne || own.IsZero() || token.handle(m.series) != own {
		return store.Handle{}
	}
	for range storeAttempts {
		v, err := m.openSeries(ctx, s, token)
		if err != nil {
			return store.Handle{}
		}
		r, now := v.record, m.now()
		v.token = v.token.successor()
		r.Verifier, r.Predecessor, r.Rotated = v.token.verifier(own), nil, now
		r.Wrap = sealKey(v.token, v.key.dataKey, &r, m.keys)
		r.Parts = nil // stay as they are
		err = m.store.Swap(ctx, r, now)
		if err == nil {
			s.sendSeriesLocked(v, false)
			return own
		}
		if !errors.Is(err, store.ErrConflict) {
			m.emit(s, Event{Type: EventStoreFailed, Handle: own, Cause: err.Error()})
			return store.Handle{}
		}
	}
	return store.Handle{}
}
