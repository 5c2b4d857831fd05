package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestIncident_C16_RollingDeployment: after an upgrade Spring's sessions did not
// deserialize, all of them at once. Here an old node and a new one, whose type of
// one value has changed, serve the same session.
func TestIncident_C16_RollingDeployment(t *testing.T) {
	type newCart struct{ Items map[string]int }
	oldKey, newKey := session.NewKey[[]string]("cart"), session.NewKey[newCart]("cart")
	bothStores(t, func(t *testing.T, s store.Store) {
		all := nodes(t, s, 2, nil)
		b := all[0].browser(t)
		b.login("alice")
		on := func(node int, do func(*session.Session) error) {
			t.Helper()
			resp := b.with(all[node].Manager, func(rw http.ResponseWriter, r *http.Request) { reply(rw, do(session.From(r.Context())), page) })
			if resp.StatusCode != 200 {
				t.Errorf("node %d: got status %d: %s", node, resp.StatusCode, body(t, resp))
			}
		}
		on(0, func(s *session.Session) error {
			return errors.Join(oldKey.Set(s, []string{"coat"}), note.Set(s, "kept"))
		})
		on(1, func(s *session.Session) error {
			if _, ok := newKey.Get(s); ok {
				t.Error("the new node read the old type")
			}
			return newKey.Set(s, newCart{map[string]int{"coat": 1}})
		})
		on(0, func(s *session.Session) error {
			if _, ok := oldKey.Get(s); ok {
				t.Error("the old node read the new type")
			}
			got, _ := note.Get(s)
			if got != "kept" || s.Subject() != "alice" {
				t.Errorf("the rest: got %q, want kept", got)
			}
			return note.Set(s, "kept again")
		})
		on(1, func(s *session.Session) error {
			if got, ok := newKey.Get(s); !ok || got.Items["coat"] != 1 {
				t.Errorf("what the old node could not read: got %v, %t, want it kept", got, ok)
			}
			return nil
		})
	})
}

// TestIncident_C18_StreamsAndConnections: wrapping the writer broke event streams
// and hijacking in scs, again and again.
func TestIncident_C18_StreamsAndConnections(t *testing.T) {
	w := newWorld(t, nil)
	step := make(chan struct{})
	w.mux.HandleFunc("GET /events", func(rw http.ResponseWriter, r *http.Request) {
		_ = note.Set(session.From(r.Context()), "streaming")
		rw.Header().Set("Content-Type", "text/event-stream")
		for i := range 3 {
			_, _ = fmt.Fprintf(rw, "data: %d\n\n", i)
			if err := http.NewResponseController(rw).Flush(); err != nil {
				t.Errorf("flushing: %v", err)
			}
			<-step
		}
	})
	server := httptest.NewServer(w.Handler(w.mux))
	defer server.Close()
	resp, err := http.Get(server.URL + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if _, ok := cookieOf(resp); !ok {
		t.Error("the stream began without its cookie")
	}
	lines := bufio.NewReader(resp.Body)
	for i := range 3 {
		line, err := lines.ReadString('\n')
		if _, _ = lines.ReadString('\n'); err != nil || line != fmt.Sprintf("data: %d\n", i) {
			t.Fatalf("event %d: got %q, %v, want it at once", i, line, err)
		}
		step <- struct{}{}
	}
}

// TestIncident_C25_ChannelsOutliveLogout: WebSockets stayed authenticated after
// logout and revocation; here the connection itself ends.
func TestIncident_C25_ChannelsOutliveLogout(t *testing.T) {
	for name, end := range map[string]func(*testing.T, *world, string){
		"logout": func(t *testing.T, w *world, cookie string) {
			b := w.browser(t)
			b.cookies["__Host-id"] = strings.TrimPrefix(cookie, "__Host-id=")
			b.post("/logout", nil)
		},
		"revoked": func(t *testing.T, w *world, _ string) {
			if _, err := w.Revoke(context.Background(), w.handleOf(t, "alice"), "stolen"); err != nil {
				t.Error(err)
			}
		},
		"replaced": func(t *testing.T, w *world, cookie string) {
			b := w.browser(t)
			b.cookies["__Host-id"] = strings.TrimPrefix(cookie, "__Host-id=")
			b.login("alice")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // a hijacked connection gets a second to say goodbye
			w := newWorld(t, func(c *session.Config) { c.Store = external{memory.New()} })
			addr, cookie := w.serve(t)
			stream, socket := dial(t, addr, "/stream", cookie), dial(t, addr, "/hijack", cookie)
			end(t, w, cookie)
			for what, r := range map[string]io.Reader{"stream": stream, "hijacked connection": socket} {
				if _, err := io.ReadAll(r); err != nil {
					t.Errorf("%s: got %v, want it closed", what, err)
				}
			}
		})
	}
}

