package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store/memory"
)

// world is the API with a clock that the test moves and a store that it can take
// away.
type world struct {
	http.Handler
	clock *sessiontest.Clock
	store *sessiontest.FaultyStore
}

func newWorld(t *testing.T) world {
	w := world{clock: sessiontest.NewClock(), store: sessiontest.NewFaultyStore(memory.New())}
	// Without Keys: the store is in this process, though the wrapper cannot say so.
	m, err := session.New(session.Config{Denied: problem, Now: w.clock.Now, Store: w.store, MaxSessions: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	w.Handler = api(m, func(user, password string) bool { return user == "alice" && password == "coat" })
	return w
}

// do sends a request and decodes the answer.
func (w world) do(t *testing.T, method, path, token, body string) (*http.Response, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	rec := httptest.NewRecorder()
	w.ServeHTTP(rec, r)
	var answer map[string]any
	if rec.Body.Len() > 0 {
		if err := json.Unmarshal(rec.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%s %s: got %d %q, want JSON", method, path, rec.Code, rec.Body)
		}
	}
	return rec.Result(), answer
}

const alice = `{"user":"alice","password":"coat"}`

func (w world) login(t *testing.T) (token string) {
	t.Helper()
	resp, answer := w.do(t, "POST", "/v1/session", "", alice)
	token, _ = answer["token"].(string)
	if resp.StatusCode != 201 || token == "" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("login: got %d %v", resp.StatusCode, answer)
	}
	return token
}

// refused checks that a request is answered by a problem document.
func (w world) refused(t *testing.T, method, path, token, body string, status int, name string) http.Header {
	t.Helper()
	resp, answer := w.do(t, method, path, token, body)
	if resp.StatusCode != status || resp.Header.Get("Content-Type") != "application/problem+json" ||
		answer["type"] != "/problems/"+name || answer["status"] != float64(status) || answer["title"] != http.StatusText(status) {
		t.Errorf("%s %s: got %d %s %v, want %d %s", method, path, resp.StatusCode, resp.Header.Get("Content-Type"), answer, status, name)
	}
	return resp.Header
}

func TestProblems(t *testing.T) {
	t.Run("401", func(t *testing.T) {
		w := newWorld(t)
		h := w.refused(t, "GET", "/v1/me", "", "", 401, "sign-in")
		if got := h.Get("WWW-Authenticate"); got != `Bearer realm="examples"` {
			t.Errorf("without a token: got challenge %q", got)
		}
		h = w.refused(t, "GET", "/v1/me", strings.Repeat("A", 64), "", 401, "sign-in")
		if got := h.Get("WWW-Authenticate"); !strings.HasSuffix(got, `error="invalid_token"`) {
			t.Errorf("with a token of nobody: got challenge %q", got)
		}
		w.refused(t, "POST", "/v1/session", "", `{"user":"alice","password":"hat"}`, 401, "wrong-password")
	})
	t.Run("400", func(t *testing.T) { newWorld(t).refused(t, "POST", "/v1/session", "", `{"user":`, 400, "malformed") })
	t.Run("403 until the password is confirmed", func(t *testing.T) {
		w := newWorld(t)
		token, other := w.login(t), w.login(t)
		w.clock.Advance(fresh + time.Second)
		w.refused(t, "DELETE", "/v1/sessions", token, "", 403, "confirm-password")
		w.refused(t, "POST", "/v1/session/confirm", token, `{"password":"hat"}`, 403, "wrong-password")
		_, answer := w.do(t, "POST", "/v1/session/confirm", token, `{"password":"coat"}`)
		next, _ := answer["token"].(string)
		w.refused(t, "GET", "/v1/me", token, "", 401, "sign-in")
		if resp, answer := w.do(t, "DELETE", "/v1/sessions", next, ""); resp.StatusCode != 204 {
			t.Errorf("with a fresh token: got %d %v, want 204", resp.StatusCode, answer)
		}
		w.refused(t, "GET", "/v1/me", next, "", 401, "sign-in")
		w.refused(t, "GET", "/v1/me", other, "", 401, "sign-in")
	})
	t.Run("403 for one session too many", func(t *testing.T) {
		w := newWorld(t)
		w.login(t)
		w.login(t)
		w.refused(t, "POST", "/v1/session", "", alice, 403, "too-many-sessions")
	})
	t.Run("400 for a body that is too long", func(t *testing.T) {
		w := newWorld(t)
		long := `{"note":"` + strings.Repeat("x", maxBody) + `"}`
		w.refused(t, "PUT", "/v1/note", w.login(t), long, 400, "malformed")
	})
	t.Run("503 while the store is down", func(t *testing.T) {
		w := newWorld(t)
		token := w.login(t)
		w.store.Down(nil)
		for _, path := range []string{"/v1/me", "/v1/note"} {
			if h := w.refused(t, "GET", path, token, "", 503, "unavailable"); h.Get("Retry-After") == "" {
				t.Errorf("%s: no Retry-After", path)
			}
		}
		w.refused(t, "POST", "/v1/session", "", alice, 503, "unavailable")
		w.store.Up()
		if resp, _ := w.do(t, "GET", "/v1/me", token, ""); resp.StatusCode != 200 {
			t.Errorf("afterwards: got %d, want 200: the token must still be good", resp.StatusCode)
		}
	})
}
