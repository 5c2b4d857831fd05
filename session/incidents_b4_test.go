package session_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestIncident_BetterAuth9991_ForgedLogout: better-auth logged out by GET: any
// image on any page did it.
func TestIncident_BetterAuth9991_ForgedLogout(t *testing.T) {
	w := newWorld(t, nil)
	w.mux.HandleFunc("/leave", func(rw http.ResponseWriter, r *http.Request) { reply(rw, w.Logout(r.Context()), "ok") })
	b := w.browser(t)
	b.login("alice")
	form := b.get("/csrf")
	for name, c := range map[string]struct {
		method, site, token string
	}{
		"GET from another site":          {"GET", "cross-site", ""},
		"GET":                            {"GET", "", ""},
		"HEAD":                           {"HEAD", "same-origin", ""},
		"POST without form token":        {"POST", "same-origin", ""},
		"POST from another site":         {"POST", "cross-site", form},
		"POST from a sibling site":       {"POST", "same-site", form},
		"POST with the token in the URL": {"POST", "same-origin", "url"},
	} {
		t.Run(name, func(t *testing.T) {
			victim := w.browser(t)
			victim.login("alice")
			form := victim.get("/csrf")
			path, values := "/leave", url.Values{}
			switch c.token {
			case "":
			case "url":
				path += "?csrf=" + form
			default:
				values.Set("csrf", form)
			}
			r := victim.request(c.method, path, values)
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			rec := httptest.NewRecorder()
			victim.handler.ServeHTTP(rec, r)
			if rec.Code == 200 || victim.twin().get("/whoami") != "alice||" {
				t.Errorf("got status %d, and then %q, want a refusal and alice signed in", rec.Code, victim.twin().get("/whoami"))
			}
		})
	}
}

// TestIncident_BetterAuth9991_UncheckedVerbs: with Config.ExplicitCSRF the handler
// owes the check; until it is done, no verb changes anything.
func TestIncident_BetterAuth9991_UncheckedVerbs(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.ExplicitCSRF = func(*http.Request) bool { return true } })
	for name, verb := range map[string]func(context.Context) error{
		"logout":         func(ctx context.Context) error { return w.Logout(ctx) },
		"login":          func(ctx context.Context) error { return w.Login(ctx, session.Identity{Subject: "mallory"}) },
		"reauthenticate": func(ctx context.Context) error { return w.Reauthenticate(ctx) },
		"elevate":        func(ctx context.Context) error { return w.Elevate(ctx, func(*store.Assurance) {}) },
		"revoke others":  func(ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err },
		"half-open":      func(ctx context.Context) error { return w.LoginPending(ctx, session.Identity{Subject: "mallory"}) },
		"complete":       func(ctx context.Context) error { return w.CompleteLogin(ctx, session.Identity{}) },
		"set":            func(ctx context.Context) error { return note.Set(session.From(ctx), "forged") },
		"update": func(ctx context.Context) error {
			return note.Update(ctx, session.From(ctx), func(*string) error { return nil })
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.browser(t)
			b.uncheckedSetup(w)
			before, half := b.token(), b.cookies["__Host-id-pending"]
			var err error
			b.handler = w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { err = verb(r.Context()) }))
			if b.do(b.request("POST", "/", nil)); !errors.Is(err, session.ErrCSRF) {
				t.Errorf("got %v, want ErrCSRF", err)
			}
			if b.token() != before || b.cookies["__Host-id-pending"] != half {
				t.Error("cookies changed")
			}
			b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r.Context())
				text, _ := note.Get(s)
				if _, ok := s.Pending(r.Context()); !ok || s.Subject() != "alice" || text != "" {
					t.Errorf("afterwards: got subject %q, note %q, half-open login %t, want all as before", s.Subject(), text, ok)
				}
			})
		})
	}
}

// uncheckedSetup signs alice in, with a half-open login beside it, in a request
// whose handler does call CheckCSRF.
func (b *browser) uncheckedSetup(w *world) {
	b.t.Helper()
	form := w.formToken(b)
	r := b.request("POST", "/", nil)
	r.Header.Set(session.CSRFHeader, form)
	var err error
	b.handler = w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if err = w.CheckCSRF(r); err == nil {
			err = w.Login(ctx, session.Identity{Subject: "alice"})
		}
		if err == nil {
			err = w.LoginPending(ctx, session.Identity{Subject: "alice"})
		}
	}))
	if b.do(r); err != nil {
		b.t.Fatal(err)
	}
}

// formToken gets a visitor's form token and its cookie.
func (w *world) formToken(b *browser) (token string) {
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) { token, _ = w.CSRFToken(r.Context()) })
	return token
}

// TestIncident_BetterAuthMulti_ProofOfPossession: better-auth's sign-out deleted
// whatever sessions unsigned cookies named.
func TestIncident_BetterAuthMulti_ProofOfPossession(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		victim := w.browser(t)
		victim.login("alice")
		h := w.handleOf(t, "alice").String()
		for name, cookie := range map[string]string{
			"handle":                  h,
			"handle, padded":          h + strings.Repeat("A", 42),
			"locator, another secret": victim.token()[:21] + strings.Repeat("A", 43),
			"last character changed":  victim.token()[:63] + map[bool]string{true: "B", false: "A"}[victim.token()[63] != 'B'],
		} {
			thief := w.browser(t)
			thief.cookies["__Host-id"] = cookie
			thief.cookies["__Host-id-pending"] = cookie
			thief.post("/logout", nil)
			thief.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
				_ = w.Logout(r.Context())
				_, _ = w.RevokeOthers(r.Context())
			})
			if got := victim.twin().get("/whoami"); got != "alice||" {
				t.Errorf("logout with %s: victim's session shows %q, want alice", name, got)
			}
		}
		w.clock.advance(16 * time.Minute)
		victim.get("/whoami") // rotates
		thief := w.browser(t)
		thief.cookies["__Host-id"] = victim.token()[:21] + strings.Repeat("A", 43)
		w.clock.advance(time.Minute)
		thief.get("/whoami")
		if got := victim.get("/whoami"); got != "alice||" {
			t.Errorf("wrong secret after a rotation: victim's session shows %q, want alice", got)
		}
	})
}

