package session_test

import (
	"context"
	crypto "crypto/rand"
	"encoding/base64"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// TestIncident_CVE_2024_38513_ClientChosenToken: fiber stored sessions under
// whatever id the client sent; pow (CVE-2020-5205) likewise.
func TestIncident_CVE_2024_38513_ClientChosenToken(t *testing.T) {
	chosen := strings.Repeat("Q", 64)
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		w.mux.HandleFunc("GET /enter", func(rw http.ResponseWriter, r *http.Request) {
			reply(rw, w.Login(r.Context(), session.Identity{Subject: "alice"}), "ok")
		})
		w.mux.HandleFunc("GET /keep", func(rw http.ResponseWriter, r *http.Request) {
			reply(rw, note.Set(session.From(r.Context()), "kept"), "ok")
		})
		for _, path := range []string{"/enter", "/keep"} {
			b := w.browser(t)
			b.cookies["__Host-id"] = chosen
			b.get(path)
			if b.token() == chosen || len(b.token()) != 64 {
				t.Errorf("%s: the client's token was adopted", path)
			}
			if got := b.get("/whoami"); got == "||" {
				t.Errorf("%s: the new token does not work", path)
			}
			checkAnonymousBody(t, path+": chosen token", present(b.handler, "/whoami", "__Host-id="+chosen))
		}
		// No other place is looked at, with the cookie's handler or the bearer's.
		b := w.browser(t)
		b.login("alice")
		for name, h := range map[string]http.Handler{"cookie": w.Handler(w.mux), "bearer": w.BearerHandler(w.mux)} {
			r := httptest.NewRequest("GET", "/whoami?id="+b.token()+"&__Host-id="+b.token()+"&token="+b.token()+"&access_token="+b.token(), nil)
			for _, header := range []string{"X-Session-Id", "X-Auth-Token", "Session", "__Host-Id", "Proxy-Authorization"} {
				r.Header.Set(header, b.token())
			}
			if name == "cookie" {
				r.Header.Set("Authorization", "Bearer "+b.token())
			} else {
				r.Header.Set("Cookie", "__Host-id="+b.token())
			}
			rec := httptest.NewRecorder()
			h.ServeHTTP(rec, r)
			checkAnonymousBody(t, name+" handler, token elsewhere", rec.Result())
		}
	})
}

// TestIncident_CVE_2024_38513_ClientChosenBearer: the same for bearer tokens.
func TestIncident_CVE_2024_38513_ClientChosenBearer(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		chosen := strings.Repeat("Q", 64)
		ask := func(token string, do http.HandlerFunc) string {
			r := httptest.NewRequest("POST", "/", nil)
			r.Header.Set("Authorization", "Bearer "+token)
			rec := httptest.NewRecorder()
			w.BearerHandler(do).ServeHTTP(rec, r)
			if lines := rec.Header()["Set-Cookie"]; len(lines) > 0 {
				t.Errorf("bearer response: got Set-Cookie %q", redact(lines))
			}
			return rec.Body.String()
		}
		who := func(rw http.ResponseWriter, r *http.Request) { reply(rw, nil, session.From(r.Context()).Subject()) }
		fresh := ask(chosen, func(rw http.ResponseWriter, r *http.Request) {
			err := w.Login(r.Context(), session.Identity{Subject: "alice"})
			token, _ := session.From(r.Context()).Token()
			reply(rw, err, token.Reveal())
		})
		if fresh == chosen || ask(fresh, who) != "alice" || ask(chosen, who) != "" {
			t.Errorf("adopted: %t; new token: got %q; chosen token: got %q", fresh == chosen, ask(fresh, who), ask(chosen, who))
		}
		checkAnonymousBody(t, "bearer token as cookie", present(w.Handler(w.mux), "/whoami", "__Host-id="+fresh))
		b := w.browser(t)
		b.login("bob")
		if got := ask(b.token(), who); got != "" {
			t.Errorf("cookie's token as bearer token: got %q, want nobody", got)
		}
	})
}

// TestIncident_CVE_2025_66630_NoRandomness: fiber ignored the error of crypto/rand
// and handed out predictable ids. The program must end instead.
func TestIncident_CVE_2025_66630_NoRandomness(t *testing.T) {
	if os.Getenv("INCIDENT_NO_RANDOMNESS") != "" {
		crypto.Reader = iotest.ErrReader(os.ErrClosed)
		w := newWorld(t, nil)
		rec := httptest.NewRecorder()
		w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			_ = w.Login(r.Context(), session.Identity{Subject: "alice"})
		})).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
		_, _ = os.Stdout.WriteString("went on with " + rec.Header().Get("Set-Cookie"))
		os.Exit(0)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestIncident_CVE_2025_66630_NoRandomness$")
	child.Env = append(os.Environ(), "INCIDENT_NO_RANDOMNESS=1")
	if out, err := child.CombinedOutput(); err == nil || strings.Contains(string(out), "went on with") {
		t.Errorf("without randomness: got %v and %.200q, want the program to end", err, out)
	}
}

