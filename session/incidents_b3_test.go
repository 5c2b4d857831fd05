package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestIncident_CVE_2023_45128_FormTokenNotBound: fiber's CSRF tokens belonged to no
// session (also CVE-2023-45141).
func TestIncident_CVE_2023_45128_FormTokenNotBound(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		attacker, other, visitor := w.browser(t), w.browser(t), w.browser(t)
		attacker.login("mallory")
		other.login("alice")
		b := w.browser(t)
		before := b.get("/csrf") // of the visitor alice was
		b.post("/add", url.Values{"item": {"coat"}})
		anonymous := b.get("/csrf")
		b.login("alice")
		for name, token := range map[string]string{
			"another user's":              attacker.get("/csrf"),
			"her other session's":         other.get("/csrf"),
			"a visitor's":                 visitor.get("/csrf"),
			"from before the session":     before,
			"from before login":           anonymous,
			"her session token":           b.token(),
			"the visitor's cookie itself": visitor.cookies["__Host-id-csrf"],
			"empty":                       "",
			"zeros":                       strings.Repeat("A", 64),
		} {
			resp := b.do(b.request("POST", "/note", url.Values{"note": {"forged"}, "csrf": {token}}))
			if resp.StatusCode != 403 {
				t.Errorf("form token %s: got status %d, want 403", name, resp.StatusCode)
			}
		}
		// A planted visitor's cookie does not help against somebody signed in,
		// nor does the form token of that visitor.
		planted := b.twin()
		planted.cookies["__Host-id-csrf"] = visitor.cookies["__Host-id-csrf"]
		if resp := planted.do(planted.request("POST", "/note", url.Values{"csrf": {visitor.get("/csrf")}})); resp.StatusCode != 403 {
			t.Errorf("planted visitor's cookie: got status %d, want 403", resp.StatusCode)
		}
		own := b.get("/csrf")
		if resp := b.do(b.request("POST", "/note", url.Values{"note": {"mine"}, "csrf": {own}})); resp.StatusCode != 200 {
			t.Errorf("her own form token: got status %d, want 200", resp.StatusCode)
		}
		b.post("/logout", nil)
		b.login("alice")
		if resp := b.do(b.request("POST", "/note", url.Values{"note": {"forged"}, "csrf": {own}})); resp.StatusCode != 403 {
			t.Errorf("form token of her last session: got status %d, want 403", resp.StatusCode)
		}
	})
}

// cacheable is a handler that does its best to have its response cached.
func cacheable(do func(*http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if err := do(r); err != nil {
			panic(err)
		}
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("Vary", "Accept-Encoding")
		w.Header().Set("Expires", "Thu, 01 Jan 2099 00:00:00 GMT")
		_, _ = io.WriteString(w, page)
		w.Header().Del("Vary")
		w.Header().Set("Cache-Control", "public")
	}
}

// TestIncident_CVE_2025_48947_CachedCookies: nextjs-auth0 sent Set-Cookie without
// Cache-Control, Flask (CVE-2023-30861) refreshed untouched sessions without Vary:
// shared caches handed the cookie to others. Handlers cannot undo it.
func TestIncident_CVE_2025_48947_CachedCookies(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		login := func(r *http.Request) error { return w.Login(r.Context(), session.Identity{Subject: "alice"}) }
		steps := []struct {
			name string
			do   func(*http.Request) error
		}{
			{"visitor's form", func(r *http.Request) error { _, err := w.CSRFToken(r.Context()); return err }},
			{"visitor's value", func(r *http.Request) error { return basket.Set(session.From(r.Context()), []string{"x"}) }},
			{"half-open login", func(r *http.Request) error { return w.LoginPending(r.Context(), session.Identity{Subject: "alice"}) }},
			{"login", login},
			{"elevation", func(r *http.Request) error { return w.Elevate(r.Context(), func(*store.Assurance) {}) }},
			{"rotation, session untouched", func(*http.Request) error { return nil }},
			{"predecessor, session untouched", func(*http.Request) error { return nil }},
			{"logout", func(r *http.Request) error { return w.Logout(r.Context()) }},
		}
		b := w.browser(t)
		var tab *http.Request
		for _, step := range steps {
			r := b.request("GET", "/", nil)
			switch step.name {
			case "rotation, session untouched":
				w.clock.advance(16 * time.Minute)
				tab = b.request("GET", "/", nil)
			case "predecessor, session untouched":
				r = tab
			case "logout":
				r = b.form()
			}
			rec := httptest.NewRecorder()
			w.Handler(cacheable(step.do)).ServeHTTP(rec, r)
			checkUncacheable(t, step.name, b.keep(rec.Result()))
		}
	})
}

