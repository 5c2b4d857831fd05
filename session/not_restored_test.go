package session_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestNotRestored: requests to which no cookie can be given, that are no activity,
// or whose session is not simply gone.
func TestNotRestored(t *testing.T) {
	path := func(name string) func(*http.Request) bool {
		return func(r *http.Request) bool { return r.URL.Path == name }
	}
	w := remembering(t, nil, func(c *session.Config) { c.Skip, c.NotActivity = path("/skipped"), path("/polled") })
	for _, name := range []string{"/skipped", "/polled"} {
		w.mux.HandleFunc("GET "+name, func(rw http.ResponseWriter, r *http.Request) {
			reply(rw, nil, session.From(r.Context()).Subject()+"||")
		})
	}
	b := w.browser(t)
	b.remember("alice")
	lost := b.cookie(rememberCookie)
	b.reopen()
	upgrade := b.request("GET", "/whoami", nil)
	upgrade.Header.Set("Upgrade", "websocket")
	twice := b.request("GET", "/whoami", nil)
	twice.Header.Add("Cookie", rememberCookie+"="+session.TestOnlyNewToken().Reveal())
	malformed := httptest.NewRequest("GET", "https://shop.example/whoami", nil)
	malformed.Header.Set("Cookie", rememberCookie+"="+lost+"x")
	unknown := httptest.NewRequest("GET", "https://shop.example/whoami", nil)
	unknown.Header.Set("Cookie", rememberCookie+"="+session.TestOnlyNewToken().Reveal())
	conflict := b.request("GET", "/whoami", nil)
	conflict.Header.Add("Cookie", idCookie+"="+session.TestOnlyNewToken().Reveal())
	conflict.Header.Add("Cookie", idCookie+"="+session.TestOnlyNewToken().Reveal())
	wrongPlace := httptest.NewRequest("GET", "https://shop.example/whoami", nil)
	wrongPlace.Header.Set("Cookie", idCookie+"="+lost)
	for name, r := range map[string]*http.Request{
		"skipped": b.request("GET", "/skipped", nil), "no activity": b.request("GET", "/polled", nil), "upgrade": upgrade,
		"two cookies": twice, "malformed": malformed, "unknown": unknown, "two session cookies": conflict, "as a session": wrongPlace,
	} {
		rec := httptest.NewRecorder()
		b.handler.ServeHTTP(rec, r)
		if got := rec.Body.String(); got != "||" || len(rec.Header()["Set-Cookie"]) != 0 {
			t.Errorf("%s: got %q, Set-Cookie %q", name, got, redact(rec.Header()["Set-Cookie"]))
		}
	}
	w.events.count(t, session.EventCookieConflict, 2)
	bearer := b.request("GET", "/whoami", nil)
	bearer.Header.Set("Authorization", "Bearer "+lost)
	rec := httptest.NewRecorder()
	w.BearerHandler(w.mux).ServeHTTP(rec, bearer)
	if got := rec.Body.String(); got != "||" {
		t.Errorf("as a bearer token: got %q", got)
	}
	w.events.count(t, session.EventRestored, 0)
	if got := b.get("/whoami"); got != "alice||" {
		t.Errorf("after all that: got %q", got)
	}
}

// TestRestoreNotRoundALock: a locked session is not got rid of by dropping its
// cookie.
func TestRestoreNotRoundALock(t *testing.T) {
	w := remembering(t, nil, func(c *session.Config) {
		c.Admit = func(r *http.Request, _ session.Snapshot) session.Verdict {
			if r.URL.Query().Has("odd") {
				return session.Lock
			}
			return session.Allow
		}
	})
	b := w.browser(t)
	b.remember("alice")
	b.get("/whoami?odd")
	if got := b.reopen().get("/whoami"); got != "||" {
		t.Errorf("got %q, want nobody", got)
	}
}

// TestAdmitEndsSeries: a session that Admit ends does not come back.
func TestAdmitEndsSeries(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, func(c *session.Config) {
			c.Admit = func(r *http.Request, _ session.Snapshot) session.Verdict {
				if r.URL.Query().Has("odd") {
					return session.End
				}
				return session.Allow
			}
		})
		b := w.browser(t)
		b.remember("alice")
		b.get("/whoami?odd")
		w.clock.advance(time.Minute)
		if got := b.get("/whoami") + b.reopen().get("/whoami"); got != "||||" {
			t.Errorf("got %q, want nobody", got)
		}
		w.events.count(t, session.EventForgotten, 1)
	})
}

// TestTamperedSeries: whoever can write to the database cannot extend a remembered
// login, nor give it to somebody else, nor move it to a session.
func TestTamperedSeries(t *testing.T) {
	for name, change := range map[string]func(*store.Record){
		"subject":       func(r *store.Record) { r.Subject = "root" },
		"deadline":      func(r *store.Record) { r.Deadline = r.Deadline.Add(time.Hour) },
		"idle":          func(r *store.Record) { r.Idle = 0 },
		"authenticated": func(r *store.Record) { r.Assurance.At = r.Assurance.At.Add(time.Hour) },
		"role":          func(r *store.Record) { r.Assurance.Role = "admin" },
		"wrap":          func(r *store.Record) { r.Wrap[len(r.Wrap)-1] ^= 1 },
		"of a later version": func(r *store.Record) {
			r.Extensions = append(r.Extensions, store.Extension{Name: "later", Critical: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := &tampered{Store: external{memory.New()}}
			w := remembering(t, s, nil)
			b := w.browser(t)
			b.remember("alice")
			s.change = func(r *store.Record) {
				if strings.HasSuffix(r.Namespace, ".remember") {
					change(r)
				}
			}
			before := cookiesOf(b.reopen())
			if got := b.get("/whoami"); got != "||" || cookiesOf(b) != before {
				t.Errorf("got %q, cookies touched: %t", got, cookiesOf(b) != before)
			}
			w.events.count(t, session.EventUnreadable, 1)
			s.change = nil
			if got := b.get("/whoami"); got != "alice||" {
				t.Errorf("put right: got %q", got)
			}
		})
	}
}
