package browser

import (
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// becomes waits until an expression is true in the page, which changes by itself.
func (tb *tab) becomes(expression string) {
	tb.t.Helper()
	if !evaluate[bool](tb, fmt.Sprintf(`new Promise(done => {
		const until = Date.now() + 30_000;
		const look = () => { if (%s) done(true); else if (Date.now() > until) done(false); else setTimeout(look, 50); };
		look();
	})`, expression)) {
		tb.t.Fatalf("page %s never came to %s:\n%s", tb.path(), expression, tb.text())
	}
}

// says returns the expression that the page says something.
func says(text string) string { return fmt.Sprintf(`document.body.innerText.includes(%q)`, text) }

// openOffice signs root in and shows all sessions.
func (c *chromium) openOffice() *tab {
	c.t.Helper()
	tb := c.newTab()
	tb.visit("/login?next=/admin")
	tb.signIn("root", c.shop.passwords["root"])
	if got := tb.path(); got != "/admin" {
		c.t.Fatalf("after signing in: got %s, want /admin", got)
	}
	return tb
}

// TestAdminLive watches somebody sign in and out in another browser, and loses
// sight of it all when the administrator is forced out.
func TestAdminLive(t *testing.T) {
	s := openShop(t)
	office := newChromium(t, s).openOffice()
	office.becomes(says("Live:"))
	if got := evaluate[int](office, `document.querySelectorAll('tbody tr').length`); got != 1 {
		t.Errorf("got %d sessions at first, want one", got)
	}
	evaluate[bool](office, `(document.querySelector('tbody a').focus(), window.notReloaded = true)`)

	alice := newChromium(t, s).newTab()
	alice.visit("/login")
	alice.signIn("alice", s.passwords["alice"])
	office.becomes(`document.querySelectorAll('tbody tr').length === 2`)
	office.becomes(says("alice signed in"))
	office.want("2 sessions.", "alice", "Chrome on Linux")
	if said := evaluate[string](office, `document.querySelector('[aria-live=polite]').textContent`); !strings.Contains(said, "alice signed in") {
		t.Errorf("a screen reader hears %q", said)
	}
	if !evaluate[bool](office, `document.activeElement.matches('tbody a') && window.notReloaded`) {
		t.Error("the keyboard's focus is lost, or the page was loaded again")
	}
	alice.mustClick(`nav form button`)
	office.becomes(`document.querySelectorAll('tbody tr').length === 1`)
	office.becomes(says("alice signed out"))

	// From another browser, another session of root ends this one.
	second := newChromium(t, s).openOffice()
	office.becomes(`document.querySelectorAll('tbody tr').length === 2`)
	handle := evaluate[string](office, `[...document.querySelectorAll('tbody tr')].find(row => row.querySelector('.own')).id.slice(2)`)
	second.visit("/admin/session?handle=" + handle)
	second.mustClick(`a[href="/admin/end?handle=` + handle + `"]`)
	second.do(chromedp.SendKeys(chromedp.CSS("#reason"), "left the desk"))
	second.mustClick("main form button")
	second.want("The session has ended.", "forced to sign out", "left the desk", "by root")
	office.becomes(says("Your session has ended"))
	if !evaluate[bool](office, `document.activeElement.matches('[data-again]')`) {
		t.Error("the keyboard's focus is lost with the list")
	}
	office.wantNone("alice", "Last used")
	office.mustClick(`[data-again]`)
	if got := office.path(); got != "/login" {
		t.Errorf("going on leads to %s, want /login", got)
	}
}

// TestAdminLiveKeepsTheFocus where the keyboard is, also in a row that moves.
func TestAdminLiveKeepsTheFocus(t *testing.T) {
	s := openShop(t)
	office := newChromium(t, s).openOffice()
	newThief(t, s).signIn("alice", firefoxAgent)
	office.becomes(`document.querySelectorAll('tbody tr').length === 2`)
	// As if root's row had been the upper one: the next list moves alice's.
	evaluate[bool](office, `(document.querySelector('tbody').append(document.querySelector('tbody tr')),
		document.querySelector('tbody tr:last-child .end').focus(), window.focused = document.activeElement.href, true)`)
	newThief(t, s).signIn("bob", firefoxAgent)
	office.becomes(`document.querySelectorAll('tbody tr').length === 3`)
	if got := evaluate[string](office, `document.querySelector('tbody tr:nth-child(2) th').innerText`); !strings.Contains(got, "alice") {
		t.Errorf("the second row is that of %q, want alice", got)
	}
	if !evaluate[bool](office, `document.activeElement.href === focused`) {
		t.Error("the keyboard's focus is lost with the row that has moved")
	}
}

// TestAdminLiveTooMany: a page that cannot be kept up to date stays, and says so.
func TestAdminLiveTooMany(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	c.openOffice().becomes(says("Live:"))
	for range 3 {
		tb := c.newTab()
		tb.visit("/admin")
		tb.becomes(says("Live:"))
	}
	fifth := c.newTab()
	fifth.visit("/admin")
	fifth.becomes(says("nothing keeps it up to date"))
	fifth.want("All sessions", "root", "Search", "Look again")
	c.expectError("503")
}

// TestAdminLiveIsQuiet: much happens at once, and a screen reader hears little.
func TestAdminLiveIsQuiet(t *testing.T) {
	s := openShop(t)
	office := newChromium(t, s).openOffice()
	office.becomes(says("Live:"))
	evaluate[bool](office, `(window.heard = [], new MutationObserver(() => heard.push(Date.now())).observe(
		document.querySelector('[aria-live=polite]'), {childList: true, characterData: true, subtree: true}), true)`)
	for n := range 6 {
		newThief(t, s).signIn([]string{"alice", "bob"}[n%2], firefoxAgent)
		office.becomes(fmt.Sprintf(`document.querySelectorAll('tbody tr').length === %d`, n+2))
	}
	office.becomes(`heard.length > 1`)
	for _, gap := range evaluate[[]int](office, `heard.slice(1).map((at, i) => at - heard[i])`) {
		if gap < 9_900 {
			t.Errorf("two announcements within %d milliseconds, want ten seconds between", gap)
		}
	}
}

// TestAdminEverybody signs everybody out, and ends up at the login itself.
func TestAdminEverybody(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	office, other := c.openOffice(), c.newTab()
	other.visit("/admin")
	other.becomes(says("Live:"))
	office.mustClick(`a[href="/admin/end?all=yes"]`)
	office.want("Yours ends:")
	office.do(
		chromedp.SendKeys(chromedp.CSS("#reason"), "fire drill"),
		chromedp.SendKeys(chromedp.CSS("#confirm"), "everyone"),
	)
	office.mustClick("main form button")
	office.want("type the word everybody")
	c.expectError("422")
	office.do(chromedp.SendKeys(chromedp.CSS("#confirm"), "everybody"))
	office.mustClick("main form button")
	office.want("Everybody is signed out, you too.", "Sign in")
	if got := office.path(); got != "/login" {
		t.Errorf("got %s, want /login", got)
	}
	other.becomes(says("Your session has ended"))
	office.signIn("root", s.passwords["root"])
	office.want("All sessions", "everybody forced to sign out", "fire drill")
}

// TestAdminWithoutScript: what the page shows does not need its script.
func TestAdminWithoutScript(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	office := c.openOffice()
	call(office, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	office.visit("/admin")
	th := newThief(t, s)
	th.signIn("bob", firefoxAgent)
	office.mustClick(`[data-again]`)
	office.want("bob", "Firefox on Linux", "Look again")
	office.wantNone("Live:")
}

// TestAdminLooks shows the office at work.
func TestAdminLooks(t *testing.T) {
	dir := os.Getenv("CLOAKROOM_SHOTS")
	if dir == "" {
		dir = t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	s := openShop(t)
	c := newChromium(t, s)
	newThief(t, s).visitorCookie()
	newThief(t, s).signIn("alice", firefoxAgent)
	newThief(t, s).signIn("bob", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) Version/18.0 Mobile/15E148 Safari/604.1")
	newThief(t, s).signIn("alice", "\u202e<b>"+strings.Repeat("Mozilla/5.0 ", 12)+"(Windows NT 10.0) Edg/131.0")
	tb := c.openOffice()
	tb.becomes(says("Live:"))
	look(tb, dir, "admin")
	tb.visit("/admin?addr=home")
	c.expectError("422")
	look(tb, dir, "admin-wrong")
	tb.visit("/admin?user=alice")
	tb.mustClick(`.whole .stop`)
	look(tb, dir, "admin-end-user")
	tb.do(chromedp.SendKeys(chromedp.CSS("#reason"), "Laptop left in the train to Basel; alice called at ten past nine."))
	tb.mustClick("main form button")
	tb.becomes(says("Live:"))
	look(tb, dir, "admin-ended")
	tb.mustClick(`tbody tr th a`)
	look(tb, dir, "admin-session-ended")
	tb.visit("/admin")
	tb.mustClick(`tbody tr:last-child th a`)
	look(tb, dir, "admin-session")
	tb.visit("/admin/end?all=yes")
	look(tb, dir, "admin-end-all")
	tb.visit("/admin")
	tb.becomes(says("Live:"))
	evaluate[bool](tb, `fetch('/logout', {method: 'POST', body: new URLSearchParams(new FormData(document.querySelector('nav form')))}).then(() => true)`)
	tb.becomes(says("Your session has ended"))
	look(tb, dir, "admin-over")
	tb.visit("/login")
	tb.signIn("bob", s.passwords["bob"])
	tb.visit("/admin")
	c.expectError("403")
	look(tb, dir, "admin-refused")
}

const firefoxAgent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// signIn signs in with a program that calls itself a browser.
func (th *thief) signIn(name, agent string) {
	th.t.Helper()
	th.agent = agent
	_, _, text := th.request("GET", "/login", nil)
	token := formToken.FindStringSubmatch(text)
	if token == nil {
		th.t.Fatal("the login has no form token")
	}
	form := url.Values{"username": {name}, "password": {th.shop.passwords[name]}, "csrf": {token[1]}}
	if status, _, _ := th.request("POST", "/login", form); status != 303 {
		th.t.Fatalf("signing in as %s: got status %d", name, status)
	}
}