func checkUncacheable(t *testing.T, what string, resp *http.Response) {
	t.Helper()
	if len(resp.Header["Set-Cookie"]) == 0 {
		t.Errorf("%s: got no Set-Cookie", what)
	}
	if got := resp.Header["Cache-Control"]; !slices.Equal(got, []string{"no-store"}) {
		t.Errorf("%s: got Cache-Control %q, want no-store", what, got)
	}
	if got := strings.Join(resp.Header["Vary"], ", "); !strings.Contains(got, "Cookie") || !strings.Contains(got, "Accept-Encoding") {
		t.Errorf("%s: got Vary %q, want Cookie beside the handler's own", what, got)
	}
}

// TestIncident_CVE_2023_30861_TamperedSession: the response that clears the cookie
// of a record that does not open must not be cached either.
func TestIncident_CVE_2023_30861_TamperedSession(t *testing.T) {
	w, s, alice, _ := forged(t)
	s.change = func(r *store.Record) { r.Subject = "bob" }
	resp := alice.with(w.Manager, cacheable(func(*http.Request) error { return nil }))
	checkUncacheable(t, "unreadable record", resp)
}

// TestIncident_CVE_2025_7339_DuplicateSetCookie: on-headers mixed up response
// headers that came as a list.
func TestIncident_CVE_2025_7339_DuplicateSetCookie(t *testing.T) {
	own := []string{"a=1; Path=/x", "a=2; Path=/y", "a=1; Path=/x", "b=3"}
	for name, begin := range answers {
		if name == "hijack" {
			continue
		}
		w := newWorld(t, nil)
		rec := httptest.NewRecorder()
		rec.Header()["Set-Cookie"] = []string{"outer=0"}
		r := w.browser(t).request("GET", "/", nil)
		w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			for _, line := range own {
				rw.Header().Add("Set-Cookie", line)
			}
			rw.Header()["X-List"] = []string{"1", "2", "1"}
			_ = w.Login(r.Context(), session.Identity{Subject: "alice"})
			begin(rw, r)
		})).ServeHTTP(rec, r)
		resp := rec.Result()
		got := resp.Header["Set-Cookie"]
		if len(got) != 6 || !slices.Equal(got[:5], append([]string{"outer=0"}, own...)) || !strings.HasPrefix(got[5], "__Host-id=") {
			t.Errorf("%s: got %d Set-Cookie lines %q, want the handler's in order and ours once", name, len(got), redact(got))
		}
		if list := fmt.Sprint(resp.Header["X-List"]); list != "[1 2 1]" {
			t.Errorf("%s: got X-List %s", name, list)
		}
	}
}

// TestIncident_GHSA_xg6x_PendingNeverAuthenticates: better-auth took a cached
// session for valid before its second factor.
func TestIncident_GHSA_xg6x_PendingNeverAuthenticates(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		begin := func(ctx context.Context) error { return w.LoginPending(ctx, session.Identity{Subject: "alice"}) }
		complete := func(ctx context.Context) error {
			return w.CompleteLogin(ctx, session.Identity{Methods: []string{"otp"}})
		}
		if err := b.call(w.Manager, begin); err != nil {
			t.Fatal(err)
		}
		half := b.cookies["__Host-id-pending"]
		checkAuthenticatesNobody(t, w, half)
		if err := b.call(w.Manager, complete); err != nil {
			t.Fatal(err)
		}
		if b.token() == half || b.get("/whoami") != "alice||" {
			t.Errorf("completed: got %q, token kept: %t", b.get("/whoami"), b.token() == half)
		}
		thief := w.browser(t)
		thief.cookies["__Host-id-pending"] = half
		if err := thief.call(w.Manager, complete); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("completed twice: got %v, want ErrLoginRequired", err)
		}
		// A session's token is no half-open login, and a revocation ends one.
		thief.cookies["__Host-id-pending"] = b.token()
		if err := thief.call(w.Manager, complete); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("session token as half-open login: got %v, want ErrLoginRequired", err)
		}
		late := w.browser(t)
		if err := late.call(w.Manager, begin); err != nil {
			t.Fatal(err)
		}
		_, _ = w.RevokeSubject(context.Background(), "alice", "deleted")
		if err := late.call(w.Manager, complete); err == nil {
			t.Error("half-open login outlived RevokeSubject")
		}
	})
}

