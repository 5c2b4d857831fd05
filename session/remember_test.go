package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

const (
	idCookie       = "__Host-id"
	rememberCookie = "__Host-id-remember"
	month          = 30 * 24 * time.Hour
)

// remembering is a world that remembers logins and readmits everybody.
func remembering(t testing.TB, s store.Store, change func(*session.Config)) *world {
	t.Helper()
	return newWorld(t, func(c *session.Config) {
		c.Store = s
		c.Remember.Readmit = func(context.Context, session.Snapshot) (session.Identity, error) {
			return session.Identity{Role: "customer"}, nil
		}
		if change != nil {
			change(c)
		}
	})
}

// remember signs in with the box ticked.
func (b *browser) remember(subject string) *http.Response {
	b.t.Helper()
	resp := b.post("/login", url.Values{"user": {subject}, "remember": {"on"}})
	if resp.StatusCode != 200 || b.cookie(rememberCookie) == "" {
		b.t.Fatalf("remembered login of %s: got status %d, cookie: %t", subject, resp.StatusCode, b.cookie(rememberCookie) != "")
	}
	return resp
}

func (b *browser) cookie(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cookies[name]
}

func (b *browser) drop(names ...string) *browser {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, name := range names {
		delete(b.cookies, name)
	}
	return b
}

// reopen closes the browser and opens it again: what has no lifetime is gone.
func (b *browser) reopen() *browser {
	return b.drop(idCookie, idCookie+"-csrf", idCookie+"-pending")
}

// line returns the response's Set-Cookie line of a name.
func line(resp *http.Response, name string) string {
	for _, l := range resp.Header["Set-Cookie"] {
		if strings.HasPrefix(l, name+"=") {
			return l
		}
	}
	return ""
}

// logins returns the remembered logins of a subject.
func (w *world) logins(t testing.TB, subject string) (all []session.Snapshot) {
	t.Helper()
	for s, err := range w.Remembered(context.Background(), subject) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

func TestRememberIsOffUnlessChosen(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	resp := b.post("/login", url.Values{"user": {"alice"}, "remember": {"on"}})
	if got := body(t, resp); resp.StatusCode != 500 || !strings.Contains(got, "Config.Remember is off") {
		t.Errorf("asking while it is off: got status %d: %s", resp.StatusCode, got)
	}
	w = remembering(t, nil, nil)
	b = w.browser(t)
	if b.login("alice"); b.cookie(rememberCookie) != "" || len(w.logins(t, "alice")) != 0 {
		t.Error("a login that did not ask for it is remembered")
	}
	if got := b.reopen().get("/whoami"); got != "||" {
		t.Errorf("after closing the browser: got %q", got)
	}
}

func TestRememberCookie(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	resp := b.remember("alice")
	check := func(what, value string, seconds string) {
		t.Helper()
		want := rememberCookie + "=" + value + "; Path=/; Max-Age=" + seconds + "; HttpOnly; Secure; SameSite=Lax"
		if got := line(resp, rememberCookie); got != want {
			t.Errorf("%s: got the cookie %q, want attributes %q", what, got, strings.TrimPrefix(want, rememberCookie+"="+value))
		}
		if got := line(resp, idCookie); strings.Contains(got, "Max-Age") || strings.Contains(got, "Expires") {
			t.Errorf("%s: the session cookie outlives the browser: %q", what, got)
		}
		if resp.Header.Get("Cache-Control") != "no-store" || resp.Header.Get("Vary") != "Cookie" {
			t.Errorf("%s: got Cache-Control %q, Vary %q", what, resp.Header.Get("Cache-Control"), resp.Header.Get("Vary"))
		}
	}
	check("login", b.cookie(rememberCookie), "2592000")
	// The cookie never outlives what it stands for.
	for range 5 {
		w.clock.advance(15 * 24 * time.Hour)
		b.reopen()
		resp = b.do(b.request("GET", "/whoami", nil))
		if w.clock.Now().Before(w.logins(t, "alice")[0].Created.Add(59 * 24 * time.Hour)) {
			check("within the first 60 days", b.cookie(rememberCookie), "2592000")
		}
	}
	w.clock.advance(5 * 24 * time.Hour)
	b.reopen()
	resp = b.do(b.request("GET", "/whoami", nil))
	check("on day 80", b.cookie(rememberCookie), "864000")
}

// TestRestore: the browser comes back without its session, and is signed in by
// tokens that are all new.
func TestRestore(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		b.post("/note", url.Values{"note": {"x"}})
		before, session1 := b.cookie(rememberCookie), b.token()
		signedIn := w.clock.Now()
		w.clock.advance(7 * 24 * time.Hour)
		b.reopen()
		if got := b.get("/whoami"); got != "alice||" {
			t.Fatalf("got %q, want alice without the old session's values", got)
		}
		if b.cookie(rememberCookie) == before || b.token() == "" || b.token() == session1 {
			t.Error("a token was not replaced")
		}
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			a := s.Assurance()
			if !slices.Equal(a.Methods, []string{session.MethodRemember}) || a.Level != 0 || a.Role != "customer" || a.At.Sub(signedIn).Abs() > time.Second {
				t.Errorf("got assurance %+v", a)
			}
			snap, _ := s.Snapshot()
			if !snap.Restored || snap.Series.IsZero() {
				t.Errorf("got restored %t, series %v", snap.Restored, snap.Series)
			}
		})
		if n := w.alive(t, "alice"); n != 1 {
			t.Errorf("got %d sessions, want 1", n)
		}
		w.events.count(t, session.EventRemembered, 1)
		w.events.count(t, session.EventRestored, 1)
		w.events.count(t, session.EventCreated, 2)
		w.events.count(t, session.EventReuse, 0)
	})
}

