package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// restore makes a session from a remembered login, for a request that has none.
// Requests to which no cookie can be given do not, nor what is no activity of the
// user: a page that polls must not keep anybody signed in. What cannot be used
// leaves the request without a session, and the cookies alone. Control:
// remember-me.
func (m *Manager) restore(s *Session) {
	if !s.vacant || !m.cfg.Remember.on() || s.transport != store.Cookie || s.upgrade || s.notActivity {
		return
	}
	token, result := cookieToken(s.r, m.rememberCookie())
	switch result {
	case foundNothing:
		return
	case foundConflict:
		m.emit(s, Event{Type: EventCookieConflict, Cause: MethodRemember})
		return
	case foundMalformed:
		m.emit(s, Event{Type: EventUnknownToken, Cause: "malformed remembered login"})
		return
	}
	a := restoration{m: m, s: s, presented: token}
	ctx := s.r.Context()
	for attempt := range restoreAttempts {
		err := a.attempt(ctx)
		if !errors.Is(err, errRetry) {
			a.settle(err)
			return
		}
		if err := pause(ctx, attempt+1); err != nil {
			a.settle(err)
			return
		}
	}
	a.settle(fmt.Errorf("%w: others changed the remembered login %d times", ErrConflict, restoreAttempts))
}

// restoreAttempts bounds how often parallel requests with one token look again
// for what the others have made, limitAttempts how often if there is no room.
const (
	restoreAttempts = 24
	limitAttempts   = 8
)

// errNoSeries says that nothing is remembered; why was reported.
var errNoSeries = errors.New("session: no remembered login")

// restoration is the making of a session from a remembered login. Of parallel
// requests with the same token, one replaces the token and names the session that
// is to be; any of them makes it, and all get it.
type restoration struct {
	m         *Manager
	s         *Session
	presented Token
	identity  *Identity // once Readmit was asked
	full      int       // how often there was no room
}

// settle notes what became of it.
func (a *restoration) settle(err error) {
	s := a.s
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case err == nil, errors.Is(err, errNoSeries):
	case errors.Is(err, ErrEnded), errors.Is(err, ErrRevoked):
		// A late request, perhaps: it must not get a session of its own, whose
		// cookie could erase a newer one.
		s.status, s.err = statusEnded, ErrEnded
	case errors.Is(err, ErrLimit):
		a.m.emit(s, Event{Type: EventLimit, Subject: a.identity.Subject, Initiator: a.identity.Subject, Cause: MethodRemember})
	default:
		s.status, s.err = statusUnavailable, fmt.Errorf("session: restoring: %w", ErrUnavailable)
		if s.r.Context().Err() == nil {
			a.m.emit(s, Event{Type: EventStoreFailed, Cause: err.Error()})
		}
	}
}

// attempt makes the session, or takes the one that another request has made. Its
// error is errRetry if others were faster.
func (a *restoration) attempt(ctx context.Context) error {
	v, next, err := a.look(ctx)
	if err != nil || next == nextNothing {
		return err
	}
	// Without the lock: this is the application's function.
	if err := a.readmit(ctx, v); err != nil {
		return err
	}
	ctx, cancel := a.m.detached(ctx)
	defer cancel()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	token, former, err := a.claimLocked(ctx, v, next)
	if err != nil {
		return err
	}
	for i := range former {
		if err := a.endFormer(ctx, former[i].Handle); err != nil {
			return err
		}
	}
	return a.createLocked(ctx, v, token)
}

// What is to be done after looking.
const (
	nextNothing = iota // the request has its session
	nextMint           // make a session with a token of our own
	nextCreate         // make the session that another request has named
)

// look opens the remembered login, and takes the session that was made from it if
// the presented token is the one it was made with.
func (a *restoration) look(ctx context.Context) (v *series, next int, err error) {
	ctx, cancel := a.m.detached(ctx)
	defer cancel()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if v, err = a.m.openSeries(ctx, a.s, a.presented); err != nil {
		return nil, nextNothing, err
	}
	if !v.previous {
		return v, nextMint, nil
	}
	token, ok, err := v.made()
	if err != nil {
		a.m.emit(a.s, Event{Type: EventUnreadable, Handle: v.record.Handle, Subject: v.record.Subject, Cause: err.Error()})
	}
	if !ok {
		return v, nextMint, nil
	}
	next, err = a.rejoinLocked(ctx, v, token)
	return v, next, err
}

