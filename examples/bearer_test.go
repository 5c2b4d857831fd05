package examples_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
)

// TestBearer: the token is told once, works in the header and nowhere else, and is
// dead after the logout.
func TestBearer(t *testing.T) {
	t.Parallel()
	b := newBrowser(t, start(t, "bearer"))
	call := func(method, path, token, body string) answer {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if token != "" {
			r.Header.Set("Authorization", "Bearer "+token)
		}
		return b.read(r)
	}
	login := call("POST", "/v1/session", "", `{"user":"alice","password":"coat"}`).want(t, "login", http.StatusCreated)
	var told struct{ Token string }
	if err := json.Unmarshal([]byte(login.body), &told); err != nil || len(told.Token) != 64 {
		t.Fatalf("login: got %s, want a token", login.body)
	}
	if len(login.header["Set-Cookie"]) > 0 {
		t.Errorf("login set cookies: %v", login.header["Set-Cookie"])
	}
	call("PUT", "/v1/note", told.Token, `{"note":"feed the cat"}`).want(t, "storing", http.StatusOK)
	for path, want := range map[string]string{"/v1/me": `"user":"alice"`, "/v1/note": "feed the cat"} {
		got := call("GET", path, told.Token, "").want(t, path, http.StatusOK)
		if !strings.Contains(got.body, want) || strings.Contains(got.body, told.Token) {
			t.Errorf("%s: got %s, want %s and no token", path, got.body, want)
		}
	}
	b.cookies[sessionCookie] = told.Token
	b.get("/v1/me").want(t, "the token as a cookie", http.StatusUnauthorized)
	call("DELETE", "/v1/session", told.Token, "").want(t, "logout", http.StatusNoContent)
	got := call("GET", "/v1/me", told.Token, "").want(t, "after the logout", http.StatusUnauthorized)
	if kind := got.header.Get("Content-Type"); kind != "application/problem+json" {
		t.Errorf("got type %q: %s", kind, got.body)
	}
}