// TestIncident_C19_OutsideOfAHandler: scs panics where the middleware is missing.
func TestIncident_C19_OutsideOfAHandler(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.Skip = func(*http.Request) bool { return true } })
	skipped := httptest.NewRequest("GET", "/", nil).Context()
	w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { skipped = r.Context() })).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	for name, ctx := range map[string]context.Context{"background": context.Background(), "skipped": skipped} {
		s := session.From(ctx)
		_, _, lookup := note.Lookup(s)
		_, csrf := w.CSRFToken(ctx)
		_, _, pop := note.Pop(ctx, s)
		_, others := w.RevokeOthers(ctx)
		for what, err := range map[string]error{
			"Lookup": lookup, "Set": note.Set(s, "x"), "Delete": note.Delete(s), "Pop": pop, "CSRFToken": csrf,
			"Update": note.Update(ctx, s, func(*string) error { return nil }),
			"Login":  w.Login(ctx, session.Identity{Subject: "alice"}), "Logout": w.Logout(ctx),
			"Elevate": w.Elevate(ctx, func(*store.Assurance) {}), "Reauthenticate": w.Reauthenticate(ctx), "RevokeOthers": others,
			"LoginPending": w.LoginPending(ctx, session.Identity{Subject: "alice"}), "CheckLogin": s.CheckLogin(),
			"CheckFresh": s.CheckFresh(time.Hour), "Err": s.Err(), "Commit": s.Commit(ctx, httptest.NewRecorder()),
		} {
			if !errors.Is(err, session.ErrOutside) {
				t.Errorf("%s: %s: got %v, want ErrOutside", name, what, err)
			}
		}
		watched, stop := s.Watch(ctx)
		stop()
		s.NotActivity()
		if _, ok := s.Snapshot(); ok || s.Subject() != "" || s.Role() != "" || !s.Handle().IsZero() || watched.Err() == nil {
			t.Errorf("%s: got a session outside of a handler", name)
		}
	}
}

// TestIncident_C22_FourKilobytes: gorilla's 4096 bytes emptied sessions silently,
// even in stores on the server.
func TestIncident_C22_FourKilobytes(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		for _, size := range []int{4095, 4096, 4097, 32 << 10, 60 << 10} {
			want := strings.Repeat("x", size)
			b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) { _ = note.Set(session.From(r.Context()), want) })
			if got := b.get("/whoami"); got != "||"+want {
				t.Errorf("%d bytes: got %d back", size, len(got)-2)
			}
		}
		resp := b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
			if err := note.Set(session.From(r.Context()), strings.Repeat("y", 65<<10)); !errors.Is(err, session.ErrTooLarge) {
				t.Errorf("65 KiB: got %v, want ErrTooLarge", err)
			}
			_ = basket.Set(session.From(r.Context()), []string{strings.Repeat("z", 10<<10)}) // together too large
			_, _ = io.WriteString(rw, page)
		})
		if text := body(t, resp); resp.StatusCode != 413 || strings.Contains(text, page) {
			t.Errorf("together too large: got status %d and %.40q, want 413 alone", resp.StatusCode, text)
		}
		if got := b.get("/whoami"); len(got) != 2+60<<10 {
			t.Errorf("after the refusal: got %d bytes, want what was stored before", len(got)-2)
		}
	})
}

