package session_test

import (
	"fmt"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// external hides that a store is in process, so that every load opens the wrap.
type external struct{ store.Store }

// bothStores runs a test on a store of this process and on one that could be
// anywhere.
func bothStores(t *testing.T, test func(t *testing.T, s store.Store)) {
	t.Run("local", func(t *testing.T) { test(t, memory.New()) })
	t.Run("external", func(t *testing.T) { test(t, external{memory.New()}) })
}

func TestRotation(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.post("/add", url.Values{"item": {"coat"}})
		b.login("alice")
		first := b.token()
		w.clock.advance(14 * time.Minute)
		b.get("/whoami")
		if b.token() != first {
			t.Error("rotated before its time")
		}
		w.clock.advance(2 * time.Minute)
		tab, form := b.twin(), b.get("/csrf")
		if b.token() == first {
			t.Fatal("did not rotate")
		}
		// The response was lost, and other tabs hold the old token: all of them
		// are answered with the same new one, however late.
		for range 3 {
			old := tab.twin()
			if got := old.get("/whoami"); got != "alice|coat|" || old.token() != b.token() {
				t.Errorf("old token: got %q and the same successor: %t", got, old.token() == b.token())
			}
			w.clock.advance(5 * time.Minute)
		}
		// A form that was open during the rotation stays valid.
		r := b.request("POST", "/note", url.Values{"note": {"x"}, "csrf": {form}})
		if resp := b.do(r); resp.StatusCode != 200 {
			t.Errorf("form from before: got status %d", resp.StatusCode)
		}
		// That was the first use of the new token. The old one still works for
		// 30 seconds.
		w.clock.advance(29 * time.Second)
		if got := tab.twin().get("/whoami"); got != "alice|coat|x" {
			t.Errorf("old token within grace: got %q", got)
		}
		w.events.count(t, session.EventReuse, 0)
		w.clock.advance(2 * time.Second)
		thief := tab.twin()
		if got := thief.get("/whoami"); got != "||" || thief.token() != first {
			t.Errorf("old token after grace: got %q, cookie touched: %t", got, thief.token() != first)
		}
		w.events.count(t, session.EventReuse, 1)
		if got := b.get("/whoami"); got != "||" {
			t.Errorf("session after reuse: got %q, want it ended", got)
		}
	})
}

// TestRotationOfTabs lets parallel requests with the same token meet a due
// rotation: one of them rotates, all are served, all end up with one token.
func TestRotationOfTabs(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		for round := range 5 {
			w.clock.advance(16 * time.Minute)
			tabs := make([]*browser, 20)
			var wg sync.WaitGroup
			for i := range tabs {
				tabs[i] = b.twin()
				wg.Go(func() {
					if got := tabs[i].get("/whoami"); got != "alice||" {
						t.Errorf("round %d, tab %d: got %q", round, i, got)
					}
				})
			}
			wg.Wait()
			successors := map[string]int{}
			for _, tab := range tabs {
				if tab.token() != b.token() {
					successors[tab.token()]++
				}
			}
			if len(successors) != 1 {
				t.Fatalf("round %d: got %d different successors, want 1", round, len(successors))
			}
			for token := range successors {
				b.cookies["__Host-id"] = token
			}
			b.get("/whoami") // the first use of the successor
			w.clock.advance(time.Minute)
		}
		w.events.count(t, session.EventReuse, 0)
		w.events.count(t, session.EventRenewed, 5)
	})
}

func TestNoRotationOnUpgrade(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	w.clock.advance(16 * time.Minute)
	r := b.request("GET", "/whoami", nil)
	r.Header.Set("Upgrade", "websocket")
	if resp := b.do(r); len(resp.Header["Set-Cookie"]) != 0 {
		t.Errorf("got Set-Cookie %q on an upgrade request", resp.Header["Set-Cookie"])
	}
	before := b.token()
	if b.get("/whoami"); b.token() == before {
		t.Error("the next request did not rotate")
	}
}

// TestSupersededToken: after login the visitor's token is dead at once; late
// requests with it are refused quietly for 30 seconds, and reported afterwards,
// without harm to the new session.
func TestSupersededToken(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.post("/add", url.Values{"item": {"coat"}})
		planted := b.twin()
		b.login("alice")
		late := planted.twin()
		if got := late.get("/whoami"); got != "||" || late.token() != planted.token() {
			t.Errorf("late request: got %q, cookie touched: %t", got, late.token() != planted.token())
		}
		// It must not get a session of its own: its cookie would erase the one
		// of the login in the same browser.
		resp := planted.twin().post("/add", url.Values{"item": {"hat"}})
		if resp.StatusCode != 401 && resp.StatusCode != 403 || hasCookie(resp.Header["Set-Cookie"], "__Host-id") {
			t.Errorf("late write: got status %d, Set-Cookie %q", resp.StatusCode, resp.Header["Set-Cookie"])
		}
		w.events.count(t, session.EventUseAfterExpire, 0)
		w.clock.advance(31 * time.Second)
		if got := planted.twin().get("/whoami"); got != "||" {
			t.Errorf("planted token: got %q", got)
		}
		w.events.count(t, session.EventUseAfterExpire, 1)
		if got := b.get("/whoami"); got != "alice|coat|" {
			t.Errorf("the victim: got %q, want to be signed in still", got)
		}
	})
}

func hasCookie(lines []string, name string) bool {
	for _, line := range lines {
		if len(line) > len(name) && line[:len(name)+1] == name+"=" {
			return true
		}
	}
	return false
}

// TestRotationUnderLoad rotates again and again while requests write, and loses
// nothing.
func TestRotationUnderLoad(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	want := 0
	for range 4 {
		w.clock.advance(16 * time.Minute)
		form := b.twin().get("/csrf") // does not see the rotation it causes
		var wg sync.WaitGroup
		for i := range 10 {
			want++
			wg.Go(func() {
				r := b.request("POST", "/add", url.Values{"item": {fmt.Sprint(i)}, "csrf": {form}})
				rec := httptest.NewRecorder()
				b.handler.ServeHTTP(rec, r)
				if rec.Code != 200 {
					t.Errorf("adding: got status %d: %s", rec.Code, rec.Body)
				}
			})
		}
		wg.Wait()
		b.get("/whoami")
		b.get("/whoami")
		w.clock.advance(time.Minute)
	}
	got := b.get("/whoami")
	items := 0
	for _, c := range got {
		if c == ',' {
			items++
		}
	}
	if items+1 != want {
		t.Errorf("got %d items, want %d: %q", items+1, want, got)
	}
}

// TestConflictDoesNotConfirm: a request with the old token that meets a conflict
// holds the new one while it tries again. That does not mean that the client has
// it: the response may get lost.
func TestConflictDoesNotConfirm(t *testing.T) {
	w, f := faulty(t, nil)
	b := w.browser(t)
	b.login("alice")
	form := b.get("/csrf")
	w.clock.advance(16 * time.Minute)
	b.twin().get("/whoami") // rotates; the response is lost
	lost := b.twin()
	r := lost.request("POST", "/note", url.Values{"note": {"x"}, "csrf": {form}})
	f.Fail(storetest.OpSwap, 1, store.ErrConflict)
	if resp := lost.do(r); resp.StatusCode != 200 {
		t.Fatalf("writing with the old token: got status %d: %s", resp.StatusCode, body(t, resp))
	}
	w.clock.advance(2 * time.Minute)
	if got := b.get("/whoami"); got != "alice||x" {
		t.Errorf("old token, after both responses were lost: got %q, want it to be answered still", got)
	}
	w.events.count(t, session.EventReuse, 0)
}
