package browser

import (
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
)

const rememberName = cookieName + "-remember"

// signInKept fills in the form with the box ticked.
func (tb *tab) signInKept(name, password string) {
	tb.t.Helper()
	tb.do(chromedp.Click(chromedp.CSS(`input[name="remember"]`), chromedp.NodeVisible))
	tb.signIn(name, password)
}

// reopen does to the cookies what closing the browser does.
func (tb *tab) reopen() {
	tb.t.Helper()
	for _, c := range tb.cookies() {
		if c.Session {
			call(tb, network.DeleteCookies, network.DeleteCookiesParams{Name: c.Name, URL: tb.shop.url})
		}
	}
}

// TestRemember ticks the box, closes the browser and comes back signed in: with less
// than before, which the password brings back.
func TestRemember(t *testing.T) {
	dir := shotsFolder(t)
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/login?next=/account")
	tb.signInKept("alice", s.passwords["alice"])
	tb.want("Good to see you, alice", "1 of 3", "kept signed in")
	look(tb, dir, "account-kept")
	first := tb.cookie(rememberName)
	for _, cookie := range tb.cookies() {
		if kept := cookie.Name == rememberName; cookie.Session == kept || !cookie.HTTPOnly || !cookie.Secure || cookie.SameSite != network.CookieSameSiteLax {
			t.Errorf("cookie %s: got session %t, HttpOnly %t, Secure %t, SameSite %s",
				cookie.Name, cookie.Session, cookie.HTTPOnly, cookie.Secure, cookie.SameSite)
		} else if kept {
			if left := time.Until(time.Unix(int64(cookie.Expires), 0)); left < 29*24*time.Hour || left > 31*24*time.Hour {
				t.Errorf("the cookie lasts %v, want about a month", left)
			}
		}
	}

	tb.reopen()
	tb.visit("/account")
	tb.want("Alice", "being kept signed in", "back without a password", "came back by itself")
	if got := tb.cookie(rememberName); got == first || got == "" {
		t.Error("the token has not changed by being used")
	}
	look(tb, dir, "account-restored")
	tb.visit("/account/second-factor")
	tb.want("Is it you?")
	tb.fill(map[string]string{"password": s.passwords["alice"]})
	if got := tb.path(); got != "/account/second-factor" {
		t.Errorf("after the password: got %s", got)
	}
	tb.visit("/account")
	tb.want("1 of 3", "password")

	tb.mustClick("nav form button")
	if got := tb.cookie(rememberName); got != "" {
		t.Error("signing out leaves the cookie")
	}
	tb.visit("/account")
	tb.want("Keep me signed in on this device")
}

// TestRememberStolen: a copy of the cookie that was used before ends what both have.
func TestRememberStolen(t *testing.T) {
	s := openShop(t)
	tb := newChromium(t, s).newTab()
	tb.visit("/login?next=/account")
	tb.signInKept("alice", s.passwords["alice"])
	th := newThief(t, s)
	copied := tb.cookie(rememberName)
	for range 2 {
		tb.reopen()
		tb.visit("/account")
		tb.visit("/account") // has arrived
	}
	// At first it could be a request that was late; it gets nothing all the same.
	for began := time.Now(); ; time.Sleep(time.Second) {
		th.cookies = map[string]string{rememberName: copied}
		th.wantNobody("alice")
		if th.cookies[rememberName] != copied || th.cookies[cookieName] != "" {
			t.Fatal("the thief got a cookie")
		}
		if tb.visit("/account"); tb.path() == "/login" {
			break
		}
		if time.Since(began) > time.Minute {
			t.Fatal("alice is signed in still, a minute after the copy was used")
		}
	}
	tb.reopen()
	tb.visit("/account")
	tb.wantNone("Ticket of")
	th.cookies = map[string]string{rememberName: copied}
	th.wantNobody("alice")
}

// TestRememberElsewhere ends what keeps another browser signed in, under one's own
// sessions.
func TestRememberElsewhere(t *testing.T) {
	s := openShop(t)
	phone, desk := newChromium(t, s).newTab(), newChromium(t, s).newTab()
	phone.visit("/login?next=/account")
	phone.signInKept("alice", s.passwords["alice"])
	desk.visit("/login?next=/account")
	desk.signIn("alice", s.passwords["alice"])
	desk.want("kept signed in")
	desk.mustClick(".sessions form button")
	desk.want("That session is ended")
	desk.wantNone("kept signed in")
	phone.visit("/account")
	phone.wantNone("Ticket of")
	phone.reopen()
	phone.visit("/account")
	phone.wantNone("Ticket of")
}
