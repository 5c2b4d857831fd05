package session

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// A remembered login is a series of tokens, each used once: a record like that of
// a session, in a namespace of its own, so that what a store promises of sessions
// it promises of series. The sessions that belong to a series are found by a link
// that is its handle.

const (
	// seriesSuffix makes the namespace of the series; no Config.Namespace can
	// end in it.
	seriesSuffix = ".remember"
	// partSession is the part of a series that holds the token of the session
	// last made from it, so that parallel tabs get the same one.
	partSession = "session"
	// extSeries is the extension of a session that names its series, and says
	// whether the browser has shown that it holds the series' current token.
	extSeries = "series"
	// extRemember is the extension of a half-open login whose user wants to be
	// remembered.
	extRemember = "remember"
)

// series is a remembered login whose token was presented, or was just made.
type series struct {
	record store.Record
	token  Token // the current one
	key    *unwrappedKey
	// previous says that its predecessor was presented.
	previous bool
}

// rememberCookie is the name of the cookie that carries the series' token.
func (m *Manager) rememberCookie() string { return m.cfg.CookieName + "-remember" }

// seriesKey returns the store's key of a series.
func (m *Manager) seriesKey(h store.Handle) store.Key {
	return store.Key{Namespace: m.series, Handle: h}
}

// seriesExtension returns what a session says about its series.
func seriesExtension(h store.Handle, confirmed bool) store.Extension {
	return store.Extension{Name: extSeries, Value: append(h[:], boolByte(confirmed))}
}

// seriesOf returns the series that a session belongs to, zero if to none, and
// whether the browser is known to hold its current token.
func seriesOf(r *store.Record) (h store.Handle, confirmed bool) {
	for i := range r.Extensions {
		if e := &r.Extensions[i]; e.Name == extSeries && len(e.Value) == len(h)+1 {
			return store.Handle(e.Value[:len(h)]), e.Value[len(h)] == 1
		}
	}
	return store.Handle{}, true
}

// confirmSeries returns the extensions with the note that the browser holds the
// series' current token.
func confirmSeries(all []store.Extension) []store.Extension {
	all = slices.Clone(all)
	for i, e := range all {
		if e.Name == extSeries && len(e.Value) > 0 {
			all[i].Value = append(bytes.Clone(e.Value[:len(e.Value)-1]), 1)
		}
	}
	return all
}

// rotate gives the series its next token, which the presented one still opens
// while the response may be lost, and notes the session that is made from it.
func (v *series) rotate(made Token, now time.Time, from store.Client, keys []deploymentKey) store.Record {
	next := v.record
	generation := uint64(0)
	for _, p := range next.Parts {
		generation = max(generation, p.Generation)
	}
	if !v.previous {
		old := v.token
		v.token = old.successor()
		next.Predecessor = &store.Predecessor{
			Verifier: next.Verifier, Successor: sealSuccessor(old, v.token, next.Handle),
		}
		next.Verifier, next.Rotated = v.token.verifier(next.Handle), now
		next.Wrap = sealKey(v.token, v.key.dataKey, &next, keys)
	}
	next.Seen, next.Last = now, from
	plaintext := append(slices.Clone(made.locator[:]), made.secret[:]...)
	next.Parts = []store.Part{sealPart(v.key.dataKey, &next, partSession, generation+1, plaintext)}
	return next
}

// made returns the token of the session that was last made from the series.
func (v *series) made() (t Token, ok bool, err error) {
	i := slices.IndexFunc(v.record.Parts, func(p store.Part) bool { return p.Name == partSession })
	if i < 0 {
		return Token{}, false, nil
	}
	plaintext, err := openPart(v.key.dataKey, &v.record, v.record.Parts[i])
	if err == nil && len(plaintext) != tokenSize {
		err = errSeal
	}
	if err != nil {
		return Token{}, false, err
	}
	copy(t.locator[:], plaintext)
	copy(t.secret[:], plaintext[locatorSize:])
	return t, true, nil
}

