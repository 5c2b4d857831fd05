package browser

import (
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// What a page may show of somebody who is not signed in any more: nothing.
const cleared = `document.querySelector('h1')?.textContent === 'You are signed out' &&
	!document.body.innerText.includes('alice') && !document.body.innerText.includes('Alice')`

const warned = `document.getElementById('warning')?.open`

// TestWarning waits for the warning before the end, and stays: in both tabs.
func TestWarning(t *testing.T) {
	t.Parallel() // it mostly waits
	s := openShop(t, "--idle", "30s")
	c := newChromium(t, s)
	tb, second := c.newTab(), c.newTab()
	tb.visit("/login?next=/account")
	tb.signIn("alice", s.passwords["alice"])
	second.visit("/cart")
	if evaluate[bool](tb, warned) {
		t.Error("warned at once")
	}
	tb.await(warned, 20*time.Second)
	tb.want("Are you still there?", "You will be signed out in", "Stay signed in")
	tb.wantAccessible("warning")
	picture(tb, filepath.Join(shotsFolder(t), "warning.png"))
	if got := evaluate[string](tb, `document.activeElement.textContent`); got != "Stay signed in" {
		t.Errorf("the focus is on %q, want it on the button to stay", got)
	}
	left := `parseInt(document.querySelector('#warning .left').textContent)`
	before := evaluate[int](tb, left)
	if before < 1 || before > 20 {
		t.Errorf("got %d seconds left, want at most 20", before)
	}
	tb.await(left+` < `+strconv.Itoa(before), 10*time.Second)

	second.await(warned, 20*time.Second)
	tb.do(chromedp.Click(chromedp.CSS("#warning button.for-idle"), chromedp.NodeVisible))
	tb.await("!"+warned, 10*time.Second)
	second.await("!"+warned, 10*time.Second) // it is told
	if got := evaluate[int](tb, `fetch('/session').then(r => r.json()).then(s => s.idle)`); got < 21 {
		t.Errorf("after staying: got %d seconds left, want about 30", got)
	}
}

// TestEnd answers the warning by the keyboard, and then lets the time run out.
func TestEnd(t *testing.T) {
	t.Parallel() // it mostly waits
	s := openShop(t, "--idle", "30s")
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/login?next=/account")
	tb.signIn("alice", s.passwords["alice"])
	tb.await(warned, 20*time.Second)
	tb.do(chromedp.KeyEvent(kb.Escape))
	tb.await("!"+warned, 10*time.Second)
	tb.await(cleared, 45*time.Second)
	look(tb, shotsFolder(t), "ended")
	tb.mustClick("main a")
	if got := tb.path(); got != "/login" {
		t.Errorf("the way back leads to %s, want the login", got)
	}
}

// TestClock puts the clock of a page forward, as when a background tab was asleep
// while its user went on in another one: the page asks before it believes that the
// session is over. When nobody answers, it shows nothing more.
func TestClock(t *testing.T) {
	t.Parallel() // it mostly waits
	c := newChromium(t, openShop(t))
	tb := c.newTab()
	tb.visit("/login?next=/account")
	tb.signIn("alice", c.shop.passwords["alice"])
	const forward = `{ const now = Date.now; Date.now = () => now() + 31 * 60_000; true }`
	evaluate[bool](tb, `{ const ask = fetch; answers = 0; fetch = (...what) => ask(...what).finally(() => answers++); true }`)
	evaluate[bool](tb, forward)
	tb.await(`answers > 0 && !(`+warned+`)`, 15*time.Second)
	tb.want("Where you are signed in", "Alice")

	evaluate[bool](tb, `fetch = () => Promise.reject(); true`)
	evaluate[bool](tb, forward)
	tb.await(cleared, 60*time.Second)
}

// TestAbsoluteWarning offers the one thing that helps when a session is at its
// end: the password.
func TestAbsoluteWarning(t *testing.T) {
	t.Parallel() // it mostly waits
	s := openShop(t, "--idle", "30s", "--absolute", "31s")
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/login?next=/account")
	tb.signIn("alice", s.passwords["alice"])
	tb.await(`Date.now() - performance.timeOrigin > 5000`, 10*time.Second)
	tb.visit("/account") // activity
	tb.await(warned, 20*time.Second)
	tb.want("this one is at its end", "Finish here first")
	tb.wantNone("Stay signed in")
	tb.wantAccessible("end")
	picture(tb, filepath.Join(shotsFolder(t), "warning-end.png"))
	tb.do(chromedp.Click(chromedp.CSS("#warning button.for-absolute"), chromedp.NodeVisible))
	tb.await("!"+warned, 10*time.Second)
	tb.visit(evaluate[string](tb, `document.querySelector('#warning a').getAttribute('href')`))
	tb.want("stay signed in", "Password of alice")
	tb.fill(map[string]string{"password": s.passwords["alice"]})
	if got := tb.path(); got != "/account" {
		t.Errorf("after the password: got %s, want /account", got)
	}
	if got := evaluate[int](tb, `fetch('/session').then(r => r.json()).then(s => s.absolute)`); got < 21 {
		t.Errorf("after the password: got %d seconds left, want about 31", got)
	}
}

// TestTabsNotice signs out in one tab: the others of the browser show nothing of
// the account any more. So does a browser whose session was ended from elsewhere.
func TestTabsNotice(t *testing.T) {
	t.Parallel() // it mostly waits
	s := openShop(t)
	c, phone := newChromium(t, s), newChromium(t, s)
	left, right := c.newTab(), c.newTab()
	left.visit("/login?next=/account")
	left.signIn("alice", s.passwords["alice"])
	right.visit("/account")
	far := phone.newTab()
	far.visit("/login?next=/account")
	far.signIn("alice", s.passwords["alice"])

	right.want("Where you are signed in", "Alice")
	left.mustClick("nav form button")
	right.await(cleared, 15*time.Second)

	right.visit("/login?next=/account")
	right.signIn("bob", s.passwords["bob"])
	left.visit("/account")
	left.want("Bob")
	// It gets to ask only when somebody else has signed in.
	evaluate[bool](left, `{ const ask = fetch; fetch = (...what) => new Promise(answer => { go = () => answer(ask(...what)) }); true }`)
	right.mustClick("nav form button")
	right.visit("/login?next=/account")
	right.signIn("alice", s.passwords["alice"])
	left.await(`typeof go === 'function'`, 15*time.Second)
	left.want("Bob")
	evaluate[bool](left, `go(), true`)
	left.await(`document.querySelector('h1')?.textContent === 'You are signed out'`, 15*time.Second)

	far.want("Where you are signed in")
	right.visit("/account")
	right.mustClick(`form[action="/account/sessions/end-others"] button`)
	right.want("1 other session is ended")
	far.await(cleared, 30*time.Second) // by asking now and then
}
