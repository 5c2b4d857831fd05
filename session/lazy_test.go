package session_test

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestValuesAfterAChange lets something happen to a session between the
// beginning of a request and its first look at a value. A store in this process
// is asked for the values only then.
func TestValuesAfterAChange(t *testing.T) {
	for _, test := range []struct {
		name    string
		meddle  func(t *testing.T, w *world, s *memory.Store, b *browser) // meanwhile
		items   []string
		err     error
		subject string
	}{
		{"nothing", func(*testing.T, *world, *memory.Store, *browser) {}, []string{"coat"}, nil, "alice"},
		{"another value", func(_ *testing.T, _ *world, _ *memory.Store, b *browser) {
			b.post("/add", url.Values{"item": {"hat"}})
		}, []string{"coat", "hat"}, nil, "alice"},
		{"rotated twice", func(_ *testing.T, w *world, _ *memory.Store, b *browser) {
			for range 3 {
				w.clock.advance(20 * time.Minute)
				b.get("/whoami") // the new token …
				b.get("/whoami") // … and its first use
			}
			b.post("/add", url.Values{"item": {"hat"}})
		}, []string{"coat", "hat"}, nil, "alice"},
		{"logged out", func(_ *testing.T, _ *world, _ *memory.Store, b *browser) {
			b.post("/logout", nil)
		}, nil, nil, ""},
		{"revoked, and the tombstone swept", func(t *testing.T, w *world, s *memory.Store, _ *browser) {
			if _, err := w.RevokeSubject(t.Context(), "alice", "test"); err != nil {
				t.Error(err)
			}
			w.clock.advance(48 * time.Hour)
			if swept, err := s.Sweep(t.Context(), store.Sweeping{Now: w.clock.Now()}); err != nil || swept.Removed == 0 {
				t.Errorf("sweeping removed %d, %v; want tombstones to go", swept.Removed, err)
			}
		}, nil, nil, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := memory.New()
			w := newWorld(t, func(c *session.Config) { c.Store = s })
			b := w.browser(t)
			b.login("alice")
			b.post("/add", url.Values{"item": {"coat"}})
			var items []string
			var err error
			var subject string
			w.mux.HandleFunc("GET /late", func(_ http.ResponseWriter, r *http.Request) {
				current := session.From(r.Context())
				if got := current.Subject(); got != "alice" {
					t.Errorf("before: got subject %q, want alice", got)
				}
				test.meddle(t, w, s, b.twin())
				items, _, err = basket.Lookup(current)
				subject = current.Subject()
			})
			b.get("/late")
			if !slices.Equal(items, test.items) || !errors.Is(err, test.err) || subject != test.subject {
				t.Errorf("got %q, %v of %q; want %q, %v of %q", items, err, subject, test.items, test.err, test.subject)
			}
		})
	}
}

// TestLoginAfterAChange signs in while another request of the visitor adds to
// the basket: what it has added moves along.
func TestLoginAfterAChange(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.post("/add", url.Values{"item": {"coat"}})
	other := b.twin()
	w.mux.HandleFunc("POST /slow-login", func(rw http.ResponseWriter, r *http.Request) {
		other.post("/add", url.Values{"item": {"hat"}})
		reply(rw, w.Login(r.Context(), session.Identity{Subject: "alice", Methods: []string{"pwd"}}), "ok")
	})
	if resp := b.post("/slow-login", nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("login: got status %d: %s", resp.StatusCode, body(t, resp))
	}
	if got := b.get("/whoami"); got != "alice|coat,hat|" {
		t.Errorf("got %q, want alice with both", got)
	}
	// And while another request signs the visitor out of the old session: the
	// login does not depend on it.
	c := w.browser(t)
	c.login("bob")
	second := c.twin()
	w.mux.HandleFunc("POST /overtaken-login", func(rw http.ResponseWriter, r *http.Request) {
		second.post("/logout", nil)
		reply(rw, w.Login(r.Context(), session.Identity{Subject: "carol", Methods: []string{"pwd"}}), "ok")
	})
	if resp := c.post("/overtaken-login", nil); resp.StatusCode != http.StatusOK {
		t.Fatalf("login after logout: got status %d: %s", resp.StatusCode, body(t, resp))
	}
	if got := c.get("/whoami"); got != "carol||" {
		t.Errorf("got %q, want carol", got)
	}
}

// TestValueOfALockedSession locks the session before the first look at a value.
func TestValueOfALockedSession(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.Admit = func(r *http.Request, _ session.Snapshot) session.Verdict {
			if r.URL.Path == "/lock" {
				return session.Lock
			}
			return session.Allow
		}
	})
	b := w.browser(t)
	b.login("alice")
	b.post("/note", url.Values{"note": {"secret"}})
	other := b.twin()
	w.mux.HandleFunc("GET /lock", func(http.ResponseWriter, *http.Request) {})
	w.mux.HandleFunc("GET /late", func(_ http.ResponseWriter, r *http.Request) {
		other.get("/lock")
		if got, ok, err := note.Lookup(session.From(r.Context())); ok || !errors.Is(err, session.ErrLocked) {
			t.Errorf("got %q and error %v, want %v", got, err, session.ErrLocked)
		}
	})
	b.get("/late")
}
