package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// TestIncident_A2_RotationUndoneByStaleRequest: in Spring Session JDBC a request
// that loaded the session before the login and ends after it writes the old id
// back, which then opens the victim's login.
func TestIncident_A2_RotationUndoneByStaleRequest(t *testing.T) {
	for _, due := range circumstances {
		for _, work := range lateWork[:6] { // what a visitor's request can do
			t.Run(due.name+"/"+work.name, func(t *testing.T) {
				bothStores(t, func(t *testing.T, s store.Store) {
					w := newWorld(t, func(c *session.Config) { c.Store = s })
					b := w.browser(t)
					b.post("/add", url.Values{"item": {"coat"}})
					due.make(w, b)
					old := b.twin()
					f := takeOff(b, w.Manager, handlerOf(w.Manager, work.do))
					b.login("alice")
					checkLate(t, f.land(), work.writes)
					checkSurvivor(t, w, b, old, "alice|coat|")
				})
			})
		}
	}
}

// TestIncident_A2_VerbsInstead: the same for the other verbs that replace a token.
func TestIncident_A2_VerbsInstead(t *testing.T) {
	for name, verb := range map[string]func(*world, context.Context) error{
		"elevation":        func(w *world, ctx context.Context) error { return w.Elevate(ctx, func(*store.Assurance) {}) },
		"reauthentication": func(w *world, ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") },
		"revoke others":    func(w *world, ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err },
		"login again":      func(w *world, ctx context.Context) error { return w.Login(ctx, session.Identity{Subject: "alice"}) },
	} {
		for _, work := range lateWork {
			t.Run(name+"/"+work.name, func(t *testing.T) {
				bothStores(t, func(t *testing.T, s store.Store) {
					w := newWorld(t, func(c *session.Config) { c.Store = s })
					b := w.browser(t)
					b.login("alice")
					b.post("/add", url.Values{"item": {"coat"}})
					w.clock.advance(16 * time.Minute)
					b.get("/csrf") // rotates, so that only the verb changes the token
					old := b.twin()
					f := takeOff(b, w.Manager, handlerOf(w.Manager, work.do))
					if err := b.call(w.Manager, func(ctx context.Context) error { return verb(w, ctx) }); err != nil {
						t.Fatal(err)
					}
					checkLate(t, f.land(), work.writes)
					checkSurvivor(t, w, b, old, "alice|coat|")
				})
			})
		}
	}
}

// checkSurvivor checks that the old token is dead, now and later, and that the new
// session is untouched, known by its subject, and alone.
func checkSurvivor(t *testing.T, w *world, b, old *browser, want string) {
	t.Helper()
	if b.token() == old.token() {
		t.Fatal("the token did not change")
	}
	checkRefused(t, "old token", old)
	if got := b.get("/whoami"); got != want {
		t.Errorf("new token: got %q, want %q", got, want)
	}
	if n := w.alive(t, "alice"); n != 1 {
		t.Errorf("got %d sessions of alice, want 1", n)
	}
	w.clock.advance(time.Minute)
	checkRefused(t, "old token a minute later", old)
	if got := b.get("/whoami"); got != want {
		t.Errorf("new token after that: got %q, want %q", got, want)
	}
}

// TestIncident_A2_LateCookieOverwritesLogin: the same by way of the cookie: the
// late response must not replace the new login's.
func TestIncident_A2_LateCookieOverwritesLogin(t *testing.T) {
	for name, begin := range map[string]func(*world, *browser) *flight{
		"predecessor": func(w *world, b *browser) *flight {
			w.clock.advance(16 * time.Minute)
			tab := b.twin()
			b.get("/whoami")
			return takeOff(tab, w.Manager, showPage)
		},
		"rotated early": func(w *world, b *browser) *flight {
			w.clock.advance(16 * time.Minute)
			return takeOffUpdated(b.twin(), w.Manager, showPage)
		},
		// The session it wants to end has been replaced: there is nothing to
		// clear in this browser.
		"logout": func(w *world, b *browser) *flight {
			return takeOffWith(b, w.Manager, b.form(), func(_ http.ResponseWriter, r *http.Request) { _ = w.Logout(r.Context()) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				w := newWorld(t, func(c *session.Config) { c.Store = s })
				b := w.browser(t)
				b.post("/add", url.Values{"item": {"coat"}})
				f := begin(w, b)
				b.login("alice")
				resp := f.land()
				if lines := resp.Header["Set-Cookie"]; hasCookie(lines, "__Host-id") {
					t.Errorf("late response: got Set-Cookie %q, want our cookie left alone", redact(lines))
				}
				b.keep(resp)
				if got := b.get("/whoami"); !strings.HasPrefix(got, "alice") {
					t.Errorf("after the late response: got %q, want alice signed in", got)
				}
			})
		})
	}
}

