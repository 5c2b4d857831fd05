package session

import (
	"bytes"
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"time"

	"cloakroom.example/session/store"
)

// storeAttempts bounds how often a change is re-applied when others change the
// same session on other nodes. Within this process, changes to one session wait
// for each other and do not conflict.
const storeAttempts = 24

// Commit stores what this request has changed and adds the session's headers to
// the response. It is for frameworks that do not use [Manager.Handler], and must
// be called before the first byte is sent. If it returns an error, the response
// must not claim that anything was changed; see [Status].
//
// Once it was called, further changes are stored at once if they need no cookie.
func (s *Session) Commit(ctx context.Context, w interface{ Header() http.Header }) error {
	if s.m == nil {
		return ErrOutside
	}
	err := s.finish(ctx)
	if err == nil {
		s.emitHeaders(w.Header())
	}
	return err
}

// finish stores the deferred changes, or does the upkeep of a session without
// any.
func (s *Session) finish(ctx context.Context) error {
	s.mu.Lock()
	s.committing = true // from now on, changes wait for this one and are stored at once
	changes, status, early := len(s.changes), s.status, s.setToken
	unconfirmed := s.unconfirmedLocked()
	s.mu.Unlock()
	if unconfirmed {
		s.confirmSeries(ctx) // restore.go
	}
	if early {
		defer s.recheck(ctx)
	}
	switch {
	case changes > 0:
		err := s.store(ctx, s.applyDeferred)
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil {
			s.failed = err
			return err
		}
		for _, c := range s.changes {
			s.ownLocked(c.name)
		}
		s.changes = nil
	case status == statusLive:
		s.upkeep(ctx)
	}
	return nil
}

// recheck makes sure, before a cookie is sent that was decided on earlier in this
// request, that its session has not ended meanwhile: a dead token must not erase
// the one of a newer login.
func (s *Session) recheck(ctx context.Context) {
	ctx, cancel := s.m.detached(ctx)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.setToken || s.status != statusLive {
		return
	}
	r, err := s.m.store.Load(s.m.fresh(ctx), s.record.Key(), nil)
	if errors.Is(err, store.ErrNotFound) || err == nil && r.Ended() {
		s.setToken = false
		s.status, s.err = statusEnded, ErrEnded
	}
	if verifier := s.token.verifier(r.Handle); err == nil && !r.Verifier.Equal(verifier) {
		s.setToken = false // rotated again meanwhile, in an answer that was faster
	}
	if p := s.remember; p != nil && p.send {
		v, err := s.m.store.Load(store.Fresh(ctx), s.m.seriesKey(p.series), nil)
		current, _ := matches(&v, p.token)
		p.send = err != nil && !errors.Is(err, store.ErrNotFound) || current && !v.Ended()
	}
}

// ownLocked takes a change of this request for what it has read: it does not
// conflict with itself.
func (s *Session) ownLocked(name string) {
	if s.seenLocked(name) >= 0 {
		found, _ := s.scratch.values.get(name)
		s.noteReadLocked(slot{name: name, value: found.value})
	}
}

// applyDeferred applies the changes of this request to the values as they are
// stored now. Values that this request had read must not have changed since.
func (s *Session) applyDeferred(stored table, room *[]byte) (table, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, c := range s.changes {
		if i := s.seenLocked(c.name); i >= 0 {
			is, _ := stored.get(c.name)
			if was := s.scratch.seen[i].value; (was == nil) != (is.value == nil) || !bytes.Equal(was, is.value) {
				return nil, fmt.Errorf("session: storing %q: %w", c.name, ErrConflict)
			}
		}
		if is, _ := stored.get(c.name); !c.outdated(is) {
			if n < len(s.changes)-1 {
				stored = stored.with(c, nil)
			} else {
				stored = stored.with(c, room)
			}
		}
	}
	return stored, nil
}

// update changes one value and stores it at once, together with nothing else.
func (s *Session) update(ctx context.Context, name string, change func(slot, bool) (slot, error)) error {
	s.mu.Lock()
	err := s.changeableLocked()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	err = s.store(ctx, func(stored table, room *[]byte) (table, error) {
		s.mu.Lock()
		found, ok := stored.get(name)
		if i := s.changeLocked(name); i >= 0 {
			found, ok = s.changes[i], s.changes[i].value != nil
		}
		s.mu.Unlock()
		changed, err := change(found, ok)
		if err != nil {
			return nil, err
		}
		changed.name = name
		if !ok && changed.value == nil {
			return nil, errNoChange
		}
		return stored.with(changed, room), nil
	})
	if errors.Is(err, errNoChange) {
		return nil
	}
	if err == nil {
		s.mu.Lock()
		if i := s.changeLocked(name); i >= 0 {
			s.changes = append(s.changes[:i:i], s.changes[i+1:]...)
		}
		s.ownLocked(name)
		s.mu.Unlock()
	}
	return err
}