// checkAuthenticatesNobody presents a half-open token wherever a token can be.
func checkAuthenticatesNobody(t *testing.T, w *world, half string) {
	t.Helper()
	gate := w.Handler(w.RequireLogin(http.HandlerFunc(showPage)))
	for name, cookie := range map[string]string{
		"own cookie": "__Host-id-pending=" + half, "session cookie": "__Host-id=" + half,
		"both": "__Host-id=" + half + "; __Host-id-pending=" + half,
	} {
		if resp := present(gate, "/", cookie); resp.StatusCode != 401 {
			t.Errorf("half-open token in %s: got status %d, want 401", name, resp.StatusCode)
		}
		checkAnonymousBody(t, "half-open token in "+name, present(w.Handler(w.mux), "/whoami", cookie))
		present(w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if snap, ok := session.From(r.Context()).Snapshot(); ok {
				t.Errorf("half-open token in %s: got a session in state %v, want none", name, snap.State)
			}
		})), "/", cookie)
	}
	r := httptest.NewRequest("GET", "/whoami", nil)
	r.Header.Set("Authorization", "Bearer "+half)
	rec := httptest.NewRecorder()
	w.BearerHandler(w.mux).ServeHTTP(rec, r)
	checkAnonymousBody(t, "half-open token as bearer token", rec.Result())
}

// TestIncident_GHSA_2vg6_DeletedUser: better-auth's sessions survived the deletion
// of their user.
func TestIncident_GHSA_2vg6_DeletedUser(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		all := nodes(t, s, 2, nil)
		phone, laptop, bob := all[0].browser(t), all[1].browser(t), all[0].browser(t)
		phone.login("alice")
		laptop.login("alice")
		bob.login("bob")
		f := takeOff(phone, all[0].Manager, handlerOf(all[0].Manager, lateWork[2].do))
		if n, err := all[1].RevokeSubject(context.Background(), "alice", "deleted"); err != nil || n != 2 {
			t.Errorf("RevokeSubject: got %d, %v, want 2", n, err)
		}
		checkLate(t, f.land(), true)
		checkRefused(t, "phone", phone)
		checkRefused(t, "laptop", laptop)
		all[0].clock.advance(time.Minute)
		checkRefused(t, "a minute later", phone)
		if got := bob.get("/whoami"); got != "bob||" || all[1].alive(t, "alice") != 0 {
			t.Errorf("got %q for bob and %d sessions of alice, want bob and 0", got, all[1].alive(t, "alice"))
		}
	})
}

// TestIncident_CVE_2026_45337_OwnershipOfPending: in better-auth's device flow any
// session could claim somebody else's pending code.
func TestIncident_CVE_2026_45337_OwnershipOfPending(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.Store = external{memory.New()} })
	alice, mallory := w.browser(t), w.browser(t)
	mallory.login("mallory")
	if err := alice.call(w.Manager, func(ctx context.Context) error {
		return w.LoginPending(ctx, session.Identity{Subject: "alice"})
	}); err != nil {
		t.Fatal(err)
	}
	h := w.handleOf(t, "alice").String()
	complete := func(ctx context.Context) error { return w.CompleteLogin(ctx, session.Identity{}) }
	half := alice.cookies["__Host-id-pending"]
	for name, cookie := range map[string]string{
		"no cookie": "", "the handle": h, "the right half": half[:22] + strings.Repeat("A", 42), "her own token": mallory.token(),
	} {
		mallory.cookies["__Host-id-pending"] = cookie
		if err := mallory.call(w.Manager, complete); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("%s: got %v, want ErrLoginRequired", name, err)
		}
	}
	if err := alice.call(w.Manager, func(ctx context.Context) error {
		return w.CompleteLogin(ctx, session.Identity{Subject: "mallory"})
	}); err == nil {
		t.Error("CompleteLogin let the caller choose another subject")
	}
	if err := alice.call(w.Manager, complete); err != nil || alice.get("/whoami") != "alice||" {
		t.Errorf("the owner: got %v and %q", err, alice.get("/whoami"))
	}
}
