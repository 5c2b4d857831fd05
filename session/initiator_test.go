package session_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// TestInitiator: what an operator ends without a session of his own bears his
// name, in the events, with the session, and when its token comes back.
func TestInitiator(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		phone, laptop := w.browser(t), w.browser(t)
		phone.login("alice")
		laptop.login("alice")
		var all []session.Snapshot
		for snap, err := range w.Sessions(t.Context(), "alice") {
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, snap)
		}
		slices.SortFunc(all, func(a, b session.Snapshot) int { return a.Created.Compare(b.Created) })
		ctx := session.WithInitiator(t.Context(), "anna, on call")
		if n, err := w.RevokeSubjectExcept(ctx, "alice", all[1].Handle, "lost phone"); n != 1 || err != nil {
			t.Errorf("got %d ended, %v; want 1", n, err)
		}
		if got := phone.get("/whoami"); got != "||" {
			t.Errorf("the one that was to end: got %q", got)
		}
		if got := laptop.get("/whoami"); got != "alice||" {
			t.Errorf("the one that was to stay: got %q", got)
		}
		r, err := s.Load(t.Context(), store.Key{Handle: all[0].Handle}, nil)
		if err != nil || r.End.By != "anna, on call" || r.End.Cause != "lost phone" {
			t.Errorf("got end %+v, %v", r.End, err)
		}
		w.clock.advance(31 * time.Second)
		phone.twin().get("/whoami")
		for _, want := range []string{session.EventRevoked, session.EventExpired, session.EventUseAfterExpire} {
			w.events.count(t, want, 1)
		}
		w.events.mu.Lock()
		seen := slices.Clone(w.events.all)
		w.events.mu.Unlock()
		for _, e := range seen {
			switch e.Type {
			case session.EventRevoked, session.EventExpired, session.EventUseAfterExpire:
				if e.Initiator != "anna, on call" || e.Cause != "lost phone" {
					t.Errorf("%s: got initiator %q, cause %q", e.Type, e.Initiator, e.Cause)
				}
			}
		}
		for name, keep := range map[string]session.Handle{"ended": all[0].Handle, "of somebody else": all[1].Handle, "unknown": {1}} {
			subject := map[bool]string{true: "bob", false: "alice"}[name == "of somebody else"]
			if n, err := w.RevokeSubjectExcept(ctx, subject, keep, "typo"); n != 0 || !errors.Is(err, session.ErrEnded) {
				t.Errorf("except one that is %s: got %d, %v; want ErrEnded", name, n, err)
			}
		}
		if got := laptop.get("/whoami"); got != "alice||" {
			t.Errorf("after revocations without anybody to spare: got %q", got)
		}
	})
}
