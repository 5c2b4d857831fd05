package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// circumstances are what else is due when a request is in flight: each is a
// reason for the manager to write.
var circumstances = []struct {
	name string
	make func(w *world, b *browser)
}{
	{"nothing due", func(*world, *browser) {}},
	{"touch due", func(w *world, _ *browser) { w.clock.advance(5 * time.Minute) }},
	{"rotation due", func(w *world, _ *browser) { w.clock.advance(16 * time.Minute) }},
	{"client moved", func(w *world, b *browser) { w.clock.advance(5 * time.Minute); b.addr = "198.51.100.7:99" }},
}

// endings are the ways in which a session ends while requests are in flight.
var endings = []struct {
	name string
	end  func(t *testing.T, w *world, b *browser, h store.Handle)
}{
	{"logout", func(t *testing.T, _ *world, b *browser, _ store.Handle) {
		if resp := b.post("/logout", nil); resp.StatusCode != 200 {
			t.Fatalf("logout: got status %d", resp.StatusCode)
		}
	}},
	{"revoked", func(t *testing.T, w *world, _ *browser, h store.Handle) {
		if ended, err := w.Revoke(context.Background(), h, "stolen"); err != nil || !ended {
			t.Fatalf("Revoke: got %t, %v", ended, err)
		}
	}},
	{"subject revoked", func(t *testing.T, w *world, _ *browser, _ store.Handle) {
		if n, err := w.RevokeSubject(context.Background(), "alice", "reset"); err != nil || n != 1 {
			t.Fatalf("RevokeSubject: got %d, %v", n, err)
		}
	}},
	{"all revoked", func(t *testing.T, w *world, _ *browser, _ store.Handle) {
		if err := w.RevokeAll(context.Background(), "breach"); err != nil {
			t.Fatal(err)
		}
	}},
}

// TestIncident_A1_LogoutUndoneByRequestInFlight: in scs, gorilla, fiber,
// express-session, Rails and others a slow request, often even a read-only one,
// stores the session again after its logout (CVE-2025-46336 in rack-session).
func TestIncident_A1_LogoutUndoneByRequestInFlight(t *testing.T) {
	for _, ending := range endings {
		for _, due := range circumstances {
			for _, work := range lateWork {
				t.Run(ending.name+"/"+due.name+"/"+work.name, func(t *testing.T) {
					bothStores(t, func(t *testing.T, s store.Store) {
						w := newWorld(t, func(c *session.Config) { c.Store = s })
						lateAfter(t, w, s, ending.end, due.make, work.writes, handlerOf(w.Manager, work.do))
					})
				})
			}
		}
	}
}

// lateAfter ends a session while a request is in flight, and checks that it stays
// ended.
func lateAfter(t *testing.T, w *world, s store.Store, end func(*testing.T, *world, *browser, store.Handle),
	due func(*world, *browser), writes bool, work http.HandlerFunc) {
	b := w.browser(t)
	b.login("alice")
	b.post("/add", url.Values{"item": {"coat"}})
	h := w.handleOf(t, "alice")
	due(w, b)
	old := b.twin()
	f := takeOff(b, w.Manager, work)
	end(t, w, b, h)
	checkRefused(t, "while the late request is in flight", old)
	checkLate(t, f.land(), writes)
	checkRefused(t, "the same browser", b)
	checkRefused(t, "the token from before", old)
	if n := w.alive(t, "alice"); n != 0 {
		t.Errorf("got %d sessions after the end, want 0", n)
	}
	w.clock.advance(time.Minute) // no longer a late request
	if err := w.Close(context.Background()); err != nil {
		t.Fatal(err) // writes the last-seen times that wait
	}
	checkRefused(t, "a minute later", old)
	r, err := s.Load(context.Background(), store.Key{Handle: h}, nil)
	if err != nil || !r.Ended() {
		t.Errorf("stored record: got %v and ended %t, want a tombstone", err, r.Ended())
	}
}

// TestIncident_A1_RandomTimings: better-auth's refresh racing a sign-out left up
// to 16 of 300 sessions alive when the store took 0 to 6 ms.
func TestIncident_A1_RandomTimings(t *testing.T) {
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		const trials, parallel = 200, 10
		w := newWorld(t, func(c *session.Config) { c.Store = s; c.EventQueue = 1 << 16 })
		tabs := make([]*browser, trials)
		for i := range tabs {
			tabs[i] = w.browser(t)
			tabs[i].login(fmt.Sprint("user", i))
		}
		w.clock.advance(16 * time.Minute) // touch and rotation are due
		random := rand.New(rand.NewPCG(1, 2))
		f.Inject(func(storetest.Op, int) storetest.Fault {
			return storetest.Fault{Delay: time.Duration(random.IntN(2000)) * time.Microsecond}
		})
		var wg sync.WaitGroup
		next := make(chan int)
		for range parallel {
			wg.Go(func() {
				for i := range next {
					raceLogout(t, w, i, tabs[i])
				}
			})
		}
		for i := range trials {
			next <- i
		}
		close(next)
		wg.Wait()
		f.Inject(nil)
		if n, err := w.Count(context.Background(), ""); err != nil || n != 0 {
			t.Errorf("got %d sessions alive after %d logouts (%v), want 0", n, trials, err)
		}
	})
}

