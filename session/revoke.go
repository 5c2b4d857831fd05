package session

import (
	"context"
	"iter"

	"cloakroom.example/session/store"
)

// Revoke ends the session with the given handle, for the given reason, and
// reports whether it was alive until now. A remembered login that the session
// belongs to ends with it, even if the session itself has ended meanwhile: that it
// would come back counts as being alive. The handle may also be that of a remembered
// login, whose sessions end then. Where a user chooses the handle, check that it is of
// his, for example with [Manager.Sessions] and [Manager.Remembered]. Control:
// admin-revoke.
func (m *Manager) Revoke(ctx context.Context, h Handle, reason string) (bool, error) {
	if h.IsZero() {
		return false, nil
	}
	n, err := m.revoke(ctx, store.Revocation{Handle: h, Cause: reason})
	return n > 0, err
}

// RevokeSubject ends all sessions of a subject, half-open ones and remembered
// logins too, and refuses
// logins of the subject that began before. Call it when a password was reset, an
// account locked or deleted. A login later in the same request goes through. It
// returns how many sessions ended. Controls: revoke-on-credential-change,
// revoke-on-account-lock.
func (m *Manager) RevokeSubject(ctx context.Context, subject, reason string) (int, error) {
	if subject == "" {
		return 0, nil
	}
	return m.revoke(ctx, store.Revocation{Subject: subject, Cause: reason})
}

// RevokeLink ends all sessions that carry the link, see [Identity.Links], and
// refuses logins with it that began before. It returns how many ended.
func (m *Manager) RevokeLink(ctx context.Context, link, reason string) (int, error) {
	return m.revoke(ctx, store.Revocation{Link: linkHash(m.cfg.Namespace, link), Cause: reason})
}

// RevokeAll ends all sessions of the namespace, visitors' too. It costs the same
// however many there are.
func (m *Manager) RevokeAll(ctx context.Context, reason string) error {
	_, err := m.revoke(ctx, store.Revocation{All: true, Cause: reason})
	return err
}

// revoke carries out a revocation on behalf of whoever makes the request. Once
// begun it is not cancelled by the client hanging up.
func (m *Manager) revoke(ctx context.Context, v store.Revocation) (int, error) {
	return m.revokeSparing(ctx, v, Handle{})
}

// revokeSparing is revoke that spares one remembered login.
func (m *Manager) revokeSparing(ctx context.Context, v store.Revocation, spared Handle) (int, error) {
	s := m.From(ctx)
	ctx, cancel := m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	var from *Session
	if s.m == m {
		from = s
	}
	v.By, v.Clock = initiatorLocked(ctx, s), m.clock
	logins := v
	logins.Except = spared
	series, named, err := m.forgetLogins(ctx, from, logins) // forget.go: first, so that they bring nothing back
	if err != nil {
		return 0, err
	}
	v.Namespace, v.Now = m.cfg.Namespace, m.now()
	done, err := m.store.Revoke(ctx, v)
	if err != nil {
		return 0, fromStore("revoking", err)
	}
	if from != nil {
		s.since = m.now().UnixNano() // a login in this request comes after the revocation
	}
	if v.Handle.IsZero() {
		m.emit(from, Event{
			Type: EventRevoked, Subject: v.Subject, Initiator: v.By, Cause: v.Cause, Count: len(done.Changed),
		})
	}
	for _, h := range done.Changed {
		m.channels.end(h)
		m.emit(from, Event{Type: EventExpired, Handle: h, Subject: v.Subject, Initiator: v.By, Cause: v.Cause})
		if s.status == statusLive && s.record.Handle == h {
			s.status, s.err = statusEnded, ErrEnded
		}
	}
	n := len(done.Changed)
	if v.Link != (store.Link{}) {
		// Sessions can have got the link when they came back.
		if err := m.forgetEndedLocked(ctx, from, done.Changed, v.Cause, v.By); err != nil {
			return n, err
		}
	}
	if !series.IsZero() {
		if _, err := m.endSessionsOfLocked(ctx, from, series, v.Cause, v.By); err != nil {
			return n, err
		}
		if named {
			n++
		}
	}
	if v.All {
		m.channels.endAll(ErrEnded)
		if s.status == statusLive {
			s.status, s.err = statusEnded, ErrEnded
		}
	}
	return n, nil
}

// Sessions lists the live sessions of a subject, half-open ones too. The list
// stops at the first error. An empty subject has no sessions. Control:
// user-session-list.
func (m *Manager) Sessions(ctx context.Context, subject string) iter.Seq2[Snapshot, error] {
	if subject == "" {
		return func(func(Snapshot, error) bool) {}
	}
	return m.list(ctx, store.Query{Subject: subject})
}

// AllSessions lists all live sessions of the namespace, for administrators. It
// costs what there is to list.
func (m *Manager) AllSessions(ctx context.Context) iter.Seq2[Snapshot, error] {
	return m.list(ctx, store.Query{})
}

func (m *Manager) list(ctx context.Context, q store.Query) iter.Seq2[Snapshot, error] {
	return func(yield func(Snapshot, error) bool) {
		own, series := m.From(ctx).handles()
		q.Now = m.now()
		if q.Namespace == "" {
			q.Namespace = m.cfg.Namespace
		}
		for {
			page, err := m.page(ctx, q)
			if err != nil {
				yield(Snapshot{}, err)
				return
			}
			for i := range page.Records {
				out := snapshot(&page.Records[i], q.Now)
				out.Current = out.Handle == own || out.Handle == series
				if !yield(out, nil) {
					return
				}
			}
			if page.Next == "" {
				return
			}
			q.Cursor = page.Next
		}
	}
}

func (m *Manager) page(ctx context.Context, q store.Query) (store.Page, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	page, err := m.store.List(ctx, q)
	return page, fromStore("listing", err)
}

// Count returns the number of live sessions: of a subject, or of the whole
// namespace if subject is empty. The latter costs what there is to count.
func (m *Manager) Count(ctx context.Context, subject string) (int, error) {
	return m.count(ctx, store.Query{Subject: subject})
}

func (m *Manager) count(ctx context.Context, q store.Query) (int, error) {
	q.Namespace, q.Now = m.cfg.Namespace, m.now()
	if c, ok := m.store.(store.Counter); ok {
		ctx, cancel := m.bounded(ctx)
		defer cancel()
		n, err := c.Count(ctx, q)
		return n, fromStore("counting", err)
	}
	n := 0
	for _, err := range m.list(ctx, q) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}
