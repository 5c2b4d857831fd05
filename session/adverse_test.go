package session_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// TestLongRequestTwoRotations: a request that outlives two rotations has proved itself when it began, and
// can still store.
func TestLongRequestTwoRotations(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		slow := b.twin()
		slow.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			sess := session.From(r.Context())
			for range 2 {
				w.clock.advance(16 * time.Minute)
				b.get("/whoami") // rotates
				b.get("/whoami") // confirms
				w.clock.advance(time.Minute)
			}
			if got := b.get("/whoami"); got != "alice||" {
				t.Fatalf("session not alive: %q", got)
			}
			if err := note.Update(r.Context(), sess, func(v *string) error { *v = "x"; return nil }); err != nil {
				t.Errorf("update in a long request: %v; subject now %q", err, sess.Subject())
			}
		})
	})
}

// TestRevokeSubjectThenLoginTwoNodes: a revocation by another node long ago does not refuse the
// login that follows an own revocation in the same request.
func TestRevokeSubjectThenLoginTwoNodes(t *testing.T) {
	st := memory.New()
	a := newWorld(t, func(c *session.Config) { c.Store = st })
	w := newWorld(t, func(c *session.Config) { c.Store = st; c.Now = a.clock.Now })
	if _, err := a.RevokeSubject(context.Background(), "alice", "reset"); err != nil {
		t.Fatal(err)
	}
	a.clock.advance(20 * time.Hour)
	b := w.browser(t)
	err := b.call(w.Manager, func(ctx context.Context) error {
		if _, err := w.RevokeSubject(ctx, "alice", "reset"); err != nil {
			return err
		}
		return w.Login(ctx, session.Identity{Subject: "alice"})
	})
	if err != nil {
		t.Errorf("login in the request of the second reset: %v", err)
	}
}

// TestBeganFromOtherNode: when an authentication began can have been read from the clock of
// another node.
func TestBeganFromOtherNode(t *testing.T) {
	st := memory.New()
	a := newWorld(t, func(c *session.Config) { c.Store = st })
	// a is 1.9 s ahead of b
	b := newWorld(t, func(c *session.Config) {
		c.Store = st
		c.Now = func() time.Time { return a.clock.Now().Add(-1900 * time.Millisecond) }
	})
	began := a.clock.Now() // SSO starts on node a
	a.clock.advance(time.Second)
	if _, err := b.RevokeSubject(context.Background(), "alice", "x"); err != nil {
		t.Fatal(err)
	} // one second later, on node b
	a.clock.advance(time.Second)
	err := b.browser(t).call(b.Manager, func(ctx context.Context) error { return b.Login(ctx, session.Identity{Subject: "alice", Began: began}) })
	if !errors.Is(err, session.ErrRevoked) {
		t.Errorf("login begun before the revocation: got %v, want ErrRevoked", err)
	}
}

// TestElevateTimeoutHandler: a verb whose callback takes until the response has begun fails,
// instead of ending a token whose successor cannot be sent.
func TestElevateTimeoutHandler(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	answered, done := make(chan struct{}), make(chan error, 1)
	h := w.Handler(http.TimeoutHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		done <- w.Elevate(r.Context(), func(a *session.Assurance) { <-answered; a.Role = "admin" }) // a slow look-up
	}), 20*time.Millisecond, "slow"))
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, b.request("GET", "/", nil))
	b.keep(rec.Result())
	close(answered)
	err := <-done
	if got := b.get("/whoami"); got != "alice||" {
		t.Errorf("Elevate answered %v after the headers were out; the browser is now %q", err, got)
	}
}

