package session_test

import (
	"context"
	"net/http"
	"net/url"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// TestUnwrappedForItsTokenOnly: the key of a session that was used a moment ago
// is at hand. Somebody who can write to the store, and holds a token of the
// session that was superseded, cannot get at it.
func TestUnwrappedForItsTokenOnly(t *testing.T) {
	w, s, alice, _ := forged(t)
	old := alice.token()
	w.clock.advance(20 * time.Minute)
	alice.get("/whoami") // rotates
	alice.get("/whoami") // and this is the first use of the successor
	w.clock.advance(time.Minute)
	if got := alice.get("/whoami"); got != "alice||alice's note" || alice.token() == old {
		t.Fatalf("after the rotation: got %q, want alice with another token", got)
	}
	thief := alice.twin()
	thief.cookies["__Host-id"] = old
	token, ok := session.TestOnlyParseToken(old)
	if !ok {
		t.Fatal("the old token does not parse")
	}
	// Sealed under the old token, as a rotation would, by somebody who knows it.
	madeUp := session.TestOnlySuccessorOf(token)
	for name, change := range map[string]func(*store.Record){
		"the verifier of the old token": func(r *store.Record) {
			r.Verifier = session.TestOnlyVerifier(token, r.Handle)
		},
		"a successor that is made up": func(r *store.Record) {
			r.Predecessor = &store.Predecessor{
				Verifier:  session.TestOnlyVerifier(token, r.Handle),
				Successor: session.TestOnlySealSuccessor(token, madeUp, r.Handle),
			}
		},
		"a successor and its verifier": func(r *store.Record) {
			r.Verifier = session.TestOnlyVerifier(madeUp, r.Handle)
			r.Predecessor = &store.Predecessor{
				Verifier:  session.TestOnlyVerifier(token, r.Handle),
				Successor: session.TestOnlySealSuccessor(token, madeUp, r.Handle),
			}
		},
	} {
		s.change = nil
		alice.get("/whoami")
		s.change = change
		if got := thief.twin().get("/whoami"); got != "||" {
			t.Errorf("%s: got %q for the thief, want nobody", name, got)
		}
	}
	s.change = nil
	if got := alice.get("/whoami"); got != "alice||alice's note" {
		t.Errorf("alice: got %q", got)
	}
}

// TestUnwrappedForgotten: a manager that is closed remembers no key, also not
// those of requests that come later.
func TestUnwrappedForgotten(t *testing.T) {
	w, _, alice, _ := forged(t)
	alice.get("/whoami")
	if got := session.TestOnlyUnwrapped(w.Manager); got == 0 {
		t.Error("no key is remembered")
	}
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := alice.get("/whoami"); got != "alice||alice's note" {
		t.Errorf("after closing: got %q, want alice", got)
	}
	if got := session.TestOnlyUnwrapped(w.Manager); got != 0 {
		t.Errorf("after closing: got %d keys, want none", got)
	}
}

// TestReadAfterHangUp: a handler that works on after its client has gone reads what
// the session holds by then.
func TestReadAfterHangUp(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	b.post("/note", url.Values{"note": {"before"}})
	other := b.twin()
	ctx, hangUp := context.WithCancel(t.Context())
	w.mux.HandleFunc("GET /late", func(_ http.ResponseWriter, r *http.Request) {
		other.post("/note", url.Values{"note": {"after"}})
		hangUp()
		if got, _, err := note.Lookup(session.From(r.Context())); got != "after" || err != nil {
			t.Errorf("got %q, %v; want what is stored now", got, err)
		}
	})
	b.do(b.request("GET", "/late", nil).WithContext(ctx))
}
