package session_test

// The tests named TestIncident… replay, one by one, what went wrong elsewhere:
// the rows of sections A and B of INCIDENTS.md, and some of section C. A1 to A10
// are the findings of section A; rows of section B go by their identifier.
//
// Rows without a test here, because this package has nothing they could go wrong
// in:
//
//	A9                              no defect: says who else has device-bound sessions
//	CVE-2026-40575                  skip rules on X-Forwarded-Uri: gateway; that the client
//	                                address ignores such headers is tested with
//	                                CVE-2026-45364
//	GHSA-5hvv, -pxq7, -7rh7, -vjrc  health-check agents, route matching, header smuggling:
//	                                gateway; the library matches no routes
//	GHSA-f24x                       session kept on the sign-in page: gateway
//	near-cache rows of CVE-2025-46336, GHSA-xg6x and better-auth #9991
//	                                store/nearcache; the manager keeps no copies
//	Spring JDBC DELETE guard        the SQL itself: store/storetest; limits from one second
//	                                to 400 days are tested here

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// flight is a request whose session is loaded and whose handler waits, like one
// with a slow backend, until the request lands.
type flight struct {
	t       testing.TB
	release chan struct{}
	answer  chan *http.Response
}

// takeOff sends a request of the browser and returns once its handler is
// running; after land, do is what the handler does.
func takeOff(b *browser, m *session.Manager, do http.HandlerFunc) *flight {
	b.t.Helper()
	return takeOffWith(b, m, b.request("GET", "/slow", nil), do)
}

// form is a POST request with a valid form token.
func (b *browser) form() *http.Request {
	b.t.Helper()
	return b.request("POST", "/", url.Values{"csrf": {b.get("/csrf")}})
}

func takeOffWith(b *browser, m *session.Manager, r *http.Request, do http.HandlerFunc) *flight {
	b.t.Helper()
	f := &flight{t: b.t, release: make(chan struct{}), answer: make(chan *http.Response, 1)}
	begun := make(chan struct{})
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-f.release
		do(w, r)
	}))
	go func() {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		f.answer <- rec.Result()
	}()
	select {
	case <-begun:
	case resp := <-f.answer:
		b.t.Fatalf("request in flight: got status %d before its handler ran", resp.StatusCode)
	case <-time.After(10 * time.Second):
		b.t.Fatal("request in flight: its handler does not run")
	}
	return f
}

// land lets the handler go on and returns the response.
func (f *flight) land() *http.Response {
	f.t.Helper()
	close(f.release)
	select {
	case resp := <-f.answer:
		return resp
	case <-time.After(10 * time.Second):
		f.t.Fatal("request in flight: no response")
		return nil
	}
}

// page is what handlers answer when they believe that all went well.
const page = "SECRET-PAGE-FOR-ALICE"

// lateWork is what handlers of requests in flight do. They answer with page
// unless a call told them of an error.
var lateWork = []struct {
	name   string
	writes bool
	do     func(m *session.Manager, ctx context.Context, s *session.Session) error
}{
	{"reads", false, func(_ *session.Manager, _ context.Context, s *session.Session) error {
		_, _, err := note.Lookup(s)
		return err
	}},
	{"does nothing", false, func(*session.Manager, context.Context, *session.Session) error { return nil }},
	{"sets", true, func(_ *session.Manager, _ context.Context, s *session.Session) error { return note.Set(s, "late") }},
	{"deletes", true, func(_ *session.Manager, _ context.Context, s *session.Session) error { return basket.Delete(s) }},
	{"updates", true, func(_ *session.Manager, ctx context.Context, s *session.Session) error {
		return basket.Update(ctx, s, func(b *[]string) error { *b = append(*b, "late"); return nil })
	}},
	{"pops", true, func(_ *session.Manager, ctx context.Context, s *session.Session) error {
		_, _, err := basket.Pop(ctx, s)
		return err
	}},
	{"elevates", true, func(m *session.Manager, ctx context.Context, _ *session.Session) error {
		return m.Elevate(ctx, func(a *store.Assurance) { a.Role = "admin" })
	}},
	{"reauthenticates", true, func(m *session.Manager, ctx context.Context, _ *session.Session) error {
		return m.Reauthenticate(ctx, "pwd")
	}},
	{"revokes others", true, func(m *session.Manager, ctx context.Context, _ *session.Session) error {
		_, err := m.RevokeOthers(ctx)
		return err
	}},
}

