package browser

import "testing"

// TestStory is S-001: fill the basket as a visitor, sign in, keep the basket,
// close the tab, come back: still signed in, the basket is there.
func TestStory(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	first := c.newTab()
	first.visit("/")
	if len(first.cookies()) != 1 {
		t.Errorf("a visitor who has done nothing got %d cookies, want one, for the forms", len(first.cookies()))
	}
	first.add("hat")
	first.want("Felt hat added", "Sign in")
	first.add("hat")
	first.add("boots")
	visitor := first.cookie(cookieName)

	first.mustClick(`nav a[href="/cart"]`)
	first.want("Felt hat", "Rain boots", "€262")
	first.mustClick(`main a[href="/login?next=/cart"]`)
	first.signIn("alice", s.passwords["alice"])
	if got := first.path(); got != "/cart" {
		t.Errorf("after signing in: got %s, want the page it came from", got)
	}
	first.want("Good to see you, alice", "Felt hat", "Rain boots", "€262", "Sign out")
	if got := first.cookie(cookieName); got == visitor || got == "" {
		t.Errorf("signing in did not change the session cookie")
	}

	first.close()
	second := c.newTab()
	second.visit("/cart")
	second.want("Alice", "Felt hat", "Rain boots", "€262", "Sign out")
	second.visit("/account")
	second.want("Alice", "password", "Signed in since", "29 minutes", "11 hours 59 minutes")
}

// TestWrongPassword keeps the name that was typed, and tells nothing.
func TestWrongPassword(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/login?next=/account")
	tb.signIn("alice", "guess")
	tb.want("do not belong together")
	c.expectError("401")
	tb.signIn("alice", s.passwords["alice"])
	if got := tb.path(); got != "/account" {
		t.Errorf("after the right password: got %s, want /account", got)
	}
}
