package session_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// answers are the ways in which a handler begins its response.
var answers = map[string]http.HandlerFunc{
	"Write":       func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(page)) },
	"WriteString": func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, page) },
	"WriteHeader": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201); _, _ = w.Write([]byte(page)) },
	"redirect":    func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/"+page, http.StatusFound) },
	"304":         func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) },
	"file": func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "page.html", time.Time{}, strings.NewReader(page))
	},
	"ReadFrom": func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.(io.ReaderFrom).ReadFrom(strings.NewReader(page))
	},
	"flush": func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); _, _ = w.Write([]byte(page)) },
	"controller": func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = w.Write([]byte(page))
	},
	"hijack": func(w http.ResponseWriter, _ *http.Request) {
		_, _, _ = http.NewResponseController(w).Hijack()
		_, _ = w.Write([]byte(page))
	},
	"nothing": func(http.ResponseWriter, *http.Request) {},
}

// TestIncident_A6_ErrorsAtCommit: when storing failed, scs sent its error followed
// by the protected page, and the Location of a redirect; express-session sent
// status 200, the page and a cookie for a session that was never stored.
func TestIncident_A6_ErrorsAtCommit(t *testing.T) {
	faults := map[string]struct {
		fail   func(*storetest.Faulty)
		login  bool
		status int
	}{
		"swap unavailable":   {func(f *storetest.Faulty) { f.Fail(storetest.OpSwap, 1, nil) }, true, 503},
		"swap unknown":       {func(f *storetest.Faulty) { f.FailAfter(storetest.OpSwap, 1, nil) }, true, 503},
		"swap foreign error": {func(f *storetest.Faulty) { f.Fail(storetest.OpSwap, 1, errors.New("disk full")) }, true, 503},
		"session gone":       {func(f *storetest.Faulty) { f.Fail(storetest.OpSwap, 1, store.ErrNotFound) }, true, 401},
		"create unavailable": {func(f *storetest.Faulty) { f.Fail(storetest.OpCreate, 1, nil) }, false, 503},
		"create unknown":     {func(f *storetest.Faulty) { f.FailAfter(storetest.OpCreate, 1, nil) }, false, 503},
	}
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		member := w.browser(t)
		member.login("alice")
		for fault, c := range faults {
			for answer, do := range answers {
				t.Run(fault+"/"+answer, func(t *testing.T) {
					b := w.browser(t)
					if c.login {
						b = member.twin()
					}
					r := b.request("GET", "/", nil)
					c.fail(f)
					checkErrorAlone(t, commitFails(w, r, do), c.status)
				})
			}
		}
	})
}

// commitFails has a handler set a value and much else, below a middleware that
// has set headers of its own.
func commitFails(w *world, r *http.Request, answer http.HandlerFunc) *httptest.ResponseRecorder {
	rec := hijackable{httptest.NewRecorder()}
	rec.Header().Set("X-Outer", "kept")
	rec.Header().Add("Set-Cookie", "outer=1")
	w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_, _ = w.CSRFToken(r.Context()) // may want to set a cookie
		_ = note.Set(session.From(r.Context()), page)
		h := rw.Header()
		h.Set("X-Outer", page)
		h.Set("ETag", `"`+page+`"`)
		h.Set("Content-Type", "text/html")
		h.Set("X-Secret", page)
		h.Add("Set-Cookie", "handler=1")
		answer(rw, r)
	})).ServeHTTP(rec, r)
	return rec.ResponseRecorder
}

// hijackable is a recorder whose connection can be taken over.
type hijackable struct{ *httptest.ResponseRecorder }

func (h hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	_, _ = h.WriteString(page) // what the handler could write now
	return nil, nil, nil
}

func checkErrorAlone(t *testing.T, rec *httptest.ResponseRecorder, status int) {
	t.Helper()
	resp := rec.Result()
	if resp.StatusCode != status {
		t.Errorf("got status %d, want %d", resp.StatusCode, status)
	}
	var all bytes.Buffer
	_ = rec.Header().Write(&all)
	all.WriteString(body(t, resp))
	for _, leak := range []string{page, "handler=1", "__Host-id", "Location", "Etag", "text/html"} {
		if strings.Contains(all.String(), leak) {
			t.Errorf("the error response contains %q:\n%s", leak, all.String())
		}
	}
	if got := fmt.Sprint(resp.Header["X-Outer"], resp.Header["Set-Cookie"]); got != "[kept] [outer=1]" {
		t.Errorf("headers from before the handler: got %s, want them as they were", got)
	}
}

// TestIncident_A6_LoadFails: in ASP.NET a load that failed left an empty session:
// open to everything anonymous, and the next commit would have overwritten it.
func TestIncident_A6_LoadFails(t *testing.T) {
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		form := b.get("/csrf")
		f.Down(nil)
		resp := b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			_, ok, err := note.Lookup(s)
			if got := s.Subject(); got != "" || ok || !errors.Is(err, session.ErrUnavailable) {
				t.Errorf("got subject %q, value %t, %v, want unavailable", got, ok, err)
			}
			for what, err := range map[string]error{
				"Set": note.Set(s, "x"), "CheckLogin": s.CheckLogin(), "CheckFresh": s.CheckFresh(time.Hour),
				"Logout": w.Logout(r.Context()), "Login": w.Login(r.Context(), session.Identity{Subject: "bob"}),
			} {
				if !errors.Is(err, session.ErrUnavailable) {
					t.Errorf("%s: got %v, want ErrUnavailable", what, err)
				}
			}
		})
		if lines := resp.Header["Set-Cookie"]; len(lines) > 0 {
			t.Errorf("got Set-Cookie %q, want the cookie left alone", redact(lines))
		}
		if resp := b.do(b.request("POST", "/note", url.Values{"note": {"x"}, "csrf": {form}})); resp.StatusCode != 503 {
			t.Errorf("POST: got status %d, want 503", resp.StatusCode)
		}
		gate := httptest.NewRecorder()
		w.Handler(w.RequireLogin(http.HandlerFunc(showPage))).ServeHTTP(gate, b.request("GET", "/", nil))
		if gate.Code != 503 || gate.Header().Get("Retry-After") == "" {
			t.Errorf("gate: got status %d and Retry-After %q, want 503", gate.Code, gate.Header().Get("Retry-After"))
		}
		if got := w.browser(t).get("/whoami"); got != "||" {
			t.Errorf("visitor without a cookie: got %q, want to be served", got)
		}
		f.Up()
		if got := b.get("/whoami"); got != "alice||" {
			t.Errorf("store is back: got %q, want alice as before", got)
		}
	})
}

// TestIncident_A6_CompleteLoginFails: the second factor was right and the store is
// down: that is not "login required".
func TestIncident_A6_CompleteLoginFails(t *testing.T) {
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		if err := b.call(w.Manager, func(ctx context.Context) error {
			return w.LoginPending(ctx, session.Identity{Subject: "alice"})
		}); err != nil {
			t.Fatal(err)
		}
		f.Down(nil)
		complete := func(ctx context.Context) error {
			return w.CompleteLogin(ctx, session.Identity{Methods: []string{"otp"}})
		}
		if err := b.call(w.Manager, complete); !errors.Is(err, session.ErrUnavailable) {
			t.Errorf("store down: got %v, want ErrUnavailable", err)
		}
		f.Up()
		if err := b.call(w.Manager, complete); err != nil {
			t.Errorf("store is back: got %v, want the login", err)
		}
	})
}
