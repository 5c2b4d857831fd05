package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// cookiesOf returns what a browser holds.
func cookiesOf(b *browser) [2]string { return [2]string{b.cookie(idCookie), b.cookie(rememberCookie)} }

// TestLostRestore: as long as the browser has not shown that the answer arrived,
// the same question gets the same answer, however late.
func TestLostRestore(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		b.reopen()
		first := b.twin()
		first.get("/whoami")
		for range 3 {
			again := b.twin()
			if got := again.get("/whoami"); got != "alice||" || cookiesOf(again) != cookiesOf(first) {
				t.Errorf("again: got %q, and the same cookies: %t", got, cookiesOf(again) == cookiesOf(first))
			}
			w.clock.advance(5 * time.Minute)
		}
		// The session it got has run out meanwhile; the token has not.
		w.clock.advance(24 * time.Hour)
		late := b.twin()
		if got := late.get("/whoami"); got != "alice||" || late.token() == first.token() || late.cookie(rememberCookie) != first.cookie(rememberCookie) {
			t.Errorf("a day later: got %q, another session: %t, the same successor: %t", got,
				late.token() != first.token(), late.cookie(rememberCookie) == first.cookie(rememberCookie))
		}
		if n := w.alive(t, "alice"); n != 1 {
			t.Errorf("got %d sessions, want 1", n)
		}
		w.events.count(t, session.EventReuse, 0)
	})
}

// TestStolenSeries: whoever of thief and owner comes second, with a token that was
// used, ends what both have: the one before, and those used long before.
func TestStolenSeries(t *testing.T) {
	for name, uses := range map[string]int{"used once": 1, "used several times": 4} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				w := remembering(t, s, nil)
				b := w.browser(t)
				b.remember("alice")
				thief := b.twin()
				for range uses {
					w.clock.advance(time.Hour)
					if got := thief.reopen().get("/whoami"); got != "alice||" {
						t.Fatalf("thief: got %q", got)
					}
					thief.get("/whoami") // has arrived
				}
				w.clock.advance(time.Minute)
				before := cookiesOf(b.reopen())
				if got := b.get("/whoami"); got != "||" || cookiesOf(b) != before {
					t.Errorf("owner: got %q, cookies touched: %t", got, cookiesOf(b) != before)
				}
				w.events.count(t, session.EventReuse, 1)
				w.events.count(t, session.EventForgotten, 1)
				if got := thief.get("/whoami"); got != "||" {
					t.Errorf("thief's session: got %q", got)
				}
				w.clock.advance(time.Minute)
				if got := thief.reopen().get("/whoami"); got != "||" {
					t.Errorf("thief's token: got %q", got)
				}
				if n, left := w.alive(t, "alice"), w.logins(t, "alice"); n != 0 || len(left) != 0 {
					t.Errorf("got %d sessions and %d remembered logins, want none", n, len(left))
				}
			})
		})
	}
}

// TestGraceOfSeries: for a moment after the new token was shown, requests with the
// one before are late ones.
func TestGraceOfSeries(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	old := b.reopen().twin()
	b.get("/whoami")
	b.get("/whoami") // has arrived
	w.clock.advance(29 * time.Second)
	tab := old.twin()
	if got := tab.get("/whoami"); got != "alice||" || cookiesOf(tab) != cookiesOf(b) {
		t.Errorf("within grace: got %q, and the same cookies: %t", got, cookiesOf(tab) == cookiesOf(b))
	}
	w.events.count(t, session.EventReuse, 0)
	w.clock.advance(2 * time.Second)
	if got := old.twin().get("/whoami"); got != "||" {
		t.Errorf("after grace: got %q", got)
	}
	w.events.count(t, session.EventReuse, 1)
}

// twoNodes returns two managers on one store, with one clock.
func twoNodes(t *testing.T, s store.Store, change func(*session.Config)) []*world {
	a := remembering(t, s, change)
	b := remembering(t, s, func(c *session.Config) {
		change(c)
		c.Now = a.clock.Now
	})
	return []*world{a, b}
}