// changing returns the values with what a request changes in them, in the room
// given or in memory of its own.
type changing func(stored table, room *[]byte) (table, error)

// store applies change to the stored values and stores the result, by
// compare-and-swap, as often as it takes; without a session it makes one. A nil
// change stores only what is due in the record itself. Clients that hang up do
// not cancel it.
func (s *Session) store(ctx context.Context, change changing) error {
	ctx, cancel := s.m.detached(ctx)
	defer cancel()
	held, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer held.release()
	s.mu.Lock()
	live := s.status == statusLive
	s.mu.Unlock()
	if !live {
		return s.create(ctx, change)
	}
	for attempt := range storeAttempts {
		err := s.swap(ctx, change)
		if !errors.Is(err, errRetry) {
			return err
		}
		if attempt > 0 {
			if err := pause(ctx, attempt); err != nil {
				return err
			}
		}
		if err := s.m.reload(ctx, s); err != nil {
			return err
		}
		if change == nil && !s.upkeepDue() {
			return nil // another request has done it
		}
	}
	return fmt.Errorf("session: storing: %w: others changed the session %d times", ErrConflict, storeAttempts)
}

// errRetry asks for another attempt after a version conflict.
var errRetry = errors.New("session: version conflict")

// pause waits a random while that grows with the attempts.
func pause(ctx context.Context, attempt int) error {
	timer := time.NewTimer(rand.N(time.Duration(min(attempt, 8)) * 2 * time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("session: storing: %w: %w", ErrUnavailable, ctx.Err())
	}
}

// swap makes one attempt at storing.
func (s *Session) swap(ctx context.Context, change changing) error {
	s.mu.Lock()
	if err := s.usableLocked(); err != nil {
		s.mu.Unlock()
		return err
	}
	r, values, err := s.currentLocked(change != nil)
	key, w := s.key, s.scratchLocked().hold()
	s.mu.Unlock()
	defer w.letGo()
	if err != nil {
		return err
	}
	next := values
	if change != nil {
		// Without the lock: change may be the application's function.
		if next, err = change(values, w.room()); err != nil {
			return err
		}
		if len(next) > s.m.cfg.MaxValues {
			return ErrTooLarge
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rotated, isRotated := s.maintainLocked(&r, key.dataKey)
	parts := r.Parts
	r.Parts = nil
	if change == nil || bytes.Equal(next, values) {
		err = s.putLocked(ctx, &r)
	} else {
		err = s.putPartLocked(ctx, &r, key.cipher(), generation(parts)+1, next, w)
	}
	if err != nil {
		return err
	}
	w.stored = w.stored || change != nil
	s.storedLocked(r, parts, next, change != nil)
	if isRotated {
		s.token, s.setToken = rotated, true
		s.m.emit(s, Event{Type: EventRenewed, Handle: r.Handle, Subject: r.Subject, Initiator: r.Subject, Cause: "rotation"})
	}
	return nil
}

// putPartLocked seals the values and hands them to the store with the record.
func (s *Session) putPartLocked(ctx context.Context, r *store.Record, aead cipher.AEAD, generation uint64, values table, w *scratch) error {
	parts := w.parts[1:2:2]
	if w.stored { // and the record's part may lie there
		parts = make([]store.Part, 1)
	}
	p := store.Part{Name: partApp, Generation: generation}
	buffer := s.m.sealing.Get().(*[]byte)
	p.Sealed = sealWith(aead, (*buffer)[:0], values, appendPart(w.context[:0], r, p))
	*buffer, parts[0] = p.Sealed, p
	r.Parts = parts
	err := s.putLocked(ctx, r)
	if err == nil || errors.Is(err, errRetry) || errors.Is(err, ErrEnded) {
		s.m.sealing.Put(buffer)
	} else {
		w.hold() // for ever: a store that was given up on may still be reading
	}
	return err
}

// putLocked hands the record to the store.
func (s *Session) putLocked(ctx context.Context, r *store.Record) error {
	err := s.m.store.Swap(ctx, *r, s.m.now())
	switch {
	case errors.Is(err, store.ErrConflict):
		return errRetry
	case errors.Is(err, store.ErrNotFound):
		s.status, s.err = statusEnded, ErrEnded
		return ErrEnded
	}
	return fromStore("storing", err)
}

// currentLocked returns a copy of the record, and its values if they are
// wanted, with the data key open. Its error is errRetry if the session has to be
// loaded again first.
func (s *Session) currentLocked(values bool) (store.Record, table, error) {
	if err := s.openKeyLocked(); err != nil {
		return store.Record{}, nil, err
	}
	if !values {
		return s.record, nil, nil
	}
	if err := s.loadPartsLocked(); err != nil {
		return store.Record{}, nil, err
	}
	switch err := s.openLocked(); {
	case errors.Is(err, errSealVersion), errors.Is(err, errTableVersion):
		return store.Record{}, nil, fmt.Errorf("session: storing: %w: %w", ErrUnavailable, err)
	case err != nil:
		// The values are lost; that must not keep the session from working.
		return s.record, nil, nil
	}
	return s.record, s.scratch.values, nil
}

// storedLocked makes what was stored the request's view of the session.
func (s *Session) storedLocked(r store.Record, parts []store.Part, values table, changed bool) {
	if len(r.Parts) == 0 {
		r.Parts = parts
	} else {
		r.Parts[0].Sealed = nil // the store has its own copy, and we have the values
	}
	r.Version++
	s.record, s.confirm = r, false
	if changed {
		s.haveValuesLocked(values)
	}
}

func generation(parts []store.Part) uint64 {
	for _, p := range parts {
		if p.Name == partApp {
			return p.Generation
		}
	}
	return 0
}

// create stores a visitor's new session.
func (s *Session) create(ctx context.Context, change changing) error {
	values, err := change(nil, nil)
	if err != nil {
		return err
	}
	switch {
	case len(values.slots()) == 0:
		return nil // nothing to keep costs nothing
	case len(values) > s.m.cfg.MaxValues:
		return ErrTooLarge
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.changeableLocked(); err != nil {
		return err
	}
	if s.sent && s.transport == store.Cookie {
		return ErrHeadersSent
	}
	if !s.m.budget.take(source(s.originLocked().Addr), s.m.mayBeProxy(s.originLocked().Addr), s.opened) {
		s.m.emit(s, Event{Type: EventBudget})
		return ErrBudget
	}
	limits := s.m.cfg.Limits
	now := s.m.now()
	r := store.Record{
		State: store.Anonymous, Created: now, Seen: now, Rotated: now,
		Idle: limits.Idle, Absolute: limits.Absolute, Deadline: now.Add(limits.Absolute), First: s.originLocked(), Last: s.originLocked(),
	}
	token, key := s.mintLocked(&r, values)
	if _, err := s.m.store.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
		return fromStore("creating", err)
	}
	s.adoptNewLocked(token, key, r, values)
	s.m.emit(s, Event{Type: EventCreated, Handle: r.Handle, Cause: "visit"})
	return nil
}

// mintLocked gives a new record its token, its data key and its sealed values.
func (s *Session) mintLocked(r *store.Record, values table) (Token, dataKey) {
	token := newToken()
	return token, s.m.sealNew(token, r, s.transport, values)
}

// sealNew gives a new record what its token makes of it.
func (m *Manager) sealNew(token Token, r *store.Record, transport store.Transport, values table) dataKey {
	key := newDataKey()
	r.Namespace, r.Handle, r.Transport = m.cfg.Namespace, token.handle(m.cfg.Namespace), transport
	r.Verifier = token.verifier(r.Handle)
	r.Wrap = sealKey(token, key, r, m.keys)
	r.Parts = nil
	if len(values) > 1 {
		r.Parts = []store.Part{sealPart(key, r, partApp, 1, values)}
	}
	return key
}

// adoptNewLocked makes a record that was just created the session of the
// request.
func (s *Session) adoptNewLocked(token Token, key dataKey, r store.Record, values table) {
	r.Version = 1
	s.status, s.err = statusLive, nil
	s.token, s.record, s.whole = token, r, true
	s.key = &unwrappedKey{dataKey: key}
	s.haveValuesLocked(values)
	s.confirm, s.fresh, s.confirmed = false, true, true
	s.setToken, s.clear = s.transport == store.Cookie, false
}
