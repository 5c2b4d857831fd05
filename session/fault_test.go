package session_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// faulty returns a world on a store that fails on command, and that could be
// anywhere.
func faulty(t *testing.T, change func(*session.Config)) (*world, *sessiontest.FaultyStore) {
	f := sessiontest.NewFaultyStore(external{memory.New()})
	return newWorld(t, func(c *session.Config) {
		c.Store = f
		if change != nil {
			change(c)
		}
	}), f
}

// TestStoreDown: without the store there is no identity, the cookie is left
// alone, gates answer 503, and what needs no session goes on.
func TestStoreDown(t *testing.T) {
	w, f := faulty(t, nil)
	w.mux.Handle("GET /private", w.RequireLogin(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(rw, "private")
	})))
	w.mux.HandleFunc("GET /public", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, "public") })
	b := w.browser(t)
	b.login("alice")
	token, form := b.token(), b.get("/csrf")
	f.Down(nil)
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_, _, err := note.Lookup(s)
		_, token := w.CSRFToken(r.Context())
		for name, err := range map[string]error{
			"Err": s.Err(), "Lookup": err, "Set": note.Set(s, "x"), "CheckLogin": s.CheckLogin(),
			"CheckFresh": s.CheckFresh(time.Hour), "CSRFToken": token,
			"Login":  w.Login(r.Context(), session.Identity{Subject: "alice"}),
			"Logout": w.Logout(r.Context()),
			"Update": note.Update(r.Context(), s, func(*string) error { return nil }),
		} {
			if !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("%s: got %v, want ErrUnavailable", name, err)
			}
		}
		if s.Subject() != "" {
			t.Errorf("got subject %q", s.Subject())
		}
	})
	for path, want := range map[string]int{"/private": 503, "/public": 200} {
		resp := b.do(b.request("GET", path, nil))
		if resp.StatusCode != want || len(resp.Header["Set-Cookie"]) != 0 || (resp.Header.Get("Retry-After") != "") != (want == 503) {
			t.Errorf("%s: got status %d, headers %v", path, resp.StatusCode, resp.Header)
		}
	}
	if resp := b.do(b.request("POST", "/logout", url.Values{"csrf": {form}})); resp.StatusCode != 503 || b.token() != token {
		t.Errorf("logout: got status %d, cookie kept: %t", resp.StatusCode, b.token() == token)
	}
	f.Up()
	if got := b.get("/whoami"); got != "alice||" {
		t.Errorf("store back: got %q", got)
	}
	w.events.count(t, session.EventStoreFailed, 4)
}

