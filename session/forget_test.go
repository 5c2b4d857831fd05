package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// wantForgotten checks that neither what the browser holds nor any of its copies
// signs anybody in, now and later.
func (w *world) wantForgotten(t *testing.T, subject string, holders ...*browser) {
	t.Helper()
	for _, wait := range []time.Duration{0, time.Minute, time.Hour} {
		w.clock.advance(wait)
		for i, b := range holders {
			if got := b.twin().get("/whoami") + b.twin().reopen().get("/whoami"); got != "||||" {
				t.Errorf("%v later, browser %d: got %q, want nobody", wait, i, got)
			}
		}
	}
	if n, left := w.alive(t, subject), w.logins(t, subject); n != 0 || len(left) != 0 {
		t.Errorf("got %d sessions and %d remembered logins, want none", n, len(left))
	}
}

// TestLogoutForgets: signing out ends what the browser is remembered by, whoever
// has copies.
func TestLogoutForgets(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		for name, restored := range map[string]bool{"after login": false, "after coming back": true} {
			t.Run(name, func(t *testing.T) {
				w := remembering(t, s, nil)
				b, other := w.browser(t), w.browser(t)
				b.remember("alice")
				first := b.twin()
				if restored {
					b.reopen().get("/whoami")
				}
				other.remember("bob")
				last := b.twin()
				resp := b.post("/logout", nil)
				if got := line(resp, rememberCookie); got != rememberCookie+"=; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax" {
					t.Errorf("logout: got the cookie %q, want it removed", got)
				}
				w.events.count(t, session.EventForgotten, 1)
				w.wantForgotten(t, "alice", b, first, last)
				if got := other.reopen().get("/whoami"); got != "bob||" {
					t.Errorf("somebody else: got %q", got)
				}
			})
		}
	})
}

// TestLogoutWithoutSession: who is signed in nowhere, and remembered all the same,
// can end that too.
func TestLogoutWithoutSession(t *testing.T) {
	full := true
	w := remembering(t, nil, func(c *session.Config) {
		c.Remember.Readmit = func(context.Context, session.Snapshot) (session.Identity, error) {
			if full {
				return session.Identity{}, errors.New("accounts are down")
			}
			return session.Identity{}, nil
		}
		c.NotActivity = func(r *http.Request) bool { return r.URL.Path == "/csrf" || r.URL.Path == "/logout" }
	})
	b := w.browser(t)
	b.remember("alice")
	held := b.reopen().twin()
	resp := b.post("/logout", nil) // marked as no activity, so that it restores nothing
	if resp.StatusCode != 200 || line(resp, rememberCookie) == "" {
		t.Errorf("got status %d, cookie %q", resp.StatusCode, line(resp, rememberCookie))
	}
	full = false
	w.wantForgotten(t, "alice", b, held)

	// But a handle alone ends nothing: the token has to be right.
	b.remember("alice")
	forged := w.browser(t)
	forged.cookies[rememberCookie] = b.cookie(rememberCookie)[:22] + strings.Repeat("A", 42)
	if line(forged.post("/logout", nil), rememberCookie) != "" || b.reopen().get("/whoami") != "alice||" {
		t.Error("a token with the wrong secret ends what is remembered")
	}
}

