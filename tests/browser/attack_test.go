package browser

import (
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// thief is a client without a browser, which sends the cookies it is given.
type thief struct {
	t       testing.TB
	shop    *shop
	cookies map[string]string
	agent   string // what it says it is
}

func newThief(t testing.TB, s *shop) *thief {
	return &thief{t: t, shop: s, cookies: make(map[string]string)}
}

// request returns status, redirect and text of a page, and keeps its cookies.
func (th *thief) request(method, path string, form url.Values) (int, string, string) {
	th.t.Helper()
	r, err := http.NewRequestWithContext(th.t.Context(), method, th.shop.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		th.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	r.Header.Set("User-Agent", th.agent)
	for name, value := range th.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := http.DefaultTransport.RoundTrip(r) // follows no redirect
	if err != nil {
		th.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		th.cookies[c.Name] = c.Value
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		th.t.Fatal(err)
	}
	return resp.StatusCode, resp.Header.Get("Location"), string(text)
}

var formToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// visitorCookie makes a visitor's session and returns its cookie.
func (th *thief) visitorCookie() string {
	th.t.Helper()
	_, _, text := th.request("GET", "/", nil)
	token := formToken.FindStringSubmatch(text)
	if token == nil {
		th.t.Fatal("the shop has no form token")
	}
	if status, _, _ := th.request("POST", "/cart", url.Values{"item": {"beret"}, "csrf": {token[1]}}); status != http.StatusSeeOther {
		th.t.Fatalf("adding as a visitor: got status %d", status)
	}
	return th.cookies[cookieName]
}

// wantNobody fails the test if the thief is somebody to the shop.
func (th *thief) wantNobody(names ...string) {
	th.t.Helper()
	if status, to, _ := th.request("GET", "/account", nil); status != http.StatusSeeOther || to != "/login?next=%2Faccount" {
		th.t.Errorf("the thief's account: got status %d to %q, want to be sent to the login", status, to)
	}
	for _, path := range []string{"/", "/cart"} {
		_, _, text := th.request("GET", path, nil)
		for _, name := range append(names, "Sign out") {
			if strings.Contains(strings.ToLower(text), strings.ToLower(name)) {
				th.t.Errorf("the thief sees %q on %s", name, path)
			}
		}
	}
}

// TestFixation plants the cookie of a session that the thief has made, before
// the victim signs in. Afterwards the thief has nothing.
func TestFixation(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	th := newThief(t, s)
	planted := th.visitorCookie()

	tb := c.newTab()
	tb.visit("/")
	tb.plant(planted)
	tb.visit("/cart")
	tb.want("Wool beret") // it works until she signs in: the trap is set
	tb.visit("/login")
	tb.signIn("alice", s.passwords["alice"])
	tb.want("Good to see you, alice")
	if got := tb.cookie(cookieName); got == planted || got == "" {
		t.Error("alice goes on with the planted cookie")
	}
	tb.add("overcoat")

	th.cookies = map[string]string{cookieName: planted}
	th.wantNobody("alice", "overcoat added")
	tb.visit("/account")
	tb.want("Alice", "Ticket number") // and the thief's attempts did not sign her out
}

// TestLogout signs out. Neither the back button nor the old cookie shows anything
// of alice afterwards.
func TestLogout(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/login")
	tb.signIn("alice", s.passwords["alice"])
	tb.add("overcoat")
	tb.visit("/cart")
	tb.visit("/account")
	tb.want("Ticket number")
	old := tb.cookie(cookieName)
	tb.mustClick("nav form button")
	tb.want("You are signed out")
	if got := tb.cookie(cookieName); got != "" {
		t.Error("the cookie is still there")
	}
	for range 2 {
		tb.do(chromedp.NavigateBack())
		tb.wantNone("Ticket number", "of alice", "Camel overcoat €", "Sign out")
	}

	tb.plant(old)
	for _, path := range []string{"/", "/cart", "/account"} {
		tb.visit(path)
		tb.wantNone("Ticket number", "of alice", "Sign out", "€340 each")
	}
	th := newThief(t, s)
	th.cookies[cookieName] = old
	th.wantNobody("of alice", "€340 each")
}

// TestCookies looks at our cookies as the browser keeps them.
func TestCookies(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/")
	for _, step := range []struct {
		name string
		do   func()
		want []string
	}{
		{"visitor", func() {}, []string{cookieName + "-csrf"}},
		{"visitor with a basket", func() { tb.add("hat") }, []string{cookieName, cookieName + "-csrf"}},
		{"signed in", func() { tb.visit("/login"); tb.signIn("alice", s.passwords["alice"]) }, []string{cookieName}},
	} {
		step.do()
		seen := make(map[string]bool)
		for _, ck := range tb.cookies() {
			seen[ck.Name] = true
			if !ck.Secure || !ck.HTTPOnly || ck.SameSite != "Lax" || !ck.Session || ck.Path != "/" ||
				ck.Domain != "127.0.0.1" || !strings.HasPrefix(ck.Name, "__Host-") {
				t.Errorf("%s: got cookie %+v; want Secure, HttpOnly, SameSite=Lax, for this host and this session only",
					step.name, *ck)
			}
		}
		for _, name := range step.want {
			if !seen[name] {
				t.Errorf("%s: got cookies %v, want %s", step.name, seen, name)
			}
		}
		if got := evaluate[string](tb, `document.cookie`); got != "" {
			t.Errorf("%s: scripts see a cookie", step.name)
		}
	}
}