// TestIncident_A3_RevokeAllMissesParallelLogins: better-auth listed 2 of 11
// parallel logins, and its deleteUserSessions left 9 of 10 alive.
func TestIncident_A3_RevokeAllMissesParallelLogins(t *testing.T) {
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		const logins = 10
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		random := rand.New(rand.NewPCG(3, 4))
		f.Inject(func(storetest.Op, int) storetest.Fault {
			return storetest.Fault{Delay: time.Duration(random.IntN(2000)) * time.Microsecond}
		})
		browsers := make([]*browser, logins)
		var wg sync.WaitGroup
		for i := range browsers {
			browsers[i] = w.browser(t)
			wg.Go(func() { browsers[i].login("alice") })
		}
		wg.Wait()
		if n := w.alive(t, "alice"); n != logins {
			t.Errorf("got %d sessions listed, want %d", n, logins)
		}
		n, err := w.RevokeSubject(context.Background(), "alice", "reset")
		if err != nil || n != logins {
			t.Errorf("RevokeSubject: got %d and %v, want %d", n, err, logins)
		}
		for i, b := range browsers {
			checkRefused(t, fmt.Sprint("login ", i), b)
		}
		if n := w.alive(t, "alice"); n != 0 {
			t.Errorf("got %d sessions after RevokeSubject, want 0", n)
		}
	})
}

// TestIncident_A3_VerbsRacingRevocation: a login that began before a revocation,
// or Kratos' step-up racing "disable sessions", ends up alive.
func TestIncident_A3_VerbsRacingRevocation(t *testing.T) {
	verbs := []func(*world, context.Context) error{
		func(w *world, ctx context.Context) error { return w.Login(ctx, session.Identity{Subject: "alice"}) },
		func(w *world, ctx context.Context) error {
			return w.Elevate(ctx, func(a *store.Assurance) { a.Level = 2 })
		},
		func(w *world, ctx context.Context) error { return w.Reauthenticate(ctx, "otp") },
		func(w *world, ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err },
		func(w *world, ctx context.Context) error {
			return w.LoginPending(ctx, session.Identity{Subject: "alice"})
		},
	}
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		random := rand.New(rand.NewPCG(5, 6))
		f.Inject(func(storetest.Op, int) storetest.Fault {
			return storetest.Fault{Delay: time.Duration(random.IntN(1000)) * time.Microsecond}
		})
		for round := range 10 {
			var flights []*flight
			var browsers []*browser
			for _, verb := range verbs {
				b := w.browser(t)
				b.login("alice")
				browsers = append(browsers, b)
				flights = append(flights, takeOff(b, w.Manager, func(rw http.ResponseWriter, r *http.Request) {
					reply(rw, verb(w, r.Context()), page)
				}))
			}
			var wg sync.WaitGroup
			for i, f := range flights {
				wg.Go(func() { browsers[i].keep(f.land()) })
			}
			if _, err := w.RevokeSubject(context.Background(), "alice", "reset"); err != nil {
				t.Fatal(err)
			}
			wg.Wait()
			if n := w.alive(t, "alice"); n != 0 {
				t.Fatalf("round %d: got %d sessions that outlived RevokeSubject, want 0", round, n)
			}
			for _, b := range browsers {
				checkRefused(t, "session of a verb that raced", b)
			}
		}
	})
}

// TestIncident_A3_RevocationOnANodeBehind: the clocks of two nodes may differ by
// two seconds. A login under way on the node ahead must not pass for one that
// began after the revocation.
func TestIncident_A3_RevocationOnANodeBehind(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		behind := newWorld(t, func(c *session.Config) { c.Store = s })
		ahead := newWorld(t, func(c *session.Config) { c.Store = s })
		ahead.clock.advance(1900 * time.Millisecond)
		b := ahead.browser(t)
		f := takeOff(b, ahead.Manager, func(rw http.ResponseWriter, r *http.Request) {
			reply(rw, ahead.Login(r.Context(), session.Identity{Subject: "alice"}), "ok")
		})
		if _, err := behind.RevokeSubject(context.Background(), "alice", "reset"); err != nil {
			t.Fatal(err)
		}
		resp := b.keep(f.land())
		if n := behind.alive(t, "alice"); n != 0 {
			t.Errorf("login that began before the revocation: got status %d and %d sessions alive, want 0", resp.StatusCode, n)
		}
	})
}
