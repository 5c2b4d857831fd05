package examples_test

import (
	"html"
	"net/http"
	"strings"
	"testing"
)

// TestForms: a form is accepted once, its message shows once, and whatever is
// wrong with it, what was typed comes back.
func TestForms(t *testing.T) {
	t.Parallel()
	p := start(t, "forms")
	typed := []string{"what", `a "red" <scarf>`, "day", "2026-01-31", "email", "alice@example.org", "notes", "\nfirst line\nsecond & last"}
	kept := func(t *testing.T, got answer) {
		t.Helper()
		text := html.UnescapeString(got.body)
		for _, want := range []string{`value="a "red" <scarf>"`, `value="2026-01-31"`, "\n\nfirst line\nsecond & last</textarea>"} {
			if !strings.Contains(text, want) {
				t.Errorf("what was typed is lost: no %q in %s", want, got.body)
			}
		}
	}
	t.Run("accepted", func(t *testing.T) {
		b := newBrowser(t, p)
		b.submit("/", "/report", typed...).want(t, "the form", http.StatusSeeOther)
		b.shows("/", "Thank you.")
		b.hides("/", "Thank you.")
		b.shows("/", "&lt;scarf&gt;, 2026-01-31")
		b.signIn("/", "/login", "alice", "coat")
		b.shows("/", "&lt;scarf&gt;, 2026-01-31")
	})
	t.Run("with a mistake", func(t *testing.T) {
		b := newBrowser(t, p)
		wrong := append(typed[:4:4], "email", "nobody", "notes", typed[7])
		got := b.submit("/", "/report", wrong...).want(t, "the form", http.StatusUnprocessableEntity)
		kept(t, got)
		if !strings.Contains(got.body, `value="nobody"`) || !strings.Contains(got.body, "email-mistake") {
			t.Errorf("the mistake is not shown: %s", got.body)
		}
		b.hides("/", "scarf")
	})
	t.Run("outdated by a login in another tab", func(t *testing.T) {
		b := newBrowser(t, p)
		form := values(append(typed, "csrf", b.token("/"))...)
		b.signIn("/", "/login", "alice", "coat")
		kept(t, b.do("POST", "/report", form).want(t, "the old form", http.StatusForbidden))
		form.Set("csrf", b.token("/"))
		b.do("POST", "/report", form).want(t, "the form with its new token", http.StatusSeeOther)
	})
	t.Run("outdated by a logout in another tab", func(t *testing.T) {
		b := newBrowser(t, p)
		b.signIn("/", "/login", "alice", "coat")
		form, late := values(append(typed, "csrf", b.token("/"))...), b.twin()
		b.submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
		kept(t, late.do("POST", "/report", form).want(t, "a late form", http.StatusUnauthorized))
		kept(t, b.do("POST", "/report", form).want(t, "a form of nobody's", http.StatusForbidden))
	})
	t.Run("sent by another site", func(t *testing.T) {
		b := newBrowser(t, p)
		b.get("/")
		r := b.request(t.Context(), "POST", "/report", values(typed...))
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		got := b.read(r).want(t, "the form", http.StatusForbidden)
		if strings.Contains(got.body, "scarf") {
			t.Errorf("what another site sent is shown: %s", got.body)
		}
	})
}