// TestStoreHangs: a store that does not answer costs the configured time, not
// more.
func TestStoreHangs(t *testing.T) {
	w, f := faulty(t, func(c *session.Config) { c.StoreTimeout = 50 * time.Millisecond })
	b := w.browser(t)
	b.login("alice")
	f.Inject(func(storetest.Op, int) storetest.Fault { return storetest.Fault{Delay: time.Hour} })
	done := make(chan error, 1)
	go func() {
		done <- b.call(w.Manager, func(ctx context.Context) error { return session.From(ctx).CheckLogin() })
	}()
	select {
	case err := <-done:
		if !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("got %v, want ErrUnavailable", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still hanging after 10 s")
	}
	f.Inject(nil)
}

// TestFaultsAtCommit: whatever goes wrong while storing, the client does not get
// a page that claims success, and what was acknowledged is there.
func TestFaultsAtCommit(t *testing.T) {
	for name, c := range map[string]struct {
		plan   func(*sessiontest.FaultyStore)
		status int
		stored string
	}{
		"before":        {func(f *sessiontest.FaultyStore) { f.Fail(storetest.OpSwap, 1, nil) }, 503, "alice||old"},
		"after":         {func(f *sessiontest.FaultyStore) { f.FailAfter(storetest.OpSwap, 1, nil) }, 503, "alice||new"},
		"conflict":      {func(f *sessiontest.FaultyStore) { f.Fail(storetest.OpSwap, 1, store.ErrConflict) }, 200, "alice||new"},
		"twice":         {func(f *sessiontest.FaultyStore) { f.On(storetest.OpSwap, 1, storetest.Fault{Twice: true}) }, 200, "alice||new"},
		"slow":          {func(f *sessiontest.FaultyStore) { f.Delay(storetest.OpSwap, 1, 20*time.Millisecond) }, 200, "alice||new"},
		"strange error": {func(f *sessiontest.FaultyStore) { f.Fail(storetest.OpSwap, 1, errors.New("disk on fire")) }, 503, "alice||old"},
		"gone":          {func(f *sessiontest.FaultyStore) { f.Fail(storetest.OpSwap, 1, store.ErrNotFound) }, 401, "alice||old"},
		"conflict for ever": {func(f *sessiontest.FaultyStore) {
			for n := range 30 {
				f.Fail(storetest.OpSwap, n+1, store.ErrConflict)
			}
		}, 409, "alice||old"},
	} {
		t.Run(name, func(t *testing.T) {
			w, f := faulty(t, nil)
			b := w.browser(t)
			b.login("alice")
			b.post("/note", url.Values{"note": {"old"}})
			r := b.request("POST", "/note", url.Values{"note": {"new"}, "csrf": {b.get("/csrf")}})
			c.plan(f)
			resp := b.do(r)
			if text := body(t, resp); resp.StatusCode != c.status || c.status != 200 && text == "ok" {
				t.Errorf("got %d %q, want status %d", resp.StatusCode, text, c.status)
			}
			f.Up()
			for f.Calls(storetest.OpSwap) < 40 { // use up what is left of the plan
				_ = f.Swap(t.Context(), store.Record{}, time.Now())
			}
			if got := b.get("/whoami"); got != c.stored {
				t.Errorf("afterwards: got %q, want %q", got, c.stored)
			}
		})
	}
}

// TestFaultsAtLogin: a login that failed, or of which nobody knows, signs nobody
// in.
func TestFaultsAtLogin(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{
		"before": {Before: store.ErrUnavailable}, "after": {After: store.ErrUnknownOutcome},
	} {
		t.Run(name, func(t *testing.T) {
			w, f := faulty(t, nil)
			b := w.browser(t)
			b.post("/add", url.Values{"item": {"coat"}})
			r := b.request("POST", "/login", url.Values{"user": {"alice"}, "csrf": {b.get("/csrf")}})
			before := b.token()
			f.On(storetest.OpCreate, 1, fault)
			if resp := b.do(r); resp.StatusCode != 503 || b.token() != before {
				t.Errorf("got status %d, cookie changed: %t; want 503 and no cookie", resp.StatusCode, b.token() != before)
			}
			want := "|coat|"
			if name == "after" {
				want = "||" // the visitor's session was replaced, its successor is nobody's
			}
			if got := b.get("/whoami"); got != want {
				t.Errorf("afterwards: got %q, want %q", got, want)
			}
		})
	}
}

func TestTouches(t *testing.T) {
	f := sessiontest.NewFaultyStore(external{memory.New()})
	w := newWorld(t, func(c *session.Config) {
		c.Store, c.InsecureNoRotation = f, true
		c.NotActivity = func(r *http.Request) bool { return r.URL.Query().Has("poll") }
	})
	b := w.browser(t)
	b.login("alice")
	creates, swaps := f.Calls(storetest.OpCreate), f.Calls(storetest.OpSwap)
	for range 20 {
		w.clock.advance(2 * time.Second)
		b.get("/whoami")
	}
	if n := f.Calls(storetest.OpSwap) - swaps + f.Calls(storetest.OpCreate) - creates + f.Calls(storetest.OpTouch); n != 0 {
		t.Errorf("20 requests within the touch interval: got %d writes, want none", n)
	}
	w.clock.advance(time.Minute)
	for range 50 {
		b.get("/whoami")
	}
	deadline := time.Now().Add(5 * time.Second)
	for f.Calls(storetest.OpTouch) == 0 && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := f.Calls(storetest.OpTouch); n != 1 {
		t.Errorf("50 requests after a minute: got %d batches of touches, want 1", n)
	}
	// What polls keeps nothing alive.
	for range 31 {
		w.clock.advance(time.Minute)
		b.get("/whoami?poll")
	}
	if got := b.get("/whoami"); got != "||" {
		t.Errorf("after half an hour of polling: got %q, want the session expired", got)
	}
	w.events.count(t, session.EventExpired, 1)
}

// TestClientMoves: the client's last address is written down with a touch that is
// due anyway, and the first one stays.
func TestClientMoves(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	b.addr = "[2001:db8::1]:99"
	w.clock.advance(2 * time.Minute)
	b.get("/whoami")
	for snap, err := range w.Sessions(t.Context(), "alice") {
		if err != nil || snap.First.Addr.String() != "192.0.2.1" || snap.Last.Addr.String() != "2001:db8::1" || snap.Last.Agent != "test browser" {
			t.Errorf("got first %v, last %v, %v", snap.First, snap.Last, err)
		}
	}
}

func TestVisitorsCostNothing(t *testing.T) {
	w, f := faulty(t, nil)
	b := w.browser(t)
	b.get("/whoami")
	b.get("/csrf")
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_ = note.Delete(s)
		_, _, _ = note.Pop(r.Context(), s)
	})
	for _, op := range []storetest.Op{storetest.OpLoad, storetest.OpCreate, storetest.OpSwap, storetest.OpTouch} {
		if n := f.Calls(op); n != 0 {
			t.Errorf("got %d calls of %s, want none", n, op)
		}
	}
}

