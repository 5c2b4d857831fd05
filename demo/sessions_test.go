package demo_test

import (
	"html"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

const (
	firefox = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
	iphone  = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Mobile/15E148 Safari/604.1"
)

var handleField = regexp.MustCompile(`name="session" value="([^"]+)"`)

// other returns the handle of the only other session that the account page shows.
func (v *visitor) other() string {
	v.t.Helper()
	found := handleField.FindAllStringSubmatch(v.get("/account").text, -1)
	if len(found) != 1 {
		v.t.Fatalf("got %d other sessions, want 1", len(found))
	}
	return found[0][1]
}

// signedIn returns somebody who has signed in.
func (w *world) signedIn(t testing.TB, name, agent string) *visitor {
	t.Helper()
	v := w.visitor(t)
	v.agent = agent
	v.signIn(name, w.passwords[name]).wantTo(t, "/")
	return v
}

func (v *visitor) wantSignedIn(name string) {
	v.t.Helper()
	v.get("/account").want(v.t, 200, "Ticket of", name)
}

func (v *visitor) wantSignedOut() {
	v.t.Helper()
	v.get("/account").wantTo(v.t, "/login?next=%2Faccount")
}

// TestSessions shows both of a user's sessions on both, and ends one of them from
// the other.
func TestSessions(t *testing.T) {
	w := open(t, t.TempDir())
	desk, phone, bob := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", iphone), w.signedIn(t, "bob", "")
	page := desk.get("/account")
	page.want(t, 200, `Firefox on Linux <span class="mark">this one</span>`, "Safari on iPhone", "127.0.0.1", "just now")
	if strings.Contains(page.text, "Go program") {
		t.Error("alice sees a session of bob")
	}
	phone.get("/account").want(t, 200, `Safari on iPhone <span class="mark">this one</span>`, "Firefox on Linux")

	desk.post("/account/sessions/end", "session", desk.other()).wantTo(t, "/account")
	desk.get("/account").want(t, 200, "Safari on iPhone is signed out")
	phone.wantSignedOut()
	bob.wantSignedIn("bob")
	w.shut()
	if log := w.log.String(); !strings.Contains(log, "ended: by its user") {
		t.Errorf("got no line about the end in:\n%s", log)
	}
}

// TestDevices names devices in words of our own, whatever they say.
func TestDevices(t *testing.T) {
	w := open(t, t.TempDir())
	for agent, want := range map[string]string{
		firefox: "Firefox on Linux",
		iphone:  "Safari on iPhone",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0":              "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/19.0 Safari/605.1.15":                      "Safari on macOS",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36":                            "Chrome on Android",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36":        "Samsung Internet on Android",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.0.0 Mobile/15E148 Safari/604.1": "Chrome on iPhone",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36":                             "Chrome on ChromeOS",
		"curl/8.14.1":                      "curl",
		"<script>alert(1)</script> hacker": "unknown browser",
	} {
		t.Run(want, func(t *testing.T) {
			page := w.signedIn(t, "bob", agent).get("/account")
			page.want(t, 200, "<h3>"+want+` <span class="mark">this one</span>`)
			if strings.Contains(page.text, "hacker") {
				t.Error("the page shows what the agent said")
			}
		})
	}
}

// TestEndSessionRefusals ends nothing that is not the user's own.
func TestEndSessionRefusals(t *testing.T) {
	w := open(t, t.TempDir())
	alice, desk := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", firefox)
	bob := w.signedIn(t, "bob", "")
	ofAlice := alice.other()
	for name, handle := range map[string]string{
		"of somebody else": ofAlice, "malformed": "x", "none": "", "of nobody": strings.Repeat("A", len(ofAlice)),
	} {
		t.Run(name, func(t *testing.T) {
			bob.post("/account/sessions/end", "session", handle).want(t, 404, "No such ticket of yours", "Nothing was changed")
			alice.wantSignedIn("alice")
			desk.wantSignedIn("alice")
			bob.wantSignedIn("bob")
		})
	}
	w.visitor(t).post("/account/sessions/end", "session", ofAlice).want(t, 401)
	desk.wantSignedIn("alice")
	alice.send("POST", "/account/sessions/end", strings.NewReader("session="+ofAlice)).want(t, 403, "out of date")
	desk.wantSignedIn("alice")

	own := regexp.MustCompile(`<code>([^<]+)</code>`).FindStringSubmatch(bob.get("/account").text)[1]
	bob.post("/account/sessions/end", "session", own).wantTo(t, "/?signed-out")
	bob.wantSignedOut()
}

// TestEndOthers asks for the password if that was typed too long ago, and then
// does what was asked for.
func TestEndOthers(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	desk, phone, bob := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", iphone), w.signedIn(t, "bob", "")
	const path = "/account/sessions/end-others"
	asked := "/account/confirm?" + url.Values{"next": {path}}.Encode()

	c.forward(6 * time.Minute)
	desk.post(path).wantTo(t, asked)
	phone.wantSignedIn("alice")
	desk.get(asked).want(t, 200, "end all your other sessions", `value="`+path+`"`)
	desk.post("/account/confirm", "next", path, "password", "wrong").want(t, 403, "not your password", `value="`+path+`"`)
	phone.wantSignedIn("alice")

	before := desk.cookie()
	desk.post("/account/confirm", "next", path, "password", w.passwords["alice"]).wantTo(t, "/account")
	desk.get("/account").want(t, 200, "1 other session is ended")
	phone.wantSignedOut()
	bob.wantSignedIn("bob")
	if desk.cookie() == before {
		t.Error("the token is the old one")
	}

	c.forward(4 * time.Minute) // still fresh
	desk.post(path).wantTo(t, "/account")
	desk.get("/account").want(t, 200, "There was no other session to end.")
}

// TestConfirm goes on to our own errands alone, and guesses are counted.
func TestConfirm(t *testing.T) {
	w := open(t, t.TempDir())
	for next, want := range map[string]string{
		"/account/second-factor": "/account/second-factor", "/account/password": "/account/password", "/admin": "/admin",
		"": "/account", "//evil.example": "/account", "/logout": "/account", "https://evil.example": "/account",
	} {
		t.Run(next, func(t *testing.T) {
			v := w.signedIn(t, "alice", "")
			v.get("/account/confirm?next="+url.QueryEscape(next)).want(t, 200, `name="next" value="`+html.EscapeString(next)+`"`)
			v.post("/account/confirm", "next", next, "password", w.passwords["alice"]).wantTo(t, want)
		})
	}
	v := w.visitor(t)
	v.get("/account/confirm").wantTo(t, "/login?next=%2F")
	v.post("/account/confirm", "password", w.passwords["alice"]).want(t, 401)

	alice := w.signedIn(t, "alice", "")
	for range 20 {
		alice.post("/account/confirm", "password", "guess").want(t, 403)
	}
	alice.post("/account/confirm", "password", w.passwords["alice"]).want(t, 429, "Too many tries")
}