// handlerOf makes a handler of late work.
func handlerOf(m *session.Manager, do func(*session.Manager, context.Context, *session.Session) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		reply(w, do(m, r.Context(), session.From(r.Context())), page)
	}
}

// checkLate checks the response to a request whose session ended while it was in
// flight: it leaves the cookie alone, and does not claim to have stored anything.
func checkLate(t *testing.T, resp *http.Response, writes bool) {
	t.Helper()
	if lines := resp.Header["Set-Cookie"]; hasCookie(lines, "__Host-id") {
		t.Errorf("late response: got Set-Cookie %q, want our cookie left alone", redact(lines))
	}
	text := body(t, resp)
	if writes && (resp.StatusCode < 400 || resp.StatusCode >= 500 || strings.Contains(text, page)) {
		t.Errorf("late writing request: got status %d and %q, want a refusal", resp.StatusCode, text)
	}
	if !writes && resp.StatusCode != 200 {
		t.Errorf("late reading request: got status %d, want 200", resp.StatusCode)
	}
}

// redact shortens Set-Cookie lines for messages.
func redact(lines []string) (short []string) {
	for _, line := range lines {
		short = append(short, line[:min(len(line), 20)]+"…")
	}
	return short
}

// checkRefused checks that the browser's cookies sign nobody in and show nothing,
// and that the answer leaves our cookie alone: it could be another login's by now.
func checkRefused(t *testing.T, what string, b *browser) {
	t.Helper()
	again := b.twin()
	if got := again.get("/whoami"); got != "||" || again.token() != b.token() {
		t.Errorf("%s: got %q, cookie touched: %t, want nobody", what, got, again.token() != b.token())
	}
}

// handleOf returns the handle of the subject's only session.
func (w *world) handleOf(t testing.TB, subject string) (h store.Handle) {
	t.Helper()
	n := 0
	for s, err := range w.Sessions(context.Background(), subject) {
		if err != nil {
			t.Fatal(err)
		}
		h, n = s.Handle, n+1
	}
	if n != 1 {
		t.Fatalf("got %d sessions of %s, want 1", n, subject)
	}
	return h
}

// alive returns how many sessions the subject has.
func (w *world) alive(t testing.TB, subject string) int {
	t.Helper()
	n, err := w.Count(context.Background(), subject)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// tampered is an external store whose records somebody changes on their way.
type tampered struct {
	store.Store
	change func(*store.Record)
}

func (s *tampered) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	r, err := s.Store.Load(ctx, k, parts)
	if err == nil && s.change != nil {
		s.change(&r)
	}
	return r, err
}

// bothFaulty is bothStores with a store that fails on command.
func bothFaulty(t *testing.T, test func(t *testing.T, f *storetest.Faulty, s store.Store)) {
	bothStores(t, func(t *testing.T, s store.Store) {
		f := storetest.NewFaulty(s)
		if _, local := s.(store.Local); local {
			test(t, f, f)
			return
		}
		test(t, f, external{f})
	})
}

// cookieOf returns the value the response sets our session cookie to.
func cookieOf(resp *http.Response) (string, bool) {
	for _, c := range resp.Cookies() {
		if c.Name == "__Host-id" {
			return c.Value, true
		}
	}
	return "", false
}

// present sends a GET with nothing but the given Cookie header.
func present(h http.Handler, path, cookie string) *http.Response {
	r := httptest.NewRequest("GET", "https://shop.example"+path, nil)
	if cookie != "" {
		r.Header.Set("Cookie", cookie)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	return rec.Result()
}

// showPage answers with page.
func showPage(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) }

// reported closes the manager and returns how many events of a type there were.
func (w *world) reported(t testing.TB, typ string) (n int) {
	t.Helper()
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.events.mu.Lock()
	defer w.events.mu.Unlock()
	for _, e := range w.events.all {
		if e.Type == typ {
			n++
		}
	}
	return n
}