// TestLoginThenFailedCommit: a login that is stored holds, and so does its cookie, even if
// something else cannot be stored afterwards.
func TestLoginThenFailedCommit(t *testing.T) {
	f := storetest.NewFaulty(memory.New())
	w := newWorld(t, func(c *session.Config) { c.Store = f; c.MaxSessions = 1 })
	b := w.browser(t)
	b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
		if err := w.Login(r.Context(), session.Identity{Subject: "alice"}); err != nil {
			t.Fatal(err)
		}
		_ = note.Set(session.From(r.Context()), "x")
		f.Fail(storetest.OpSwap, 1, nil)
	})
	if got := b.get("/whoami"); got != "alice||" {
		t.Errorf("got %q", got)
	}
	resp := b.post("/login", url.Values{"user": {"alice"}})
	if resp.StatusCode != 200 {
		t.Errorf("next login: %d %s", resp.StatusCode, body(t, resp))
	}
}

// TestClientAddrPanics: a panic in the application's function costs the address, not more.
func TestClientAddrPanics(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.Observers = nil
		c.ClientAddr = func(r *http.Request) netip.Addr { return netip.MustParseAddr(r.Header.Get("X-Real-Ip")) }
	})
	over := make(chan any, 1)
	go func() {
		defer func() { over <- recover() }()
		newBrowser(t, w.Handler(w.mux)).with(w.Manager, func(_ http.ResponseWriter, r *http.Request) { _ = note.Set(session.From(r.Context()), "x") })
	}()
	select {
	case p := <-over:
		if p != nil {
			t.Errorf("panicked with %v", p)
		}
	case <-time.After(2 * time.Second):
		t.Error("the request hangs forever")
	}
}

// TestBearerLogoutClearsCookie: a logout over bearer leaves the browser's cookie alone.
func TestBearerLogoutClearsCookie(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("bob")
	var token string
	api := w.BearerHandler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if r.URL.Path == "/in" {
			_ = w.Login(r.Context(), session.Identity{Subject: "alice"})
			tk, _ := s.Token()
			token = tk.Reveal()
			return
		}
		if err := w.Logout(r.Context()); err != nil {
			t.Error(err)
		}
	}))
	api.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "/in", nil))
	r := b.request("POST", "/out", nil)
	r.Header.Set("Authorization", "Bearer "+token)
	rec := httptest.NewRecorder()
	api.ServeHTTP(rec, r)
	b.keep(rec.Result())
	if got := b.get("/whoami"); got != "bob||" {
		t.Errorf("bob's browser is now %q; bearer logout sent %v", got, rec.Header())
	}
}

type slowReader struct{ n int }

func (s *slowReader) Read(p []byte) (int, error) {
	if s.n++; s.n > 30 {
		return 0, io.EOF
	}
	time.Sleep(100 * time.Millisecond)
	return copy(p, "tick\n"), nil
}

// TestCopyOutlivesSession: io.Copy to an open channel is cut off too.
func TestCopyOutlivesSession(t *testing.T) {
	w := newWorld(t, nil)
	w.mux.HandleFunc("GET /copy", func(rw http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(rw).Flush()
		n, err := io.Copy(rw, new(slowReader))
		if !errors.Is(err, session.ErrEnded) || n >= 150 {
			t.Errorf("copied %d bytes of 150, error %v; want it to stop with ErrEnded", n, err)
		}
	})
	server := httptest.NewServer(w.Handler(w.mux))
	defer server.Close()
	b := w.browser(t)
	b.login("alice")
	r, _ := http.NewRequest("GET", server.URL+"/copy", nil)
	r.Header.Set("Cookie", "__Host-id="+b.token())
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_, _ = w.RevokeSubject(context.Background(), "alice", "x")
	_, _ = io.Copy(io.Discard, resp.Body)
}

// TestWatchSwallowsStatus: a response that had not begun when the session ended is an error,
// not an empty success.
func TestWatchSwallowsStatus(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	resp := b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
		_, cancel := session.From(r.Context()).Watch(r.Context())
		defer cancel()
		_, _ = w.RevokeSubject(context.Background(), "alice", "x")
		time.Sleep(1200 * time.Millisecond) // the work that was watched fails
		http.Error(rw, "not done", 500)
	})
	if resp.StatusCode == 200 {
		t.Errorf("got status 200 with body %q for a response of 500", body(t, resp))
	}
}