// rejoinLocked takes the session that was last made from the series.
func (a *restoration) rejoinLocked(ctx context.Context, v *series, token Token) (next int, err error) {
	s, m := a.s, a.m
	k := store.Key{Namespace: m.cfg.Namespace, Handle: token.handle(m.cfg.Namespace)}
	r, err := m.store.Load(store.Fresh(ctx), k, m.parts)
	switch {
	case errors.Is(err, store.ErrNotFound) && s.opened.Sub(v.record.Seen) < grace:
		return nextCreate, nil // whoever has named it is about to, or was interrupted
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrFormat):
		return nextMint, nil
	case err != nil:
		return nextNothing, fromStore("restoring", err)
	case r.Ended() && r.End.Cause == store.CauseRenewed && s.opened.Sub(r.End.At) > grace:
		return nextNothing, m.endReusedSeries(ctx, s, &v.record)
	case r.Ended() && !ofTime(r.End.Cause):
		return nextNothing, ErrEnded
	case !r.Alive(s.opened):
		return nextMint, nil
	}
	if current, previous := matches(&r, token); !current && !previous {
		// Rotated twice since, as just before renewed: somebody has got the answer, and
		// keeps it from showing.
		return nextNothing, m.endReusedSeries(ctx, s, &v.record)
	}
	s.whole = true
	m.acceptLocked(s, token, &r)
	if s.status == statusLive {
		s.confirm, s.setToken = false, true
		s.sendSeriesLocked(v, true)
	}
	return nextNothing, nil
}

// ofTime reports whether a session has ended by itself.
func ofTime(cause string) bool { return cause == store.CauseIdle || cause == store.CauseAbsolute }

// readmit asks the application about the subject, once for each request.
func (a *restoration) readmit(ctx context.Context, v *series) error {
	if a.identity != nil {
		return nil
	}
	m, r := a.m, &v.record
	id, err := m.cfg.Remember.Readmit(ctx, snapshot(r, a.s.opened))
	switch {
	case errors.Is(err, ErrLoginRequired):
		return a.dismiss(ctx, v)
	case err != nil:
		// Not wrapped: it can be made of an error of ours that means something else here.
		return fmt.Errorf("readmitting: %v", err)
	case id.Subject != "" && id.Subject != r.Subject:
		return errors.New("readmitting: Remember.Readmit answers with another subject")
	}
	id.Subject, id.Methods, id.Level, id.Remember = r.Subject, nil, 0, false
	id.AuthenticatedAt, id.Began = r.Assurance.At, time.Time{}
	if err := m.checkIdentity(&id); err != nil {
		return fmt.Errorf("readmitting: %w", err)
	}
	id.Methods = []string{MethodRemember}
	if id.Label == "" {
		id.Label = r.Label
	}
	a.identity = &id
	return nil
}

// causeReadmit is why a remembered login ended that the application has not
// readmitted.
const causeReadmit = "not readmitted"

// dismiss ends a remembered login whose subject may not come back.
func (a *restoration) dismiss(ctx context.Context, v *series) error {
	ctx, cancel := a.m.detached(ctx)
	defer cancel()
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if err := a.m.endSeriesLocked(ctx, a.s, v.record.Handle, causeReadmit, ""); err != nil {
		return err
	}
	return errNoSeries
}

// claimLocked returns the token of the session that is to be, and those that were
// made before: they have no browser any more, and end. If no other request has named
// the session, it does so, and replaces the presented token.
func (a *restoration) claimLocked(ctx context.Context, v *series, next int) (made Token, former []store.Record, err error) {
	m, s := a.m, a.s
	before, err := m.store.List(ctx, store.Query{
		Namespace: m.cfg.Namespace, Link: store.Link(v.record.Handle), Now: m.now(),
	})
	if err != nil {
		return Token{}, nil, fromStore("restoring", err)
	}
	// The token must not be the way round a lock.
	if slices.ContainsFunc(before.Records, func(r store.Record) bool { return r.LockedAt(s.opened) }) {
		return Token{}, nil, errNoSeries
	}
	if next == nextCreate {
		made, _, err = v.made()
		// What is newer is this session, or was made by those who came after us.
		naming := v.record.Seen.Add(-store.ClockSkew)
		return made, slices.DeleteFunc(before.Records, func(r store.Record) bool { return !r.Created.Before(naming) }), err
	}
	made = newToken()
	now := m.now()
	err = m.store.Swap(ctx, v.rotate(made, now, s.originLocked(), m.keys), now)
	switch {
	case errors.Is(err, store.ErrConflict):
		return Token{}, nil, errRetry
	case errors.Is(err, store.ErrNotFound):
		return Token{}, nil, ErrEnded
	case err != nil:
		return Token{}, nil, fromStore("restoring", err)
	}
	v.record.Seen = now
	return made, before.Records, nil
}

