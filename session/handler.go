// Package session keeps web sessions on the server: it ties the stateless
// requests of one browser to one user, by a random token in a cookie.
//
//	m, err := session.New(session.Config{})
//	…
//	http.ListenAndServe("127.0.0.1:8080", m.Handler(mux))
//
// In a handler:
//
//	s := session.From(r.Context())
//	s.Subject()                                        // who is signed in
//	Basket.Get(s); Basket.Set(s, basket)               // typed values, see [NewKey]
//	m.Login(ctx, session.Identity{Subject: "alice"})   // new token, old one dead
//	m.Logout(ctx)                                      // dead on the server, everywhere
//
// Developers call login and logout; the manager rotates tokens, refuses forged
// requests, ends sessions in time, and stores what changed once, before the
// first byte of the response. Every page that shows a form puts
// [Manager.CSRFField] into it.
//
// # Keeping users signed in
//
// Persistent login is off by default. [Config.Remember] allows it, and
// [Identity.Remember] asks for it, once the user has:
//
//	m, err := session.New(session.Config{Remember: session.Remember{Readmit: readmit}})
//	…
//	m.Login(ctx, session.Identity{Subject: "alice", Remember: r.FormValue("remember") != ""})
//
// When the browser was closed or the session has run out, the next request gets a
// session of reduced assurance, if readmit says that the account may still come
// back: [Manager.RequireFresh] refuses it until the user has authenticated again.
// Logout and revocations end what is remembered with the sessions, a stolen copy
// that is used does too, and [Manager.Remembered] lists it for the user.
//
// # What can be relied on
//
// The invariants I1 to I11 are stated in package
// [cloakroom.example/session/store]: a logout is not undone by a request in
// flight, parallel requests lose no change, a revocation reaches every session,
// and so on. The store holds neither tokens nor readable values.
//
// # Compatibility
//
// Records and sealed values carry a format version; what one version has
// written, later ones read. docs/format.md holds the formats.
package session

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"

	"cloakroom.example/session/store"
)

// Manager manages the sessions of one namespace. All methods are safe for
// concurrent use. Make one with [New] and close it with [Manager.Close].
type Manager struct {
	cfg       Config
	store     store.Store
	series    string // the namespace of remembered logins
	local     bool   // records never leave this process
	copies    bool   // the store may answer from copies, see confirm.go
	keys      []deploymentKey
	unwrapped *unwrappedKeys
	stepwise  store.Stepwise // nil if loading step by step would cost more
	sealing   sync.Pool      // of *[]byte: parts on their way to the store
	scratches sync.Pool      // of *scratch, cleared
	parts     []string
	peersOnly bool // nobody has told us how to look behind proxies
	origins   *http.CrossOriginProtection
	events    *eventQueue
	touches   *toucher
	channels  *channels
	budget    *budget
	locks     *locks
	last      atomic.Int64 // the last time now has returned
	clock     int64        // names our clock among those of other nodes

	closed atomic.Bool // nobody writes what waits any more
	wakeup chan struct{}
	stop   context.CancelFunc
	work   sync.WaitGroup // in the background
}

// New returns a manager. It refuses settings that are unsafe or contradict each
// other with an error that names the field, and reports relaxed ones to
// Config.Logger.
func New(c Config) (*Manager, error) {
	peersOnly := c.ClientAddr == nil
	c = c.withDefaults()
	if err := c.check(); err != nil {
		return nil, err
	}
	m := &Manager{
		cfg: c, store: c.Store, series: c.Namespace + seriesSuffix, keys: hashKeys(c.Keys), peersOnly: peersOnly, parts: []string{partApp}, origins: http.NewCrossOriginProtection(),
		clock: rand.Int64(), budget: newBudget(c.AnonymousPerMinute, c.AnonymousMax), locks: newLocks(c.StoreTimeout),
		wakeup: make(chan struct{}, 1),
	}
	m.sealing.New = func() any { return new([]byte) }
	m.scratches.New = func() any { return new(scratch) }
	if l, ok := c.Store.(store.Local); ok {
		m.local = l.InProcess()
	}
	if c, ok := c.Store.(store.Copier); ok {
		m.copies = c.ServesCopies()
	}
	if m.local {
		m.stepwise, _ = c.Store.(store.Stepwise)
	}
	for _, origin := range c.TrustedOrigins {
		if err := m.origins.AddTrustedOrigin(origin); err != nil {
			return nil, errors.Join(errors.New("session: Config.TrustedOrigins: "+origin), err)
		}
	}
	for _, r := range c.relaxations(m.local) {
		c.Logger.Warn("session: relaxed setting", "namespace", c.Namespace, "setting", r)
	}
	m.events, m.touches, m.channels, m.unwrapped = newEventQueue(c), newToucher(m), newChannels(m), new(unwrappedKeys)
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.background(ctx)
	return m, nil
}

// Handler gives every request a session, see [From], and refuses forged ones.
// Login and logout are not exempt: forms and scripts carry the form token.
//
// Changes of a handler that panics are dropped, if the panic reaches this
// handler. What recovers from panics therefore belongs around it, not inside.
func (m *Manager) Handler(next http.Handler) http.Handler { return m.handler(next, store.Cookie) }