// TestStepUpForgotten: verbs that authenticate nobody do not satisfy a step-up.
func TestStepUpForgotten(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.Admit = func(*http.Request, session.Snapshot) session.Verdict { return session.StepUp }
	})
	b := w.browser(t)
	b.login("alice")
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		if err := s.CheckFresh(time.Hour); !errors.Is(err, session.ErrStale) {
			t.Fatal(err)
		}
		if _, err := w.RevokeOthers(r.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.CheckFresh(time.Hour); !errors.Is(err, session.ErrStale) {
			t.Errorf("after RevokeOthers: got %v, want ErrStale", err)
		}
	})
}

// TestCarryOverToSomebodyElse: what one user was about to store does not move to the next,
// however the session ended in between.
func TestCarryOverToSomebodyElse(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_ = basket.Set(s, []string{"alice's"})
		_, _ = w.RevokeSubject(context.Background(), "alice", "x") // meanwhile, elsewhere
		if err := w.Login(r.Context(), session.Identity{Subject: "bob"}); err != nil {
			t.Fatal(err)
		}
	})
	if got := b.get("/whoami"); got != "bob||" {
		t.Errorf("got %q", got)
	}
}

// TestAuthenticatedAtOverflow: a time that does not fit into nanoseconds is not taken for
// another one.
func TestAuthenticatedAtOverflow(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.Store = external{memory.New()} })
	b := w.browser(t)
	// an id token's auth_time that wraps to the year 2200
	at := time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC).Add(-1 << 63).Add(-1 << 63)
	if err := b.call(w.Manager, func(ctx context.Context) error {
		return w.Login(ctx, session.Identity{Subject: "alice", AuthenticatedAt: at})
	}); err != nil {
		return
	}
	w.clock.advance(time.Hour / 3)
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		if err := session.From(r.Context()).CheckFresh(time.Minute); err == nil {
			t.Errorf("authenticated at %v and fresh: %v", at, session.From(r.Context()).Assurance().At)
		}
	})
}

// TestBudgetClockBack: a clock that was set back does not stop the refill.
func TestBudgetClockBack(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.AnonymousPerMinute = 2 })
	w.clock.advance(time.Hour)
	w.browser(t).post("/note", url.Values{"note": {"x"}})
	w.clock.advance(-time.Hour)
	for i := range 5 {
		w.clock.advance(5 * time.Minute)
		if resp := w.browser(t).post("/note", url.Values{"note": {"x"}}); resp.StatusCode != 200 {
			t.Errorf("%d: %d", i, resp.StatusCode)
		}
	}
}

// pipeRecorder answers Hijack with one end of a pipe.
type pipeRecorder struct{ *httptest.ResponseRecorder }

func (pipeRecorder) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, _ := net.Pipe()
	return conn, nil, nil
}

// TestChannelsAreForgotten: whatever a request does with its session, nothing is
// left of its channels when it is over.
func TestChannelsAreForgotten(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	watch := func(r *http.Request) {
		_, cancel := session.From(r.Context()).Watch(r.Context())
		cancel()
	}
	for name, request := range map[string]func(){
		"hijack, then watch": func() {
			w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(rw).Hijack()
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
				watch(r)
			})).ServeHTTP(pipeRecorder{httptest.NewRecorder()}, b.request("GET", "/", nil))
		},
		"watch, then hijack": func() {
			w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				watch(r)
				if conn, _, err := http.NewResponseController(rw).Hijack(); err == nil {
					_ = conn.Close()
				}
			})).ServeHTTP(pipeRecorder{httptest.NewRecorder()}, b.request("GET", "/", nil))
		},
		"open": func() {
			ctx, done := context.WithCancel(context.Background())
			defer done()
			r, s := w.Open(b.request("GET", "/", nil).WithContext(ctx))
			watch(r)
			if err := s.Commit(r.Context(), httptest.NewRecorder()); err != nil {
				t.Error(err)
			}
		},
		"flush": func() {
			b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) { _ = http.NewResponseController(rw).Flush() })
		},
	} {
		t.Run(name, func(t *testing.T) {
			for range 20 {
				request()
			}
			left := -1
			for deadline := time.Now().Add(5 * time.Second); left != 0 && time.Now().Before(deadline); time.Sleep(time.Millisecond) {
				left = session.TestOnlyChannels(w.Manager)
			}
			if left != 0 {
				t.Errorf("got %d channels left of requests that are over", left)
			}
		})
	}
}