// TestRestoredIsStale: however short ago the login was, a restored session is not
// fresh, and only authenticating again makes it so.
func TestRestoredIsStale(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	fresh := func(ctx context.Context) error { return session.From(ctx).CheckFresh(400 * 24 * time.Hour) }
	if err := b.call(w.Manager, fresh); err != nil {
		t.Fatalf("after login: got %v", err)
	}
	b.reopen()
	if err := b.call(w.Manager, fresh); !errors.Is(err, session.ErrStale) {
		t.Errorf("restored: got %v, want ErrStale", err)
	}
	elevated := func(methods []string, at time.Time) func(context.Context) error {
		return func(ctx context.Context) error {
			err := w.Elevate(ctx, func(a *session.Assurance) { a.Methods, a.At = methods, at })
			return errors.Join(err, fresh(ctx))
		}
	}
	for name, methods := range map[string][]string{"code alone": {session.MethodRemember, "otp"}, "forgetting": {}, "claiming": {"pwd", "otp"}} {
		if err := b.call(w.Manager, elevated(methods, w.clock.Now())); !errors.Is(err, session.ErrStale) {
			t.Errorf("elevated by %s: got %v, want ErrStale", name, err)
		}
	}
	if err := b.call(w.Manager, func(ctx context.Context) error {
		err := w.Reauthenticate(ctx, "pwd", session.MethodRemember)
		a := session.From(ctx).Assurance()
		if slices.Contains(a.Methods, session.MethodRemember) || !slices.Contains(a.Methods, "pwd") {
			t.Errorf("re-authenticated: got methods %q", a.Methods)
		}
		return errors.Join(err, fresh(ctx))
	}); err != nil {
		t.Errorf("re-authenticated: got %v", err)
	}
	if err := b.call(w.Manager, func(ctx context.Context) error {
		return w.Login(ctx, session.Identity{Subject: "alice", Methods: []string{session.MethodRemember}})
	}); err == nil {
		t.Error("a login claims to be remembered")
	}
}
