package session

import (
	"context"
	"crypto/cipher"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

// status says what loading found.
type status uint8

const (
	statusOutside     status = iota // not a request of ours
	statusNone                      // no session: one is made when something is stored
	statusLive                      // record is valid
	statusEnded                     // ended while or shortly before this request ran
	statusUnavailable               // the store could not answer
)

// Session is the session of one request. It is never nil: see [From]. All methods
// are safe for concurrent use. It must not be used for another request.
type Session struct {
	m         *Manager      // nil outside of a request of ours
	r         *http.Request // with our context
	original  *http.Request // as it came in
	x         *exchange
	opened    time.Time
	transport store.Transport
	status    status
	mu        sync.Mutex // guards what follows, and status

	err    error // why status is unavailable or ended
	token  Token // of the live session
	record store.Record
	since  int64         // when authentication can have begun at the earliest, in nanoseconds
	half   *store.Record // the half-open login, once it was looked for

	key     *unwrappedKey // nil until it is needed
	scratch *scratch      // nil until it is needed; the record's parts may lie there
	changes []slot        // deferred, the last one of a name counts

	recycles    bool // somebody calls recycle
	whole       bool // record has its parts; otherwise they are loaded when needed
	valuesOpen  bool // scratch has the values
	verified    bool // the record's verifier is that of the token
	accessed    bool // the response depends on the session
	notActivity bool
	confirm     bool // the successor of a rotation was presented for the first time
	stepUp      bool // Admit demands fresh authentication
	csrfOwed    bool // the handler has to call CheckCSRF first
	upgrade     bool // an Upgrade request: never rotates
	outrun      bool // the token was superseded twice: never rotates
	fresh       bool // the token was minted by this request
	confirmed   bool // the record is no copy
	vacant      bool // there is no session, and nothing against restoring one

	remember    *remembering // nil for most requests
	failed      error        // storing failed, and the client was told so
	removeWatch func()       // of the open channel

	// What the response will say.
	pending    *string // the new value of the lesser cookies …
	csrf       *string // … where an empty one removes the cookie
	setToken   bool
	clear      bool
	clearSite  bool
	sent       bool // headers are out
	committing bool // headers are about to go out

	hijacked bool
	over     bool // the request is
}

// Format prints the session's handle, whatever the verb: a session holds secrets.
func (s *Session) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, "session "+handleText(s.Handle()))
}

// LogValue returns the session's handle.
func (s *Session) LogValue() slog.Value { return slog.StringValue(handleText(s.Handle())) }

// Err returns nil if the session can be read and changed, and otherwise the
// reason: ErrOutside, ErrUnavailable, ErrEnded or ErrLocked.
func (s *Session) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.usableLocked()
}

// usableLocked returns why the session can be neither read nor changed.
func (s *Session) usableLocked() error {
	switch s.status {
	case statusOutside:
		return ErrOutside
	case statusUnavailable, statusEnded:
		return s.err
	case statusLive:
		if s.record.LockedAt(s.opened) {
			return ErrLocked
		}
	}
	return nil
}

// Subject returns who is signed in: empty unless the session is active, neither
// locked nor half-open, and the store could be asked.
func (s *Session) Subject() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.subjectLocked()
}

func (s *Session) subjectLocked() string {
	s.accessed = true
	if s.status != statusLive || s.record.State != store.Active || s.record.LockedAt(s.opened) {
		return ""
	}
	return s.record.Subject
}

// LockedSubject returns whose session it is if it is locked, so that a page can
// ask just for the password; otherwise it is empty.
func (s *Session) LockedSubject() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accessed = true
	if s.status != statusLive || !s.record.LockedAt(s.opened) {
		return ""
	}
	return s.record.Subject
}

// Assurance returns how and when the subject authenticated, and with what
// authority. It is the zero value unless Subject is not empty.
func (s *Session) Assurance() Assurance {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.subjectLocked() == "" {
		return Assurance{}
	}
	return s.record.Assurance.Clone()
}

// Role returns the role given at login or elevation.
func (s *Session) Role() string { return s.Assurance().Role }

// Tenant returns the tenant given at login or elevation.
func (s *Session) Tenant() string { return s.Assurance().Tenant }

// Handle returns the session's public name, for logs and lists. It is zero if
// there is no session. It authenticates nobody.
func (s *Session) Handle() Handle {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != statusLive {
		return Handle{}
	}
	return s.record.Handle
}

// handles returns the session's public name, and that of its remembered login.
func (s *Session) handles() (own, series Handle) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != statusLive {
		return Handle{}, Handle{}
	}
	series, _ = seriesOf(&s.record)
	return s.record.Handle, series
}

