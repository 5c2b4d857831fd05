package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// posting runs f as the handler of a form that the browser posts.
func (b *browser) posting(m *session.Manager, f func(context.Context)) *http.Response {
	b.t.Helper()
	r := b.request("POST", "/", url.Values{"csrf": {b.get("/csrf")}})
	rec := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { f(r.Context()) })).ServeHTTP(rec, r)
	return b.keep(rec.Result())
}

// TestLogoutOvertaken: while somebody signs out, a copy of his cookie makes another
// session, or another tab gives his a new token. Whatever has come of the remembered
// login is over when the logout returns.
func TestLogoutOvertaken(t *testing.T) {
	for name, overtake := range map[string]func(w *world, other *browser) error{
		"by a copy that comes back": func(w *world, other *browser) error {
			if got := other.reopen().get("/whoami"); got != "alice||" {
				return errors.New("the copy got " + got)
			}
			return nil
		},
		"by a tab that authenticates": func(w *world, other *browser) error {
			return other.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") })
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				w := remembering(t, s, nil)
				b := w.browser(t)
				b.remember("alice")
				other := b.twin()
				b.posting(w.Manager, func(ctx context.Context) {
					if err := overtake(w, other); err != nil {
						t.Fatal(err)
					}
					if err := w.Logout(ctx); err != nil {
						t.Errorf("logout: got %v", err)
					}
				})
				w.wantForgotten(t, "alice", b, other)
			})
		})
	}
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	other := b.twin()
	b.posting(w.Manager, func(ctx context.Context) {
		other.login("alice") // another login, without the box
		if err := w.Logout(ctx); !errors.Is(err, session.ErrEnded) {
			t.Errorf("logout: got %v, want ErrEnded: he is still signed in", err)
		}
	})
	if got := other.get("/whoami"); got != "alice||" {
		t.Errorf("the other login: got %q", got)
	}
}

// TestRevokeOthersWithUsedToken: a browser that shows a used token is one of two that
// have it. That ends its own session; the others end all the same.
func TestRevokeOthersWithUsedToken(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b, other, bob := w.browser(t), w.browser(t), w.browser(t)
		bob.remember("bob")
		b.remember("alice")
		used := b.cookie(rememberCookie)
		for range 2 {
			b.reopen().get("/whoami")
			b.get("/whoami")
		}
		other.remember("alice")
		w.clock.advance(time.Minute)
		b.cookies[rememberCookie] = used
		if err := b.call(w.Manager, func(ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err }); err != nil {
			t.Errorf("got %v", err)
		}
		w.events.count(t, session.EventReuse, 1)
		w.wantForgotten(t, "alice", b, other)
		if got := bob.get("/whoami"); got != "bob||" {
			t.Errorf("somebody else: got %q", got)
		}
	})
}

// TestRevokeWhatHasEnded: the handle of a session that has ended meanwhile, and would
// come back or already has, still says what its user or an administrator means.
func TestRevokeWhatHasEnded(t *testing.T) {
	for name, meanwhile := range map[string]func(w *world, b *browser){
		"run out": func(w *world, b *browser) {
			w.clock.advance(time.Hour)
			b.twin().drop(rememberCookie).get("/whoami") // and noticed
		},
		"come back": func(w *world, b *browser) { b.reopen().get("/whoami") },
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				w := remembering(t, s, nil)
				b, other := w.browser(t), w.browser(t)
				other.remember("alice")
				b.remember("bob")
				if err := b.call(w.Manager, func(ctx context.Context) error {
					return w.Login(ctx, session.Identity{Subject: "bob", Remember: true, Links: []string{"idp|1"}})
				}); err != nil {
					t.Fatal(err)
				}
				h := w.handleOf(t, "bob")
				meanwhile(w, b)
				if alive, err := w.Revoke(context.Background(), h, "test"); err != nil || !alive {
					t.Errorf("got %t, %v, want what would come back to have been alive", alive, err)
				}
				w.wantForgotten(t, "bob", b)
				if got := other.reopen().get("/whoami"); got != "alice||" {
					t.Errorf("somebody else: got %q", got)
				}
				if alive, err := w.Revoke(context.Background(), h, "test"); err != nil || alive {
					t.Errorf("again: got %t, %v", alive, err)
				}
			})
		})
	}
}

// TestRevokeLinkOfReadmitted: a session that ends by a link that it got when it came
// back does not come back once more.
func TestRevokeLinkOfReadmitted(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, func(c *session.Config) {
			c.Remember.Readmit = func(context.Context, session.Snapshot) (session.Identity, error) {
				return session.Identity{Links: []string{"company|7"}}, nil
			}
		})
		b := w.browser(t)
		b.remember("alice")
		if got := b.reopen().get("/whoami"); got != "alice||" {
			t.Fatalf("got %q", got)
		}
		if n, err := w.RevokeLink(context.Background(), "company|7", "test"); n != 1 || err != nil {
			t.Errorf("got %d, %v", n, err)
		}
		w.wantForgotten(t, "alice", b)
	})
}