// follower is a client that follows a redirect the moment it sees the header.
type follower struct {
	*httptest.ResponseRecorder
	follow func(cookie string)
}

func (f *follower) WriteHeader(status int) {
	f.follow(f.Header().Get("Set-Cookie"))
	f.ResponseRecorder.WriteHeader(status)
}

// TestIncident_C24_LoginLostOnRedirect: express-session let the redirect go before
// the login was stored; the next page did not know the user (open since 2016).
func TestIncident_C24_LoginLostOnRedirect(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		for name, c := range map[string]struct {
			do   func(*http.Request) error
			want string
		}{
			"login":    {func(r *http.Request) error { return w.Login(r.Context(), session.Identity{Subject: "alice"}) }, "alice||"},
			"set":      {func(r *http.Request) error { return note.Set(session.From(r.Context()), "state") }, "||state"},
			"set both": {func(r *http.Request) error { return basket.Set(session.From(r.Context()), []string{"a", "b"}) }, "|a,b|"},
		} {
			followed := false
			client := &follower{httptest.NewRecorder(), func(cookie string) {
				followed = true
				pair, _, _ := strings.Cut(cookie, ";")
				if got := body(t, present(w.Handler(w.mux), "/whoami", pair)); got != c.want {
					t.Errorf("%s: the next page shows %q, want %q", name, got, c.want)
				}
			}}
			w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if err := c.do(r); err != nil {
					t.Error(err)
				}
				http.Redirect(rw, r, "/whoami", http.StatusSeeOther)
			})).ServeHTTP(client, w.browser(t).request("GET", "/", nil))
			if !followed {
				t.Errorf("%s: no redirect", name)
			}
		}
	})
}

// TestIncident_Fiber3828_MixedUpUsers: fiber's reused buffers gave two users one
// session.
func TestIncident_Fiber3828_MixedUpUsers(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store, c.EventQueue = s, 1<<14 })
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				b := w.browser(t)
				name := fmt.Sprint("user", i)
				b.login(name)
				b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) { _ = note.Set(session.From(r.Context()), name) })
				for range 10 {
					if got := b.get("/whoami"); got != name+"||"+name {
						t.Errorf("%s: got %q", name, got)
					}
				}
			})
		}
		wg.Wait()
	})
}

// TestIncident_SupabaseRotation_ParallelRefresh: rotation took parallel refreshes
// for theft and signed users out (supabase/auth-js#213).
func TestIncident_SupabaseRotation_ParallelRefresh(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		all := nodes(t, s, 2, nil)
		b := all[0].browser(t)
		b.login("alice")
		for round := range 5 {
			all[0].clock.advance(16 * time.Minute)
			tabs := make([]*browser, 12)
			var wg sync.WaitGroup
			for i := range tabs {
				tabs[i] = b.twin()
				tabs[i].handler = all[i%2].Handler(all[i%2].mux)
				wg.Go(func() {
					if got := tabs[i].get("/whoami"); got != "alice||" {
						t.Errorf("round %d, tab %d: got %q, want alice", round, i, got)
					}
				})
			}
			wg.Wait()
			for i := range tabs {
				if tabs[i].token() != tabs[0].token() || tabs[i].token() == b.token() {
					t.Errorf("round %d, tab %d: got another token than the first tab, or the old one", round, i)
				}
			}
			b = tabs[0]
			b.get("/whoami")
			all[0].clock.advance(31 * time.Second)
			b.get("/whoami")
		}
		all[0].events.count(t, session.EventReuse, 0)
		all[1].events.count(t, session.EventReuse, 0)
	})
}