// TestTabsRestore opens a browser with many tabs at once, on two nodes: they end up
// with one session and one token, whatever the limit of sessions is and whether or
// not the one from before is still there.
func TestTabsRestore(t *testing.T) {
	for name, limit := range map[string]func(*session.Config){
		"no limit":       func(*session.Config) {},
		"one session":    func(c *session.Config) { c.MaxSessions = 1 },
		"the oldest out": func(c *session.Config) { c.MaxSessions, c.EndOldest = 1, true },
	} {
		t.Run(name, func(t *testing.T) {
			shared := external{memory.New()}
			nodes := twoNodes(t, shared, limit)
			b := nodes[0].browser(t)
			b.remember("alice")
			for round := range 8 {
				b.reopen()
				tabs := make([]*browser, 16)
				var wg sync.WaitGroup
				for i := range tabs {
					tabs[i] = b.twin()
					tabs[i].handler = nodes[i%2].Handler(nodes[i%2].mux)
					wg.Go(func() {
						if got := tabs[i].get("/whoami"); got != "alice||" {
							t.Errorf("round %d, tab %d: got %q", round, i, got)
						}
					})
				}
				wg.Wait()
				for i, tab := range tabs {
					if cookiesOf(tab) != cookiesOf(tabs[0]) {
						t.Errorf("round %d: tab %d has other cookies than the first", round, i)
					}
				}
				if n := nodes[0].alive(t, "alice"); n != 1 {
					t.Fatalf("round %d: got %d sessions, want 1", round, n)
				}
				b = tabs[0].twin()
				b.get("/whoami")
			}
			for _, w := range nodes {
				w.events.count(t, session.EventReuse, 0)
			}
		})
	}
}

// TestRestoreReplaces: what the browser has lost is over when it comes back.
func TestRestoreReplaces(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, func(c *session.Config) { c.MaxSessions = 2 })
		b := w.browser(t)
		b.remember("alice")
		other := w.browser(t)
		other.login("alice")
		lost := b.twin()
		lost.drop(rememberCookie)
		for range 4 {
			if got := b.reopen().get("/whoami"); got != "alice||" {
				t.Fatalf("got %q", got)
			}
			b.get("/whoami")
			if got := lost.get("/whoami"); got != "||" {
				t.Errorf("the session from before: got %q, want it ended", got)
			}
			lost = b.twin().drop(rememberCookie)
		}
		if got := other.get("/whoami"); got != "alice||" {
			t.Errorf("another browser: got %q", got)
		}
		third := w.browser(t)
		if resp := third.post("/login", url.Values{"user": {"alice"}}); resp.StatusCode != 403 {
			t.Errorf("a login beyond the limit: got status %d", resp.StatusCode)
		}
	})
}

// TestRestoreWithoutRoom: the limit of sessions holds for restored ones; the
// remembered login waits.
func TestRestoreWithoutRoom(t *testing.T) {
	w := remembering(t, nil, func(c *session.Config) { c.MaxSessions = 1 })
	b := w.browser(t)
	b.remember("alice")
	w.clock.advance(time.Hour) // the session runs out
	other := w.browser(t)
	other.login("alice")
	before := cookiesOf(b.reopen())
	if got := b.get("/whoami"); got != "||" || cookiesOf(b) != before {
		t.Errorf("without room: got %q, cookies touched: %t", got, cookiesOf(b) != before)
	}
	w.events.count(t, session.EventLimit, 1)
	other.post("/logout", nil)
	w.clock.advance(time.Minute)
	if got := b.get("/whoami"); got != "alice||" {
		t.Errorf("with room: got %q", got)
	}
	w.events.count(t, session.EventReuse, 0)
}

// TestEvictedStaysOut: a session that had to go for another one does not come back
// to push that one out.
func TestEvictedStaysOut(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, func(c *session.Config) { c.MaxSessions, c.EndOldest = 1, true })
		phone, desk := w.browser(t), w.browser(t)
		phone.remember("alice")
		desk.remember("alice")
		w.clock.advance(time.Minute)
		if got := phone.get("/whoami") + phone.reopen().get("/whoami"); got != "||||" {
			t.Errorf("evicted: got %q", got)
		}
		if got := desk.get("/whoami"); got != "alice||" {
			t.Errorf("the newer one: got %q", got)
		}
	})
}

// TestSeriesExpires: a session's end by time does not end what is remembered; its
// own limits do, and no use moves the absolute one.
func TestSeriesExpires(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b, idle := w.browser(t), w.browser(t)
		b.remember("alice")
		idle.remember("bob")
		for day := range 89 {
			w.clock.advance(24 * time.Hour) // with its session cookie: that has run out
			if got := b.get("/whoami"); got != "alice||" {
				t.Fatalf("day %d: got %q", day+1, got)
			}
			if day == 30 {
				if got := idle.get("/whoami"); got != "||" {
					t.Errorf("not used for 31 days: got %q", got)
				}
			}
		}
		w.clock.advance(23*time.Hour + 55*time.Minute)
		b.get("/whoami")
		deadline := time.Time{}
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			snap, _ := session.From(r.Context()).Snapshot()
			deadline = snap.Deadline
		})
		if left := deadline.Sub(w.clock.Now()); left > 5*time.Minute+time.Second {
			t.Errorf("the last session lasts %v longer than the login is remembered", left)
		}
		w.clock.advance(6 * time.Minute)
		if got := b.get("/whoami"); got != "||" {
			t.Errorf("after 90 days: got %q", got)
		}
		w.events.count(t, session.EventForgotten, 2)
	})
}

