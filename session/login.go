package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// Identity says who signs in, and how. Only Subject is needed.
type Identity struct {
	// Subject is the user, by the name that never changes. It appears in lists
	// and events.
	Subject string
	// Methods are the authentication methods used, as RFC 8176 names: "pwd",
	// "otp", "hwk" and so on.
	Methods []string
	// Level is the assurance level reached, 1 to 3; zero means not stated.
	Level uint8
	// Role and Tenant are the authority of the session in the application's
	// own terms. They change only by [Manager.Elevate].
	Role, Tenant string
	// AuthenticatedAt is when the subject authenticated, if that was not now
	// but at an identity provider.
	AuthenticatedAt time.Time
	// Began is when the authentication began, if that was before this request.
	// Revocations since then refuse the login.
	Began time.Time
	// Idle and Absolute override the limits of the configuration. Zero means
	// those.
	Idle, Absolute time.Duration
	// Label is a name for the session that its user will recognise.
	Label string
	// Links are external names of the session, such as an identity provider's
	// session id. It can be revoked by them.
	Links []string
	// Remember asks for a persistent login: the browser stays signed in when it
	// was closed, or the session has run out, with the reduced assurance that
	// [Config.Remember] describes. Ask the user first.
	Remember bool
}

// Login signs the subject in: the session gets a new token, and the old one is
// dead when Login returns. Of the values, those marked [CarryOver] move along,
// unless somebody else was signed in before. The session is stored before Login
// returns; if it returns an error, nobody is signed in by it.
//
// Login must be called before the response begins. Errors: [ErrLimit],
// [ErrRevoked], [ErrCSRF], [ErrHeadersSent], [ErrUnavailable],
// [ErrUnknownOutcome], [ErrOutside]. Control: rotate-at-login.
func (m *Manager) Login(ctx context.Context, id Identity) error {
	if err := m.checkIdentity(&id); err != nil {
		return err
	}
	s := m.From(ctx)
	began, clock := s.began(id)
	former, err := s.formerSeries(ctx)
	if err != nil {
		return err
	}
	series, err := m.begin(ctx, s, id, began, clock)
	if err != nil {
		return err
	}
	rn := renewal{
		cause: "login", state: store.Active, since: began, clock: clock, limits: id, links: m.linksOf(id.Links), label: id.Label,
		facts: func(*store.Record) (string, Assurance) { return id.Subject, id.assurance() },
	}
	series.join(&rn)
	if err := s.renew(ctx, rn); err != nil {
		m.abandon(ctx, s, series)
		return err
	}
	m.remembered(ctx, s, former, series)
	m.endPending(ctx, s)
	return nil
}

func (id Identity) assurance() Assurance {
	return Assurance{
		Methods: slices.Clone(id.Methods), Level: id.Level, At: id.AuthenticatedAt, Role: id.Role, Tenant: id.Tenant,
	}
}

func (m *Manager) checkIdentity(id *Identity) error {
	refuse := func(field, why string) error { return fmt.Errorf("session: Identity.%s: %s", field, why) }
	if id.Idle == 0 {
		id.Idle = m.cfg.Limits.Idle
		if id.Absolute > 0 {
			id.Idle = min(id.Idle, id.Absolute)
		}
	}
	if id.Absolute == 0 {
		id.Absolute = max(m.cfg.Limits.Absolute, id.Idle)
	}
	switch {
	case id.Subject == "":
		return refuse("Subject", "is empty")
	case len(id.Subject) > 1024:
		return refuse("Subject", "is longer than 1024 bytes")
	case !validMethods(id.Methods):
		return refuse("Methods", "more than 16, or one is empty")
	case slices.Contains(id.Methods, MethodRemember):
		return refuse("Methods", "being remembered is no authentication")
	case id.Remember && !m.cfg.Remember.on():
		return refuse("Remember", "Config.Remember is off")
	case id.Level > 3:
		return refuse("Level", "is not between 0 and 3")
	case id.Idle < time.Second || id.Idle > id.Absolute:
		return refuse("Idle", "is shorter than a second or longer than Absolute")
	case id.Absolute > maxAbsolute:
		return refuse("Absolute", "is longer than 400 days")
	case !id.AuthenticatedAt.IsZero() && id.AuthenticatedAt.Before(time.Unix(0, 1)):
		return refuse("AuthenticatedAt", "is before 1970")
	case !id.Began.IsZero() && id.Began.Before(time.Unix(0, 1)):
		return refuse("Began", "is before 1970")
	case id.AuthenticatedAt.After(m.cfg.Now().Add(store.ClockSkew)):
		return refuse("AuthenticatedAt", "is in the future")
	}
	return nil
}

