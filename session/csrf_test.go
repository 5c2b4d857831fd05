package session_test

import (
	"bytes"
	"context"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
)

// formWith returns a form post with a token.
func (b *browser) formWith(token string) *http.Request {
	return b.request("POST", "/note", url.Values{"note": {"x"}, "csrf": {token}})
}

func TestCSRF(t *testing.T) {
	w := newWorld(t, nil)
	alice, visitor, other := w.browser(t), w.browser(t), w.browser(t)
	alice.login("alice")
	form := visitor.get("/csrf")
	if visitor.token() != "" {
		t.Error("a form alone made a session")
	}
	for name, c := range map[string]struct {
		r    *http.Request
		want int
	}{
		"own":               {alice.formWith(alice.get("/csrf")), 200},
		"none":              {alice.formWith(""), 403},
		"garbage":           {alice.formWith("%%%"), 403},
		"another session's": {alice.formWith(other.get("/csrf")), 403},
		"the visitor's":     {visitor.formWith(form), 200},
		"cross-site": {func() *http.Request {
			r := alice.formWith(alice.get("/csrf"))
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			return r
		}(), 403},
		"other origin": {func() *http.Request {
			r := alice.formWith(alice.get("/csrf"))
			r.Header.Set("Origin", "https://evil.example")
			return r
		}(), 403},
		"header": {func() *http.Request {
			r := alice.request("PUT", "/note", nil)
			r.Method = "POST"
			r.Header.Set(session.CSRFHeader, alice.get("/csrf"))
			return r
		}(), 200},
		"field twice":   {alice.request("POST", "/note", url.Values{"csrf": {alice.get("/csrf"), "x"}}), 403},
		"query":         {alice.request("POST", "/note?csrf="+alice.get("/csrf"), url.Values{}), 403},
		"logout":        {alice.request("POST", "/logout", url.Values{}), 403},
		"login":         {other.request("POST", "/login", url.Values{"user": {"mallory"}}), 403},
		"unsafe method": {alice.request("DELETE", "/note", nil), 403},
	} {
		t.Run(name, func(t *testing.T) {
			if resp := alice.do(c.r); resp.StatusCode != c.want {
				t.Errorf("got status %d: %s; want %d", resp.StatusCode, body(t, resp), c.want)
			}
		})
	}
	w.events.count(t, session.EventCSRF, 10)
}

// TestCSRFLifetime: tokens end with login and logout.
func TestCSRFLifetime(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	visitors := b.get("/csrf")
	b.post("/add", url.Values{"item": {"coat"}})
	if resp := b.do(b.formWith(visitors)); resp.StatusCode != 200 {
		t.Errorf("form opened before the session: got status %d, want it to work", resp.StatusCode)
	}
	anonymous := b.get("/csrf")
	b.login("alice")
	for name, token := range map[string]string{"the visitor's": visitors, "the anonymous session's": anonymous} {
		if resp := b.do(b.formWith(token)); resp.StatusCode != 403 {
			t.Errorf("%s token after login: got status %d, want 403", name, resp.StatusCode)
		}
	}
	own := b.get("/csrf")
	b.post("/logout", nil)
	for name, token := range map[string]string{"the visitor's": visitors, "alice's": own} {
		if resp := b.do(b.formWith(token)); resp.StatusCode != 403 {
			t.Errorf("%s token after logout: got status %d, want 403", name, resp.StatusCode)
		}
	}
	if a, c := b.get("/csrf"), b.get("/csrf"); a == c {
		t.Error("two pages got the same token")
	}
}

func TestCSRFExplainsMissingCookie(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	token := b.get("/csrf")
	bare := w.browser(t) // as over plain HTTP: the browser dropped the cookie
	resp := bare.do(bare.request("POST", "/login", url.Values{"user": {"alice"}, "csrf": {token}}))
	if got := body(t, resp); resp.StatusCode != 403 || !strings.Contains(got, "only over HTTPS, or on localhost") {
		t.Errorf("got %d %q, want 403 and the reason", resp.StatusCode, got)
	}
}

