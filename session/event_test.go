package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
)

// TestEvents: the story of a session as its observers read it.
func TestEvents(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *session.Config) {
		c.Namespace = "shop"
		c.Observers = append(c.Observers, session.LogTo(slog.New(slog.NewJSONHandler(&log, nil))))
	})
	b := w.browser(t)
	b.post("/add", url.Values{"item": {"coat"}})
	var tokens []string
	keep := func() { tokens = append(tokens, b.cookies["__Host-id-shop"]) }
	keep()
	b.login("alice")
	keep()
	w.clock.advance(16 * time.Minute)
	b.get("/whoami")
	keep()
	b.post("/logout", nil)
	if err := w.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	type line struct {
		Msg, Level string
		Session    struct{ Namespace, Handle, Previous, Subject, Initiator, Cause, Addr, Agent string }
	}
	var got []string
	var previous string
	for _, raw := range strings.Split(strings.TrimSpace(log.String()), "\n") {
		var l line
		if err := json.Unmarshal([]byte(raw), &l); err != nil {
			t.Fatalf("%v in %q", err, raw)
		}
		if l.Session.Namespace != "shop" || l.Session.Addr != "192.0.2.1" || l.Session.Agent != "test browser" || l.Session.Handle == "" {
			t.Errorf("got line %q without namespace, handle, address or agent", raw)
		}
		if l.Msg == session.EventRenewed && l.Session.Cause == "login" && l.Session.Previous != previous {
			t.Errorf("got previous handle %q, want %q", l.Session.Previous, previous)
		}
		previous = l.Session.Handle
		got = append(got, l.Msg+" "+l.Session.Cause+" "+l.Session.Subject+" "+l.Session.Initiator)
	}
	want := []string{
		"session_created visit  ", "session_renewed login alice alice", "session_renewed rotation alice alice", "session_logout  alice alice",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got events\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, token := range tokens {
		if token == "" || strings.Contains(log.String(), token) || strings.Contains(log.String(), token[22:]) {
			t.Errorf("log holds the token %q, or there was none", token)
		}
	}
}

// TestSlowObserver: observers cannot hold up a request; what they miss is
// counted and reported.
func TestSlowObserver(t *testing.T) {
	release, dropped := make(chan struct{}), make(chan int, 10)
	w := newWorld(t, func(c *session.Config) {
		c.EventQueue = 2
		c.Observers = []func(session.Event){func(e session.Event) {
			if e.Type == session.EventDropped {
				dropped <- e.Count
				return
			}
			<-release
		}}
	})
	for range 10 {
		w.browser(t).login("alice")
	}
	close(release)
	select {
	case n := <-dropped:
		if n < 7 || n > 8 { // one is being observed, two wait
			t.Errorf("got %d dropped events reported, want 7 or 8", n)
		}
	case <-time.After(5 * time.Second):
		t.Error("dropped events were not reported")
	}
}

func TestPanickingObserver(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *session.Config) {
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
		c.Observers = append([]func(session.Event){func(session.Event) { panic("boom") }}, c.Observers...)
	})
	w.browser(t).login("alice")
	w.events.count(t, session.EventCreated, 1)
	_ = w.Close(t.Context())
	if !strings.Contains(log.String(), "boom") {
		t.Errorf("got log %q, want it to report the panic", log.String())
	}
}

func TestCloseWaitsForObservers(t *testing.T) {
	release := make(chan struct{})
	m, err := session.New(session.Config{Observers: []func(session.Event){func(session.Event) { <-release }}})
	if err != nil {
		t.Fatal(err)
	}
	_ = newBrowser(t, nil).call(m, func(ctx context.Context) error { return m.Login(ctx, session.Identity{Subject: "alice"}) })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := m.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a stuck observer: got %v, want DeadlineExceeded", err)
	}
	close(release)
	if err := m.Close(t.Context()); err != nil {
		t.Errorf("afterwards: got %v", err)
	}
}