// Snapshot returns what is known about the session, and false if there is none.
func (s *Session) Snapshot() (Snapshot, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accessed = true
	if s.status != statusLive {
		return Snapshot{}, false
	}
	out := snapshot(&s.record, s.opened)
	out.Current = true
	return out, true
}

// Token returns the session's token if this request has minted it, to hand it to
// a client that presents it as a bearer token. It answers false for sessions
// whose token travels in the cookie.
func (s *Session) Token() (Token, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != statusLive || s.transport != store.Bearer || !s.fresh {
		return Token{}, false
	}
	return s.token, true
}

// NotActivity marks this request as one that does not count as activity of the
// user, such as polling.
func (s *Session) NotActivity() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.notActivity = true
}

// client returns where the request came from. Config.ClientAddr gets the request
// without our context: it must not wait for the session whose lock is held.
func (s *Session) client() store.Client {
	if s.m == nil {
		return store.Client{}
	}
	return s.m.clientOf(s.original)
}

// initiator names who acts in this request, for events.
func (s *Session) initiatorLocked() string {
	if s.status == statusLive && s.record.State == store.Active {
		return s.record.Subject
	}
	return ""
}

// read returns the value of a key: as changed by this request, or as stored.
// With note, storing a change of it later requires that nobody else has changed
// it. A value that is there lies in the scratch that is returned with it, held.
func (s *Session) read(name string, note bool) (found slot, held *scratch, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if found, err = s.readLocked(name, note); err != nil || found.value == nil {
		return slot{}, nil, err
	}
	return found, s.scratchLocked().hold(), nil
}

// readLocked is read, for as long as the lock is held.
func (s *Session) readLocked(name string, note bool) (slot, error) {
	s.accessed = true
	if s.status == statusEnded {
		return slot{}, nil // nobody's request any more, and nothing in it
	}
	if err := s.usableLocked(); err != nil {
		return slot{}, err
	}
	if i := s.changeLocked(name); i >= 0 {
		return s.changes[i], nil
	}
	if s.status != statusLive {
		return slot{}, nil
	}
	err := s.openLocked()
	if errors.Is(err, errRetry) {
		ctx, cancel := s.m.detached(s.r.Context())
		defer cancel()
		if err = s.m.reloadLocked(ctx, s); errors.Is(err, ErrEnded) {
			return slot{}, nil
		}
		if err == nil {
			err = s.usableLocked()
		}
		if err == nil {
			err = s.openLocked()
		}
	}
	if err != nil {
		return slot{}, err
	}
	found, _ := s.scratch.values.get(name)
	if note {
		s.noteReadLocked(slot{name: name, value: found.value})
	}
	return found, nil
}

// isOver reports whether the session had ended before this request could use it:
// there is nothing in it, which is no error.
func (s *Session) isOver() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status == statusEnded
}

// noteReadLocked remembers what this request has seen of a value.
func (s *Session) noteReadLocked(seen slot) {
	w := s.scratchLocked()
	if i := s.seenLocked(seen.name); i >= 0 {
		w.seen[i] = seen
		return
	}
	if w.seen == nil {
		w.seen = w.seenRoom[:0]
	}
	w.seen = append(w.seen, seen)
}

// seenLocked returns the index of what was read of a name, or -1.
func (s *Session) seenLocked(name string) int {
	if s.scratch == nil {
		return -1
	}
	return slices.IndexFunc(s.scratch.seen, func(r slot) bool { return r.name == name })
}

// changeLocked returns the index of the deferred change of a name, or -1.
func (s *Session) changeLocked(name string) int {
	return slices.IndexFunc(s.changes, func(c slot) bool { return c.name == name })
}

// set defers a change until the session is stored, and keeps a copy of the value;
// after the response has begun it is stored at once.
func (s *Session) set(change slot) error {
	s.mu.Lock()
	if err := s.changeableLocked(); err != nil {
		s.mu.Unlock()
		return err
	}
	if len(change.value) > s.m.cfg.MaxValues {
		s.mu.Unlock()
		return ErrTooLarge
	}
	atOnce := s.sent || s.committing
	if !atOnce {
		s.deferLocked(change)
	}
	s.mu.Unlock()
	if !atOnce {
		return nil
	}
	return s.update(s.r.Context(), change.name, func(stored slot, _ bool) (slot, error) {
		if change.outdated(stored) {
			return slot{}, errNoChange
		}
		return change, nil
	})
}

