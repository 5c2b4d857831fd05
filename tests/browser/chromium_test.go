package browser

import (
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// chromium is one browser with an empty profile, and what was noticed about it.
type chromium struct {
	t    testing.TB
	shop *shop
	ctx  context.Context

	mu       sync.Mutex
	requests int
	foreign  []string // requests to anybody but the shop
	errors   []string // what the console would show in red
}

// newChromium starts a browser and ends it with the test, which fails if the
// browser talked to anybody but the shop, or complained.
func newChromium(t testing.TB, s *shop) *chromium {
	t.Helper()
	path := findChromium(t)
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.NoDefaultBrowserCheck,
		chromedp.Flag("headless", "new"), chromedp.Flag("hide-scrollbars", true),
		chromedp.Flag("disable-gpu", true), chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-background-networking", true), chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true), chromedp.Flag("disable-dev-shm-usage", true),
		// Whatever the browser itself wants from the world, it does not get.
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
	}
	ctx, cancel := context.WithTimeout(t.Context(), testTimeout)
	t.Cleanup(cancel)
	ctx, cancelAllocator := chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancelAllocator)
	ctx, cancelBrowser := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		cancelBrowser()
		chromedp.FromContext(ctx).Allocator.Wait() // then its profile can be removed
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("starting chromium: %v", err)
	}
	c := &chromium{t: t, shop: s, ctx: ctx}
	t.Cleanup(c.verify)
	return c
}

// findChromium returns the browser of this machine. There is no test without one.
func findChromium(t testing.TB) string {
	t.Helper()
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Fatal("these tests need a browser: apt-get install chromium")
	return ""
}

// verify runs at the end of every test, and before the browser ends.
func (c *chromium) verify() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.requests == 0 {
		c.t.Error("saw no request at all: the check for other hosts proves nothing")
	}
	for _, u := range c.foreign {
		c.t.Errorf("request to another host: %s", u)
	}
	for _, e := range c.errors {
		c.t.Errorf("console: %s", e)
	}
}

// expectError takes out one console error, which the test has provoked.
func (c *chromium) expectError(part string) {
	c.t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.errors {
		if strings.Contains(e, part) {
			c.errors = append(c.errors[:i], c.errors[i+1:]...)
			return
		}
	}
	c.t.Errorf("got console errors %q, want one with %q", c.errors, part)
}

// notice looks at what a tab reports, from its first message on.
func (c *chromium) notice(event any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		c.requests++
		if u, err := url.Parse(e.Request.URL); err != nil || u.Host != c.shop.host() {
			c.foreign = append(c.foreign, e.Request.URL)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeAssert {
			c.errors = append(c.errors, fmt.Sprintf("%s: %v", e.Type, e.Args))
		}
	case *runtime.EventExceptionThrown:
		c.errors = append(c.errors, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == log.EntryLevelError {
			c.errors = append(c.errors, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}
