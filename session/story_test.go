package session_test

import (
	"net/url"
	"testing"
	"time"
)

// TestStory is S-001: a visitor fills a basket, signs in, closes the tab, comes
// back, and finds everything as it was.
func TestStory(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	if got := b.get("/whoami"); got != "||" || b.token() != "" {
		t.Fatalf("first visit: got %q and token %q, want nothing", got, b.token())
	}
	b.post("/add", url.Values{"item": {"coat"}})
	visitor := b.token()
	if got := b.get("/whoami"); got != "|coat|" || visitor == "" {
		t.Fatalf("after adding: got %q, token %q", got, visitor)
	}
	b.post("/note", url.Values{"note": {"private"}})
	b.login("alice")
	if b.token() == visitor {
		t.Error("login kept the token")
	}
	if got := b.get("/whoami"); got != "alice|coat|" {
		t.Errorf("after login: got %q, want the basket without the note", got)
	}
	w.clock.advance(20 * time.Minute)
	if got := b.get("/whoami"); got != "alice|coat|" {
		t.Errorf("20 minutes later: got %q", got)
	}
	if resp := b.post("/logout", nil); resp.StatusCode != 200 {
		t.Fatalf("logout: got status %d", resp.StatusCode)
	}
	if got := b.get("/whoami"); got != "||" {
		t.Errorf("after logout: got %q", got)
	}
	if b.token() != "" {
		t.Error("logout left the cookie")
	}
}