func TestCSRFMultipart(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.ExplicitCSRF = func(r *http.Request) bool { return r.URL.Path == "/upload" }
	})
	ran := false
	w.mux.HandleFunc("POST /upload", func(rw http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if err := note.Set(s, "early"); err == nil {
			t.Error("changed the session before the check")
		}
		if err := w.Logout(r.Context()); err == nil {
			t.Error("logged out before the check")
		}
		err := r.ParseMultipartForm(1 << 20)
		if err == nil {
			err = w.CheckCSRF(r)
		}
		if err == nil {
			ran, err = true, note.Set(s, "uploaded")
		}
		reply(rw, err, "ok")
	})
	b := w.browser(t)
	b.login("alice")
	upload := func(path, token string) int {
		var buf bytes.Buffer
		form := multipart.NewWriter(&buf)
		_ = form.WriteField("csrf", token)
		_ = form.Close()
		r := b.request("POST", path, nil)
		r.Body, r.ContentLength = io.NopCloser(&buf), int64(buf.Len())
		r.Header.Set("Content-Type", form.FormDataContentType())
		return b.do(r).StatusCode
	}
	if got := upload("/upload", "wrong"); got != 403 || ran {
		t.Errorf("wrong token: got status %d", got)
	}
	if got := upload("/upload", b.get("/csrf")); got != 200 || b.get("/whoami") != "alice||uploaded" {
		t.Errorf("right token: got status %d, session %q", got, b.get("/whoami"))
	}
	if got := upload("/note", b.get("/csrf")); got != 403 {
		t.Errorf("where no explicit check is announced: got status %d, want 403", got)
	}
}

func TestTrustedOrigin(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.TrustedOrigins = []string{"https://app.example"} })
	b := w.browser(t)
	for origin, want := range map[string]int{"https://app.example": 200, "https://evil.example": 403} {
		r := b.formWith(b.get("/csrf"))
		r.Header.Set("Origin", origin)
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		if resp := b.do(r); resp.StatusCode != want {
			t.Errorf("%s: got status %d, want %d", origin, resp.StatusCode, want)
		}
	}
}

func TestCSRFFieldNeedsHeaders(t *testing.T) {
	w := newWorld(t, nil)
	w.browser(t).with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(rw, "begun")
		if field, err := w.CSRFField(r.Context()); err != session.ErrHeadersSent || field != "" {
			t.Errorf("got %q, %v; want ErrHeadersSent", field, err)
		}
	})
	w.browser(t).with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		field, err := w.CSRFField(r.Context())
		if err != nil || !strings.HasPrefix(string(field), `<input type="hidden" name="csrf" value="`) {
			t.Errorf("got %q, %v", field, err)
		}
	})
}

func TestBearer(t *testing.T) {
	w := newWorld(t, nil)
	var token string
	api := w.BearerHandler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if r.URL.Path == "/login" {
			reply(rw, w.Login(r.Context(), session.Identity{Subject: "alice"}), "ok")
			minted, ok := s.Token()
			if !ok {
				t.Error("got no token after login")
			}
			token = minted.Reveal()
			return
		}
		if _, ok := s.Token(); ok {
			t.Error("token shown to a request that did not mint it")
		}
		if r.Method == "POST" {
			reply(rw, note.Set(s, "stored"), "ok")
			return
		}
		text, _ := note.Get(s)
		reply(rw, nil, s.Subject()+text)
	}))
	do := func(h http.Handler, method, path, authorization string) (*http.Response, string) {
		r := httptest.NewRequest(method, "https://api.example"+path, nil)
		if authorization != "" {
			r.Header.Set("Authorization", authorization)
		}
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Result(), rec.Body.String()
	}
	resp, _ := do(api, "POST", "/login", "")
	if len(resp.Header["Set-Cookie"]) != 0 || resp.Header.Get("Cache-Control") != "no-store" || token == "" {
		t.Fatalf("login: got headers %v", resp.Header)
	}
	if _, got := do(api, "POST", "/", "Bearer "+token); got != "ok" {
		t.Errorf("write: got %q", got)
	}
	w.clock.advance(20 * time.Minute)
	if resp, got := do(api, "GET", "/", "bearer "+token); got != "alicestored" || len(resp.Header["Set-Cookie"]) != 0 {
		t.Errorf("read: got %q, headers %v", got, resp.Header)
	}
	// Sessions do not cross transports.
	b := w.browser(t)
	b.cookies["__Host-id"] = token
	if got := b.get("/whoami"); got != "||" {
		t.Errorf("bearer token as cookie: got %q", got)
	}
	b = w.browser(t)
	b.login("bob")
	if _, got := do(api, "GET", "/", "Bearer "+b.token()); got != "" {
		t.Errorf("cookie token as bearer: got %q", got)
	}
	w.events.count(t, session.EventUnknownToken, 2)
	if _, got := do(w.Handler(api), "GET", "/", "Bearer "+token); got != "alicestored" {
		t.Errorf("inside a handler for cookies: got %q", got)
	}
	if n, err := w.RevokeSubject(context.Background(), "alice", "stolen phone"); n != 1 || err != nil {
		t.Errorf("revoking: got %d, %v", n, err)
	}
	if _, got := do(api, "GET", "/", "Bearer "+token); got != "" {
		t.Errorf("after revocation: got %q", got)
	}
}