// TestIncident_CVE_2025_66630_Predictable: every bit of a token is as likely set as
// not, and none repeats.
func TestIncident_CVE_2025_66630_Predictable(t *testing.T) {
	const n = 600
	w := newWorld(t, func(c *session.Config) { c.EventQueue = 1 << 14 })
	h := w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_ = w.Login(r.Context(), session.Identity{Subject: "alice"})
	}))
	seen := map[string]bool{}
	var ones [48 * 8]int
	for range n {
		token, _ := cookieOf(present(h, "/", ""))
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil || len(raw) != 48 || seen[string(raw[:16])] || seen[string(raw[16:])] {
			t.Fatalf("got a token of %d bytes, %v, or one with a repeated half", len(raw), err)
		}
		seen[string(raw[:16])], seen[string(raw[16:])] = true, true
		for i := range ones {
			ones[i] += int(raw[i/8] >> (i % 8) & 1)
		}
	}
	for i, got := range ones {
		if got < n*3/10 || got > n*7/10 { // ten standard deviations
			t.Errorf("bit %d: got %d ones in %d tokens", i, got, n)
		}
	}
}

// TestIncident_CVE_2022_25896_LoginKeepsToken: passport kept the session id at
// login; whoever had planted it was signed in too (pow: CVE-2020-5205).
func TestIncident_CVE_2022_25896_LoginKeepsToken(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		attacker := w.browser(t)
		attacker.post("/add", url.Values{"item": {"coat"}})
		victim := attacker.twin() // the planted cookie
		var tokens []string
		for _, step := range []func(context.Context) error{
			func(ctx context.Context) error { return w.Login(ctx, session.Identity{Subject: "alice"}) },
			func(ctx context.Context) error { return w.Elevate(ctx, func(a *store.Assurance) { a.Role = "admin" }) },
			func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") },
			func(ctx context.Context) error { return w.Login(ctx, session.Identity{Subject: "alice"}) },
			func(ctx context.Context) error { return w.Login(ctx, session.Identity{Subject: "bob"}) },
		} {
			old := victim.twin()
			tokens = append(tokens, old.token())
			if err := victim.call(w.Manager, step); err != nil {
				t.Fatal(err)
			}
			if slices.Contains(tokens, victim.token()) || victim.token()[:22] == old.token()[:22] {
				t.Errorf("step %d: the token or its locator stayed", len(tokens))
			}
			checkRefused(t, "the token from before", old)
		}
		checkRefused(t, "attacker", attacker)
		w.clock.advance(time.Minute)
		checkRefused(t, "attacker a minute later", attacker)
		if got := victim.get("/whoami"); got != "bob||" {
			t.Errorf("victim: got %q, want bob", got)
		}
	})
}

// TestIncident_CVE_2023_20862_ClearToEmpty: Spring Security's logout could not
// store an empty context: the old one stayed.
func TestIncident_CVE_2023_20862_ClearToEmpty(t *testing.T) {
	list := session.NewKey[[]string]("list")
	raw := session.NewKey[[]byte]("raw")
	text := session.NewKey[string]("text")
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		do := func(do func(*session.Session) []error) {
			b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
				for i, err := range do(session.From(r.Context())) {
					if err != nil {
						t.Errorf("step %d: %v", i, err)
					}
				}
			})
		}
		do(func(s *session.Session) []error {
			return []error{list.Set(s, []string{"x"}), raw.Set(s, []byte("x")), text.Set(s, "x")}
		})
		do(func(s *session.Session) []error { return []error{list.Set(s, nil), raw.Set(s, nil), text.Set(s, "")} })
		do(func(s *session.Session) []error {
			l, okList := list.Get(s)
			d, okRaw := raw.Get(s)
			x, okText := text.Get(s)
			if len(l) != 0 || len(d) != 0 || x != "" || !okList || !okRaw || !okText {
				t.Errorf("set to empty: got %q %t, %q %t, %q %t, want empty and present", l, okList, d, okRaw, x, okText)
			}
			return []error{list.Delete(s), raw.Delete(s), text.Delete(s)}
		})
		do(func(s *session.Session) []error {
			_, okList := list.Get(s)
			_, okRaw := raw.Get(s)
			_, okText := text.Get(s)
			if okList || okRaw || okText {
				t.Errorf("deleted: got %t, %t, %t, want none", okList, okRaw, okText)
			}
			return nil
		})
	})
}

// TestIncident_CVE_2023_20862_RoleGivenUp: the same for what is kept beside the
// values.
func TestIncident_CVE_2023_20862_RoleGivenUp(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.post("/login", url.Values{"user": {"alice"}, "role": {"admin"}})
		if err := b.call(w.Manager, func(ctx context.Context) error {
			return w.Elevate(ctx, func(a *store.Assurance) { a.Role = "" })
		}); err != nil {
			t.Fatal(err)
		}
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			if s := session.From(r.Context()); s.Role() != "" || s.Subject() != "alice" {
				t.Errorf("got role %q of %q, want none of alice", s.Role(), s.Subject())
			}
		})
	})
}
