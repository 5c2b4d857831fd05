package nearcache_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/nearcache"
	"cloakroom.example/session/store/storetest"
)

// site is one application on two nodes. Node A asks the engine itself; node B has
// copies. From lag on, B's copies stay what they were, as if no push arrived and no
// time passed.
type site struct {
	testing.TB
	hub    *hub
	engine *storetest.Faulty // as B's copies see it
	copies nearcache.Store
	frozen atomic.Pointer[time.Time] // the time of the copies, once it stands still
	clock  atomic.Int64              // added to the time, for sessions
	a, b   http.Handler
	cookie string // of the browser
}

func newSite(t testing.TB, limits session.Limits) *site {
	w := &site{TB: t, hub: newHub()}
	w.engine = storetest.NewFaulty(w.hub)
	w.copies = nearAt(t, w.engine, nearcache.Options{Watcher: w.hub}, func() time.Time {
		if at := w.frozen.Load(); at != nil {
			return *at
		}
		return time.Now()
	})
	w.a, w.b = w.node(external{w.hub}, limits), w.node(w.copies, limits)
	awaitCopies(t, w.copies, "")
	return w
}

// external hides that the hub lives in this process.
type external struct{ store.Store }

func (w *site) node(s store.Store, limits session.Limits) http.Handler {
	w.Helper()
	m, err := session.New(session.Config{
		Store: s, Limits: limits, Logger: quiet(), Keys: [][]byte{[]byte(strings.Repeat("k", 32))},
		Now: func() time.Time { return time.Now().Add(time.Duration(w.clock.Load())) },
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			w.Error(err)
		}
	})
	say := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		fmt.Fprint(rw, session.From(r.Context()).Subject())
	})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(rw http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), session.Identity{Subject: "alice"}); err != nil {
			m.Deny(rw, r, err)
		}
	})
	mux.HandleFunc("GET /revoke", func(rw http.ResponseWriter, r *http.Request) {
		if _, err := m.RevokeSubject(context.Background(), "alice", "test"); err != nil {
			m.Deny(rw, r, err)
		}
	})
	mux.HandleFunc("GET /stream", func(_ http.ResponseWriter, r *http.Request) {
		watched, cancel := session.From(r.Context()).Watch(r.Context())
		defer cancel()
		<-watched.Done()
	})
	mux.Handle("GET /", say)
	mux.Handle("GET /login-required", m.RequireLogin(say))
	mux.Handle("GET /current-required", m.RequireCurrent(say))
	mux.Handle("GET /fresh-required", m.RequireFresh(time.Hour, say))
	return m.Handler(mux)
}

// get makes a request of the browser.
func (w *site) get(node http.Handler, path string) *httptest.ResponseRecorder {
	w.Helper()
	r := httptest.NewRequest("GET", "https://shop.example"+path, nil)
	if w.cookie != "" {
		r.AddCookie(&http.Cookie{Name: "__Host-id", Value: w.cookie})
	}
	out := httptest.NewRecorder()
	node.ServeHTTP(out, r)
	for _, c := range out.Result().Cookies() {
		if c.Name == "__Host-id" {
			w.cookie = c.Value
		}
	}
	return out
}

// want makes a request and compares status and body.
func (w *site) want(what string, node http.Handler, path string, status int, body string) {
	w.Helper()
	out := w.get(node, path)
	if got := out.Body.String(); out.Code != status || status == http.StatusOK && got != body {
		w.Errorf("%s: got %d %q, want %d %q", what, out.Code, got, status, body)
	}
}

// login signs in on A and has B make a copy.
func (w *site) login() {
	w.Helper()
	w.want("login", w.a, "/login", http.StatusOK, "")
	w.want("first request on B", w.b, "/", http.StatusOK, "alice")
	before := w.engine.Calls(storetest.OpLoad)
	w.want("second request on B", w.b, "/", http.StatusOK, "alice")
	if n := w.engine.Calls(storetest.OpLoad) - before; n != 0 {
		w.Errorf("the second request on B asked the engine %d times, want a copy", n)
	}
}

// lag freezes what B knows.
func (w *site) lag() {
	w.Helper()
	w.Cleanup(w.hub.hold())
	now := time.Now()
	w.frozen.Store(&now)
}