func validMethods(methods []string) bool { return len(methods) <= 16 && !slices.Contains(methods, "") }

func (m *Manager) linksOf(names []string) []store.Link {
	var links []store.Link
	for _, name := range names {
		links = append(links, linkHash(m.cfg.Namespace, name))
	}
	return links
}

// Reauthenticate notes that the subject has authenticated again, by the methods
// given. The token is replaced and freshness starts anew. The absolute timeout
// starts anew too, unless the session was locked: unlocking does not prolong
// it. Errors as for Login, and [ErrLoginRequired]. Control: step-up.
func (m *Manager) Reauthenticate(ctx context.Context, methods ...string) error {
	s := m.From(ctx)
	return s.renew(ctx, renewal{
		cause: "reauthentication", state: store.Active, since: s.beganAt(), clock: m.clock, same: true,
		facts: func(old *store.Record) (string, Assurance) {
			a := old.Assurance.Clone()
			a.At = time.Time{} // now
			a.Methods = slices.DeleteFunc(a.Methods, isRemember)
			for _, method := range methods {
				if !isRemember(method) && !slices.Contains(a.Methods, method) {
					a.Methods = append(a.Methods, method)
				}
			}
			return old.Subject, a
		},
	})
}

// Elevate changes the session's authority: a role, a tenant, a further
// authentication method or a level. The function changes what is there; it may
// run several times. The token is replaced; the absolute timeout stays. If the
// methods grew, the session is fresh, see [Manager.RequireFresh]. Errors as for
// Login, and [ErrLoginRequired]. Control: rotate-on-elevation.
func (m *Manager) Elevate(ctx context.Context, change func(*Assurance)) error {
	s := m.From(ctx)
	return s.renew(ctx, renewal{
		cause: "elevation", state: store.Active, since: s.beganAt(), clock: m.clock, same: true, keepDeadline: true, unlocked: true,
		facts: func(old *store.Record) (string, Assurance) {
			a := old.Assurance.Clone()
			change(&a)
			a.At = old.Assurance.At
			a.Methods = slices.DeleteFunc(a.Methods, isRemember)
			if slices.ContainsFunc(old.Assurance.Methods, isRemember) {
				a.Methods = append([]string{MethodRemember}, a.Methods...)
			}
			if len(a.Methods) > len(old.Assurance.Methods) {
				a.At = time.Time{} // now
			}
			return old.Subject, a
		},
	})
}

// RevokeOthers ends all other sessions of the subject, and logins of the subject
// that are under way. The session's own token is replaced. It returns how many
// sessions ended. Control: user-session-list, revoke-on-credential-change.
func (m *Manager) RevokeOthers(ctx context.Context) (int, error) {
	s := m.From(ctx)
	err := s.renew(ctx, renewal{
		cause: "revoke_others", state: store.Active, since: s.beganAt(), clock: m.clock, same: true, keepDeadline: true, unlocked: true,
		facts: func(old *store.Record) (string, Assurance) { return old.Subject, old.Assurance.Clone() },
	})
	if err != nil {
		return 0, err
	}
	// Asked now: a used token of the remembered login ends the session, and then above
	// all the others have to end.
	others := store.Revocation{Subject: s.Subject(), Except: s.Handle(), Cause: "revoke_others"}
	if others.Subject == "" {
		return 0, ErrEnded
	}
	return m.revokeSparing(ctx, others, m.renewSeries(ctx, s))
}