// TestReadmitAnswersWithAnyError: whatever the application's error is made of, it is
// the application's, and keeps the remembered login.
func TestReadmitAnswersWithAnyError(t *testing.T) {
	for _, answer := range []error{session.ErrLimit, session.ErrEnded, session.ErrRevoked, session.ErrConflict, session.ErrUnavailable} {
		t.Run(answer.Error(), func(t *testing.T) {
			var failing error
			w := remembering(t, external{memory.New()}, func(c *session.Config) {
				c.Remember.Readmit = func(context.Context, session.Snapshot) (session.Identity, error) {
					return session.Identity{}, failing
				}
			})
			w.mux.Handle("GET /private", w.RequireLogin(http.HandlerFunc(showPage)))
			b := w.browser(t)
			b.remember("alice")
			before := cookiesOf(b.reopen())
			failing = answer
			if resp := b.do(b.request("GET", "/private", nil)); resp.StatusCode != 503 || cookiesOf(b) != before {
				t.Errorf("got status %d, cookies touched: %t", resp.StatusCode, cookiesOf(b) != before)
			}
			w.events.count(t, session.EventStoreFailed, 1)
			failing = nil
			if got := b.get("/whoami"); got != "alice||" {
				t.Errorf("afterwards: got %q", got)
			}
		})
	}
}

// TestLockOutlastsSession: a lock asks for the password, and waiting until the locked
// session has run out is no way round it.
func TestLockOutlastsSession(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, func(c *session.Config) {
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
		for _, wait := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour, 48 * time.Hour} {
			w.clock.advance(wait)
			if got := b.twin().get("/whoami") + b.twin().reopen().get("/whoami"); got != "||||" {
				t.Errorf("%v later: got %q, want nobody", wait, got)
			}
		}
		w.events.count(t, session.EventForgotten, 1)
		b = w.browser(t)
		b.remember("bob")
		b.get("/whoami?odd")
		if err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }); err != nil {
			t.Errorf("unlocking: got %v", err)
		}
	})
}

// TestUsedSessionShowsItsToken: the session that was made from a token got new tokens
// itself, in the hands of somebody who keeps the other cookie to himself. Then the
// answer has arrived, and who asks again is a second one.
func TestUsedSessionShowsItsToken(t *testing.T) {
	for name, use := range map[string]func(t *testing.T, w *world, thief *browser){
		"for a moment, with a new token": func(t *testing.T, w *world, thief *browser) {
			if err := thief.call(w.Manager, func(ctx context.Context) error {
				return w.Elevate(ctx, func(a *session.Assurance) { a.Tenant = "acme" })
			}); err != nil {
				t.Fatal(err)
			}
			w.clock.advance(time.Minute)
		},
		"for an hour": func(t *testing.T, w *world, thief *browser) {
			for range 8 {
				w.clock.advance(8 * time.Minute)
				if got := thief.get("/whoami"); got != "alice||" {
					t.Fatalf("thief: got %q", got)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				w := remembering(t, s, nil)
				b := w.browser(t)
				b.remember("alice")
				thief := b.twin().reopen()
				thief.get("/whoami")
				held := thief.cookie(rememberCookie)
				use(t, w, thief.drop(rememberCookie))
				if got := b.reopen().get("/whoami"); got != "||" {
					t.Errorf("owner: got %q", got)
				}
				w.events.count(t, session.EventReuse, 1)
				thief.cookies[rememberCookie] = held
				w.wantForgotten(t, "alice", b, thief)
			})
		})
	}
}

// TestLateTabOfRenewedSession: a tab whose request is late, because the session that it
// would get was given a new token a moment ago, is no thief.
func TestLateTabOfRenewedSession(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	tab := b.reopen().twin()
	b.get("/whoami")
	if err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }); err != nil {
		t.Fatal(err)
	}
	w.clock.advance(20 * time.Second)
	before := cookiesOf(tab)
	w.mux.Handle("GET /private", w.RequireLogin(http.HandlerFunc(showPage)))
	if resp := tab.do(tab.request("GET", "/private", nil)); resp.StatusCode != 401 || cookiesOf(tab) != before {
		t.Errorf("late: got status %d, cookies touched: %t", resp.StatusCode, cookiesOf(tab) != before)
	}
	w.events.count(t, session.EventReuse, 0)
	if got := b.get("/whoami") + b.reopen().get("/whoami"); got != "alice||alice||" {
		t.Errorf("the browser: got %q", got)
	}
}

// TestAdmitEndsSiblings: what has come of a remembered login while Admit ended its
// session ends too.
func TestAdmitEndsSiblings(t *testing.T) {
	var meanwhile func()
	w := remembering(t, nil, func(c *session.Config) {
		c.Admit = func(r *http.Request, _ session.Snapshot) session.Verdict {
			if !r.URL.Query().Has("odd") {
				return session.Allow
			}
			meanwhile()
			return session.End
		}
	})
	b := w.browser(t)
	b.remember("alice")
	other := b.twin().reopen()
	meanwhile = func() { other.get("/whoami") }
	b.get("/whoami?odd")
	w.wantForgotten(t, "alice", b, other)
}