func (s *Session) deferLocked(change slot) {
	s.accessed = true
	i := s.changeLocked(change.name)
	if i < 0 && change.value == nil && s.status != statusLive {
		return // nothing to delete, and no reason to make a session
	}
	w := s.scratchLocked()
	if change.value != nil {
		change.value = w.keep(change.value)
	}
	if i >= 0 {
		s.changes[i] = change
		return
	}
	if s.changes == nil {
		s.changes = w.changesRoom[:0]
	}
	s.changes = append(s.changes, change)
}

// dropChanges forgets what this request wanted to change and has not stored yet.
func (s *Session) dropChanges() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dropListsLocked()
}

// changeableLocked returns why the session cannot be changed.
func (s *Session) changeableLocked() error {
	if err := s.usableLocked(); err != nil {
		return err
	}
	if s.failed != nil {
		return s.failed
	}
	if s.csrfOwed {
		return ErrCSRF
	}
	if s.sent && s.status == statusNone {
		return ErrHeadersSent
	}
	return nil
}

// openLocked opens the values of a live session, once. Its error is errRetry if
// the session has to be loaded again first.
func (s *Session) openLocked() error {
	w := s.scratchLocked()
	if s.valuesOpen || w.valuesErr != nil {
		return w.valuesErr
	}
	if err := s.loadPartsLocked(); err != nil {
		return err
	}
	if err := s.openKeyLocked(); err != nil {
		return err
	}
	values, err := openValues(s.key.cipher(), &s.record, w.context[:0])
	if err != nil {
		s.m.emit(s, Event{Type: EventUnreadable, Handle: s.record.Handle, Subject: s.record.Subject, Cause: err.Error()})
		w.valuesErr = errors.Join(ErrUndecodable, err) // reported once
		return w.valuesErr
	}
	s.haveValuesLocked(values)
	return nil
}

// loadPartsLocked loads the parts of the record if they were left out at first.
// Its error is errRetry if somebody has changed the record since.
func (s *Session) loadPartsLocked() error {
	if s.whole {
		return nil
	}
	if s.m.stepwise != nil {
		return s.loadPartLocked()
	}
	ctx, cancel := s.m.detached(s.r.Context())
	defer cancel()
	r, err := s.m.store.Load(ctx, s.record.Key(), s.m.parts)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return errRetry
	case err != nil:
		return fromStore("loading values", err)
	case r.Version != s.record.Version || r.Ended() || r.Locked != s.record.Locked || !r.Limit.Equal(s.record.Limit):
		return errRetry
	}
	s.record.Parts, s.whole = r.Parts, true
	return nil
}

// loadPartLocked loads the application's part into the scratch. There is nothing to
// wait for.
func (s *Session) loadPartLocked() error {
	w := s.scratchLocked()
	if w.filled { // and what is there may be what was read
		w = new(scratch)
	}
	p, err := s.m.stepwise.LoadPart(context.Background(), &s.record, partApp, w.opened)
	switch {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrConflict):
		return errRetry
	case err != nil:
		return fromStore("loading values", err)
	}
	s.record.Parts, s.whole = nil, true
	if p.Sealed != nil {
		w.opened, w.filled, w.parts[0] = p.Sealed, true, p
		s.record.Parts = w.parts[:1:1]
	}
	return nil
}

func (s *Session) openKeyLocked() error {
	if s.key != nil {
		return nil
	}
	verifier := s.record.Verifier
	if !s.verified {
		verifier = s.token.verifier(s.record.Handle)
	}
	key, err := s.m.unwrapFor(s.token, verifier, &s.record)
	if err != nil {
		s.m.emit(s, Event{Type: EventUnreadable, Handle: s.record.Handle, Subject: s.record.Subject, Cause: err.Error()})
		return errors.Join(ErrUndecodable, err)
	}
	s.key = key
	return nil
}

// openValues opens the application's part of a record, whose sealed bytes are
// used up. The context is room for what they are bound to.
func openValues(aead cipher.AEAD, r *store.Record, context []byte) (table, error) {
	i := slices.IndexFunc(r.Parts, func(p store.Part) bool { return p.Name == partApp })
	if i < 0 {
		return nil, nil
	}
	plaintext, err := openPartWith(aead, r, r.Parts[i], context)
	r.Parts[i].Sealed = nil
	if err != nil {
		return nil, err
	}
	return plaintext, table(plaintext).check()
}

// detached returns a context for store operations on behalf of a request that must
// not be cancelled by the client hanging up.
// A store in this process has nothing to wait for.
func (m *Manager) detached(ctx context.Context) (context.Context, context.CancelFunc) {
	if m.local {
		return context.WithoutCancel(ctx), func() {}
	}
	return context.WithTimeout(context.WithoutCancel(ctx), m.cfg.StoreTimeout)
}
