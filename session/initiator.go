package session

import (
	"context"
	"errors"

	"cloakroom.example/session/store"
)

type initiatorKey struct{}

// WithInitiator returns a context in which sessions are revoked in the name of
// somebody who has no session of his own: an operator at a terminal, a job that
// runs by night. The name stands in the events, as [Event.Initiator], and with the
// sessions that have ended. Without it, revocations are made by the subject of the
// request's session.
func WithInitiator(ctx context.Context, by string) context.Context {
	return context.WithValue(ctx, initiatorKey{}, by)
}

// initiatorLocked returns in whose name a revocation is made.
func initiatorLocked(ctx context.Context, s *Session) string {
	if by, named := ctx.Value(initiatorKey{}).(string); named {
		return by
	}
	return s.initiatorLocked()
}

// RevokeSubjectExcept is [Manager.RevokeSubject], except for one session, which
// goes on, and so does the remembered login that it belongs to. It does not change
// that session's token: a user who suspects that his own is stolen calls
// [Manager.RevokeOthers] instead. If there is no such session of the subject, it
// ends nothing and returns [ErrEnded].
func (m *Manager) RevokeSubjectExcept(ctx context.Context, subject string, keep Handle, reason string) (int, error) {
	series, err := m.seriesToSpare(ctx, subject, keep)
	if err != nil {
		return 0, err
	}
	return m.revokeSparing(ctx, store.Revocation{Subject: subject, Except: keep, Cause: reason}, series)
}

// seriesToSpare returns the remembered login of a session that is to be spared,
// zero if it has none.
func (m *Manager) seriesToSpare(ctx context.Context, subject string, keep Handle) (Handle, error) {
	ctx, cancel := m.bounded(ctx)
	defer cancel()
	r, err := m.store.Load(store.Fresh(ctx), store.Key{Namespace: m.cfg.Namespace, Handle: keep}, nil)
	if errors.Is(err, store.ErrNotFound) || err == nil && (!r.Alive(m.now()) || r.Subject != subject || subject == "") {
		return Handle{}, ErrEnded
	}
	series, _ := seriesOf(&r)
	return series, fromStore("revoking", err)
}