// raceLogout lets requests that read, set and update race a logout; every token
// that any of them was given must be dead afterwards.
func raceLogout(t *testing.T, w *world, i int, b *browser) {
	post := func(from *browser, path string, form url.Values) *http.Response {
		rec := httptest.NewRecorder()
		from.handler.ServeHTTP(rec, from.request("POST", path, form))
		return rec.Result()
	}
	form := func() url.Values { return url.Values{"item": {"x"}, "note": {"x"}, "csrf": {b.twin().get("/csrf")}} }
	if i%2 == 0 {
		b.get("/whoami") // every other trial, the rotation has just happened
	}
	logout, add, set := form(), form(), form()
	responses := make([]*http.Response, 4)
	var wg sync.WaitGroup
	for n, send := range []func() *http.Response{
		func() *http.Response { return present(b.handler, "/whoami", "__Host-id="+b.token()) },
		func() *http.Response { return post(b, "/add", add) },
		func() *http.Response { return post(b, "/note", set) },
		func() *http.Response { return post(b, "/logout", logout) },
	} {
		wg.Go(func() { responses[n] = send() })
	}
	wg.Wait()
	if code := responses[3].StatusCode; code != 200 {
		t.Errorf("trial %d: logout: got status %d", i, code)
	}
	tokens := []string{b.token()}
	for _, resp := range responses {
		if token, ok := cookieOf(resp); ok && token != "" {
			tokens = append(tokens, token)
		}
	}
	for _, token := range tokens {
		if got := body(t, present(b.handler, "/whoami", "__Host-id="+token)); got != "||" {
			t.Errorf("trial %d: after logout a token shows %q, want nothing", i, got)
		}
	}
}

// TestIncident_A1_LateCookie: in nextjs-auth0#2335 and express-openid-connect#446
// the response of a request in flight set the cookie again that the logout had
// cleared. Here it would be a dead token, which erases that of the next login.
func TestIncident_A1_LateCookie(t *testing.T) {
	for name, begin := range map[string]func(w *world, b *browser) *flight{
		// The old token of a rotation is answered with the new one.
		"predecessor": func(w *world, b *browser) *flight {
			tab := b.twin()
			b.get("/whoami")
			return takeOff(tab, w.Manager, showPage)
		},
		// Update stores at once and rotates, long before the response begins.
		"rotated early": func(w *world, b *browser) *flight { return takeOffUpdated(b.twin(), w.Manager, showPage) },
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				w := newWorld(t, func(c *session.Config) { c.Store = s })
				b := w.browser(t)
				b.login("alice")
				w.clock.advance(16 * time.Minute)
				f := begin(w, b)
				b.post("/logout", nil)
				b.login("bob")
				resp := f.land()
				checkLate(t, resp, false)
				b.keep(resp)
				if got := b.get("/whoami"); got != "bob||" {
					t.Errorf("after the next login: got %q, want bob", got)
				}
			})
		})
	}
}

// takeOffUpdated is takeOff with a value updated before the handler waits.
func takeOffUpdated(b *browser, m *session.Manager, do http.HandlerFunc) *flight {
	f := &flight{t: b.t, release: make(chan struct{}), answer: make(chan *http.Response, 1)}
	updated := make(chan error)
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		updated <- basket.Update(r.Context(), session.From(r.Context()), func(b *[]string) error { *b = []string{"x"}; return nil })
		<-f.release
		do(w, r)
	}))
	r := b.request("GET", "/slow", nil)
	go func() {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		f.answer <- rec.Result()
	}()
	if err := <-updated; err != nil {
		b.t.Fatal(err)
	}
	return f
}

// TestIncident_A1_LogoutLosesToElevation: the mirror image; a verb in another
// request that replaces the token must not make a logout miss the session and
// report success.
func TestIncident_A1_LogoutLosesToElevation(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		f := takeOffWith(b, w.Manager, b.form(), func(rw http.ResponseWriter, r *http.Request) {
			reply(rw, w.Logout(r.Context()), "signed out")
		})
		if err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }); err != nil {
			t.Fatal(err)
		}
		resp := f.land()
		if n := w.alive(t, "alice"); resp.StatusCode == 200 && n != 0 {
			t.Errorf("logout: got status 200 and %d sessions alive, want an error or none", n)
		}
	})
}