func TestAnonymousBudget(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.AnonymousPerMinute = 3 })
	add := func(addr string) int {
		b := w.browser(t)
		b.addr = addr
		return b.post("/add", url.Values{"item": {"coat"}}).StatusCode
	}
	for _, addr := range []string{"192.0.2.7:1", "[::ffff:192.0.2.7]:2", "192.0.2.7:3"} {
		if got := add(addr); got != 200 {
			t.Errorf("%s within the budget: got status %d", addr, got)
		}
	}
	for addr, want := range map[string]int{"192.0.2.7:4": 429, "192.0.2.8:1": 200, "[2001:db8::1]:1": 200} {
		if got := add(addr); got != want {
			t.Errorf("%s: got status %d, want %d", addr, got, want)
		}
	}
	for _, addr := range []string{"[2001:db8::2]:1", "[2001:db8::ffff:3]:1"} {
		add(addr)
	}
	if got := add("[2001:db8::4]:1"); got != 429 {
		t.Errorf("a fourth address of one /64: got status %d, want 429", got)
	}
	b := w.browser(t)
	b.addr = "192.0.2.7:5"
	b.login("alice") // signing in is not limited by it
	w.clock.advance(time.Minute)
	if got := add("192.0.2.7:6"); got != 200 {
		t.Errorf("a minute later: got status %d", got)
	}
	w.events.count(t, session.EventBudget, 2)
}

// TestBudgetBehindProxy: a proxy that nobody has told us of does not share one
// visitor's budget among all.
func TestBudgetBehindProxy(t *testing.T) {
	for name, c := range map[string]struct {
		clientAddr func(*http.Request) netip.Addr
		want       int
	}{
		"not told": {nil, 200},
		"told":     {session.Forwarded(netip.MustParsePrefix("10.0.0.0/8")), 429},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *session.Config) { cfg.AnonymousPerMinute, cfg.ClientAddr = 1, c.clientAddr })
			got := 0
			for range 2 {
				b := w.browser(t)
				b.addr = "10.1.2.3:4"
				got = b.post("/add", url.Values{"item": {"coat"}}).StatusCode
			}
			if got != c.want {
				t.Errorf("second visitor: got status %d, want %d", got, c.want)
			}
		})
	}
}

func TestAnonymousMax(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.AnonymousMax = 2 })
	for i, want := range []int{200, 200, 429} {
		if got := w.browser(t).post("/add", url.Values{"item": {"coat"}}).StatusCode; got != want {
			t.Errorf("visitor %d: got status %d, want %d", i, got, want)
		}
	}
}

func TestAdmit(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		verdict := session.Allow
		w := newWorld(t, func(c *session.Config) {
			c.Store = s
			c.Admit = func(r *http.Request, snap session.Snapshot) session.Verdict {
				if snap.Subject != "alice" || snap.State != session.Active || r == nil {
					t.Errorf("got snapshot %+v", snap)
				}
				return verdict
			}
		})
		b := w.browser(t)
		b.login("alice")
		check := func() (login, fresh error) {
			b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
				s := session.From(r.Context())
				login, fresh = s.CheckLogin(), s.CheckFresh(time.Hour)
			})
			return login, fresh
		}
		for _, c := range []struct {
			verdict      session.Verdict
			login, fresh error
		}{
			{session.Allow, nil, nil},
			{session.StepUp, nil, session.ErrStale},
			{session.Allow, nil, nil},
			{session.Lock, session.ErrLocked, session.ErrLocked},
			{session.Allow, session.ErrLocked, session.ErrLocked}, // it stays locked
		} {
			verdict = c.verdict
			if login, fresh := check(); !errors.Is(login, c.login) || !errors.Is(fresh, c.fresh) {
				t.Errorf("verdict %d: got %v and %v, want %v and %v", c.verdict, login, fresh, c.login, c.fresh)
			}
		}
		if err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }); err != nil {
			t.Fatal(err)
		}
		verdict = session.End
		if login, _ := check(); !errors.Is(login, session.ErrLoginRequired) {
			t.Errorf("ended: got %v", login)
		}
		verdict = session.Allow
		if got := b.get("/whoami"); got != "||" {
			t.Errorf("after End: got %q", got)
		}
	})
}

// TestNoLeaks: managers, channels and waiting requests leave nothing behind.
func TestNoLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 20 {
		m, err := session.New(session.Config{Observers: []func(session.Event){func(session.Event) {}}})
		if err != nil {
			t.Fatal(err)
		}
		b := newBrowser(t, nil)
		for range 5 {
			_ = b.call(m, func(ctx context.Context) error {
				_, stop := session.From(ctx).Watch(ctx)
				defer stop()
				return m.Login(ctx, session.Identity{Subject: "alice"})
			})
		}
		if err := m.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	deadline := time.Now().Add(5 * time.Second)
	for runtime.NumGoroutine() > before && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if after := runtime.NumGoroutine(); after > before {
		t.Errorf("got %d goroutines, %d before", after, before)
	}
}