func TestForwarded(t *testing.T) {
	addr := session.Forwarded(netip.MustParsePrefix("10.0.0.0/8"))
	for name, c := range map[string]struct {
		peer, header, want string
	}{
		"direct":             {"192.0.2.1:1", "", "192.0.2.1"},
		"forged":             {"192.0.2.1:1", "203.0.113.9", "192.0.2.1"},
		"one proxy":          {"10.0.0.1:1", "203.0.113.9", "203.0.113.9"},
		"two proxies":        {"10.0.0.1:1", "203.0.113.9, 10.0.0.2", "203.0.113.9"},
		"forged through one": {"10.0.0.1:1", "1.1.1.1, 203.0.113.9", "203.0.113.9"},
		"garbage":            {"10.0.0.1:1", "203.0.113.9, unknown", "10.0.0.1"},
		"mapped":             {"[::ffff:10.0.0.1]:1", "::ffff:203.0.113.9", "203.0.113.9"},
		"no address":         {"@", "203.0.113.9", "invalid IP"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			if c.header != "" {
				r.Header.Set("X-Forwarded-For", c.header)
			}
			if got := addr(r).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestOpenCommit is the life of a request in a framework with its own responses.
func TestOpenCommit(t *testing.T) {
	w := newWorld(t, nil)
	b := newBrowser(t, nil)
	run := func(r *http.Request, f func(*http.Request, *session.Session) error) *http.Response {
		rec := httptest.NewRecorder()
		r, s := w.Open(r)
		err := w.CheckCSRF(r)
		if err == nil {
			err = f(r, s)
		}
		if err == nil {
			err = s.Commit(r.Context(), rec)
		}
		if err != nil {
			rec.WriteHeader(session.Status(err))
		}
		_, _ = io.WriteString(rec, "done")
		return b.keep(rec.Result())
	}
	var form string
	run(b.request("GET", "/", nil), func(r *http.Request, s *session.Session) (err error) {
		form, err = w.CSRFToken(r.Context())
		return err
	})
	if resp := run(b.request("POST", "/", url.Values{}), nil); resp.StatusCode != 403 {
		t.Errorf("without a token: got status %d", resp.StatusCode)
	}
	resp := run(b.request("POST", "/", url.Values{"csrf": {form}}), func(r *http.Request, s *session.Session) error {
		if s != session.From(r.Context()) {
			t.Error("From answers another session")
		}
		if err := w.Login(r.Context(), session.Identity{Subject: "alice"}); err != nil {
			return err
		}
		return note.Set(s, "kept")
	})
	if resp.StatusCode != 200 || b.token() == "" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("login: got status %d, headers %v", resp.StatusCode, resp.Header)
	}
	run(b.request("GET", "/", nil), func(_ *http.Request, s *session.Session) error {
		if text, _ := note.Get(s); s.Subject() != "alice" || text != "kept" {
			t.Errorf("got %q with %q", s.Subject(), text)
		}
		return nil
	})
}

func TestReferrerPolicyAndCaching(t *testing.T) {
	w := newWorld(t, func(c *session.Config) { c.ReferrerPolicy = "same-origin" })
	w.mux.HandleFunc("GET /plain", func(rw http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(rw, "plain") })
	w.mux.HandleFunc("GET /own", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Cache-Control", "private, max-age=5")
		rw.Header().Set("Vary", "Accept, cookie")
		rw.Header().Set("Referrer-Policy", "no-referrer")
		_, _ = io.WriteString(rw, session.From(r.Context()).Subject())
	})
	b, visitor := w.browser(t), w.browser(t)
	b.login("alice")
	for _, c := range []struct {
		who                         *browser
		path, cache, vary, referrer string
	}{
		{b, "/plain", "", "", "same-origin"},
		{b, "/whoami", "no-store", "Cookie", "same-origin"},
		{b, "/own", "private, max-age=5", "Accept, cookie", "no-referrer"},
		{visitor, "/whoami", "", "Cookie", "same-origin"},
	} {
		h := c.who.do(c.who.request("GET", c.path, nil)).Header
		if got := [...]string{h.Get("Cache-Control"), strings.Join(h.Values("Vary"), ";"), h.Get("Referrer-Policy")}; got != [...]string{c.cache, c.vary, c.referrer} {
			t.Errorf("%s: got Cache-Control, Vary, Referrer-Policy %q, want %q", c.path, got, [...]string{c.cache, c.vary, c.referrer})
		}
	}
}