// TestOwnElevationDoesNotEndTheRequest: a request that watches its session goes on
// under the new token.
func TestOwnElevationDoesNotEndTheRequest(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	resp := b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
		_, stop := session.From(r.Context()).Watch(context.Background())
		defer stop()
		if err := w.Elevate(r.Context(), func(a *session.Assurance) { a.Role = "admin" }); err != nil {
			t.Error(err)
		}
		if r.Context().Err() != nil {
			t.Errorf("the request's context ended: %v", context.Cause(r.Context()))
		}
		if _, err := w.Revoke(context.Background(), session.From(r.Context()).Handle(), "now"); err != nil {
			t.Error(err)
		}
		<-r.Context().Done()
	})
	if resp.StatusCode != 200 {
		t.Errorf("got status %d", resp.StatusCode)
	}
}

// TestWebSocketOrigin: pages of other origins cannot open a socket with our
// cookie.
func TestWebSocketOrigin(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	for name, c := range map[string]struct {
		header, value string
		want          int
	}{
		"own page":     {"Origin", "https://shop.example", 200},
		"no browser":   {"X-Nothing", "", 200},
		"other origin": {"Origin", "https://evil.example", 403},
		"sibling host": {"Sec-Fetch-Site", "same-site", 403},
	} {
		r := b.request("GET", "/whoami", nil)
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set(c.header, c.value)
		if resp := b.do(r); resp.StatusCode != c.want {
			t.Errorf("%s: got status %d, want %d", name, resp.StatusCode, c.want)
		}
	}
}

// TestLargeForm: a form beyond the application's own limit is too large, and one
// of a stranger is not even read.
func TestLargeForm(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.handler = http.MaxBytesHandler(w.Handler(w.mux), 1000)
	big := url.Values{"note": {strings.Repeat("x", 10_000)}, "csrf": {b.get("/csrf")}}
	if resp := b.do(b.request("POST", "/note", big)); resp.StatusCode != 413 {
		t.Errorf("got status %d, want 413", resp.StatusCode)
	}
	r := w.browser(t).request("POST", "/note", nil)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Body = io.NopCloser(unreadable{t})
	if resp := b.do(r); resp.StatusCode != 403 {
		t.Errorf("stranger: got status %d, want 403", resp.StatusCode)
	}
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the form of a stranger was read")
	return 0, io.EOF
}

// TestCookieOfLoginThatWasRevoked: a login that was revoked while its request was
// still at work sends no cookie: it could erase that of a newer one.
func TestCookieOfLoginThatWasRevoked(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	resp := b.with(w.Manager, func(rw http.ResponseWriter, r *http.Request) {
		if err := w.Login(r.Context(), session.Identity{Subject: "alice"}); err != nil {
			t.Fatal(err)
		}
		_, stop := session.From(r.Context()).Watch(r.Context())
		defer stop()
		_, _ = w.RevokeSubject(context.Background(), "alice", "meanwhile")
		time.Sleep(1200 * time.Millisecond)
		_, _ = io.WriteString(rw, "welcome")
	})
	if resp.StatusCode != 401 || hasCookie(resp.Header["Set-Cookie"], "__Host-id") {
		t.Errorf("got status %d and Set-Cookie %q, want 401 and no cookie", resp.StatusCode, resp.Header["Set-Cookie"])
	}
}
