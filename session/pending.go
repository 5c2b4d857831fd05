package session

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cloakroom.example/session/store"
)

// LoginPending notes that a subject has passed the first factor and still owes
// another one. That is kept apart from the session, in a record and a cookie of
// its own that can never pass as a login, for at most Config.PendingTimeout.
// [Manager.CompleteLogin] turns it into a login. Errors as for Login. Control:
// half-open-isolation.
func (m *Manager) LoginPending(ctx context.Context, id Identity) error {
	if err := m.checkIdentity(&id); err != nil {
		return err
	}
	s := m.From(ctx)
	ctx, cancel := m.detached(ctx)
	defer cancel()
	previous, _ := s.halfOpen(ctx)
	if err := s.beginPending(ctx, id); err != nil {
		return err
	}
	if !previous.Handle.IsZero() { // one browser, one ticket; it would expire soon in any case
		_, _ = m.revokeHalf(ctx, &previous)
	}
	return nil
}

func (s *Session) beginPending(ctx context.Context, id Identity) error {
	began, clock := s.began(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		return ErrOutside
	}
	if err := s.renewableLocked(renewal{}); err != nil {
		return err
	}
	if s.transport != store.Cookie {
		return fmt.Errorf("session: half-open logins need a cookie: %w", ErrOutside)
	}
	return s.createPendingLocked(ctx, id, store.Creation{Since: began, Clock: clock})
}

func (s *Session) createPendingLocked(ctx context.Context, id Identity, c store.Creation) error {
	now := s.m.now()
	r := store.Record{
		State: store.Pending, Subject: id.Subject, Assurance: id.assurance(),
		Created: now, Seen: now, Rotated: now, Deadline: now.Add(s.m.cfg.PendingTimeout),
		First: s.originLocked(), Last: s.originLocked(), Links: s.m.linksOf(id.Links),
	}
	if r.Assurance.At.IsZero() {
		r.Assurance.At = now
	}
	if id.Remember {
		r.Extensions = []store.Extension{{Name: extRemember}}
	}
	token, _ := s.mintLocked(&r, nil)
	c.Record, c.Now = r, now
	if _, err := s.m.store.Create(ctx, c); err != nil {
		return fromStore("beginning login", err)
	}
	value := token.Reveal()
	s.pending = &value
	s.half = &r
	s.m.emit(s, Event{Type: EventCreated, Handle: r.Handle, Subject: r.Subject, Initiator: r.Subject, Cause: "pending"})
	return nil
}

// Pending returns who has passed the first factor and owes another one, and
// false if there is nobody.
func (s *Session) Pending(ctx context.Context) (Snapshot, bool) {
	r, err := s.halfOpen(ctx)
	if err != nil {
		return Snapshot{}, false
	}
	return snapshot(&r, s.opened), true
}

// halfOpen returns the record of the request's half-open login. It is loaded
// when it is asked for. Errors: ErrLoginRequired if there is none,
// ErrUnavailable.
func (s *Session) halfOpen(ctx context.Context) (store.Record, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil {
		return store.Record{}, ErrOutside
	}
	if s.transport != store.Cookie {
		return store.Record{}, ErrLoginRequired
	}
	s.accessed = true
	if s.half == nil && s.pending == nil {
		if err := s.loadHalfLocked(ctx); err != nil {
			return store.Record{}, err
		}
	}
	if s.half == nil || !s.half.Alive(s.m.now()) {
		return store.Record{}, ErrLoginRequired
	}
	return *s.half, nil
}

// loadHalfLocked loads the record that the ticket of the request opens, if any.
func (s *Session) loadHalfLocked(ctx context.Context) error {
	token, result := cookieToken(s.r, s.m.pendingCookie())
	if result != foundOne {
		return nil
	}
	h := token.handle(s.m.cfg.Namespace)
	ctx, cancel := s.m.detached(ctx)
	defer cancel()
	r, err := s.m.store.Load(s.m.fresh(ctx), store.Key{Namespace: s.m.cfg.Namespace, Handle: h}, nil)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrFormat) {
		return nil
	}
	if err != nil {
		return fromStore("loading half-open login", err)
	}
	if !r.Verifier.Equal(token.verifier(h)) || r.State != store.Pending || r.Transport != store.Cookie || r.Ended() || r.Locked {
		return nil
	}
	if s.m.refuseCritical(s, &r) {
		return nil
	}
	if _, err := s.m.unwrap(token, &r); err != nil {
		s.m.emit(s, Event{Type: EventUnreadable, Handle: h, Subject: r.Subject, Cause: err.Error()})
		return nil
	}
	s.half = &r
	return nil
}

// CompleteLogin signs in the subject of the half-open login, whose methods are
// extended by the ones given, and remembered if either asks for it; other fields of
// id are taken as in Login, its
// Subject must be empty. Without a half-open login the error is
// ErrLoginRequired.
func (m *Manager) CompleteLogin(ctx context.Context, id Identity) error {
	s := m.From(ctx)
	half, err := s.halfOpen(ctx)
	if err != nil {
		return err
	}
	if id.Subject != "" {
		return fmt.Errorf("session: Identity.Subject: is not empty; the half-open login decides")
	}
	id.Subject = half.Subject
	methods := slices.Clone(half.Assurance.Methods)
	for _, method := range id.Methods {
		if !slices.Contains(methods, method) {
			methods = append(methods, method)
		}
	}
	id.Methods, id.Began = methods, half.Created
	if id.Role == "" {
		id.Role = half.Assurance.Role
	}
	if id.Tenant == "" {
		id.Tenant = half.Assurance.Tenant
	}
	id.Level = max(id.Level, half.Assurance.Level)
	id.Remember = id.Remember || slices.ContainsFunc(half.Extensions, func(e store.Extension) bool { return e.Name == extRemember })
	s.mu.Lock()
	err = s.renewableLocked(renewal{})
	s.mu.Unlock()
	if err != nil {
		return err
	}
	// The ticket is used up first: of two requests that complete the same
	// login at the same time, one does.
	changed, err := m.endHalf(ctx, s, &half)
	if err != nil {
		return err
	}
	if !changed {
		return ErrLoginRequired
	}
	return m.Login(ctx, id)
}

// endPending ends the half-open login of a request, if there is one. Its record
// would expire by itself soon; the cookie goes at once.
func (m *Manager) endPending(ctx context.Context, s *Session) {
	if half, err := s.halfOpen(ctx); err == nil {
		_, _ = m.endHalf(ctx, s, &half)
	}
}

// endHalf ends the half-open login and clears its cookie.
func (m *Manager) endHalf(ctx context.Context, s *Session, half *store.Record) (changed bool, err error) {
	changed, err = m.revokeHalf(ctx, half)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.half, s.pending = nil, new(string)
	return changed, nil
}

func (m *Manager) revokeHalf(ctx context.Context, half *store.Record) (changed bool, err error) {
	ctx, cancel := m.detached(ctx)
	defer cancel()
	done, err := m.store.Revoke(ctx, store.Revocation{
		Namespace: m.cfg.Namespace, Handle: half.Handle, Cause: store.CauseRenewed, By: half.Subject, Now: m.now(),
	})
	return len(done.Changed) > 0, fromStore("ending half-open login", err)
}
