// Package sessiontest helps to test handlers that use sessions: requests of
// signed-in users, a clock that the test moves, and a store that fails on
// command.
//
//	func TestAccountPage(t *testing.T) {
//		clock := sessiontest.NewClock()
//		m, _ := session.New(session.Config{Now: clock.Now})
//		r := sessiontest.LoggedIn(t, m, session.Identity{Subject: "alice"},
//			httptest.NewRequest("GET", "/account", nil))
//		w := httptest.NewRecorder()
//		m.Handler(app).ServeHTTP(w, r)
//		…
//	}
package sessiontest

import (
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// LoggedIn signs the identity in, as the application's own login would, and
// returns a copy of r that carries the session's cookies and, in the header
// [session.CSRFHeader], a valid form token. The session is stored where the
// manager keeps its sessions.
func LoggedIn(t testing.TB, m *session.Manager, id session.Identity, r *http.Request) *http.Request {
	t.Helper()
	return with(t, m, r, func(login *http.Request) error { return m.Login(login.Context(), id) })
}

// Pending is like LoggedIn for a login that still owes its second factor.
func Pending(t testing.TB, m *session.Manager, id session.Identity, r *http.Request) *http.Request {
	t.Helper()
	return with(t, m, r, func(login *http.Request) error { return m.LoginPending(login.Context(), id) })
}

// Visitor returns a copy of r that carries what a browser has that has opened a
// page with a form: a valid form token, and no session.
func Visitor(t testing.TB, m *session.Manager, r *http.Request) *http.Request {
	t.Helper()
	return with(t, m, r, func(*http.Request) error { return nil })
}

// with runs do in a request of its own and gives r what a browser has after it.
func with(t testing.TB, m *session.Manager, r *http.Request, do func(*http.Request) error) *http.Request {
	t.Helper()
	var token string
	h := m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		err := do(r)
		if err == nil {
			token, err = m.CSRFToken(r.Context())
		}
		if err != nil {
			t.Fatalf("sessiontest: %v", err)
		}
	}))
	visit := r.Clone(r.Context())
	visit.Method, visit.Body = http.MethodGet, http.NoBody
	w := httptest.NewRecorder()
	h.ServeHTTP(w, visit)

	out := r.Clone(r.Context())
	out.Body = r.Body
	for _, c := range w.Result().Cookies() {
		if c.MaxAge >= 0 {
			out.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	out.Header.Set(session.CSRFHeader, token)
	return out
}

// Clock is a clock that stands still until the test moves it. It is safe for
// concurrent use.
type Clock struct {
	mu  sync.Mutex
	now time.Time
}

// NewClock returns a clock that shows the time of the call.
func NewClock() *Clock { return &Clock{now: time.Now()} }

// Now returns what the clock shows; it is meant for [session.Config].
func (c *Clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

// Advance moves the clock.
func (c *Clock) Advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// FaultyStore is a store that fails, hangs, repeats itself or loses its answers
// on command; see [storetest.Faulty].
type FaultyStore = storetest.Faulty

// NewFaultyStore wraps a store. Until told otherwise it works.
func NewFaultyStore(inner store.Store) *FaultyStore { return storetest.NewFaulty(inner) }
