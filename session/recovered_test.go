package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"time"

	"cloakroom.example/session"
)

// TestRecoveredPanic: frameworks recover from a panic and answer through the
// response writer that the handler had. What the handler wanted to change is
// dropped all the same; what was stored before holds.
func TestRecoveredPanic(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	b.post("/note", url.Values{"note": {"before"}})
	var inner http.ResponseWriter
	w.mux.HandleFunc("GET /panic", func(rw http.ResponseWriter, r *http.Request) {
		inner = rw
		if err := note.Set(session.From(r.Context()), "after"); err != nil {
			t.Error(err)
		}
		panic("test")
	})
	recovering := w.Handler(w.mux)
	b.handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		defer func() {
			if recover() != nil {
				inner.WriteHeader(http.StatusInternalServerError)
			}
		}()
		recovering.ServeHTTP(rw, r)
	})
	if resp := b.do(b.request("GET", "/panic", nil)); resp.StatusCode != http.StatusInternalServerError {
		t.Errorf("got status %d, want 500", resp.StatusCode)
	}
	if got := b.get("/whoami"); got != "alice||before" {
		t.Errorf("got %q, want the note of before", got)
	}
}

// TestDeny answers as Config.Denied does, and the default is there to build on.
func TestDeny(t *testing.T) {
	w := newWorld(t, func(c *session.Config) {
		c.Denied = func(rw http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, session.ErrStale) {
				http.Redirect(rw, r, "/confirm", http.StatusSeeOther)
				return
			}
			session.Deny(rw, r, err)
		}
	})
	for _, test := range []struct {
		err    error
		status int
	}{{session.ErrStale, http.StatusSeeOther}, {session.ErrConflict, http.StatusConflict}} {
		rec := httptest.NewRecorder()
		w.Deny(rec, httptest.NewRequest("GET", "/", nil), test.err)
		if rec.Code != test.status {
			t.Errorf("%v: got status %d, want %d", test.err, rec.Code, test.status)
		}
	}
}

// TestCloseChannels ends an open channel for a reason that is not the session's,
// which lives on.
func TestCloseChannels(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	w.mux.HandleFunc("GET /stream", func(rw http.ResponseWriter, r *http.Request) {
		watched, cancel := session.From(r.Context()).Watch(r.Context())
		defer cancel()
		closed := rw.(interface{ CloseNotify() <-chan bool }).CloseNotify()
		time.AfterFunc(10*time.Millisecond, w.CloseChannels)
		select {
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Error("the channel did not close")
		}
		if cause := context.Cause(watched); !errors.Is(cause, session.ErrUnavailable) {
			t.Errorf("got cause %v, want %v", cause, session.ErrUnavailable)
		}
		if r.Context().Err() == nil {
			t.Error("the request's context is still open")
		}
	})
	b.get("/stream")
	if got := b.get("/whoami"); got != "alice||" {
		t.Errorf("afterwards: got %q, want alice", got)
	}
}
