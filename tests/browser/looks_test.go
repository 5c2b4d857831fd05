package browser

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestLooks shows every page by day and by night, on a desk and on a phone. No
// page may be wider than its screen, text must stand out from what is behind it,
// and axe-core must find no fault. The pictures go to the folder named by
// CLOAKROOM_SHOTS, for people.
func TestLooks(t *testing.T) {
	dir := shotsFolder(t)
	s := openShop(t)
	c := newChromium(t, s)
	tb := c.newTab()
	tb.visit("/")
	for _, item := range []string{"overcoat", "umbrella", "umbrella", "beret"} {
		tb.add(item)
	}
	tb.visit("/login")
	look(tb, dir, "login")
	tb.visit("/cart")
	look(tb, dir, "basket-visitor")
	tb.visit("/login")
	tb.signIn("root", "wrong")
	c.expectError("401")
	look(tb, dir, "login-wrong")
	tb.signIn("root", s.passwords["root"])
	look(tb, dir, "shop")
	for _, page := range []struct{ name, path string }{{"basket", "/cart"}, {"account", "/account"}} {
		tb.visit(page.path)
		look(tb, dir, page.name)
	}
	tb.visit("/nothing")
	c.expectError("404")
	look(tb, dir, "missing")
	tb.mustClick(`main a[href="/"]`)
	tb.mustClick(`nav form button`)
	look(tb, dir, "signed-out")
	tb.visit("/cart")
	look(tb, dir, "basket-empty")
}

// shotsFolder returns where pictures go.
func shotsFolder(t testing.TB) string {
	t.Helper()
	dir := os.Getenv("CLOAKROOM_SHOTS")
	if dir == "" {
		return t.TempDir()
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// look takes a picture of the page in every light and size, and checks it.
func look(tb *tab, dir, name string) {
	tb.t.Helper()
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"desk", 1280, 860}, {"phone", 360, 740}} {
		for _, light := range []string{"light", "dark"} {
			call(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
				Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: light}},
			})
			tb.do(chromedp.EmulateViewport(size.width, size.height))
			if wide := evaluate[int](tb, `document.documentElement.scrollWidth`); wide > int(size.width) {
				tb.t.Errorf("%s on a %s: got %d pixels wide, want %d", name, size.name, wide, size.width)
			}
			tb.wantAccessible(name + " on a " + size.name + " by " + light)
			for _, faint := range evaluate[[]string](tb, faintText) {
				tb.t.Errorf("%s on a %s by %s: too faint: %s", name, size.name, light, faint)
			}
			picture(tb, filepath.Join(dir, name+"-"+size.name+"-"+light+".png"))
		}
	}
	tb.do(chromedp.ResetViewport())
	call(tb, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{})
}

// picture takes one picture of the page as it is.
func picture(tb *tab, file string) {
	tb.t.Helper()
	shot, err := chromedp.Run(tb.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		tb.t.Fatal(err)
	}
	if err := os.WriteFile(file, shot, 0o644); err != nil {
		tb.t.Fatal(err)
	}
}

// faintText lists text whose contrast is below WCAG 2.2 AA: 4.5 to 1, or 3 to 1
// for large text. Text on a picture or a gradient is left to people.
const faintText = `(() => {
	const parse = color => color.match(/[\d.]+/g).map(Number);
	const light = rgb => {
		const [r, g, b] = rgb.map(v => v / 255).map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
		return .2126 * r + .7152 * g + .0722 * b;
	};
	const behind = element => {
		for (let e = element; e; e = e.parentElement) {
			const style = getComputedStyle(e);
			if (style.backgroundImage !== 'none') return null;
			const [r, g, b, a = 1] = parse(style.backgroundColor);
			if (a === 1) return [r, g, b];
		}
		return [255, 255, 255];
	};
	const faint = [];
	for (const e of document.querySelectorAll('body *')) {
		const own = [...e.childNodes].some(n => n.nodeType === 3 && n.data.trim());
		if (!own || e.classList.contains('aside')) continue;
		const back = behind(e), style = getComputedStyle(e);
		if (!back) continue;
		const a = light(parse(style.color).slice(0, 3)), b = light(back);
		const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
		const size = parseFloat(style.fontSize);
		const large = size >= 24 || size >= 18.66 && style.fontWeight >= 700;
		if (ratio < (large ? 3 : 4.5)) faint.push(e.textContent.trim() + ' ' + ratio.toFixed(2));
	}
	return faint;
})()`
