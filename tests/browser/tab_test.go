package browser

import (
	"context"
	"strings"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// tab is one tab of a browser. Its methods end the test when something fails.
type tab struct {
	*chromium
	ctx   context.Context
	close context.CancelFunc
}

// newTab opens a tab, with nothing in it.
func (c *chromium) newTab() *tab {
	c.t.Helper()
	ctx, cancel := chromedp.NewContext(c.ctx, chromedp.WithListener(c.notice))
	tb := &tab{chromium: c, ctx: ctx, close: cancel}
	call(tb, network.Enable, network.EnableParams{})
	call(tb, runtime.Enable, cdp.Empty{})
	call(tb, log.Enable, cdp.Empty{})
	return tb
}

// call runs a command of the protocol in the tab.
func call[P, R any](tb *tab, command cdp.Command[P, R], params P) R {
	tb.t.Helper()
	result, err := chromedp.Call(tb.ctx, command, params)
	if err != nil {
		tb.t.Fatalf("%s: %v", command.Method, err)
	}
	return result
}

// evaluate returns what an expression yields in the page, or what it promises.
func evaluate[T any](tb *tab, expression string) T {
	tb.t.Helper()
	result, err := chromedp.Run(tb.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		tb.t.Fatalf("evaluating %s: %v", expression, err)
	}
	return result
}

func (tb *tab) do(steps ...chromedp.Action[chromedp.Void]) {
	tb.t.Helper()
	if err := chromedp.Do(tb.ctx, steps...); err != nil {
		tb.t.Fatal(err)
	}
}

// visit types an address.
func (tb *tab) visit(path string) {
	tb.t.Helper()
	tb.do(chromedp.Navigate(tb.shop.url + path))
}

// click clicks something and waits for the page behind it. It may be called
// from any goroutine.
func (tb *tab) click(selector string) error {
	_, err := chromedp.RunResponse(tb.ctx, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
	return err
}

func (tb *tab) mustClick(selector string) {
	tb.t.Helper()
	if err := tb.click(selector); err != nil {
		tb.t.Fatalf("clicking %s: %v", selector, err)
	}
}

// add puts something into the basket, by the button in the shop.
func (tb *tab) add(item string) { tb.t.Helper(); tb.mustClick(addButton(item)) }

func addButton(item string) string { return `button[value="` + item + `"]` }

// signIn fills in the form that is shown.
func (tb *tab) signIn(name, password string) {
	tb.t.Helper()
	tb.do(
		chromedp.Clear(chromedp.CSS("#username")),
		chromedp.SendKeys(chromedp.CSS("#username"), name),
		chromedp.SendKeys(chromedp.CSS("#password"), password),
	)
	tb.mustClick("main form button")
}

// fill types into the fields of the page's form, and sends it.
func (tb *tab) fill(fields map[string]string) {
	tb.t.Helper()
	for id, text := range fields {
		tb.do(chromedp.Clear(chromedp.CSS("#"+id)), chromedp.SendKeys(chromedp.CSS("#"+id), text))
	}
	tb.mustClick("main form button")
}

// await waits until an expression is true in the page. It looks now and then,
// because a tab that nobody sees draws no frames to look at.
func (tb *tab) await(expression string, atMost time.Duration) {
	tb.t.Helper()
	poll := chromedp.Poll[bool](expression, chromedp.WithPollingInterval(50*time.Millisecond), chromedp.WithPollingTimeout(atMost))
	if _, err := chromedp.Run(tb.ctx, poll); err != nil {
		tb.t.Fatalf("waiting %v for %s: %v\n%s", atMost, expression, err, tb.text())
	}
}

// text returns what the page says.
func (tb *tab) text() string { tb.t.Helper(); return evaluate[string](tb, `document.body.innerText`) }

// path returns where the tab is.
func (tb *tab) path() string { tb.t.Helper(); return evaluate[string](tb, `location.pathname`) }

// want fails the test unless the page says all of it.
func (tb *tab) want(parts ...string) {
	tb.t.Helper()
	text := tb.text()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			tb.t.Errorf("page %s does not say %q:\n%s", tb.path(), part, text)
		}
	}
}

// wantNone fails the test if the page says any of it.
func (tb *tab) wantNone(parts ...string) {
	tb.t.Helper()
	text := tb.text()
	for _, part := range parts {
		if strings.Contains(strings.ToLower(text), strings.ToLower(part)) {
			tb.t.Errorf("page %s says %q:\n%s", tb.path(), part, text)
		}
	}
}

// cookie returns the value of a cookie as the browser keeps it.
func (tb *tab) cookie(name string) (value string) {
	tb.t.Helper()
	for _, c := range tb.cookies() {
		if c.Name == name {
			value = c.Value
		}
	}
	return value
}

func (tb *tab) cookies() []*network.Cookie {
	tb.t.Helper()
	return call(tb, network.GetCookies, network.GetCookiesParams{}).Cookies
}

// plant sets the session cookie, as somebody could who controls the network or
// a neighbouring host.
func (tb *tab) plant(value string) {
	tb.t.Helper()
	call(tb, network.SetCookie, network.SetCookieParams{
		Name: cookieName, Value: value, URL: tb.shop.url, Path: "/", Secure: new(true), HTTPOnly: new(true),
	})
}

const cookieName = "__Host-id"
