package examples_test

import (
	"net/http"
	"testing"
)

const sessionCookie = "__Host-id"

// TestFrameworks: the same application behaves in the same way in every
// framework.
func TestFrameworks(t *testing.T) {
	for _, name := range []string{"nethttp", "chi", "gin", "echo"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, name)
			t.Run("login rotates, logout ends every copy", func(t *testing.T) { loginAndLogout(t, p) })
			t.Run("forged forms are refused", func(t *testing.T) { forged(t, p) })
			t.Run("the group is for those who are signed in", func(t *testing.T) { group(t, p) })
			t.Run("a panic drops what was set", func(t *testing.T) { panics(t, p) })
			t.Run("a stream ends with its session", func(t *testing.T) { clock(t, p) })
		})
	}
}

func loginAndLogout(t *testing.T, p *program) {
	b := newBrowser(t, p)
	b.shows("/", "Nobody is signed in")
	if b.cookies[sessionCookie] != "" {
		t.Error("a visitor who stores nothing got a session")
	}
	b.submit("/", "/count").want(t, "counting", http.StatusSeeOther)
	visitor := b.twin()
	b.submit("/", "/login", "user", "alice", "password", "hat").want(t, "wrong password", http.StatusUnauthorized)
	b.signIn("/", "/login", "alice", "coat")
	if b.cookies[sessionCookie] == visitor.cookies[sessionCookie] {
		t.Error("login kept the token")
	}
	b.shows("/", "<b>alice</b> is signed in. Counted: <output>1</output>")
	visitor.hides("/", "<b>alice</b>")
	b.submit("/", "/count").want(t, "counting", http.StatusSeeOther)
	b.shows("/", "<output>2</output>")

	thief := b.twin()
	thief.shows("/", "<b>alice</b>")
	b.submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
	if b.cookies[sessionCookie] != "" {
		t.Error("logout left the cookie")
	}
	b.shows("/", "Nobody is signed in.")
	thief.shows("/", "Nobody is signed in.")
}

func forged(t *testing.T, p *program) {
	b := newBrowser(t, p)
	b.signIn("/", "/login", "alice", "coat")
	b.do("POST", "/count", values()).want(t, "without a token", http.StatusForbidden)
	b.do("POST", "/count", values("csrf", newBrowser(t, p).token("/"))).want(t, "with another's token", http.StatusForbidden)
	b.do("POST", "/logout", values()).want(t, "logout without a token", http.StatusForbidden)
	b.shows("/", "<b>alice</b> is signed in. Counted: <output>0</output>")
}

func group(t *testing.T, p *program) {
	b := newBrowser(t, p)
	for _, path := range []string{"/account", "/account/clock"} {
		b.get(path).want(t, path+" for visitors", http.StatusUnauthorized)
	}
	b.signIn("/", "/login", "bob", "hat")
	b.shows("/account", "bob")
	b.get("/account").want(t, "the account", http.StatusOK)
}

func panics(t *testing.T, p *program) {
	b := newBrowser(t, p)
	b.submit("/", "/count").want(t, "counting", http.StatusSeeOther)
	if got := b.submit("/", "/fail"); got.status != 0 && got.status != http.StatusInternalServerError {
		t.Errorf("got status %d, want 500 or nothing", got.status)
	}
	b.shows("/", "<output>1</output>")
}

func clock(t *testing.T, p *program) {
	b := newBrowser(t, p)
	b.signIn("/", "/login", "alice", "coat")
	elsewhere := b.twin()
	s := b.stream("/account/clock")
	s.next()
	elsewhere.submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
	s.ends()
}