func (a *restoration) endFormer(ctx context.Context, h store.Handle) error {
	m, subject := a.m, a.identity.Subject
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Handle: h, Cause: store.CauseRenewed, By: subject, Now: m.now(), Clock: m.clock,
	})
	if err != nil {
		return fromStore("restoring", err)
	}
	if len(done.Changed) > 0 {
		m.channels.end(h)
		m.emit(a.s, Event{Type: EventExpired, Handle: h, Subject: subject, Initiator: subject, Cause: store.CauseRenewed})
	}
	return nil
}

// createLocked makes the session with the given token.
func (a *restoration) createLocked(ctx context.Context, v *series, token Token) error {
	m, s := a.m, a.s
	now := m.now()
	r := a.record(v, now)
	key := m.sealNew(token, &r, store.Cookie, nil)
	created, err := m.store.Create(ctx, store.Creation{
		// The request began before the series was looked at: whatever was revoked
		// since then refuses the session.
		Record: r, Now: now, Max: m.cfg.MaxSessions, EvictOldest: m.cfg.EndOldest, Since: s.opened, Clock: m.clock,
	})
	switch {
	case errors.Is(err, store.ErrExists):
		return errRetry // another request has made it
	case errors.Is(err, store.ErrLimit) && a.full < limitAttempts:
		a.full++
		return errRetry // another request has made it, or is about to end the one before
	case err != nil:
		return fromStore("restoring", err)
	}
	s.adoptNewLocked(token, key, r, nil)
	s.sendSeriesLocked(v, true)
	m.emit(s, Event{Type: EventRestored, Handle: v.record.Handle, Subject: r.Subject, Initiator: r.Subject})
	m.emit(s, Event{Type: EventCreated, Handle: r.Handle, Subject: r.Subject, Initiator: r.Subject, Cause: MethodRemember})
	s.reportEvictedLocked(ctx, created.Evicted, r.Subject)
	return nil
}

// record returns the record of the session, without what its token gives it.
func (a *restoration) record(v *series, now time.Time) store.Record {
	id := a.identity
	r := store.Record{
		State: store.Active, Subject: id.Subject, Assurance: id.assurance(),
		Created: now, Seen: now, Rotated: now,
		Idle: id.Idle, Absolute: id.Absolute, Deadline: now.Add(id.Absolute),
		First: a.s.originLocked(), Last: a.s.originLocked(), Label: id.Label,
		Extensions: []store.Extension{seriesExtension(v.record.Handle, false)},
	}
	if r.Deadline.After(v.record.Deadline) {
		r.Deadline = v.record.Deadline
	}
	// Whoever revokes what the login was linked to means this session too.
	r.Links = append(slices.Clone(v.record.Links), store.Link(v.record.Handle))
	for _, l := range a.m.linksOf(id.Links) {
		if !slices.Contains(r.Links, l) {
			r.Links = append(r.Links, l)
		}
	}
	return r
}

// unconfirmedLocked reports whether the session was restored by an earlier request,
// and the series does not know yet that the answer has arrived.
func (s *Session) unconfirmedLocked() bool {
	if s.status != statusLive || len(s.record.Extensions) == 0 || s.remember != nil && s.remember.restored {
		return false
	}
	_, confirmed := seriesOf(&s.record)
	return !confirmed
}

// confirmSeries notes in the series that the browser has its current token, so that
// the one before is good for a moment only. If that fails, the next request tries
// again.
func (s *Session) confirmSeries(ctx context.Context) {
	ctx, cancel := s.m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	h, _ := seriesOf(&s.record)
	token, result := cookieToken(s.r, s.m.rememberCookie())
	if result != foundOne || token.handle(s.m.series) != h {
		return
	}
	for range storeAttempts {
		r, err := s.m.store.Load(store.Fresh(ctx), s.m.seriesKey(h), nil)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return
		}
		current, previous := matches(&r, token)
		if err == nil && previous {
			return // another one of the browser's requests, or another's, has yet to show it
		}
		if err == nil && current && !r.Ended() && r.Predecessor != nil && r.Predecessor.Confirmed.IsZero() {
			p := *r.Predecessor
			p.Confirmed = s.opened
			r.Predecessor = &p
			if err = s.m.store.Swap(ctx, r, s.m.now()); errors.Is(err, store.ErrConflict) {
				continue
			}
		}
		// Otherwise there is nothing to confirm, now or later.
		if err == nil || errors.Is(err, store.ErrNotFound) {
			s.rememberLocked().confirmed = true
		}
		return
	}
}
