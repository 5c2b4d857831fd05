package session_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
)

// browser is a client with a cookie jar, talking to a handler.
type browser struct {
	t       testing.TB
	handler http.Handler
	addr    string

	mu      sync.Mutex
	cookies map[string]string
}

func newBrowser(t testing.TB, h http.Handler) *browser {
	return &browser{t: t, handler: h, addr: "192.0.2.1:1234", cookies: map[string]string{}}
}

// twin returns another browser with the same cookies: a thief, or a second tab
// that does not see what the first one receives.
func (b *browser) twin() *browser {
	other := newBrowser(b.t, b.handler)
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, value := range b.cookies {
		other.cookies[name] = value
	}
	return other
}

func (b *browser) token() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cookies["__Host-id"]
}

// request makes a request with the cookies the browser has.
func (b *browser) request(method, path string, form url.Values) *http.Request {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r := httptest.NewRequest(method, "https://shop.example"+path, body)
	r.RemoteAddr = b.addr
	r.Header.Set("User-Agent", "test browser")
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

// do sends a request and keeps the cookies of the response.
func (b *browser) do(r *http.Request) *http.Response {
	b.t.Helper()
	rec := httptest.NewRecorder()
	b.handler.ServeHTTP(rec, r)
	return b.keep(rec.Result())
}

// keep stores a response's cookies as a browser does.
func (b *browser) keep(resp *http.Response) *http.Response {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return resp
}

func (b *browser) get(path string) string {
	b.t.Helper()
	return body(b.t, b.do(b.request("GET", path, nil)))
}

// post fetches a form token and posts the form with it.
func (b *browser) post(path string, form url.Values) *http.Response {
	b.t.Helper()
	if form == nil {
		form = url.Values{}
	}
	form.Set("csrf", b.get("/csrf"))
	return b.do(b.request("POST", path, form))
}

func (b *browser) login(subject string) {
	b.t.Helper()
	if resp := b.post("/login", url.Values{"user": {subject}}); resp.StatusCode != 200 {
		b.t.Fatalf("login of %s: got status %d: %s", subject, resp.StatusCode, body(b.t, resp))
	}
}

func body(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// clock is a clock that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// events collects what observers see.
type events struct {
	mu  sync.Mutex
	all []session.Event
}

func (e *events) observe(ev session.Event) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.all = append(e.all, ev)
}

// count returns how many events of a type there are, after a moment for the
// queue to drain.
func (e *events) count(t testing.TB, typ string, want int) {
	t.Helper()
	got := 0
	for deadline := time.Now().Add(2 * time.Second); ; time.Sleep(time.Millisecond) {
		got = 0
		e.mu.Lock()
		for _, ev := range e.all {
			if ev.Type == typ {
				got++
			}
		}
		e.mu.Unlock()
		if got >= want && (want > 0 || time.Now().After(deadline.Add(-1980*time.Millisecond))) || time.Now().After(deadline) {
			break
		}
	}
	if got != want {
		t.Errorf("got %d events %s, want %d", got, typ, want)
	}
}

// world is a manager with its clock, its events and a small application.
type world struct {
	*session.Manager
	clock  *clock
	events *events
	mux    *http.ServeMux
}

var (
	basket = session.NewKey[[]string]("basket", session.CarryOver)
	note   = session.NewKey[string]("note")
	notice = session.NewKey[string]("notice", session.Flash)
)

func newWorld(t testing.TB, change func(*session.Config)) *world {
	t.Helper()
	w := &world{clock: newClock(), events: new(events), mux: http.NewServeMux()}
	c := session.Config{
		Now: w.clock.Now, Observers: []func(session.Event){w.events.observe}, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&c)
	}
	m, err := session.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := m.Close(ctx); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	w.Manager = m
	w.routes()
	return w
}

func (w *world) browser(t testing.TB) *browser { return newBrowser(t, w.Handler(w.mux)) }

func reply(w http.ResponseWriter, err error, text string) {
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	_, _ = io.WriteString(w, text)
}

func (w *world) routes() {
	w.mux.HandleFunc("GET /csrf", func(rw http.ResponseWriter, r *http.Request) {
		token, err := w.CSRFToken(r.Context())
		reply(rw, err, token)
	})
	w.mux.HandleFunc("GET /whoami", func(rw http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		items, _ := basket.Get(s)
		text, _ := note.Get(s)
		reply(rw, nil, s.Subject()+"|"+strings.Join(items, ",")+"|"+text)
	})
	w.mux.HandleFunc("POST /login", func(rw http.ResponseWriter, r *http.Request) {
		reply(rw, w.Login(r.Context(), session.Identity{
			Subject: r.FormValue("user"), Methods: []string{"pwd"}, Role: r.FormValue("role"), Remember: r.FormValue("remember") != "",
		}), "ok")
	})
	w.mux.HandleFunc("POST /logout", func(rw http.ResponseWriter, r *http.Request) {
		reply(rw, w.Logout(r.Context()), "ok")
	})
	w.mux.HandleFunc("POST /add", func(rw http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		reply(rw, basket.Update(r.Context(), s, func(b *[]string) error {
			*b = append(*b, r.FormValue("item"))
			return nil
		}), "ok")
	})
	w.mux.HandleFunc("POST /note", func(rw http.ResponseWriter, r *http.Request) {
		reply(rw, note.Set(session.From(r.Context()), r.FormValue("note")), "ok")
	})
}
