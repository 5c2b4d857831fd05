package session_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"sync"
	"testing"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

func TestRevocations(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		phone, laptop, bob, visitor := w.browser(t), w.browser(t), w.browser(t), w.browser(t)
		phone.login("alice")
		laptop.login("alice")
		bob.login("bob")
		visitor.post("/add", url.Values{"item": {"hat"}})
		if n, err := w.Count(t.Context(), ""); n != 4 || err != nil {
			t.Errorf("got %d sessions, %v; want 4", n, err)
		}
		old := laptop.twin()
		var others int
		if err := laptop.call(w.Manager, func(ctx context.Context) (err error) { others, err = w.RevokeOthers(ctx); return err }); err != nil || others != 1 {
			t.Errorf("RevokeOthers: got %d, %v; want 1", others, err)
		}
		for want, b := range map[string]*browser{"||": phone, "alice||": laptop, "bob||": bob} {
			if got := b.get("/whoami"); got != want {
				t.Errorf("after RevokeOthers: got %q, want %q", got, want)
			}
		}
		if got := old.get("/whoami"); got != "||" {
			t.Errorf("own old token: got %q", got)
		}
		var current []session.Snapshot
		for snap, err := range w.AllSessions(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			current = append(current, snap)
			if snap.Subject == "bob" {
				ended, err := w.Revoke(t.Context(), snap.Handle, "office closed")
				if !ended || err != nil {
					t.Errorf("Revoke: got %t, %v", ended, err)
				}
				again, err := w.Revoke(t.Context(), snap.Handle, "office closed")
				if again || err != nil {
					t.Errorf("Revoke again: got %t, %v", again, err)
				}
			}
		}
		if len(current) != 3 {
			t.Errorf("got %d sessions listed, want 3", len(current))
		}
		if got := bob.get("/whoami"); got != "||" {
			t.Errorf("bob after Revoke: got %q", got)
		}
		if err := w.RevokeAll(t.Context(), "breach"); err != nil {
			t.Fatal(err)
		}
		for _, b := range []*browser{laptop, visitor} {
			if got := b.get("/whoami"); got != "||" {
				t.Errorf("after RevokeAll: got %q", got)
			}
		}
		if n, _ := w.Count(t.Context(), ""); n != 0 {
			t.Errorf("after RevokeAll: got %d sessions", n)
		}
		laptop.login("alice")
		if got := laptop.get("/whoami"); got != "alice||" {
			t.Errorf("login after RevokeAll: got %q", got)
		}
	})
}

// TestLoginOvertaken: a login that began before its subject was revoked is
// refused; one that follows the revocation in the same request is not.
func TestLoginOvertaken(t *testing.T) {
	w := newWorld(t, nil)
	revoke := map[string]func(context.Context) error{
		"subject": func(ctx context.Context) error { _, err := w.RevokeSubject(ctx, "alice", "reset"); return err },
		"all":     func(ctx context.Context) error { return w.RevokeAll(ctx, "breach") },
	}
	for name, f := range revoke {
		t.Run(name, func(t *testing.T) {
			err := w.browser(t).call(w.Manager, func(ctx context.Context) error {
				if err := f(context.Background()); err != nil { // somebody else's request
					return err
				}
				return w.Login(ctx, session.Identity{Subject: "alice"})
			})
			if !errors.Is(err, session.ErrRevoked) {
				t.Errorf("overtaken login: got %v, want ErrRevoked", err)
			}
			err = w.browser(t).call(w.Manager, func(ctx context.Context) error {
				if err := f(ctx); err != nil {
					return err
				}
				return w.Login(ctx, session.Identity{Subject: "alice"})
			})
			if err != nil {
				t.Errorf("login after revoking in the same request: got %v", err)
			}
		})
	}
}

func TestMaxSessions(t *testing.T) {
	for _, evict := range []bool{false, true} {
		t.Run(fmt.Sprintf("evict %t", evict), func(t *testing.T) {
			w := newWorld(t, func(c *session.Config) { c.MaxSessions, c.EndOldest = 2, evict })
			browsers := make([]*browser, 12)
			var wg sync.WaitGroup
			for i := range browsers {
				browsers[i] = w.browser(t)
				wg.Go(func() {
					err := browsers[i].call(w.Manager, func(ctx context.Context) error {
						return w.Login(ctx, session.Identity{Subject: "alice"})
					})
					if err != nil && (evict || !errors.Is(err, session.ErrLimit)) {
						t.Errorf("login: got %v", err)
					}
				})
			}
			wg.Wait()
			in := 0
			for _, b := range browsers {
				if b.get("/whoami") == "alice||" {
					in++
				}
			}
			if in != 2 {
				t.Errorf("got %d usable sessions, want 2", in)
			}
			if evict {
				w.events.count(t, session.EventExpired, 10)
			} else {
				w.events.count(t, session.EventLimit, 10)
			}
			// Signing in again where one is signed in does not count twice.
			for _, b := range browsers {
				if b.get("/whoami") == "alice||" {
					b.login("alice")
				}
			}
		})
	}
}
