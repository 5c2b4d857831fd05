package session_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// TestIncident_A7_ChangeAfterFirstByte: in scs a Put after the first Write was
// lost without an error; gorilla's Save after a write lost the cookie.
func TestIncident_A7_ChangeAfterFirstByte(t *testing.T) {
	late := func(rw http.ResponseWriter, r *http.Request) (set, update, login error) {
		_, _ = io.WriteString(rw, "first byte")
		s := session.From(r.Context())
		set = note.Set(s, "late")
		update = basket.Update(r.Context(), s, func(b *[]string) error { *b = append(*b, "late"); return nil })
		return set, update, session.From(r.Context()).Err()
	}
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
			if set, update, err := late(rw, r); set != nil || update != nil || err != nil {
				t.Errorf("session exists: got %v and %v, want both stored", set, update)
			}
			if err := w.Login(r.Context(), session.Identity{Subject: "bob"}); !errors.Is(err, session.ErrHeadersSent) {
				t.Errorf("login after the first byte: got %v, want ErrHeadersSent", err)
			}
		})
		if got := b.get("/whoami"); got != "alice|late|late" {
			t.Errorf("got %q, want both late changes", got)
		}
		visitor := w.browser(t)
		visitor.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
			set, update, _ := late(rw, r)
			if !errors.Is(set, session.ErrHeadersSent) || !errors.Is(update, session.ErrHeadersSent) {
				t.Errorf("visitor: got %v and %v, want ErrHeadersSent", set, update)
			}
		})
	})
}

// TestIncident_A7_EveryFirstByte: in scs Flush before the first Write stored the
// session and never sent its cookie.
func TestIncident_A7_EveryFirstByte(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s; c.AnonymousPerMinute = 1000 })
		for name, answer := range answers {
			if name == "hijack" {
				continue // has no headers; see TestOpenChannelsEnd
			}
			t.Run(name, func(t *testing.T) {
				b := w.browser(t)
				resp := b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
					if err := note.Set(session.From(r.Context()), "kept"); err != nil {
						t.Error(err)
					}
					answer(rw, r)
				})
				if _, ok := cookieOf(resp); !ok {
					t.Errorf("got no cookie, want it with the first byte; headers %v", len(resp.Header))
				}
				if got := b.get("/whoami"); got != "||kept" {
					t.Errorf("got %q, want the value kept", got)
				}
			})
		}
	})
}

// TestIncident_A7_EarlyHints: in scs status 103 committed early: later Puts were
// lost, and the cookie went out with the hints.
func TestIncident_A7_EarlyHints(t *testing.T) {
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		server := httptest.NewServer(w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			sess := session.From(r.Context())
			_ = note.Set(sess, "before")
			rw.Header().Set("Link", "</style.css>; rel=preload")
			rw.WriteHeader(http.StatusProcessing)
			rw.WriteHeader(http.StatusEarlyHints)
			if err := note.Set(sess, "after"); err != nil {
				t.Errorf("after the hints: got %v, want nil", err)
			}
			_, _ = io.WriteString(rw, page)
		})))
		defer server.Close()
		var hints []http.Header
		trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints = append(hints, http.Header(h).Clone())
			return nil
		}}
		fetch := func() *http.Response {
			ctx := httptrace.WithClientTrace(context.Background(), trace)
			r, _ := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
			resp, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = resp.Body.Close() })
			return resp
		}
		token, ok := cookieOf(fetch())
		if len(hints) != 2 || hints[0]["Set-Cookie"] != nil || hints[1]["Set-Cookie"] != nil || !ok {
			t.Errorf("got %d interim responses, cookie with the last: %t, want 2, and the cookie with the response alone", len(hints), ok)
		}
		if got := body(t, present(w.Handler(w.mux), "/whoami", "__Host-id="+token)); got != "||after" {
			t.Errorf("got %q, want the change after the hints", got)
		}
		f.Fail(storetest.OpCreate, 1, nil)
		resp := fetch()
		if text := body(t, resp); resp.StatusCode != 503 || strings.Contains(text, page) || resp.Header.Get("Link") != "" {
			t.Errorf("store fails after the hints: got status %d and %q, want the error alone", resp.StatusCode, text)
		}
	})
}

// spy records which optional interfaces reach the server's own writer.
type spy struct {
	*httptest.ResponseRecorder
	seen map[string]bool
}

func (s *spy) ReadFrom(r io.Reader) (int64, error) {
	s.seen["ReadFrom"] = true
	return io.Copy(s.ResponseRecorder, r)
}
func (s *spy) Push(string, *http.PushOptions) error { s.seen["Push"] = true; return nil }
func (s *spy) SetWriteDeadline(time.Time) error     { s.seen["SetWriteDeadline"] = true; return nil }
func (s *spy) SetReadDeadline(time.Time) error      { s.seen["SetReadDeadline"] = true; return nil }
func (s *spy) EnableFullDuplex() error              { s.seen["EnableFullDuplex"] = true; return nil }
func (s *spy) Write(b []byte) (int, error) {
	s.seen["Write"] = true
	return s.ResponseRecorder.Write(b)
}
func (s *spy) WriteString(text string) (int, error) {
	s.seen["WriteString"] = true
	return len(text), nil
}
func (s *spy) Unwrap() http.ResponseWriter { return nil }
func newSpy() *spy                         { return &spy{httptest.NewRecorder(), map[string]bool{}} }