// renewal describes how a session's record is replaced by one with a new token.
type renewal struct {
	cause string
	state store.State
	since time.Time
	clock int64 // that since was read from
	// facts returns subject and assurance, given the old record if there is
	// one; an assurance without time is from now. It may run several times.
	facts func(old *store.Record) (string, Assurance)
	// same says that the session goes on: it must be active, and keeps its
	// values, limits, label, links and extensions.
	same, keepDeadline, unlocked bool
	limits                       Identity
	links                        []store.Link
	label                        string
	extensions                   []store.Extension
}

// began returns when the authentication of an identity began, and by which clock:
// what others say may have been read from the clock of another node.
func (s *Session) began(id Identity) (time.Time, int64) {
	if !id.Began.IsZero() || s.m == nil {
		return id.Began, store.UnknownClock
	}
	return s.beganAt(), s.m.clock
}

// beganAt returns when an authentication that this request completes can have
// begun at the earliest.
func (s *Session) beganAt() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since > s.opened.UnixNano() {
		return time.Unix(0, s.since).UTC()
	}
	return s.opened
}

// renew replaces the session's record, and stores that before it returns. A
// client that hangs up does not cancel it.
func (s *Session) renew(ctx context.Context, rn renewal) error {
	if s.m == nil {
		return ErrOutside
	}
	ctx, cancel := s.m.detached(ctx)
	defer cancel()
	held, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer held.release()
	for attempt := range storeAttempts {
		err := s.renewOnce(ctx, rn)
		switch {
		case errors.Is(err, store.ErrConflict):
			err = s.m.reload(ctx, s)
		case errors.Is(err, store.ErrNotFound):
			s.mu.Lock()
			s.status, s.err = statusEnded, ErrEnded
			s.mu.Unlock()
			err = ErrEnded
		default:
			return err
		}
		// The old session has ended meanwhile. A login does not depend on it.
		if err != nil && (rn.same || !errors.Is(err, ErrEnded)) {
			return err
		}
		if attempt > 0 {
			if err := pause(ctx, attempt); err != nil {
				return err
			}
		}
	}
	return fmt.Errorf("session: %s: %w", rn.cause, ErrConflict)
}

// renewOnce makes one attempt.
func (s *Session) renewOnce(ctx context.Context, rn renewal) error {
	s.mu.Lock()
	if err := s.renewableLocked(rn); err != nil {
		s.mu.Unlock()
		return err
	}
	var old *store.Record
	if s.status == statusLive {
		r := s.record
		old = &r
	}
	s.mu.Unlock()
	// Without the lock: this may be the application's function.
	subject, assurance := rn.facts(old)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.renewableLocked(rn); err != nil {
		return err // the response has begun meanwhile, or the session has ended
	}
	if !validMethods(assurance.Methods) || assurance.Level > 3 {
		return fmt.Errorf("session: %s: more than 16 methods, an empty one, or a level above 3", rn.cause)
	}
	return s.replaceLocked(ctx, rn, old, subject, assurance)
}

// renewableLocked returns why the session cannot get a new token.
func (s *Session) renewableLocked(rn renewal) error {
	switch {
	case s.status == statusUnavailable:
		return s.err
	case s.csrfOwed:
		return ErrCSRF
	case s.sent && s.transport == store.Cookie:
		return ErrHeadersSent
	case !rn.same:
		return nil
	case s.status != statusLive || s.record.State != store.Active:
		return ErrLoginRequired
	case rn.unlocked && s.record.LockedAt(s.opened):
		return ErrLocked
	}
	return nil
}