// TestRevokeForgets: one verb for the caller, whichever it is.
func TestRevokeForgets(t *testing.T) {
	for name, revoke := range map[string]func(w *world, session1, series session.Handle) error{
		"the session": func(w *world, h, _ session.Handle) error {
			ok, err := w.Revoke(context.Background(), h, "test")
			return errors.Join(err, unless(ok, "the session was not alive"))
		},
		"the remembered login": func(w *world, _, h session.Handle) error {
			ok, err := w.Revoke(context.Background(), h, "test")
			return errors.Join(err, unless(ok, "the remembered login was not alive"))
		},
		"the subject": func(w *world, _, _ session.Handle) error {
			n, err := w.RevokeSubject(context.Background(), "alice", "test")
			return errors.Join(err, unless(n == 1, fmt.Sprintf("got %d sessions", n)))
		},
		"the link": func(w *world, _, _ session.Handle) error {
			_, err := w.RevokeLink(context.Background(), "idp|1", "test")
			return err
		},
		"everything": func(w *world, _, _ session.Handle) error { return w.RevokeAll(context.Background(), "test") },
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				for _, restored := range []bool{false, true} {
					w := remembering(t, s, nil)
					if restored {
						w.clock.advance(24 * time.Hour) // after the revocations of the round before
					}
					b := w.browser(t)
					if err := b.call(w.Manager, func(ctx context.Context) error {
						return w.Login(ctx, session.Identity{Subject: "alice", Remember: true, Links: []string{"idp|1"}})
					}); err != nil {
						t.Fatal(err)
					}
					if restored {
						b.reopen().get("/whoami")
					}
					if err := revoke(w, w.handleOf(t, "alice"), w.logins(t, "alice")[0].Handle); err != nil {
						t.Errorf("restored %t: %v", restored, err)
					}
					w.wantForgotten(t, "alice", b)
				}
			})
		})
	}
}

func unless(ok bool, text string) error {
	if ok {
		return nil
	}
	return errors.New(text)
}

// TestRevokeSubjectExceptKeepsSeries: the session that is spared keeps what it would
// come back by.
func TestRevokeSubjectExceptKeepsSeries(t *testing.T) {
	w := remembering(t, nil, nil)
	b, other := w.browser(t), w.browser(t)
	b.remember("alice")
	keep := w.handleOf(t, "alice")
	other.remember("alice")
	if _, err := w.RevokeSubjectExcept(context.Background(), "alice", keep, "test"); err != nil {
		t.Fatal(err)
	}
	if got := b.get("/whoami") + other.get("/whoami") + b.reopen().get("/whoami"); got != "alice||||alice||" {
		t.Errorf("got %q", got)
	}
}

// TestRevokeOthersForgets ends what all other browsers are remembered by, and what
// others have copied of this one.
func TestRevokeOthersForgets(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b, other, away := w.browser(t), w.browser(t), w.browser(t)
		b.remember("alice")
		other.remember("alice")
		away.remember("alice")
		away.reopen()
		copied := b.twin()
		var n int
		if err := b.call(w.Manager, func(ctx context.Context) (err error) {
			n, err = w.RevokeOthers(ctx)
			return err
		}); err != nil || n != 2 {
			t.Fatalf("got %d, %v, want 2 sessions", n, err)
		}
		if got := other.get("/whoami") + other.reopen().get("/whoami") + away.get("/whoami"); got != "||||||" {
			t.Errorf("other browsers: got %q", got)
		}
		if got := copied.twin().reopen().get("/whoami"); got != "||" {
			t.Errorf("a copy of this one, at once: got %q", got)
		}
		w.events.count(t, session.EventReuse, 0)
		if got := b.get("/whoami") + b.reopen().get("/whoami"); got != "alice||alice||" {
			t.Errorf("this one: got %q", got)
		}
		b.get("/whoami")
		w.clock.advance(time.Minute)
		if got := copied.reopen().get("/whoami"); got != "||" {
			t.Errorf("a copy of this one, later: got %q", got)
		}
		w.events.count(t, session.EventReuse, 1)
	})
}

// TestRevokeOthersWithoutCookie: a browser that does not show what it is remembered
// by has none to be spared.
func TestRevokeOthersWithoutCookie(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	stolen := b.twin().reopen()
	b.drop(rememberCookie)
	if err := b.call(w.Manager, func(ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err }); err != nil {
		t.Fatal(err)
	}
	if got := b.get("/whoami") + stolen.get("/whoami"); got != "alice||||" {
		t.Errorf("got %q, want only the session to be left", got)
	}
}

