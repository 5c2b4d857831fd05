package browser

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// attackNames are the attacks that the shop offers, by their addresses.
func attackNames() []string {
	return []string{"fixation", "replay", "guessing", "csrf", "stolen-database", "tampered-row", "late-request", "rotation"}
}

// TestTry runs every attack by its button, signed in: all are refused, and who
// has run them is still signed in, with the basket as it was.
func TestTry(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/login")
	tb.signIn("alice", s.passwords["alice"])
	tb.add("overcoat")
	ticket := tb.cookie(cookieName)
	for _, name := range attackNames() {
		tb.visit("/try/" + name)
		tb.wantNone("Refused.")
		tb.mustClick("main .start button")
		if got := tb.path(); got != "/try/"+name {
			t.Errorf("%s: got sent to %s", name, got)
		}
		tb.wantOutcome(name, 1)
		tb.do(chromedp.Reload())
		tb.wantOutcome(name, 1)
		if strings.Contains(tb.source(), ticket) {
			t.Errorf("%s: the page holds the ticket", name)
		}
	}
	tb.visit("/try")
	tb.wantOutcome("overview", 8)
	tb.visit("/cart")
	tb.want("Alice", "Camel overcoat", "€340")
	tb.wantNone("scarf", "umbrella", "beret")
	if got := tb.cookie(cookieName); got != ticket {
		t.Error("the ticket has changed")
	}
}

// TestTryLooks shows the pages of the attacks, each kind of figure once.
func TestTryLooks(t *testing.T) {
	dir := shotsFolder(t)
	for _, c := range []struct {
		name  string
		pages []string
	}{
		{"overview", []string{""}},
		{"wire", []string{"fixation", "tampered-row"}},
		{"rows", []string{"stolen-database", "rotation"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openShop(t)
			tb := newChromium(t, s).newTab()
			tb.visit("/login")
			tb.signIn("alice", s.passwords["alice"])
			tb.add("overcoat")
			for _, page := range c.pages {
				path, name := "/try", "try"
				if page != "" {
					path, name = path+"/"+page, name+"-"+page
				}
				tb.visit(path)
				if page == "" {
					look(tb, dir, name+"-new")
				}
				tb.mustClick("main .start button")
				look(tb, dir, name)
			}
		})
	}
}

// TestTryAsVisitor runs all attacks at once, without being signed in.
func TestTryAsVisitor(t *testing.T) {
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/try")
	tb.want("You are not signed in")
	tb.mustClick("main .start button")
	tb.want("8 of 8 refused")
	tb.wantOutcome("overview", 8)
	tb.mustClick(`main a[href="/try/replay"]`)
	tb.want("a guest of the laboratory", "Run it again")
	if got := tb.cookie(cookieName); got != "" {
		t.Error("a visitor got a session by it")
	}
}

// wantOutcome fails the test unless the page shows so many attacks, all refused.
func (tb *tab) wantOutcome(name string, many int) {
	tb.t.Helper()
	if got := evaluate[int](tb, `document.querySelectorAll('.outcome.refused').length`); got != many {
		tb.t.Errorf("%s: got %d attacks refused, want %d:\n%s", name, got, many, tb.text())
	}
	if got := evaluate[int](tb, `document.querySelectorAll('.outcome').length`); got != many {
		tb.t.Errorf("%s: got %d outcomes, want %d:\n%s", name, got, many, tb.text())
	}
}

// source returns the page as it was sent.
func (tb *tab) source() string {
	tb.t.Helper()
	return evaluate[string](tb, `document.documentElement.outerHTML`)
}
