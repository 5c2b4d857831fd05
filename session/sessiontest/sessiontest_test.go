package sessiontest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// app greets the user, and needs one.
func app(m *session.Manager) http.Handler {
	return m.Handler(m.RequireLogin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "hello "+session.From(r.Context()).Subject())
	})))
}

func newManager(t *testing.T, c session.Config) *session.Manager {
	t.Helper()
	m, err := session.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close(context.Background()) })
	return m
}

func TestLoggedIn(t *testing.T) {
	clock := sessiontest.NewClock()
	m := newManager(t, session.Config{Now: clock.Now})
	for _, method := range []string{"GET", "POST"} {
		r := sessiontest.LoggedIn(t, m, session.Identity{Subject: "alice"}, httptest.NewRequest(method, "/", nil))
		w := httptest.NewRecorder()
		app(m).ServeHTTP(w, r)
		if got := w.Body.String(); got != "hello alice" {
			t.Errorf("%s: got %d %q, want hello alice", method, w.Code, got)
		}
		clock.Advance(time.Hour)
		w = httptest.NewRecorder()
		app(m).ServeHTTP(w, r.Clone(r.Context()))
		if want := map[string]int{"GET": 401, "POST": 403}[method]; w.Code != want {
			t.Errorf("%s an hour later: got status %d, want %d", method, w.Code, want)
		}
	}
}

func TestVisitorAndPending(t *testing.T) {
	m := newManager(t, session.Config{})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		half, _ := s.Pending(r.Context())
		_, _ = io.WriteString(w, "subject "+s.Subject()+", pending "+half.Subject)
	}))
	for want, r := range map[string]*http.Request{
		"subject , pending ":      sessiontest.Visitor(t, m, httptest.NewRequest("POST", "/", nil)),
		"subject , pending alice": sessiontest.Pending(t, m, session.Identity{Subject: "alice"}, httptest.NewRequest("POST", "/", nil)),
	} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if got := w.Body.String(); got != want {
			t.Errorf("got %d %q, want %q", w.Code, got, want)
		}
	}
}

func TestFaultyStore(t *testing.T) {
	f := sessiontest.NewFaultyStore(memory.New())
	m := newManager(t, session.Config{Store: f})
	r := sessiontest.LoggedIn(t, m, session.Identity{Subject: "alice"}, httptest.NewRequest("GET", "/", nil))
	f.Fail(storetest.OpLoad, 1, nil)
	w := httptest.NewRecorder()
	app(m).ServeHTTP(w, r)
	if w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("with the store down: got status %d, Retry-After %q; want 503 and some", w.Code, w.Header().Get("Retry-After"))
	}
}

func ExampleLoggedIn() {
	m, _ := session.New(session.Config{})
	defer m.Close(context.Background())

	t := new(testing.T) // in a test: its own t
	r := sessiontest.LoggedIn(t, m, session.Identity{Subject: "alice"}, httptest.NewRequest("GET", "/account", nil))
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "signed in as ", session.From(r.Context()).Subject())
	})).ServeHTTP(w, r)
	fmt.Println(w.Body)
	// Output: signed in as alice
}
