package session

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// Remember configures persistent login, "keep me signed in". It is off unless
// Readmit is set, and then happens for logins that ask for it, see
// [Identity.Remember].
//
// The browser gets a second cookie that outlives it: CookieName-remember. Its
// token opens nothing but the next session: when a request has no session, one is
// made from it, and the token is replaced. A token that was used before, and comes
// again after the browser has shown the next one, is in two hands: the remembered
// login ends, with its sessions. Controls: remember-me, cookie-lifetime.
//
// Such a session is of reduced assurance: its method is [MethodRemember], its
// level is not stated, and [Manager.RequireFresh] refuses it until its user has
// re-authenticated. Logout, and whatever locks the session or ends it other than by
// time, ends the remembered login too; so do [Manager.RevokeSubject] and the others.
type Remember struct {
	// Readmit says who the subject of a remembered login is today, each time
	// before a session is made from it: an account that was locked or deleted
	// must not come back, nor with a role that it has lost. Of the Identity, Role,
	// Tenant, Label, Links, Idle and Absolute are used; nobody has
	// authenticated, so that the rest is not. [ErrLoginRequired] ends the
	// remembered login; any other error makes the request's session unavailable.
	// It is called concurrently; the context is that of the request, which has no
	// session yet.
	Readmit func(ctx context.Context, who Snapshot) (Identity, error)

	// Idle is how long a login is remembered that is not used. Zero means 30
	// days, or Absolute if that is less.
	Idle time.Duration
	// Absolute is how long a login is remembered at most. Zero means 90 days; at
	// most 400 days.
	Absolute time.Duration
	// Max is how many logins of one subject are remembered, one for each
	// browser; the oldest is forgotten for another one. Zero means 20.
	Max int
}

// MethodRemember is the only authentication method of a session that was made from
// a remembered login. Logins cannot claim it, and only re-authentication removes
// it.
const MethodRemember = "remember"

func isRemember(method string) bool { return method == MethodRemember }

func (c Remember) on() bool { return c.Readmit != nil }

func (c Remember) withDefaults() Remember {
	if !c.on() {
		return c
	}
	setDefault(&c.Absolute, max(90*24*time.Hour, c.Idle))
	setDefault(&c.Idle, min(30*24*time.Hour, c.Absolute))
	setDefault(&c.Max, 20)
	return c
}

func (c Config) checkRemember(refuse func(bad bool, field, format string, args ...any)) {
	p := c.Remember
	if !p.on() {
		refuse(p.Idle != 0 || p.Absolute != 0 || p.Max != 0, "Remember", "has no effect without Readmit")
		return
	}
	refuse(p.Idle < c.Limits.Idle, "Remember.Idle", "%v is shorter than that of a session, %v", p.Idle, c.Limits.Idle)
	refuse(p.Idle > p.Absolute, "Remember.Idle", "%v is longer than Remember.Absolute, %v", p.Idle, p.Absolute)
	refuse(p.Absolute > maxAbsolute, "Remember.Absolute", "%v is longer than 400 days", p.Absolute)
	refuse(p.Max < 1, "Remember.Max", "%d is negative", p.Max)
	refuse(c.Limits.IdleLocks, "Remember", "contradicts Limits.IdleLocks: a session that locks asks for the password, and this gets round it")
}

// remembering is what a request has to do with a remembered login. Most have
// nothing to do with one.
type remembering struct {
	series    store.Handle
	token     Token // of the series, to be sent
	lifetime  time.Duration
	send      bool
	clear     bool
	restored  bool // the session comes from it
	confirmed bool // the browser has shown the current token
}

// rememberLocked returns the request's remembering, to be changed.
func (s *Session) rememberLocked() *remembering {
	if s.remember == nil {
		s.remember = new(remembering)
	}
	return s.remember
}

// sendSeriesLocked makes the response carry the token of the series.
func (s *Session) sendSeriesLocked(v *series, restored bool) {
	p := s.rememberLocked()
	p.series, p.token, p.lifetime = v.record.Handle, v.token, v.record.Expiry().Sub(s.opened)
	p.send, p.clear, p.restored = true, false, restored
}

// appendRememberLocked appends the Set-Cookie line of the remembered login.
func (s *Session) appendRememberLocked(lines []string) []string {
	p, name := s.remember, s.m.rememberCookie()
	switch {
	case p.send && s.status == statusLive:
		return append(lines, s.m.persistentCookie(name, p.token.Reveal(), p.lifetime))
	case p.clear:
		return append(lines, s.m.cookie(name, ""))
	}
	return lines
}

