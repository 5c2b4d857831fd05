package browser

import (
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// code returns what an authenticator app with the secret shows, some steps of
// half a minute from now. The shop takes those of the next step, too.
func code(t testing.TB, secret string, steps int) string {
	t.Helper()
	text, err := totp.GenerateCode(secret, time.Now().Add(time.Duration(steps)*30*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// secret returns the secret that the page shows.
func (tb *tab) secret() string {
	tb.t.Helper()
	return evaluate[string](tb, `document.getElementById('secret').textContent.replaceAll(' ', '')`)
}

// TestLooksAccount shows the pages of an account, with another session open and
// everything typed wrong once.
func TestLooksAccount(t *testing.T) {
	dir := shotsFolder(t)
	s := openShop(t)
	c, other := newChromium(t, s), newChromium(t, s)
	elsewhere := other.newTab()
	elsewhere.visit("/login?next=/account")
	elsewhere.signIn("alice", s.passwords["alice"])

	tb := c.newTab()
	tb.visit("/login?next=/account")
	tb.signIn("alice", s.passwords["alice"])
	look(tb, dir, "account-two")
	tb.mustClick(`a[href="/account/password"]`)
	look(tb, dir, "password")
	tb.fill(map[string]string{"current": "no idea", "new": "long enough", "again": "long enough"})
	c.expectError("403")
	look(tb, dir, "password-wrong")
	tb.visit("/account/confirm?next=/account/sessions/end-others")
	look(tb, dir, "confirm")

	tb.visit("/account/second-factor")
	tb.fill(map[string]string{"code": "000000"})
	c.expectError("403")
	look(tb, dir, "factor")
	tb.fill(map[string]string{"code": code(t, tb.secret(), 0)})
	tb.want("Your second factor is on", "2 of 3")
	look(tb, dir, "account-factor")
	tb.visit("/account/second-factor")
	look(tb, dir, "factor-on")

	elsewhere.visit("/account/password")
	elsewhere.want("older than your second factor")
	look(elsewhere, dir, "step-up")
	elsewhere.visit("/account")
	elsewhere.mustClick("nav form button")
	elsewhere.visit("/login")
	elsewhere.signIn("alice", s.passwords["alice"])
	elsewhere.want("You are not signed in yet")
	look(elsewhere, dir, "login-code")
	elsewhere.fill(map[string]string{"code": "000000"})
	other.expectError("403")
	look(elsewhere, dir, "login-code-wrong")
}

// TestSecondFactor reads the secret from the drawing as a phone does, switches
// the factor on and signs in with it; a code counts once.
func TestSecondFactor(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/login?next=/account")
	tb.signIn("alice", s.passwords["alice"])
	tb.mustClick(`a[href="/account/second-factor"]`)
	secret := tb.scanned()
	if got := tb.secret(); got != secret {
		t.Errorf("the drawing says %s, the page %s", secret, got)
	}
	tb.fill(map[string]string{"code": code(t, secret, 0)})
	tb.want("Your second factor is on")
	tb.mustClick("nav form button")

	tb.visit("/login?next=/account")
	tb.signIn("alice", s.passwords["alice"])
	tb.want("You are not signed in yet")
	next := code(t, secret, 1)
	tb.visit("/account") // not so fast
	tb.want("Sign in")
	tb.wantNone("Ticket of")
	tb.visit("/login/code?next=/account")
	tb.fill(map[string]string{"code": next})
	tb.want("Good to see you, alice", "password and code", "2 of 3")

	thief := newThief(t, s)
	thief.cookies[cookieName] = "x"
	thief.wantNobody("alice")
	tb.mustClick("nav form button")
	tb.visit("/login")
	tb.signIn("alice", s.passwords["alice"])
	tb.fill(map[string]string{"code": next})
	c.expectError("403")
	tb.want("used already")
}