// TestStolenSessionForgets: who has a copy of the session's cookie can have one of the
// other cookie, too. What ends the one for theft ends both.
func TestStolenSessionForgets(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		w.clock.advance(16 * time.Minute)
		thief := b.twin()
		b.get("/whoami") // rotates
		b.get("/whoami")
		w.clock.advance(time.Minute)
		if got := thief.get("/whoami"); got != "||" {
			t.Errorf("thief: got %q", got)
		}
		w.events.count(t, session.EventReuse, 1)
		w.events.count(t, session.EventForgotten, 1)
		w.wantForgotten(t, "alice", b, thief)
	})
}

// TestLoginForgets: another login in the browser, with the box or without, takes the
// place of what it was remembered by.
func TestLoginForgets(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		first := b.twin()
		b.remember("bob")
		second := b.twin()
		if got := b.reopen().get("/whoami"); got != "bob||" {
			t.Errorf("got %q", got)
		}
		w.wantForgotten(t, "alice", first)
		if b.reopen().login("carol"); b.cookie(rememberCookie) != "" {
			t.Error("a login without the box keeps the cookie")
		}
		w.wantForgotten(t, "bob", second)
		if n := len(w.logins(t, "carol")); n != 0 {
			t.Errorf("got %d remembered logins of who did not ask", n)
		}
	})
}

// TestRestoreRaces lets verbs race with browsers that come back: once the verb has
// returned, nobody is signed in by what it ended, nor ever again.
func TestRestoreRaces(t *testing.T) {
	for name, verb := range map[string]func(w *world, b *browser, form string) error{
		"logout": func(w *world, b *browser, form string) error {
			if resp := b.do(b.request("POST", "/logout", url.Values{"csrf": {form}})); resp.StatusCode != 200 {
				return fmt.Errorf("status %d", resp.StatusCode)
			}
			return nil
		},
		"the subject": func(w *world, _ *browser, _ string) error {
			_, err := w.RevokeSubject(context.Background(), "alice", "test")
			return err
		},
		"everything": func(w *world, _ *browser, _ string) error { return w.RevokeAll(context.Background(), "test") },
		"the remembered login": func(w *world, b *browser, _ string) error {
			for s, err := range w.Remembered(context.Background(), "alice") {
				if err != nil {
					return err
				}
				if _, err := w.Revoke(context.Background(), s.Handle, "test"); err != nil {
					return err
				}
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			shared := external{memory.New()}
			nodes := twoNodes(t, shared, func(*session.Config) {})
			for round := range 12 {
				b := nodes[0].browser(t)
				b.remember("alice")
				form := b.get("/csrf")
				var wg sync.WaitGroup
				tabs := make([]*browser, 6)
				for i := range tabs {
					tabs[i] = b.twin().reopen()
					tabs[i].handler = nodes[i%2].Handler(nodes[i%2].mux)
					wg.Go(func() { tabs[i].get("/whoami") })
				}
				wg.Go(func() {
					time.Sleep(time.Duration(round) * 50 * time.Microsecond)
					if err := verb(nodes[1], b, form); err != nil {
						// The session it was made in may have been replaced by then.
						if name != "logout" {
							t.Errorf("round %d: %v", round, err)
						}
					}
				})
				wg.Wait()
				if name == "logout" { // of whoever is signed in now
					for _, tab := range tabs {
						if tab.get("/whoami") == "alice||" {
							tab.post("/logout", nil)
						}
					}
					// Without a session of its own to end, what its cookie says.
					b.post("/logout", nil)
				}
				for i, tab := range append(tabs, b) {
					if got := tab.twin().get("/whoami") + tab.twin().reopen().get("/whoami"); got != "||||" {
						t.Errorf("round %d, tab %d: got %q", round, i, got)
					}
				}
				if n := nodes[0].alive(t, "alice"); n != 0 {
					t.Fatalf("round %d: got %d sessions, want none", round, n)
				}
				nodes[0].clock.advance(time.Minute)
			}
		})
	}
}
