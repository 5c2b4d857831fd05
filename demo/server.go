// Package demo is a small shop that shows what package session does: visitors
// fill a basket, sign in, keep the basket, leave and come back. Its pages work
// without JavaScript and ask nothing of other hosts.
//
//	shop, err := demo.New(demo.Options{Store: s, Log: os.Stdout})
//	…
//	http.Serve(listener, shop.Handler())
//
// [New] is the table of contents: one line for each page, one file for each
// page.
package demo

import (
	"context"
	"database/sql"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// Options says what a shop works with.
type Options struct {
	// Store keeps the sessions. If nil, they are forgotten with the process.
	Store store.Store
	// Keys seal the sessions, see [session.Config.Keys] and [Key].
	Keys [][]byte
	// Log receives one readable line for each session event and each password
	// that was refused. If nil, there is no log.
	Log io.Writer
	// Logger receives warnings of the session library. If nil, [slog.Default].
	Logger *slog.Logger
	// Limits are the timeouts of sessions. Zero means those of the library.
	Limits session.Limits
	// HashCost is the cost of password hashes, see [bcrypt.GenerateFromPassword].
	// Zero means 10, the least that OWASP advises: the passwords here are 64
	// random bits, whose hashes are never stored.
	HashCost int
	// Database is the SQL database behind Store, for the attacks on it that
	// visitors can run: by another handle than that of Store, which may keep all
	// of its connections. If nil, those are not offered.
	Database *sql.DB
	// Engine says what Store keeps the sessions in: one of the engines of this
	// package. If empty, it is SQLite with a Database, and memory without.
	Engine string
	// Now is the clock. If nil, [time.Now].
	Now func() time.Time
}

// Shop is the shop. Its methods are safe for concurrent use.
type Shop struct {
	store    store.Store // beside the manager, for lists that it does not have
	sessions *session.Manager
	accounts *accounts
	attempts *attempts
	log      *eventLog
	journal  *journal
	streams  *streams
	lab      *lab
	files    *files
	pages    map[string]*template.Template
	routes   *http.ServeMux
	now      func() time.Time
}

// maxBody bounds the body of a request. The largest form has four short fields.
const maxBody = 64 << 10

// New opens a shop, with three accounts under new passwords.
func New(o Options) (*Shop, error) {
	s := &Shop{log: newEventLog(o.Log), journal: newJournal(), streams: newStreams(), attempts: newAttempts(), routes: http.NewServeMux()}
	if s.now = o.Now; s.now == nil {
		s.now = time.Now
	}
	if s.store = o.Store; s.store == nil {
		s.store = memory.New()
	}
	var err error
	if s.accounts, err = newAccounts(o.HashCost); err != nil {
		return nil, err
	}
	if s.files, err = newFiles(); err != nil {
		return nil, err
	}
	if s.pages, err = s.parsePages(); err != nil {
		return nil, err
	}
	s.sessions, err = session.New(session.Config{
		Store:  s.store,
		Keys:   o.Keys,
		Limits: o.Limits,
		Skip:   isStatic,
		// For those who tick the box.
		Remember: session.Remember{Readmit: s.readmit},
		// What a page asks by itself keeps no session alive.
		NotActivity: isState,
		Now:         s.now,
		Denied:      s.denied,
		Observers:   []func(session.Event){s.log.observe, s.journal.observe},
		Logger:      o.Logger,
	})
	if err != nil {
		return nil, fmt.Errorf("opening the shop: %w", err)
	}
	s.lab = newLab(s, o)

	s.routes.HandleFunc("GET /{$}", s.shop)
	s.routes.HandleFunc("GET /cart", s.cart)
	s.routes.HandleFunc("POST /cart", s.addToCart)
	s.routes.HandleFunc("GET /login", s.loginForm)
	s.routes.HandleFunc("POST /login", s.login)
	s.routes.HandleFunc("POST /logout", s.logout)
	s.routes.HandleFunc("GET /login/code", s.loginCodeForm)
	s.routes.HandleFunc("POST /login/code", s.loginCode)
	s.routeAccount()
	s.routeAdmin()
	s.routeTry()
	s.routes.Handle("GET "+staticPrefix, s.files)
	s.routes.Handle("GET /favicon.ico", http.RedirectHandler(s.files.url("ticket.svg"), http.StatusFound))
	return s, nil
}

// routeAccount adds what belongs to an account: each line says what its page asks
// of the user first.
func (s *Shop) routeAccount() {
	login := func(next http.HandlerFunc) http.Handler { return s.sessions.RequireLogin(next) }
	// Not by a copy of a session that another node has ended a moment ago.
	current := func(next http.HandlerFunc) http.Handler { return s.sessions.RequireCurrent(next) }
	factor := func(next http.HandlerFunc) http.Handler { return s.sessions.RequireCurrent(s.requireFactor(next)) }

	s.routes.Handle("GET /account", login(s.account))
	s.routes.Handle("GET /account/confirm", login(s.confirmForm))
	s.routes.Handle("POST /account/confirm", login(s.confirm))
	s.routes.Handle("GET /account/code", login(s.stepUpForm))
	s.routes.Handle("POST /account/code", login(s.stepUp))
	s.routes.Handle("POST /account/sessions/end", current(s.endSession))
	s.routes.Handle("POST /account/sessions/end-others", s.guarded(s.endOthers))
	s.routes.Handle("GET /account/password", factor(s.passwordForm))
	s.routes.Handle("POST /account/password", factor(s.changePassword)) // asks for the password itself
	s.routes.Handle("GET /account/second-factor", s.guarded(s.enrolForm))
	s.routes.Handle("POST /account/second-factor", s.guarded(s.enrol))
	s.routes.Handle("POST /account/second-factor/off", s.guarded(s.dropFactor))
	s.routes.HandleFunc("GET "+statePath, s.state)
	s.routes.Handle("GET "+statePath+"/stay", login(s.stay))
}

// routeAdmin adds what administrators see, all of it behind the same check.
func (s *Shop) routeAdmin() {
	s.routes.Handle("GET /admin", s.forAdmin(s.admin))
	s.routes.Handle("GET /admin/session", s.forAdmin(s.adminSession))
	s.routes.Handle("GET /admin/end", s.forAdmin(s.adminEndForm))
	s.routes.Handle("POST /admin/end", s.forAdmin(s.adminEnd))
	s.routes.HandleFunc("GET /admin/live", s.adminLive) // checks by itself, and refuses without a page
}

// Handler answers the shop's requests.
func (s *Shop) Handler() http.Handler {
	return s.chain(http.HandlerFunc(s.route))
}

// chain is what every request passes on its way to a page.
func (s *Shop) chain(next http.Handler) http.Handler {
	return protected(http.MaxBytesHandler(s.sessions.Handler(next), maxBody))
}

// Accounts lists who can sign in. It is the only place that tells the passwords.
func (s *Shop) Accounts() []Account { return s.accounts.list() }

// Close finishes the shop's background work and its log. The store stays open.
func (s *Shop) Close(ctx context.Context) error {
	if err := s.sessions.Close(ctx); err != nil {
		return fmt.Errorf("closing the shop: %w", err)
	}
	return nil
}

// protected sets the headers that every response carries, errors included.
func protected(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; "+
			"img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		h.Set("X-Content-Type-Options", "nosniff")
		// Not no-referrer: with that, browsers say "Origin: null" in our own
		// forms, and the forgery check would refuse them.
		h.Set("Referrer-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		// No Strict-Transport-Security: it would bind every other program that
		// somebody runs on localhost.
		next.ServeHTTP(w, r)
	})
}

// route finds the page, and answers in the shop's look where there is none.
func (s *Shop) route(w http.ResponseWriter, r *http.Request) {
	h, pattern := s.routes.Handler(r)
	if pattern != "" {
		s.routes.ServeHTTP(w, r)
		return
	}
	// The mux's own answer tells 404 from 405, and what would be allowed.
	answer := &statusWriter{header: w.Header(), status: http.StatusOK}
	h.ServeHTTP(answer, r)
	s.missing(w, r, answer.status)
}

// statusWriter keeps the status and the headers of a response, not its body.
type statusWriter struct {
	header http.Header
	status int
}

func (w *statusWriter) Header() http.Header         { return w.header }
func (w *statusWriter) WriteHeader(status int)      { w.status = status }
func (w *statusWriter) Write(b []byte) (int, error) { return len(b), nil }