// begin makes the remembered login that an identity asks for, or nil if it does
// not. It comes before the session, which names it.
func (m *Manager) begin(ctx context.Context, s *Session, id Identity, since time.Time, clock int64) (*series, error) {
	if !id.Remember {
		return nil, nil
	}
	ctx, cancel := m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		return nil, ErrOutside
	}
	if err := s.renewableLocked(renewal{}); err != nil {
		return nil, err
	}
	if s.transport != store.Cookie {
		return nil, fmt.Errorf("session: remembered logins need a cookie: %w", ErrOutside)
	}
	v := m.newSeries(id, s.originLocked())
	created, err := m.store.Create(ctx, store.Creation{
		Record: v.record, Now: v.record.Created, Max: m.cfg.Remember.Max, EvictOldest: true, Since: since, Clock: clock,
	})
	if err != nil {
		return nil, fromStore("remembering", err)
	}
	m.emit(s, Event{Type: EventRemembered, Handle: v.record.Handle, Subject: id.Subject, Initiator: id.Subject})
	for _, h := range created.Evicted {
		m.emit(s, Event{Type: EventForgotten, Handle: h, Subject: id.Subject, Cause: store.CauseLimit})
	}
	return v, nil
}

// newSeries returns the first token of a series, and its record.
func (m *Manager) newSeries(id Identity, from store.Client) *series {
	now, token, key := m.now(), newToken(), newDataKey()
	r := store.Record{
		Namespace: m.series, Handle: token.handle(m.series),
		State: store.Active, Subject: id.Subject, Assurance: id.assurance(), Transport: store.Cookie,
		Created: now, Seen: now, Rotated: now,
		Idle: m.cfg.Remember.Idle, Absolute: m.cfg.Remember.Absolute, Deadline: now.Add(m.cfg.Remember.Absolute),
		First: from, Last: from, Label: id.Label, Links: m.linksOf(id.Links),
	}
	if r.Assurance.At.IsZero() {
		r.Assurance.At = now
	}
	r.Verifier = token.verifier(r.Handle)
	r.Wrap = sealKey(token, key, &r, m.keys)
	return &series{record: r, token: token}
}

// join makes a login part of the series; v may be nil.
func (v *series) join(rn *renewal) {
	if v != nil {
		// The browser that gets the session gets the token with it, and there is
		// no earlier one that would have to die.
		rn.links = append(slices.Clone(rn.links), store.Link(v.record.Handle))
		rn.extensions = []store.Extension{seriesExtension(v.record.Handle, true)}
	}
}

// abandon ends a series whose login has failed, or may have. Nobody has its token.
func (m *Manager) abandon(ctx context.Context, s *Session, v *series) {
	if v == nil {
		return
	}
	ctx, cancel := m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := m.endSeriesLocked(ctx, s, v.record.Handle, causeLoginFailed, v.record.Subject); err != nil {
		m.emit(s, Event{Type: EventStoreFailed, Handle: v.record.Handle, Cause: err.Error()})
	}
}

// causeLoginFailed is why a remembered login ended whose session could not be made.
const causeLoginFailed = "login failed"

// remembered ends what the browser was remembered by until now, and hands it the
// token of the new series if there is one. The login is done: what fails here
// leaves a remembered login that its user sees in the list.
func (m *Manager) remembered(ctx context.Context, s *Session, former formerSeries, v *series) {
	ctx, cancel := m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range former.handles {
		if err := m.endSeriesLocked(ctx, s, h, store.CauseRenewed, s.initiatorLocked()); err != nil {
			m.emit(s, Event{Type: EventStoreFailed, Handle: h, Cause: err.Error()})
		}
	}
	switch {
	case v != nil:
		s.sendSeriesLocked(v, false)
	case former.cookie:
		s.rememberLocked().clear = true
	}
}

// Remembered lists the logins of a subject that are remembered, one for each
// browser: Created is when the user signed in, Seen when a session was last made
// from it, Current says that the session of the request at hand belongs to it. Its
// sessions carry its handle, see [Snapshot.Series]. [Manager.Revoke] ends it, and
// them. The list stops at the first error. An empty subject has none.
func (m *Manager) Remembered(ctx context.Context, subject string) iter.Seq2[Snapshot, error] {
	if subject == "" {
		return func(func(Snapshot, error) bool) {}
	}
	return m.list(ctx, store.Query{Namespace: m.series, Subject: subject})
}
