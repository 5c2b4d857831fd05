package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// with runs f as the handler of a request by the browser.
func (b *browser) with(m *session.Manager, f func(http.ResponseWriter, *http.Request)) *http.Response {
	b.t.Helper()
	rec := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(f)).ServeHTTP(rec, b.request("GET", "/", nil))
	return b.keep(rec.Result())
}

// call runs a verb in a request of the browser and returns its error.
func (b *browser) call(m *session.Manager, verb func(context.Context) error) (err error) {
	b.t.Helper()
	b.with(m, func(_ http.ResponseWriter, r *http.Request) { err = verb(r.Context()) })
	return err
}

func TestElevate(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		b.post("/note", url.Values{"note": {"draft"}})
		before, form := b.twin(), b.get("/csrf")
		w.clock.advance(10 * time.Minute)
		err := b.call(w.Manager, func(ctx context.Context) error {
			return w.Elevate(ctx, func(a *session.Assurance) {
				a.Methods, a.Level, a.Role, a.Tenant = append(a.Methods, "otp"), 2, "admin", "acme"
			})
		})
		if err != nil {
			t.Fatal(err)
		}
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			a := s.Assurance()
			if s.Role() != "admin" || s.Tenant() != "acme" || a.Level != 2 || !slices.Equal(a.Methods, []string{"pwd", "otp"}) {
				t.Errorf("got assurance %+v", a)
			}
			if err := s.CheckFresh(time.Minute); err != nil {
				t.Errorf("after a further factor: got %v, want a fresh session", err)
			}
			snap, _ := s.Snapshot()
			if left := snap.Deadline.Sub(w.clock.Now()); left > 12*time.Hour-9*time.Minute {
				t.Errorf("got %v left, want the absolute timeout not to move", left)
			}
		})
		if got := b.get("/whoami"); got != "alice||draft" {
			t.Errorf("got %q, want the values kept", got)
		}
		if got := before.get("/whoami"); got != "||" {
			t.Errorf("old token: got %q, want it dead", got)
		}
		r := b.request("POST", "/note", url.Values{"note": {"x"}, "csrf": {form}})
		if resp := b.do(r); resp.StatusCode != 403 {
			t.Errorf("form from before: got status %d, want 403", resp.StatusCode)
		}
	})
}

func TestReauthenticate(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	w.clock.advance(20 * time.Minute)
	check := func() (err error) {
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			err = session.From(r.Context()).CheckFresh(5 * time.Minute)
		})
		return err
	}
	if err := check(); !errors.Is(err, session.ErrStale) {
		t.Errorf("20 minutes after login: got %v, want ErrStale", err)
	}
	old := b.twin()
	if err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }); err != nil {
		t.Fatal(err)
	}
	if err := check(); err != nil {
		t.Errorf("after authenticating again: got %v", err)
	}
	if got := old.get("/whoami"); got != "||" {
		t.Errorf("old token: got %q", got)
	}
	for range 30 { // 12 hours from now, not from login
		w.clock.advance(24*time.Minute - 10*time.Second)
		if got := b.get("/whoami"); got != "alice||" {
			t.Fatalf("got %q before the new absolute timeout", got)
		}
	}
	for _, verb := range []func(context.Context) error{
		func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") },
		func(ctx context.Context) error { return w.Elevate(ctx, func(*session.Assurance) {}) },
		func(ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err },
	} {
		if err := w.browser(t).call(w.Manager, verb); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("without a login: got %v, want ErrLoginRequired", err)
		}
	}
}

func TestLoginOptions(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		id := session.Identity{
			Subject: "alice", Idle: 5 * time.Minute, Absolute: time.Hour, Label: "kiosk", Links: []string{"iss|sid1"},
		}
		if err := b.call(w.Manager, func(ctx context.Context) error { return w.Login(ctx, id) }); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(4 * time.Minute)
		if got := b.get("/whoami"); got != "alice||" {
			t.Errorf("4 minutes idle: got %q", got)
		}
		for snap, err := range w.Sessions(t.Context(), "alice") {
			if err != nil || snap.Label != "kiosk" || snap.Idle != 5*time.Minute {
				t.Errorf("got %+v, %v", snap, err)
			}
		}
		if n, err := w.RevokeLink(t.Context(), "iss|sid1", "back-channel"); n != 1 || err != nil {
			t.Errorf("revoking the link: got %d, %v", n, err)
		}
		if got := b.get("/whoami"); got != "||" {
			t.Errorf("after revoking the link: got %q", got)
		}
		for field, bad := range map[string]session.Identity{
			"Subject": {}, "Level": {Subject: "a", Level: 4}, "Idle": {Subject: "a", Idle: 2 * time.Hour, Absolute: time.Hour},
			"Absolute": {Subject: "a", Absolute: 401 * 24 * time.Hour}, "Methods": {Subject: "a", Methods: []string{""}},
			"AuthenticatedAt": {Subject: "a", AuthenticatedAt: w.clock.Now().Add(time.Hour)},
		} {
			err := b.call(w.Manager, func(ctx context.Context) error { return w.Login(ctx, bad) })
			if err == nil || !strings.Contains(err.Error(), "Identity."+field) {
				t.Errorf("got error %v, want one that names %s", err, field)
			}
		}
	})
}