// TestIncident_BetterAuth9991_Domains: better-auth's signature bound the value of a
// cookie but not its name: one served as the other.
func TestIncident_BetterAuth9991_Domains(t *testing.T) {
	s := external{memory.New()}
	make := func(namespace string) *world {
		return newWorld(t, func(c *session.Config) { c.Store, c.Namespace, c.CookieName = s, namespace, "__Host-id" })
	}
	a, b, prefix := make("a"), make("b"), make("aa")
	member := a.browser(t)
	member.login("alice")
	visitor := a.browser(t)
	form := visitor.get("/csrf")
	seed := visitor.cookies["__Host-id-csrf"]
	if err := visitor.call(a.Manager, func(ctx context.Context) error {
		return a.LoginPending(ctx, session.Identity{Subject: "alice"})
	}); err != nil {
		t.Fatal(err)
	}
	half := visitor.cookies["__Host-id-pending"]
	for name, value := range map[string]string{
		"form token": form, "visitor's form cookie": seed, "visitor's form cookie, padded": seed + strings.Repeat("A", 21), "half-open token": half,
	} {
		checkAnonymousBody(t, name+" as session token", present(a.Handler(a.mux), "/whoami", "__Host-id="+value))
	}
	for name, other := range map[string]*world{"b": b, "aa": prefix} {
		checkAnonymousBody(t, "session token in namespace "+name, present(other.Handler(other.mux), "/whoami", "__Host-id="+member.token()))
		stranger := other.browser(t)
		stranger.cookies = map[string]string{"__Host-id": member.token(), "__Host-id-csrf": seed, "__Host-id-pending": half}
		for from, token := range map[string]string{"visitor": form, "session": member.get("/csrf")} {
			if resp := stranger.do(stranger.request("POST", "/note", url.Values{"csrf": {token}})); resp.StatusCode != 403 {
				t.Errorf("%s's form token in namespace %s: got status %d, want 403", from, name, resp.StatusCode)
			}
		}
		if err := stranger.call(other.Manager, func(ctx context.Context) error {
			return other.CompleteLogin(ctx, session.Identity{})
		}); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("half-open token in namespace %s: got %v", name, err)
		}
		if n, err := other.RevokeSubject(context.Background(), "alice", "x"); n != 0 || err != nil {
			t.Errorf("RevokeSubject in namespace %s: got %d, %v, want 0", name, n, err)
		}
		_ = other.RevokeAll(context.Background(), "x")
	}
	if got := member.get("/whoami"); got != "alice||" {
		t.Errorf("the session itself: got %q, want alice", got)
	}
}

// TestIncident_GHSA_xmf8_MalformedHeaders: next-auth's getToken threw on a
// malformed Authorization header.
func TestIncident_GHSA_xmf8_MalformedHeaders(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.EventQueue = 1 << 16 })
	cookies, bearer := w.Handler(w.mux), w.BearerHandler(w.mux)
	check := func(name string, values []string) {
		r := httptest.NewRequest("GET", "/whoami", nil)
		r.Header["Cookie"], r.Header["Authorization"] = values, values
		for _, h := range []http.Handler{cookies, bearer} {
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			if rec.Code != 200 || rec.Body.String() != "||" {
				t.Errorf("%s %.80q: got status %d and %q, want nobody", name, values, rec.Code, rec.Body)
			}
		}
		r.Method = "POST"
		rec := httptest.NewRecorder()
		cookies.ServeHTTP(rec, r)
		if rec.Code != 403 && rec.Code != 405 {
			t.Errorf("%s %.80q: POST: got status %d, want 403", name, values, rec.Code)
		}
	}
	token := strings.Repeat("Q", 64)
	for _, value := range []string{
		"", " ", "Bearer", "Bearer ", "Bearer  ", "bearer", "Bearer\t" + token, "Bearer  " + token, "Bearer " + token + " ", "Bearer " + token + ",",
		"Bearer " + token + token, "Basic", "Basic =", "Basic !!!", "Negotiate " + token, "Bearer null", "Bearer undefined", "Bearer %00", "Bearer \x00\xff",
		"Bearer " + strings.Repeat("é", 32), "Bearer " + strings.Repeat("A", 1<<16), "=", ";", ";;;", "=;=", "__Host-id", "__Host-id=", "__Host-id==",
		"__Host-id=;", `__Host-id="` + token + `"`, "__Host-id=\x00", "__Host-id=" + token[:63], "__Host-id =" + token, "__host-id=" + token,
		"__Host-id[]=" + token, "__Host-id=%51" + token[:61], "__Host-id-csrf=x; __Host-id-pending=y", "$Version=1; __Host-id=x; $Path=/",
	} {
		check("header", []string{value})
		check("header twice", []string{value, value})
	}
	random := rand.New(rand.NewPCG(9, 10))
	alphabet := []string{"__Host-id", "-csrf", "-pending", "=", ";", ",", " ", "\t", `"`, "Bearer", token, "A", "%", "\x00", "\xff", "_", "-"}
	for range 500 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(alphabet[random.IntN(len(alphabet))])
		}
		check("random header", []string{b.String()})
	}
}
