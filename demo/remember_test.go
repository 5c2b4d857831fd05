package demo_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

const rememberName = "__Host-id-remember"

// signInKept signs in with the box ticked.
func (w *world) signInKept(t testing.TB, name, agent string) *visitor {
	t.Helper()
	v := w.visitor(t)
	v.agent = agent
	v.post("/login", "username", name, "password", w.passwords[name], "remember", "yes").wantTo(t, "/")
	return v
}

// kept returns the value of the cookie by which the visitor is kept signed in.
func (v *visitor) kept() string {
	v.t.Helper()
	shop, err := url.Parse(v.url)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range v.client.Jar.Cookies(shop) {
		if c.Name == rememberName {
			return c.Value
		}
	}
	return ""
}

// TestKeptSignedIn: the session runs out, its user comes back; what matters takes
// the password again.
func TestKeptSignedIn(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	v, plain := w.signInKept(t, "alice", firefox), w.signedIn(t, "bob", "")
	if plain.kept() != "" || v.kept() == "" {
		t.Error("the box does not decide")
	}
	before := v.kept()
	c.forward(24 * time.Hour)
	plain.wantSignedOut()
	page := v.get("/account")
	page.want(t, 200, "Ticket of", "alice", "being kept signed in", "none: back without a password", "came back by itself", `kept signed in</span>`)
	if v.kept() == before {
		t.Error("the token has not changed by being used")
	}
	v.get("/cart").want(t, 200)
	v.get("/account/second-factor").wantTo(t, "/account/confirm?next=%2Faccount%2Fsecond-factor")
	v.post("/account/confirm", "next", "/account/second-factor", "password", w.passwords["alice"]).wantTo(t, "/account/second-factor")
	v.get("/account").want(t, 200, "1 of 3", "password")
	v.post("/logout").wantTo(t, "/?signed-out")
	if v.kept() != "" {
		t.Error("signing out leaves the cookie")
	}
	w.shut()
	for _, want := range []string{"kept signed in", "came back by itself", "not kept: logout"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("got no %q in the log:\n%s", want, w.log.String())
		}
	}
}

// TestKeptAway: a browser without a session that would come back is among one's
// sessions, and can be ended: alone, with all others, by a new password, and by an
// administrator.
func TestKeptAway(t *testing.T) {
	for name, end := range map[string]func(t *testing.T, w *world, desk *visitor){
		"alone": func(t *testing.T, w *world, desk *visitor) {
			desk.post("/account/sessions/end", "session", desk.other()).wantTo(t, "/account")
			desk.get("/account").want(t, 200, "Safari on iPhone is signed out")
		},
		"with all others": func(t *testing.T, w *world, desk *visitor) {
			desk.post("/account/sessions/end-others").wantTo(t, "/account")
			desk.get("/account").want(t, 200, "1 other session is ended")
		},
		"by a new password": func(t *testing.T, w *world, desk *visitor) {
			desk.post("/account/password", "current", w.passwords["alice"], "new", "correct horse", "again", "correct horse").wantTo(t, "/account")
		},
		"by an administrator": func(t *testing.T, w *world, desk *visitor) {
			root := w.signedIn(t, "root", "")
			root.post("/admin/end", "user", "alice", "reason", "gone").want(t, http.StatusSeeOther)
			desk.wantSignedOut()
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := new(clock)
			w := openWith(t, t.TempDir(), c.onClock)
			phone := w.signInKept(t, "alice", iphone)
			bob := w.signInKept(t, "bob", "")
			c.forward(24 * time.Hour)
			desk := w.signedIn(t, "alice", firefox)
			desk.get("/account").want(t, 200, "Safari on iPhone", "no session now, but it comes back by itself until")
			bob.post("/account/sessions/end", "session", desk.other()).want(t, 404, "No such ticket of yours")
			end(t, w, desk)
			phone.wantSignedOut()
			c.forward(time.Hour)
			phone.wantSignedOut()
			bob.wantSignedIn("bob")
		})
	}
}

// TestKeptWithSecondFactor: the box of the first step counts once both factors are
// shown; coming back shows neither, so that both are asked for.
func TestKeptWithSecondFactor(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	v := w.signedIn(t, "root", firefox)
	a := v.enrolled(c)
	v.post("/logout")
	c.forward(time.Minute)
	v.post("/login", "username", "root", "password", w.passwords["root"], "remember", "yes").wantTo(t, "/login/code?next=%2F")
	if v.kept() != "" {
		t.Error("kept signed in by the password alone")
	}
	v.post("/login/code", "code", a.code()).wantTo(t, "/")
	if v.kept() == "" {
		t.Error("the box is forgotten")
	}
	c.forward(24 * time.Hour)
	v.get("/account").want(t, 200, "none: back without a password")
	v.get("/admin").wantTo(t, "/account/confirm?next=%2Fadmin")
	v.get("/account/code?next=/admin").wantTo(t, "/account/confirm?next=%2Fadmin")
	v.post("/account/code", "next", "/admin", "code", a.code()).wantTo(t, "/account/confirm?next=%2Faccount%2Fcode")
	v.post("/account/confirm", "next", "/admin", "password", w.passwords["root"]).wantTo(t, "/admin")
	v.get("/admin").wantTo(t, "/account/code?next=%2Fadmin")
	v.post("/account/code", "next", "/admin", "code", a.code()).wantTo(t, "/admin")
	v.get("/admin").want(t, 200, "All sessions")
}