// TestRotatedElsewhere: a token that another node has minted a moment ago is
// accepted, though the copy holds the verifier of the old one.
func TestRotatedElsewhere(t *testing.T) {
	w := newSite(t, session.Limits{})
	w.login()
	w.lag()
	w.clock.Add(int64(16 * time.Minute))
	old := w.cookie
	w.want("request that rotates", w.a, "/", http.StatusOK, "alice")
	if w.cookie == old {
		t.Fatal("node A did not rotate the token, so the test proves nothing")
	}
	w.want("new token on B", w.b, "/", http.StatusOK, "alice")
}

// TestUsedElsewhere: a session that is used on another node neither ends nor locks
// for being idle, though the copy has not seen it used.
func TestUsedElsewhere(t *testing.T) {
	t.Parallel()
	for name, limits := range map[string]session.Limits{
		"ends":  {Idle: 10 * time.Minute, Rotate: time.Hour},
		"locks": {Idle: 10 * time.Minute, Rotate: time.Hour, IdleLocks: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newSite(t, limits)
			w.login()
			w.lag()
			for range 2 {
				w.clock.Add(int64(8 * time.Minute))
				w.want("request on A", w.a, "/", http.StatusOK, "alice")
				awaitSeen(t, w)
			}
			w.want("request on B", w.b, "/login-required", http.StatusOK, "alice")
			w.want("request on A again", w.a, "/login-required", http.StatusOK, "alice")
			w.clock.Add(int64(11 * time.Minute))
			w.want("request on B when it was idle", w.b, "/login-required", http.StatusUnauthorized, "")
		})
	}
}

// TestStreamOfSessionUsedElsewhere: an open channel outlives what the copy says about
// its session being idle, and not what the engine says.
func TestStreamOfSessionUsedElsewhere(t *testing.T) {
	t.Parallel()
	w := newSite(t, session.Limits{Idle: 10 * time.Minute, Rotate: time.Hour})
	w.login()
	w.lag()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		w.get(w.b, "/stream")
	}()
	before := w.engine.Calls(storetest.OpLoad)
	w.clock.Add(int64(8 * time.Minute))
	w.want("request on A", w.a, "/", http.StatusOK, "alice")
	awaitSeen(t, w)
	w.clock.Add(int64(8 * time.Minute))
	await(t, "the channel's session to be looked up", func() bool { return w.engine.Calls(storetest.OpLoad) > before })
	w.want("request on B", w.b, "/", http.StatusOK, "alice")
	select {
	case <-ended:
		t.Error("the channel has ended, though the session is in use")
	default:
	}
	w.clock.Add(int64(11 * time.Minute))
	await(t, "the channel of an idle session to end", func() bool {
		select {
		case <-ended:
			return true
		default:
			return false
		}
	})
}

// awaitSeen waits until the touch of the last request is stored.
func awaitSeen(t testing.TB, w *site) {
	t.Helper()
	now := time.Now().Add(time.Duration(w.clock.Load()))
	await(t, "the touch", func() bool {
		page, err := w.hub.List(t.Context(), store.Query{Subject: "alice", Now: now})
		return err == nil && len(page.Records) == 1 && now.Sub(page.Records[0].Seen) < time.Minute
	})
}

// TestGatesReadThrough: who was revoked elsewhere a moment ago passes no gate that
// asks the engine, and one that cannot ask says so.
func TestGatesReadThrough(t *testing.T) {
	for _, gate := range []string{"/current-required", "/fresh-required"} {
		t.Run(gate[1:], func(t *testing.T) {
			w := newSite(t, session.Limits{})
			w.login()
			w.want("gate, before", w.b, gate, http.StatusOK, "alice")
			w.want("copy after the gate", w.b, "/", http.StatusOK, "alice")
			w.lag()
			w.engine.Down(nil)
			w.want("gate without an engine", w.b, gate, http.StatusServiceUnavailable, "")
			w.want("copy without an engine", w.b, "/login-required", http.StatusOK, "alice")
			w.engine.Up()
			token := w.cookie
			w.want("revocation on A", w.a, "/revoke", http.StatusOK, "")
			w.cookie = token
			w.want("copy, which the test needs to be old", w.b, "/login-required", http.StatusOK, "alice")
			w.want("gate", w.b, gate, http.StatusUnauthorized, "")
			w.want("after the gate has asked", w.b, "/login-required", http.StatusUnauthorized, "")
		})
	}
}