// replaceLocked creates the new record and ends the old one in one step of the
// store, if the old one is still as we know it.
func (s *Session) replaceLocked(ctx context.Context, rn renewal, old *store.Record, subject string, a Assurance) error {
	values, err := s.valuesForLocked(rn, old, subject)
	if errors.Is(err, errRetry) {
		return store.ErrConflict
	}
	if err != nil {
		return err
	}
	if len(values) > s.m.cfg.MaxValues {
		return ErrTooLarge
	}
	now := s.m.now()
	if a.At.IsZero() {
		a.At = now
	}
	r := s.successorLocked(rn, old, now)
	r.Subject, r.Assurance = subject, a
	token, key := s.mintLocked(&r, values)
	creation := store.Creation{
		Record: r, Now: now, Max: s.m.cfg.MaxSessions, EvictOldest: s.m.cfg.EndOldest, Since: rn.since, Clock: rn.clock,
	}
	if old != nil {
		creation.Replace = &store.Replace{
			Handle: old.Handle, Version: old.Version, Locked: old.LockedAt(s.opened), Limit: old.Limit,
		}
	}
	if rn.same {
		creation.Max = 0 // the number of sessions stays what it is
	}
	created, err := s.m.store.Create(ctx, creation)
	if err != nil {
		if errors.Is(err, store.ErrLimit) {
			s.m.emit(s, Event{Type: EventLimit, Subject: r.Subject, Initiator: r.Subject})
		}
		if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
			return err
		}
		return fromStore(rn.cause, err)
	}
	e := Event{Type: EventCreated, Handle: r.Handle, Subject: r.Subject, Initiator: r.Subject, Cause: rn.cause}
	if old != nil {
		e.Type, e.Previous = EventRenewed, old.Handle
	}
	s.adoptNewLocked(token, key, r, values)
	s.x.rewatchLocked()
	if old != nil {
		s.m.channels.end(old.Handle)
	}
	s.stepUp = s.stepUp && rn.keepDeadline // Elevate and RevokeOthers authenticate nobody
	s.dropListsLocked()
	s.renewCSRFLocked()
	s.m.emit(s, e)
	s.reportEvictedLocked(ctx, created.Evicted, r.Subject)
	return nil
}

// reportEvictedLocked reports the sessions that had to go for a new one.
func (s *Session) reportEvictedLocked(ctx context.Context, evicted []store.Handle, subject string) {
	for _, h := range evicted {
		s.m.channels.end(h)
		s.m.emit(s, Event{Type: EventExpired, Handle: h, Subject: subject, Cause: store.CauseLimit})
	}
	s.m.forgetEvicted(ctx, s, evicted)
}

// valuesForLocked returns the values that move to the new record: all of them if
// the session goes on, and otherwise those that carry over, unless they belong
// to somebody else.
func (s *Session) valuesForLocked(rn renewal, old *store.Record, subject string) (table, error) {
	var values table
	if old != nil {
		_, stored, err := s.currentLocked(true)
		if err != nil {
			return nil, err
		}
		values = stored
	}
	for _, c := range s.changes {
		values = values.with(c, nil)
	}
	if rn.same {
		return values, nil
	}
	if before := s.record; before.State == store.Active && subject != before.Subject {
		return nil, nil
	}
	return values.only(flagCarryOver), nil
}

// successorLocked returns the new record without what the token gives it.
func (s *Session) successorLocked(rn renewal, old *store.Record, now time.Time) store.Record {
	var r store.Record
	r.State, r.Created, r.Seen, r.Rotated = rn.state, now, now, now
	r.First, r.Last = s.originLocked(), s.originLocked()
	if !rn.same {
		r.Idle, r.Absolute, r.Deadline = rn.limits.Idle, rn.limits.Absolute, now.Add(rn.limits.Absolute)
		r.IdleLocks = s.m.cfg.Limits.IdleLocks && rn.state == store.Active
		r.Links, r.Label, r.Extensions = rn.links, rn.label, rn.extensions
		return r
	}
	r.Created, r.First = old.Created, old.First
	r.Idle, r.IdleLocks, r.Absolute, r.Label = old.Idle, old.IdleLocks, old.Absolute, old.Label
	r.Links, r.Extensions = slices.Clone(old.Links), old.Extensions
	r.Deadline, r.Limit = old.Deadline, old.Limit
	if !rn.keepDeadline && !old.LockedAt(s.opened) {
		r.Deadline = now.Add(old.Absolute) // the length that was chosen at login starts anew
	}
	return r
}
