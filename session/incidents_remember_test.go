package session_test

// What went wrong elsewhere with persistent login. These rows stand beside those of
// INCIDENTS.md; where a defect has no identifier, its tracker's entry names it.

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// TestIncident_CVE_2015_8314_OneCookieForAll: Devise gave all devices the same cookie,
// and left its expiry to the browser.
func TestIncident_CVE_2015_8314_OneCookieForAll(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		phone, desk := w.browser(t), w.browser(t)
		phone.remember("alice")
		desk.remember("alice")
		if a, b := phone.cookie(rememberCookie), desk.cookie(rememberCookie); a == b || a[:21] == b[:21] {
			t.Error("two devices share what they are remembered by")
		}
		phone.post("/logout", nil)
		if got := phone.get("/whoami") + desk.reopen().get("/whoami"); got != "||alice||" {
			t.Errorf("after signing out on the phone: got %q", got)
		}
		desk.get("/whoami")
		w.clock.advance(month + time.Hour) // no browser of the thief drops the cookie
		if got := desk.reopen().get("/whoami"); got != "||" {
			t.Errorf("past its time: got %q", got)
		}
	})
}

// TestIncident_CVE_2024_51996_MixedCookie: Symfony looked the series up and believed
// the cookie about whose it was.
func TestIncident_CVE_2024_51996_MixedCookie(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		alice, mallory := w.browser(t), w.browser(t)
		alice.remember("alice")
		mallory.remember("mallory")
		a, m := alice.cookie(rememberCookie), mallory.cookie(rememberCookie)
		// The locator is the first 16 bytes; 15 of them are the first 20 characters.
		for name, mixed := range map[string]string{"locator of alice": a[:22] + m[22:], "secret of alice": m[:22] + a[22:]} {
			r := httptest.NewRequest("GET", "https://shop.example/whoami", nil)
			r.Header.Set("Cookie", rememberCookie+"="+mixed)
			rec := httptest.NewRecorder()
			alice.handler.ServeHTTP(rec, r)
			if got := rec.Body.String(); got != "||" || len(rec.Header()["Set-Cookie"]) != 0 {
				t.Errorf("%s: got %q", name, got)
			}
		}
		if got := alice.reopen().get("/whoami"); got != "alice||" {
			t.Errorf("alice: got %q", got)
		}
	})
}

// TestIncident_CVE_2021_41268_PasswordChange: in Symfony the cookie outlived the
// password.
func TestIncident_CVE_2021_41268_PasswordChange(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		thief := b.twin()
		w.clock.advance(time.Hour)
		b.get("/whoami")
		if err := b.call(w.Manager, func(ctx context.Context) error { // as after changing it oneself
			if err := w.Reauthenticate(ctx, "pwd"); err != nil {
				return err
			}
			_, err := w.RevokeOthers(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if got := thief.get("/whoami") + thief.reopen().get("/whoami"); got != "||||" {
			t.Errorf("a copy from before: got %q", got)
		}
		if _, err := w.RevokeSubject(context.Background(), "alice", "password reset"); err != nil {
			t.Fatal(err)
		}
		w.wantForgotten(t, "alice", b)
	})
}

// TestIncident_CVE_2016_4437_NothingToDecode: Shiro deserialised what was in the cookie.
// Ours is looked up, and only if it has the form of a token.
func TestIncident_CVE_2016_4437_NothingToDecode(t *testing.T) {
	f := sessiontest.NewFaultyStore(external{memory.New()})
	w := remembering(t, f, nil)
	h := w.Handler(http.HandlerFunc(showPage))
	before := f.Calls(storetest.OpLoad)
	for _, value := range []string{"rO0ABXNyABFqYXZhLnV0aWwuSGFzaE1hcA==", strings.Repeat("A", 63), strings.Repeat("A", 65), strings.Repeat("A", 8000), "{}", strings.Repeat("+", 64)} {
		if resp := present(h, "/", rememberCookie+"="+value); resp.StatusCode != 200 || len(resp.Header["Set-Cookie"]) != 0 {
			t.Errorf("%.20q: got status %d, Set-Cookie %q", value, resp.StatusCode, redact(resp.Header["Set-Cookie"]))
		}
	}
	if n := f.Calls(storetest.OpLoad) - before; n != 0 {
		t.Errorf("the store was asked %d times", n)
	}
}

// TestIncident_CVE_2021_32693_OtherFirewall: what was remembered for one part of an
// application opened the others.
func TestIncident_CVE_2021_32693_OtherFirewall(t *testing.T) {
	shared := external{memory.New()}
	shop, office := remembering(t, shared, nil), remembering(t, shared, func(c *session.Config) { c.Namespace = "office" })
	b := shop.browser(t)
	b.remember("alice")
	h := office.Handler(office.mux)
	for _, name := range []string{"__Host-id-office-remember", "__Host-id-office", rememberCookie} {
		if got := body(t, present(h, "/whoami", name+"="+b.cookie(rememberCookie))); got != "||" {
			t.Errorf("as %s: got %q", name, got)
		}
	}
	if _, err := office.RevokeSubject(context.Background(), "alice", "test"); err != nil {
		t.Fatal(err)
	}
	if got := b.reopen().get("/whoami"); got != "alice||" {
		t.Errorf("after a revocation in the office: got %q", got)
	}
}

// TestIncident_CVE_2015_8124_FixationByRemembering: a session planted before the user
// came back became his.
func TestIncident_CVE_2015_8124_FixationByRemembering(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b, attacker := w.browser(t), w.browser(t)
		b.remember("alice")
		attacker.post("/add", map[string][]string{"item": {"coat"}})
		b.reopen()
		b.cookies[idCookie] = attacker.token()
		b.get("/whoami")
		if got := attacker.get("/whoami"); got != "|coat|" {
			t.Errorf("attacker: got %q, want a visitor still", got)
		}
		if got := b.reopen().get("/whoami"); got != "alice||" || b.token() == attacker.token() {
			t.Errorf("victim: got %q, by the planted token: %t", got, b.token() == attacker.token())
		}
	})
}

// TestIncident_Spring_3079_NoTheft: spring-security#2648 and #3079, symfony#18384: two
// windows that reopen at once, or a page that is asked for again because the answer
// was slow, looked like theft and signed everybody out.
func TestIncident_Spring_3079_NoTheft(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		b.reopen()
		// The first answer is slow; the user asks again, and gets it.
		slow := takeOff(b.twin(), w.Manager, showPage)
		if got := b.get("/whoami"); got != "alice||" {
			t.Errorf("asked again: got %q", got)
		}
		w.clock.advance(10 * time.Second)
		b.keep(slow.land())
		// The session runs out, and both windows come back once more.
		w.clock.advance(time.Hour)
		other := b.twin()
		if got := b.get("/whoami") + other.get("/whoami"); got != "alice||alice||" {
			t.Errorf("two windows: got %q", got)
		}
		w.events.count(t, session.EventReuse, 0)
	})
}

// TestIncident_Mastodon_RevivedSession: a session that its user had ended under "your
// sessions" came back by the cookie of the same browser.
func TestIncident_Mastodon_RevivedSession(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		phone := w.browser(t)
		phone.remember("alice")
		phone.reopen().get("/whoami")
		if ok, err := w.Revoke(context.Background(), w.handleOf(t, "alice"), "by its user"); !ok || err != nil {
			t.Fatalf("got %t, %v", ok, err)
		}
		w.wantForgotten(t, "alice", phone)
	})
}