// TestRevokedElsewhere: without lag, a revocation is obeyed as soon as its push has
// arrived.
func TestRevokedElsewhere(t *testing.T) {
	w := newSite(t, session.Limits{})
	w.login()
	token := w.cookie
	w.want("revocation on A", w.a, "/revoke", http.StatusOK, "")
	await(t, "B to refuse", func() bool {
		w.cookie = token
		return w.get(w.b, "/login-required").Code == http.StatusUnauthorized
	})
}

// TestUnknownSecretCostsOneLoad: tokens with a known locator and a wrong secret are
// refused, at one question each.
func TestUnknownSecretCostsOneLoad(t *testing.T) {
	w := newSite(t, session.Limits{})
	w.login()
	w.cookie = w.cookie[:22] + strings.Repeat("A", 42)
	before := w.engine.Calls(storetest.OpLoad)
	w.want("wrong secret", w.b, "/login-required", http.StatusUnauthorized, "")
	if n := w.engine.Calls(storetest.OpLoad) - before; n > 1 {
		t.Errorf("got %d questions to the engine, want 1", n)
	}
}

// TestHitIsCheap: a request that a copy answers needs little beside the copy.
func TestHitIsCheap(t *testing.T) {
	w := newSite(t, session.Limits{})
	w.login()
	w.lag() // and nothing else goes on
	r := httptest.NewRequest("GET", "https://shop.example/login-required", nil)
	r.AddCookie(&http.Cookie{Name: "__Host-id", Value: w.cookie})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r = r.WithContext(ctx)
	before := w.engine.Calls(storetest.OpLoad)
	allocations := testing.AllocsPerRun(100, func() { w.b.ServeHTTP(discard{}, r) })
	if n := w.engine.Calls(storetest.OpLoad) - before; n != 0 {
		t.Fatalf("the engine was asked %d times, want copies", n)
	}
	if allocations > 13 {
		t.Errorf("got %v allocations for a request, want at most 13", allocations)
	}
}

// discard is a response that nobody reads.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) Write(p []byte) (int, error) { return len(p), nil }
func (discard) WriteHeader(int)             {}

// TestEngineIsNotWaitedFor: where no copy answers, a request waits for the engine no
// longer than agreed, and no longer than its client does.
func TestEngineIsNotWaitedFor(t *testing.T) {
	for name, c := range map[string]struct{ patience, client time.Duration }{
		"engine": {50 * time.Millisecond, time.Minute}, "client": {time.Minute, 50 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := session.New(session.Config{
				Store: stuck{newHub()}, StoreTimeout: c.patience, Logger: quiet(), Keys: [][]byte{[]byte(strings.Repeat("k", 32))},
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := m.Close(context.Background()); err != nil {
					t.Error(err)
				}
			})
			ctx, cancel := context.WithTimeout(t.Context(), c.client)
			defer cancel()
			r := httptest.NewRequest("GET", "https://shop.example/", nil).WithContext(ctx)
			r.AddCookie(&http.Cookie{Name: "__Host-id", Value: wellFormed(t)})
			out, began := httptest.NewRecorder(), time.Now()
			m.Handler(m.RequireLogin(http.NotFoundHandler())).ServeHTTP(out, r)
			if took := time.Since(began); out.Code != http.StatusServiceUnavailable || took > 10*time.Second {
				t.Errorf("got %d after %v, want 503 at once", out.Code, took)
			}
		})
	}
}

// stuck is a store that serves copies, has none, and whose engine does not answer.
type stuck struct{ *hub }

func (stuck) InProcess() bool    { return false }
func (stuck) ServesCopies() bool { return true }

func (stuck) Load(ctx context.Context, _ store.Key, _ []string) (store.Record, error) {
	below, cancel := context.WithCancel(ctx)
	defer cancel()
	<-below.Done()
	return store.Record{}, fmt.Errorf("%w: %w", store.ErrUnavailable, below.Err())
}

// wellFormed returns a token as some manager has made it.
func wellFormed(t *testing.T) string {
	t.Helper()
	w := newSite(t, session.Limits{})
	w.login()
	return w.cookie
}