// TestReadmit: the application decides each time whether the subject may come back,
// and with what authority.
func TestReadmit(t *testing.T) {
	var answer func(who session.Snapshot) (session.Identity, error)
	w := remembering(t, external{memory.New()}, func(c *session.Config) {
		c.Remember.Readmit = func(ctx context.Context, who session.Snapshot) (session.Identity, error) {
			if got := session.From(ctx).Subject(); got != "" {
				t.Errorf("while readmitting: got subject %q", got)
			}
			return answer(who)
		}
	})
	w.mux.Handle("GET /private", w.RequireLogin(http.HandlerFunc(showPage)))
	b := w.browser(t)
	b.post("/login", url.Values{"user": {"alice"}, "role": {"admin"}, "remember": {"on"}})
	answer = func(who session.Snapshot) (session.Identity, error) {
		if who.Subject != "alice" || who.Assurance.Role != "admin" || who.Assurance.Methods[0] != "pwd" {
			t.Errorf("asked about %q with %+v", who.Subject, who.Assurance)
		}
		return session.Identity{
			Role: "retired", Level: 3, Methods: []string{"hwk"}, AuthenticatedAt: w.clock.Now(), Idle: 5 * time.Minute, Label: "x",
		}, nil
	}
	b.reopen()
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		snap, _ := session.From(r.Context()).Snapshot()
		if a := snap.Assurance; a.Role != "retired" || a.Level != 0 || len(a.Methods) != 1 || a.Methods[0] != session.MethodRemember || snap.Idle != 5*time.Minute {
			t.Errorf("readmitted: got %+v, idle %v", a, snap.Idle)
		}
	})
	b.get("/whoami")
	for name, c := range map[string]func(session.Snapshot) (session.Identity, error){
		"database down": func(session.Snapshot) (session.Identity, error) {
			return session.Identity{}, errors.New("accounts are down")
		},
		"somebody else": func(session.Snapshot) (session.Identity, error) { return session.Identity{Subject: "root"}, nil },
		"limits reversed": func(session.Snapshot) (session.Identity, error) {
			return session.Identity{Idle: time.Hour, Absolute: time.Minute}, nil
		},
		"an expired query": func(session.Snapshot) (session.Identity, error) { return session.Identity{}, context.DeadlineExceeded },
	} {
		answer = c
		before := cookiesOf(b.reopen())
		resp := b.do(b.request("GET", "/private", nil))
		if resp.StatusCode != 503 || cookiesOf(b) != before {
			t.Errorf("%s: got status %d, cookies touched: %t", name, resp.StatusCode, cookiesOf(b) != before)
		}
	}
	answer = func(session.Snapshot) (session.Identity, error) { return session.Identity{}, session.ErrLoginRequired }
	if resp := b.do(b.request("GET", "/private", nil)); resp.StatusCode != 401 {
		t.Errorf("a locked account: got status %d", resp.StatusCode)
	}
	answer = func(session.Snapshot) (session.Identity, error) { return session.Identity{}, nil }
	w.clock.advance(time.Minute)
	if got := b.get("/whoami"); got != "||" || len(w.logins(t, "alice")) != 0 {
		t.Errorf("unlocked again: got %q, want the login forgotten", got)
	}
}

// TestRestoreByPost: the session is there afterwards, but the form was not of it.
func TestRestoreByPost(t *testing.T) {
	w := remembering(t, nil, nil)
	b := w.browser(t)
	b.remember("alice")
	form := b.get("/csrf")
	w.clock.advance(time.Hour)
	resp := b.do(b.request("POST", "/note", url.Values{"note": {"x"}, "csrf": {form}}))
	if got := body(t, resp); resp.StatusCode != 403 || !strings.Contains(got, "This form is no longer valid") {
		t.Errorf("got status %d: %s", resp.StatusCode, got)
	}
	w.events.count(t, session.EventCSRF, 1)
	if got := b.get("/whoami"); got != "alice||" {
		t.Errorf("afterwards: got %q", got)
	}
	if resp := b.post("/note", url.Values{"note": {"x"}}); resp.StatusCode != 200 {
		t.Errorf("a new form: got status %d", resp.StatusCode)
	}
	w.events.count(t, session.EventRestored, 1)
}