// openSeries finds the remembered login that a token belongs to. The session's lock
// is held. Errors: errNoSeries; ErrEnded, for late requests and after a reuse;
// those of the store.
func (m *Manager) openSeries(ctx context.Context, s *Session, token Token) (*series, error) {
	h := token.handle(m.series)
	r, err := m.store.Load(store.Fresh(ctx), m.seriesKey(h), []string{partSession})
	switch {
	case errors.Is(err, store.ErrNotFound):
		m.emit(s, Event{Type: EventUnknownToken, Handle: h, Cause: "unknown remembered login"})
		return nil, errNoSeries
	case errors.Is(err, store.ErrFormat):
		m.emit(s, Event{Type: EventUnreadable, Handle: h, Cause: err.Error()})
		return nil, errNoSeries
	case err != nil:
		return nil, fromStore("loading remembered login", err)
	}
	v := &series{record: r, token: token}
	if err := m.judgeSeries(ctx, s, v); err != nil {
		return nil, err
	}
	if v.key, err = m.unwrap(v.token, &v.record); err != nil {
		m.emit(s, Event{Type: EventUnreadable, Handle: h, Subject: r.Subject, Cause: err.Error()})
		return nil, errNoSeries
	}
	return v, nil
}

// judgeSeries decides whether the token may be used, and which one is the current.
// As with a session's rotation (I3), the predecessor is answered with the same
// successor until that has been shown, and for a grace period after that. But any
// other secret is one that was used before, too: nobody else knows the locator.
func (m *Manager) judgeSeries(ctx context.Context, s *Session, v *series) error {
	r := &v.record
	current, previous := matches(r, v.token)
	known := current || previous
	switch {
	case r.Ended() && s.opened.Sub(r.End.At) < grace:
		return ErrEnded
	case r.Ended() && known:
		m.emit(s, Event{Type: EventUseAfterExpire, Handle: r.Handle, Subject: r.Subject, Cause: r.End.Cause})
		return errNoSeries
	case r.Ended():
		m.emit(s, Event{Type: EventUnknownToken, Handle: r.Handle, Cause: "wrong secret"})
		return errNoSeries
	case r.Transport != store.Cookie || r.State != store.Active:
		m.emit(s, Event{Type: EventUnknownToken, Handle: r.Handle, Cause: "wrong kind"})
		return errNoSeries
	case !r.Alive(s.opened):
		return m.expireSeries(ctx, s, r)
	case m.refuseCritical(s, r):
		return errNoSeries
	case current:
		return nil
	case previous && (r.Predecessor.Confirmed.IsZero() || s.opened.Sub(r.Predecessor.Confirmed) <= grace):
		return m.followSeries(s, v)
	case !previous && s.opened.Sub(r.Rotated) <= grace:
		return ErrEnded // sent before, by the browser that has a newer one by now
	}
	return m.endReusedSeries(ctx, s, r)
}

// followSeries finds the successor of the token that was presented.
func (m *Manager) followSeries(s *Session, v *series) error {
	successor, err := openSuccessor(v.token, v.record.Predecessor.Successor, v.record.Handle)
	if err != nil {
		m.emit(s, Event{Type: EventUnreadable, Handle: v.record.Handle, Subject: v.record.Subject, Cause: err.Error()})
		return errNoSeries
	}
	v.token, v.previous = successor, true
	return nil
}

// expireSeries ends a remembered login that has run out; the one whose write
// changes it reports it.
func (m *Manager) expireSeries(ctx context.Context, s *Session, r *store.Record) error {
	cause, _ := r.Expired(s.opened)
	done, err := m.store.Revoke(ctx, store.Revocation{Namespace: m.series, Handle: r.Handle, OnlyExpired: true, Now: s.opened})
	if err != nil {
		m.emit(s, Event{Type: EventStoreFailed, Handle: r.Handle, Cause: err.Error()}) // expired all the same
	}
	m.reportForgotten(s, done.Changed, r.Subject, cause, "")
	return errNoSeries
}

// endReusedSeries ends a remembered login of which a used token came back, and the
// sessions made from it: two parties have its tokens.
func (m *Manager) endReusedSeries(ctx context.Context, s *Session, r *store.Record) error {
	m.emit(s, Event{Type: EventReuse, Handle: r.Handle, Subject: r.Subject, Cause: MethodRemember})
	if err := m.endSeriesLocked(ctx, s, r.Handle, CauseReuse, ""); err != nil {
		return err
	}
	return ErrEnded
}