func TestHalfOpen(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		begin := func(b *browser) {
			err := b.call(w.Manager, func(ctx context.Context) error {
				return w.LoginPending(ctx, session.Identity{Subject: "alice", Methods: []string{"pwd"}, Role: "admin"})
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		complete := func(b *browser) error {
			return b.call(w.Manager, func(ctx context.Context) error {
				return w.CompleteLogin(ctx, session.Identity{Methods: []string{"otp"}, Level: 2})
			})
		}
		b := w.browser(t)
		b.post("/add", url.Values{"item": {"coat"}})
		begin(b)
		if got := b.get("/whoami"); got != "|coat|" {
			t.Errorf("half-open: got %q, want nobody signed in", got)
		}
		// The ticket cannot pass as a session.
		forged := w.browser(t)
		forged.cookies["__Host-id"] = b.cookies["__Host-id-pending"]
		if got := forged.get("/whoami"); got != "||" {
			t.Errorf("ticket as session: got %q", got)
		}
		w.events.count(t, session.EventUnknownToken, 1)
		copied := b.twin()
		if err := complete(b); err != nil {
			t.Fatal(err)
		}
		if got := b.get("/whoami"); got != "alice|coat|" || b.cookies["__Host-id-pending"] != "" {
			t.Errorf("completed: got %q, ticket left: %t", got, b.cookies["__Host-id-pending"] != "")
		}
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			if a := session.From(r.Context()).Assurance(); !slices.Equal(a.Methods, []string{"pwd", "otp"}) || a.Role != "admin" || a.Level != 2 {
				t.Errorf("got assurance %+v", a)
			}
		})
		if err := complete(copied); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("the ticket a second time: got %v, want ErrLoginRequired", err)
		}
		late := w.browser(t)
		begin(late)
		w.clock.advance(10*time.Minute + time.Second)
		if err := complete(late); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("after 10 minutes: got %v, want ErrLoginRequired", err)
		}
		revoked := w.browser(t)
		begin(revoked)
		if _, err := w.RevokeSubject(t.Context(), "alice", "password changed"); err != nil {
			t.Fatal(err)
		}
		if err := complete(revoked); !errors.Is(err, session.ErrLoginRequired) {
			t.Errorf("after RevokeSubject: got %v, want ErrLoginRequired", err)
		}
	})
}

func TestLocked(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) {
			c.Store, c.Limits = s, session.Limits{Idle: 15 * time.Minute, Absolute: 2 * time.Hour, IdleLocks: true}
		})
		b := w.browser(t)
		b.login("alice")
		b.post("/note", url.Values{"note": {"draft"}})
		w.clock.advance(16 * time.Minute)
		if got := b.get("/whoami"); got != "||" {
			t.Errorf("locked: got %q, want nothing", got)
		}
		b.get("/whoami")
		w.events.count(t, session.EventLocked, 1)
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			if s.LockedSubject() != "alice" || !errors.Is(s.CheckLogin(), session.ErrLocked) || !errors.Is(note.Set(s, "x"), session.ErrLocked) {
				t.Errorf("got locked subject %q, CheckLogin %v", s.LockedSubject(), s.CheckLogin())
			}
			if err := w.Elevate(r.Context(), func(*session.Assurance) {}); !errors.Is(err, session.ErrLocked) {
				t.Errorf("Elevate: got %v, want ErrLocked", err)
			}
		})
		if err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }); err != nil {
			t.Fatal(err)
		}
		if got := b.get("/whoami"); got != "alice||draft" {
			t.Errorf("unlocked: got %q", got)
		}
		for left := 104 * time.Minute; left > 0; left -= 13 * time.Minute {
			w.clock.advance(13 * time.Minute)
			b.get("/whoami")
		}
		if got := b.get("/whoami"); got != "||" {
			t.Errorf("2 hours after login: got %q, want unlocking not to prolong", got)
		}
	})
}

func TestCarryOverNotToSomebodyElse(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	b.post("/add", url.Values{"item": {"coat"}})
	b.login("alice")
	if got := b.get("/whoami"); got != "alice|coat|" {
		t.Errorf("alice again: got %q", got)
	}
	b.login("bob")
	if got := b.get("/whoami"); got != "bob||" {
		t.Errorf("bob after alice: got %q, want nothing of hers", got)
	}
}