// BearerHandler is the same for native clients, which present their token in the
// Authorization header; cookies are ignored. After a login the handler finds the
// token with [Session.Token]. A session never crosses from one transport to the
// other.
func (m *Manager) BearerHandler(next http.Handler) http.Handler { return m.handler(next, store.Bearer) }

// exchange is one request on its way through the manager, in one allocation.
type exchange struct {
	session Session
	ctx     requestContext
	writer  writer
	entry   http.Header // the response's headers on entry
	lines   [2]string   // header lines of the response

	returned bool // the handler has, rather than panicked
}

// handler is the life of a request: each line is a step, each step a file.
func (m *Manager) handler(next http.Handler, transport store.Transport) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		outer := m.find(r.Context()) // one handler of a manager and transport is enough
		if outer != nil && outer.transport == transport || m.cfg.Skip != nil && m.cfg.Skip(r) {
			next.ServeHTTP(w, r)
			return
		}
		x := m.exchange(w, r, transport)
		defer x.close()
		m.load(&x.session)    // load.go: cookie, record, seal, expiry, rotation
		m.restore(&x.session) // restore.go: from a remembered login, if there is no session
		m.admit(&x.session)   // gate.go: the application's own decision
		if err := m.check(&x.session, x.session.r); err != nil {
			m.cfg.Denied(&x.writer, x.session.r, err)
		} else {
			next.ServeHTTP(&x.writer, x.session.r)
		}
		_ = x.writer.begin() // commit.go: if the handler has written nothing
		x.returned = true
	})
}

func (m *Manager) exchange(w http.ResponseWriter, r *http.Request, transport store.Transport) *exchange {
	x := new(exchange)
	m.open(&x.session, r, transport)
	x.ctx.Context, x.ctx.s = r.Context(), &x.session
	x.session.r, x.session.x, x.session.recycles = r.WithContext(&x.ctx), x, true
	x.writer.ResponseWriter, x.writer.x = w, x
	if h := w.Header(); len(h) > 0 {
		x.entry = h.Clone()
	}
	return x
}

// open prepares the session of a request.
func (m *Manager) open(s *Session, r *http.Request, transport store.Transport) {
	s.m, s.r, s.original, s.transport, s.opened, s.status = m, r, r, transport, m.now(), statusNone
	s.upgrade = first(r.Header["Upgrade"]) != "" || r.Method == http.MethodConnect
	s.notActivity = m.cfg.NotActivity != nil && m.cfg.NotActivity(r)
}

// check refuses forged requests, or leaves the check to the handler.
func (m *Manager) check(s *Session, r *http.Request) error {
	if s.transport == store.Cookie && !safeMethod(r.Method) && m.cfg.ExplicitCSRF != nil && m.cfg.ExplicitCSRF(r) {
		s.mu.Lock()
		s.csrfOwed = true
		s.mu.Unlock()
		return m.checkOrigin(s, r)
	}
	return m.CheckCSRF(r)
}

// checkOrigin is the part of the check that needs no token.
func (m *Manager) checkOrigin(s *Session, r *http.Request) error {
	if err := m.origins.Check(r); err != nil {
		err = errors.Join(ErrCSRF, err)
		m.emit(s, Event{Type: EventCSRF, Cause: err.Error()})
		return err
	}
	return nil
}

// Open gives a request a session, for frameworks that do not use
// [Manager.Handler]. It returns the request to go on with, whose context holds
// the session. The framework then calls [Manager.CheckCSRF], the handler, and
// [Session.Commit] before the first byte is sent.
func (m *Manager) Open(r *http.Request) (*http.Request, *Session) {
	if s := m.find(r.Context()); s != nil {
		return r, s
	}
	if m.cfg.Skip != nil && m.cfg.Skip(r) {
		return r, new(Session)
	}
	x := new(exchange)
	m.open(&x.session, r, store.Cookie)
	x.ctx.Context, x.ctx.s = r.Context(), &x.session
	x.session.r, x.session.x = r.WithContext(&x.ctx), x
	m.load(&x.session)
	m.restore(&x.session)
	m.admit(&x.session)
	return x.session.r, &x.session
}

// close releases what the request has used. If the handler panics, what it wanted
// to change is dropped with it: whoever recovers may still answer through our
// writer.
func (x *exchange) close() {
	if !x.returned {
		x.session.dropChanges()
	}
	if !x.session.isHijacked() {
		x.session.unwatch()
		x.ctx.release()
	}
	x.session.recycle()
}

// Close stops the background work, writes the last-seen times that wait, and
// waits until the observers have seen all events, or ctx ends. Requests may
// still be served, without observers. The store stays open.
func (m *Manager) Close(ctx context.Context) error {
	m.closed.Store(true)
	m.stop()
	stopped := make(chan struct{})
	go func() {
		m.work.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		return errors.Join(errors.New("session: closing"), ctx.Err())
	}
	m.CloseChannels()
	m.unwrapped.forget()
	flushed, cancel := context.WithTimeout(ctx, m.cfg.StoreTimeout)
	defer cancel()
	return errors.Join(m.touches.flush(flushed), m.events.close(ctx))
}
