package session_test

import (
	"context"
	"net/http"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestRestoreInterrupted: a request that has replaced the token and is slow to make the
// session is overtaken by another one, which makes it: both get the same.
func TestRestoreInterrupted(t *testing.T) {
	s := &interposed{Store: external{memory.New()}}
	asked := 0
	w := remembering(t, s, func(c *session.Config) {
		readmit := c.Remember.Readmit
		c.Remember.Readmit = func(ctx context.Context, who session.Snapshot) (session.Identity, error) {
			asked++
			return readmit(ctx, who)
		}
	})
	slow := w.browser(t)
	slow.remember("alice")
	fast := slow.reopen().twin()
	s.before = func() {
		s.before = nil // for the faster one
		if got := fast.get("/whoami"); got != "alice||" {
			t.Errorf("the faster request: got %q", got)
		}
	}
	if got := slow.get("/whoami"); got != "alice||" || cookiesOf(slow) != cookiesOf(fast) {
		t.Errorf("the slow request: got %q, and the same cookies: %t", got, cookiesOf(slow) == cookiesOf(fast))
	}
	if n := w.alive(t, "alice"); n != 1 || asked != 2 {
		t.Errorf("got %d sessions, asked %d times whether she may come back, want 1 and once for each request", n, asked)
	}
}

// beforeRevoke is an external store in which something happens before a revocation.
type beforeRevoke struct {
	store.Store
	before func()
}

func (s *beforeRevoke) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	if before := s.before; before != nil {
		s.before = nil
		before()
	}
	return s.Store.Revoke(ctx, v)
}

// TestRestoreEvictsItsOwn: the session that has to go for the restored one can be the
// one from before, of the same remembered login. That goes on.
func TestRestoreEvictsItsOwn(t *testing.T) {
	s := &beforeRevoke{Store: external{memory.New()}}
	w := remembering(t, s, func(c *session.Config) { c.MaxSessions, c.EndOldest = 1, true })
	slow := w.browser(t)
	slow.remember("alice")
	fast := slow.reopen().twin()
	s.before = func() { // the slow request is about to end the session from before
		if got := fast.get("/whoami"); got != "alice||" {
			t.Errorf("the faster request: got %q", got)
		}
	}
	if got := slow.get("/whoami"); got != "alice||" || cookiesOf(slow) != cookiesOf(fast) {
		t.Errorf("the slow request: got %q, and the same cookies: %t", got, cookiesOf(slow) == cookiesOf(fast))
	}
	if got := slow.reopen().get("/whoami"); got != "alice||" {
		t.Errorf("opened again: got %q", got)
	}
}

// TestRestoreAsksOnce: however often a request tries, the application is asked once.
func TestRestoreAsksOnce(t *testing.T) {
	asked := 0
	w := remembering(t, nil, func(c *session.Config) {
		c.MaxSessions = 1
		c.Remember.Readmit = func(context.Context, session.Snapshot) (session.Identity, error) {
			asked++
			return session.Identity{}, nil
		}
	})
	b := w.browser(t)
	b.remember("alice")
	w.clock.advance(time.Hour)
	w.browser(t).login("alice")
	if b.reopen().get("/whoami"); asked != 1 {
		t.Errorf("asked %d times, want once", asked)
	}
}

// TestRestoreRepeatsNoToken: when nothing is known any more of the session that was made
// from a token, the next one has a token of its own: of that one there may be copies.
func TestRestoreRepeatsNoToken(t *testing.T) {
	s := memory.New()
	w := remembering(t, s, nil)
	b := w.browser(t)
	b.remember("alice")
	lost := b.reopen().twin()
	lost.get("/whoami")
	for range 2 { // ends it, and removes what is left
		w.clock.advance(25 * time.Hour)
		if _, err := s.Sweep(context.Background(), store.Sweeping{Now: w.clock.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.get("/whoami"); got != "alice||" || b.token() == lost.token() {
		t.Errorf("got %q, with the same token: %t", got, b.token() == lost.token())
	}
	if got := lost.drop(rememberCookie).get("/whoami"); got != "||" {
		t.Errorf("a copy of the old session: got %q", got)
	}
}

// TestRestoreKeepsLabel: the session has the label of the login, unless the application
// gives it another one.
func TestRestoreKeepsLabel(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	if err := b.call(w.Manager, func(ctx context.Context) error {
		return w.Login(ctx, session.Identity{Subject: "alice", Remember: true, Label: "kitchen"})
	}); err != nil {
		t.Fatal(err)
	}
	b.reopen().with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		if snap, _ := session.From(r.Context()).Snapshot(); snap.Label != "kitchen" {
			t.Errorf("got label %q", snap.Label)
		}
	})
}

// TestStoreLockHolds: nor is a lock got round that came with the session alone.
func TestStoreLockHolds(t *testing.T) {
	s := memory.New()
	w := remembering(t, s, nil)
	b := w.browser(t)
	b.remember("alice")
	if _, err := s.Revoke(context.Background(), store.Revocation{
		Handle: w.handleOf(t, "alice"), Effect: store.EffectLock, Cause: "test", Now: w.clock.Now(),
	}); err != nil {
		t.Fatal(err)
	}
	before := cookiesOf(b.reopen())
	if got := b.get("/whoami"); got != "||" || cookiesOf(b) != before {
		t.Errorf("got %q, cookies touched: %t", got, cookiesOf(b) != before)
	}
}

// TestUsedTokenShowsNothing: a thief who goes on with the session and the used token
// does not keep the owner's browser from showing that it has the current one.
func TestUsedTokenShowsNothing(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		thief := b.reopen().twin()
		used := thief.cookie(rememberCookie)
		thief.get("/whoami")
		thief.cookies[rememberCookie] = used
		thief.get("/whoami")
		w.clock.advance(time.Minute)
		b.get("/whoami")
		b.get("/whoami") // has arrived
		w.clock.advance(time.Minute)
		if got := thief.reopen().get("/whoami"); got != "||" {
			t.Errorf("thief: got %q", got)
		}
		w.events.count(t, session.EventReuse, 1)
		w.wantForgotten(t, "alice", b, thief)
	})
}