// TestIncident_A7_HiddenInterfaces: scs hid io.ReaderFrom (sendfile) and
// http.Pusher.
func TestIncident_A7_HiddenInterfaces(t *testing.T) {
	w := newWorld(t, nil)
	for name, use := range map[string]func(http.ResponseWriter, *http.Request) error{
		"ReadFrom": func(rw http.ResponseWriter, _ *http.Request) error {
			_, err := io.Copy(rw, struct{ io.Reader }{strings.NewReader(page)})
			return err
		},
		"Push": func(rw http.ResponseWriter, _ *http.Request) error { return rw.(http.Pusher).Push("/style.css", nil) },
		"SetWriteDeadline": func(rw http.ResponseWriter, _ *http.Request) error {
			return http.NewResponseController(rw).SetWriteDeadline(time.Now())
		},
		"SetReadDeadline": func(rw http.ResponseWriter, _ *http.Request) error {
			return http.NewResponseController(rw).SetReadDeadline(time.Now())
		},
		"EnableFullDuplex": func(rw http.ResponseWriter, _ *http.Request) error {
			return http.NewResponseController(rw).EnableFullDuplex()
		},
		"WriteString": func(rw http.ResponseWriter, _ *http.Request) error { _, err := io.WriteString(rw, page); return err },
	} {
		seen := newSpy()
		w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			if err := use(rw, r); err != nil {
				t.Errorf("%s: got %v", name, err)
			}
		})).ServeHTTP(seen, httptest.NewRequest("GET", "/", nil))
		if !seen.seen[name] {
			t.Errorf("%s does not reach the server's writer; got %v", name, seen.seen)
		}
	}
	// Without a server that pushes, it says so.
	w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) {
		if err := rw.(http.Pusher).Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Push without support: got %v, want ErrNotSupported", err)
		}
	})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

// TestIncident_A7_LargeFile sends a file through a real server, with a session
// to store before its first byte.
func TestIncident_A7_LargeFile(t *testing.T) {
	w := newWorld(t, nil)
	content := bytes.Repeat([]byte("cloakroom"), 1<<16)
	w.mux.HandleFunc("GET /file", func(rw http.ResponseWriter, r *http.Request) {
		_ = note.Set(session.From(r.Context()), "downloaded")
		http.ServeContent(rw, r, "file.bin", time.Time{}, bytes.NewReader(content))
	})
	server := httptest.NewServer(w.Handler(w.mux))
	defer server.Close()
	resp, err := http.Get(server.URL + "/file")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if got := body(t, resp); got != string(content) {
		t.Errorf("got %d bytes, want the file's %d", len(got), len(content))
	}
	token, _ := cookieOf(resp)
	if got := body(t, present(server.Config.Handler, "/whoami", "__Host-id="+token)); got != "||downloaded" {
		t.Errorf("got %q, want the value kept", got)
	}
}

// TestIncident_A8_HangUp: in scs with a store that honours contexts, a client that
// hangs up cancels its own logout; in ASP.NET, the commit.
func TestIncident_A8_HangUp(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(*world, context.Context) error
		want string // what the browser's old cookie shows then
	}{
		"logout": {func(w *world, ctx context.Context) error { return w.Logout(ctx) }, "||"},
		"login": {func(w *world, ctx context.Context) error {
			return w.Login(ctx, session.Identity{Subject: "bob"})
		}, "||"},
		"reauthenticate": {func(w *world, ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") }, "||"},
		"elevate":        {func(w *world, ctx context.Context) error { return w.Elevate(ctx, func(*store.Assurance) {}) }, "||"},
		"revoke others":  {func(w *world, ctx context.Context) error { _, err := w.RevokeOthers(ctx); return err }, "||"},
		"revoke subject": {func(w *world, ctx context.Context) error {
			_, err := w.RevokeSubject(ctx, "alice", "reset")
			return err
		}, "||"},
		"revoke all": {func(w *world, ctx context.Context) error { return w.RevokeAll(ctx, "breach") }, "||"},
		"set":        {func(_ *world, ctx context.Context) error { return note.Set(session.From(ctx), "kept") }, "alice|coat|kept"},
		"delete":     {func(_ *world, ctx context.Context) error { return basket.Delete(session.From(ctx)) }, "alice||"},
		"update": {func(_ *world, ctx context.Context) error {
			return note.Update(ctx, session.From(ctx), func(s *string) error { *s = "kept"; return nil })
		}, "alice|coat|kept"},
		"pop": {func(_ *world, ctx context.Context) error {
			_, _, err := basket.Pop(ctx, session.From(ctx))
			return err
		}, "alice||"},
	} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				w := newWorld(t, func(c *session.Config) { c.Store = s })
				b := w.browser(t)
				b.login("alice")
				b.post("/add", url.Values{"item": {"coat"}})
				hangUp(t, w, b, func(ctx context.Context) error { return c.do(w, ctx) })
				if got := b.get("/whoami"); got != c.want {
					t.Errorf("afterwards: got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// hangUp runs do in a request whose client hangs up before; it does not see the
// response.
func hangUp(t *testing.T, w *world, b *browser, do func(context.Context) error) {
	t.Helper()
	r := b.form()
	ctx, cancel := context.WithCancel(r.Context())
	w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		if r.Context().Err() == nil {
			t.Error("the handler's context does not say that the client has gone")
		}
		if err := do(r.Context()); err != nil {
			t.Errorf("got %v, want it done", err)
		}
	})).ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
}
