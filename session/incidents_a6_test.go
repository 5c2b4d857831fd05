package session_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// TestIncident_A8_HangUpHalfOpen: the same for what belongs to a half-open login.
func TestIncident_A8_HangUpHalfOpen(t *testing.T) {
	pending := func(t *testing.T, w *world) *browser {
		b := w.browser(t)
		if err := b.call(w.Manager, func(ctx context.Context) error {
			return w.LoginPending(ctx, session.Identity{Subject: "alice"})
		}); err != nil {
			t.Fatal(err)
		}
		return b
	}
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		t.Run("begin", func(t *testing.T) {
			hangUp(t, w, w.browser(t), func(ctx context.Context) error {
				return w.LoginPending(ctx, session.Identity{Subject: "carol"})
			})
			if n := w.alive(t, "carol"); n != 1 {
				t.Errorf("got %d half-open logins, want 1", n)
			}
		})
		t.Run("complete", func(t *testing.T) {
			hangUp(t, w, pending(t, w), func(ctx context.Context) error {
				return w.CompleteLogin(ctx, session.Identity{Methods: []string{"otp"}})
			})
		})
		t.Run("logout", func(t *testing.T) {
			b := pending(t, w)
			hangUp(t, w, b, func(ctx context.Context) error { return w.Logout(ctx) })
			err := b.call(w.Manager, func(ctx context.Context) error { return w.CompleteLogin(ctx, session.Identity{}) })
			if !errors.Is(err, session.ErrLoginRequired) {
				t.Errorf("completing after logout: got %v, want ErrLoginRequired", err)
			}
		})
		t.Run("login", func(t *testing.T) {
			b := pending(t, w)
			hangUp(t, w, b, func(ctx context.Context) error { return w.Login(ctx, session.Identity{Subject: "alice"}) })
			err := b.call(w.Manager, func(ctx context.Context) error { return w.CompleteLogin(ctx, session.Identity{}) })
			if !errors.Is(err, session.ErrLoginRequired) {
				t.Errorf("completing after login: got %v, want ErrLoginRequired", err)
			}
		})
	})
}

// TestIncident_A8_HangUpWithRealConnection closes the connection itself.
func TestIncident_A8_HangUpWithRealConnection(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.Now = time.Now })
	gone, done := make(chan struct{}), make(chan error, 1)
	w.mux.HandleFunc("POST /leave", func(_ http.ResponseWriter, r *http.Request) {
		close(gone)
		<-r.Context().Done()
		done <- w.Logout(r.Context())
	})
	addr, cookie := w.serve(t)
	ctx, cancel := context.WithCancel(context.Background())
	r, _ := http.NewRequestWithContext(ctx, "POST", "http://"+addr+"/leave", nil)
	r.Header.Set("Cookie", cookie)
	r.Header.Set(session.CSRFHeader, body(t, present(w.Handler(w.mux), "/csrf", cookie)))
	go func() {
		<-gone
		cancel()
	}()
	if resp, err := http.DefaultClient.Do(r); err == nil {
		_ = resp.Body.Close()
		t.Fatal("the client did not hang up")
	}
	select {
	case err := <-done:
		if err != nil {
			t.Errorf("logout: got %v, want nil", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the handler did not notice that the client has gone")
	}
	if n := w.alive(t, "alice"); n != 0 {
		t.Errorf("got %d sessions, want 0", n)
	}
}

// TestIncident_A10_LimitRace: Spring Security checks and then registers: parallel
// logins exceed the limit (open since 2015).
func TestIncident_A10_LimitRace(t *testing.T) {
	const most, logins = 3, 12
	for name, endOldest := range map[string]bool{"refuse": false, "end oldest": true} {
		t.Run(name, func(t *testing.T) {
			bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
				all := nodes(t, s, 2, func(c *session.Config) { c.MaxSessions, c.EndOldest = most, endOldest })
				random := rand.New(rand.NewPCG(7, 8))
				f.Inject(func(storetest.Op, int) storetest.Fault {
					return storetest.Fault{Delay: time.Duration(random.IntN(1000)) * time.Microsecond}
				})
				for round := range 5 {
					subject := fmt.Sprint("user", round)
					browsers, accepted := parallelLogins(t, all, subject, logins)
					usable := 0
					for _, b := range browsers {
						if got := b.get("/whoami"); got == subject+"||" {
							usable++
						}
					}
					if listed := all[0].alive(t, subject); listed != most || usable != most {
						t.Errorf("got %d sessions listed and %d usable, want %d", listed, usable, most)
					}
					if want := map[bool]int{false: most, true: logins}[endOldest]; accepted != want {
						t.Errorf("got %d logins accepted, want %d", accepted, want)
					}
				}
			})
		})
	}
}

// parallelLogins signs the subject in from many browsers, spread over the nodes.
func parallelLogins(t *testing.T, all []*world, subject string, n int) (browsers []*browser, accepted int) {
	t.Helper()
	var count atomic.Int32
	var wg sync.WaitGroup
	for i := range n {
		b := all[i%len(all)].browser(t)
		browsers = append(browsers, b)
		wg.Go(func() {
			switch resp := b.post("/login", url.Values{"user": {subject}}); resp.StatusCode {
			case 200:
				count.Add(1)
			case 403: // ErrLimit
			default:
				t.Errorf("login: got status %d", resp.StatusCode)
			}
		})
	}
	wg.Wait()
	return browsers, int(count.Load())
}

// TestIncident_A10_VerbsKeepTheLimit: a verb that replaces a session must neither
// count it twice nor make room for one more.
func TestIncident_A10_VerbsKeepTheLimit(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store, c.MaxSessions = s, 2 })
		first, second := w.browser(t), w.browser(t)
		first.login("alice")
		second.login("alice")
		var wg sync.WaitGroup
		for _, b := range []*browser{first, second, first.twin(), second.twin()} {
			wg.Go(func() {
				err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") })
				if err != nil && !errors.Is(err, session.ErrEnded) && !errors.Is(err, session.ErrLoginRequired) &&
					!errors.Is(err, session.ErrLimit) {
					t.Errorf("Reauthenticate at the limit: got %v", err)
				}
			})
		}
		wg.Wait()
		if n := w.alive(t, "alice"); n != 2 {
			t.Errorf("got %d sessions, want 2", n)
		}
		if resp := w.browser(t).post("/login", url.Values{"user": {"alice"}}); resp.StatusCode != 403 {
			t.Errorf("a third login: got status %d, want 403", resp.StatusCode)
		}
	})
}

// TestIncident_A10_LateVerbAtTheLimit: a request whose session was replaced while
// it was in flight has ended; it must not be reported as one session too many.
func TestIncident_A10_LateVerbAtTheLimit(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store, c.MaxSessions = s, 1 })
		b := w.browser(t)
		b.login("alice")
		again := func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }
		f := takeOff(b, w.Manager, func(rw http.ResponseWriter, r *http.Request) { reply(rw, again(r.Context()), page) })
		if err := b.call(w.Manager, again); err != nil {
			t.Fatal(err)
		}
		if resp := f.land(); resp.StatusCode != 401 {
			t.Errorf("late verb: got status %d and %q, want 401", resp.StatusCode, body(t, resp))
		}
		w.events.count(t, session.EventLimit, 0)
	})
}
