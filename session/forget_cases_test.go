package session_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// TestLogoutWithoutTheCookie: the session says what its browser is remembered by, even
// if the browser does not.
func TestLogoutWithoutTheCookie(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	held := b.twin()
	b.drop(rememberCookie).post("/logout", nil)
	w.wantForgotten(t, "alice", held)
}

// TestLogoutWithPredecessor: the token before the current one proves as much, as long as
// its answer may have been lost.
func TestLogoutWithPredecessor(t *testing.T) {
	w := remembering(t, nil, func(c *session.Config) {
		c.NotActivity = func(r *http.Request) bool { return r.URL.Path == "/csrf" || r.URL.Path == "/logout" }
	})
	b := w.browser(t)
	b.remember("alice")
	lost := b.reopen().twin()
	lost.get("/whoami")
	if resp := b.post("/logout", nil); resp.StatusCode != 200 {
		t.Errorf("got status %d", resp.StatusCode)
	}
	w.wantForgotten(t, "alice", b, lost)
}

// TestLoginWithUnknownCookie: a cookie that nobody knows any more keeps nobody out.
func TestLoginWithUnknownCookie(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.cookies[rememberCookie] = session.TestOnlyNewToken().Reveal()
	b.remember("alice")
	if got := b.reopen().get("/whoami"); got != "alice||" {
		t.Errorf("got %q", got)
	}
}

// TestLateTabDuringReauthentication: a late request with the token of a moment ago
// restores nothing, which would end the session that has just been renewed. If the
// answer that renewed it was lost, the browser comes back after a while.
func TestLateTabDuringReauthentication(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		tab := b.twin()
		if err := b.call(w.Manager, func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }); err != nil {
			t.Fatal(err)
		}
		w.clock.advance(20 * time.Second)
		before := cookiesOf(tab)
		if got := tab.get("/whoami"); got != "||" || cookiesOf(tab) != before {
			t.Errorf("late: got %q, cookies touched: %t", got, cookiesOf(tab) != before)
		}
		if got := b.get("/whoami"); got != "alice||" {
			t.Errorf("the renewed session: got %q", got)
		}
		w.clock.advance(20 * time.Second)
		if got := tab.get("/whoami"); got != "alice||" {
			t.Errorf("after a while: got %q", got)
		}
	})
}

// TestForgottenIsReported: requests of the moment are late ones, later ones are reported.
func TestForgottenIsReported(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	if _, err := w.Revoke(context.Background(), w.logins(t, "alice")[0].Handle, "test"); err != nil {
		t.Fatal(err)
	}
	b.reopen().get("/whoami")
	w.events.count(t, session.EventUseAfterExpire, 0)
	w.clock.advance(time.Minute)
	b.get("/whoami")
	w.events.count(t, session.EventUseAfterExpire, 1)
	if resp := b.post("/login", nil); resp.StatusCode == 409 {
		t.Error("the browser cannot begin anew")
	}
}

// TestRevokeOwnSeries: who ends what his own browser is remembered by is signed out
// within the request.
func TestRevokeOwnSeries(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	h := w.logins(t, "alice")[0].Handle
	if err := b.call(w.Manager, func(ctx context.Context) error {
		if _, err := w.Revoke(ctx, h, "test"); err != nil {
			t.Error(err)
		}
		return session.From(ctx).CheckLogin()
	}); err == nil {
		t.Error("still signed in")
	}
}

// TestRevokeOthersEndsPredecessors: no token from before is good any more, neither the
// one whose answer may have been lost, and nobody else's is touched.
func TestRevokeOthersEndsPredecessors(t *testing.T) {
	others := func(w *world) func(context.Context) error {
		return func(ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err }
	}
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	copied := b.reopen().twin()
	b.get("/whoami")
	if err := b.call(w.Manager, others(w)); err != nil {
		t.Fatal(err)
	}
	if got := copied.get("/whoami"); got != "||" {
		t.Errorf("a copy: got %q", got)
	}
	bob := w.browser(t)
	bob.remember("bob")
	b.cookies[rememberCookie] = bob.cookie(rememberCookie)
	if err := b.call(w.Manager, others(w)); err != nil {
		t.Fatal(err)
	}
	if got := bob.reopen().get("/whoami"); got != "bob||" {
		t.Errorf("somebody else: got %q", got)
	}
}

// TestRestoreGoesOn: what an interrupted request has left to be done, the next one does:
// the session from before ends.
func TestRestoreGoesOn(t *testing.T) {
	f := sessiontest.NewFaultyStore(external{memory.New()})
	w := remembering(t, f, nil)
	b := w.browser(t)
	b.remember("alice")
	before := b.twin().drop(rememberCookie)
	w.clock.advance(5 * time.Second)
	f.Inject(only(storetest.OpRevoke, f.Calls(storetest.OpRevoke)+1, storetest.Fault{Before: store.ErrUnavailable}))
	if got := b.reopen().get("/whoami"); got != "||" {
		t.Fatalf("interrupted: got %q", got)
	}
	f.Inject(nil)
	if got := b.get("/whoami") + before.get("/whoami"); got != "alice||||" {
		t.Errorf("afterwards: got %q, want her without the session from before", got)
	}
}

// TestForgottenWhileReadmitting: a remembered login that ends while the application is
// asked makes no session, and it is not the store's fault.
func TestForgottenWhileReadmitting(t *testing.T) {
	var w *world
	w = remembering(t, external{memory.New()}, func(c *session.Config) {
		c.Remember.Readmit = func(_ context.Context, who session.Snapshot) (session.Identity, error) {
			_, err := w.Revoke(context.Background(), who.Handle, "test")
			return session.Identity{}, err
		}
	})
	w.mux.Handle("GET /private", w.RequireLogin(http.HandlerFunc(showPage)))
	b := w.browser(t)
	b.remember("alice")
	b.reopen()
	if resp := b.do(b.request("GET", "/private", nil)); resp.StatusCode != 401 {
		t.Errorf("got status %d", resp.StatusCode)
	}
	w.events.count(t, session.EventStoreFailed, 0)
}

// TestRestoreNamesLinksOnce: a link that both the login and the application name is one.
func TestRestoreNamesLinksOnce(t *testing.T) {
	s := memory.New()
	w := remembering(t, s, func(c *session.Config) {
		c.Remember.Readmit = func(context.Context, session.Snapshot) (session.Identity, error) {
			return session.Identity{Links: []string{"idp|1"}}, nil
		}
	})
	b := w.browser(t)
	if err := b.call(w.Manager, func(ctx context.Context) error {
		return w.Login(ctx, session.Identity{Subject: "alice", Remember: true, Links: []string{"idp|1"}})
	}); err != nil {
		t.Fatal(err)
	}
	b.reopen().get("/whoami")
	r, err := s.Load(context.Background(), store.Key{Handle: w.handleOf(t, "alice")}, nil)
	if err != nil || len(r.Links) != 2 {
		t.Errorf("got %d links, %v, want that of the login and that of what is remembered", len(r.Links), err)
	}
}