func TestSeveralManagers(t *testing.T) {
	shared := newWorld(t, nil)
	shop := newWorld(t, func(c *session.Config) { c.Namespace = "shop" })
	admin := newWorld(t, func(c *session.Config) { c.Namespace = "admin" })
	_ = shared
	b := newBrowser(t, nil)
	both := func(f func(http.ResponseWriter, *http.Request)) http.Handler {
		return shop.Handler(admin.Handler(http.HandlerFunc(f)))
	}
	b.handler = both(func(_ http.ResponseWriter, r *http.Request) {
		if err := shop.Login(r.Context(), session.Identity{Subject: "alice"}); err != nil {
			t.Error(err)
		}
		if err := admin.Login(r.Context(), session.Identity{Subject: "root"}); err != nil {
			t.Error(err)
		}
	})
	b.get("/")
	b.handler = both(func(_ http.ResponseWriter, r *http.Request) {
		if got := shop.From(r.Context()).Subject() + admin.From(r.Context()).Subject() + session.From(r.Context()).Subject(); got != "alicerootroot" {
			t.Errorf("got %q, want alice, root and the innermost, root", got)
		}
		if got := shared.From(r.Context()); got.Subject() != "" || !errors.Is(got.Err(), session.ErrOutside) {
			t.Errorf("a manager without a handler: got %q, %v", got.Subject(), got.Err())
		}
	})
	b.get("/")
	// A token of one namespace is nothing in the other.
	b.cookies["__Host-id-admin"] = b.cookies["__Host-id-shop"]
	b.handler = both(func(_ http.ResponseWriter, r *http.Request) {
		if got := admin.From(r.Context()).Subject(); got != "" {
			t.Errorf("alice's token in the other namespace: got %q", got)
		}
	})
	b.get("/")
}

func TestOutside(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, func(c *session.Config) { c.Skip = func(r *http.Request) bool { return r.URL.Path == "/static" } })
	check := func(ctx context.Context) {
		t.Helper()
		s := session.From(ctx)
		if _, ok := basket.Get(s); ok || s.Subject() != "" || !s.Handle().IsZero() || s.LockedSubject() != "" || s.Role() != "" {
			t.Error("got something from nowhere")
		}
		_, _, popped := note.Pop(ctx, s)
		_, token := w.CSRFToken(ctx)
		for name, err := range map[string]error{
			"Err": s.Err(), "Set": note.Set(s, "x"), "Delete": note.Delete(s), "Pop": popped, "CSRFToken": token,
			"Update": note.Update(ctx, s, func(*string) error { return nil }),
			"Login":  w.Login(ctx, session.Identity{Subject: "alice"}), "Logout": w.Logout(ctx),
			"LoginPending": w.LoginPending(ctx, session.Identity{Subject: "alice"}),
			"Commit":       s.Commit(ctx, httptest.NewRecorder()), "CheckLogin": s.CheckLogin(),
		} {
			if !errors.Is(err, session.ErrOutside) {
				t.Errorf("%s: got %v, want ErrOutside", name, err)
			}
		}
		s.NotActivity()
		watched, stop := s.Watch(ctx)
		stop()
		<-watched.Done()
	}
	check(ctx)
	w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { check(r.Context()) })).
		ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/static", nil))
}

// TestCallbacksMayUseTheSession: functions that the application hands in may
// look at the session without waiting for themselves.
func TestCallbacksMayUseTheSession(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.ClientAddr = func(r *http.Request) netip.Addr {
			_ = session.From(r.Context()).Subject()
			return netip.MustParseAddr("192.0.2.9")
		}
		c.NotActivity = func(r *http.Request) bool { return session.From(r.Context()).Subject() == "nobody" }
		c.Admit = func(r *http.Request, _ session.Snapshot) session.Verdict {
			_ = session.From(r.Context()).Subject()
			return session.Allow
		}
	})
	b := w.browser(t)
	b.login("alice")
	done := make(chan error, 1)
	go func() {
		done <- b.call(w.Manager, func(ctx context.Context) error {
			return w.Elevate(ctx, func(a *session.Assurance) { a.Role = "boss of " + session.From(ctx).Subject() })
		})
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("waits for itself")
	}
}

// TestHandlerTwice: a manager that is wrapped around a handler twice works once.
func TestHandlerTwice(t *testing.T) {
	w := newWorld(t, nil)
	b := newBrowser(t, w.Handler(w.Handler(w.mux)))
	b.login("alice")
	w.clock.advance(16 * time.Minute)
	resp := b.do(b.request("GET", "/whoami", nil))
	if got := body(t, resp); got != "alice||" || len(resp.Header["Set-Cookie"]) != 1 {
		t.Errorf("got %q and Set-Cookie %q", got, resp.Header["Set-Cookie"])
	}
	w.events.count(t, session.EventRenewed, 1)
}
