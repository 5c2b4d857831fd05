package session_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store/memory"
)

// serve starts a real server for the world, with an event stream and a hijacked
// connection, and returns its address and a way to make authenticated requests.
func (w *world) serve(t *testing.T) (addr string, cookie string) {
	t.Helper()
	w.mux.HandleFunc("GET /stream", func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(rw, "data: hello\n\n")
		if err := http.NewResponseController(rw).Flush(); err != nil {
			t.Errorf("flushing: %v", err)
		}
		<-r.Context().Done()
		_, _ = fmt.Fprintf(rw, "data: %v\n\n", context.Cause(r.Context()))
	})
	w.mux.HandleFunc("GET /hijack", func(rw http.ResponseWriter, r *http.Request) {
		conn, buf, err := http.NewResponseController(rw).Hijack()
		if err != nil {
			t.Errorf("hijacking: %v", err)
			return
		}
		_, _ = buf.WriteString("HTTP/1.1 101 Switching Protocols\r\n\r\nhello\n")
		_ = buf.Flush()
		_, _ = io.Copy(io.Discard, conn) // until it is closed under us
		_ = conn.Close()
	})
	server := httptest.NewServer(w.Handler(w.mux))
	t.Cleanup(server.Close)
	b := w.browser(t)
	b.login("alice")
	return server.Listener.Addr().String(), "__Host-id=" + b.token()
}

// dial opens a request and reads until the greeting.
func dial(t *testing.T, addr, path, cookie string) *bufio.Reader {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	_, _ = fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop.example\r\nConnection: close\r\nCookie: %s\r\n\r\n", path, cookie)
	r := bufio.NewReader(conn)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("reading greeting: %v", err)
		}
		if strings.Contains(line, "hello") {
			return r
		}
	}
}

func TestOpenChannelsEnd(t *testing.T) {
	for name, end := range map[string]func(*world){
		"revoked":     func(w *world) { _, _ = w.RevokeSubject(context.Background(), "alice", "stolen") },
		"revoked all": func(w *world) { _ = w.RevokeAll(context.Background(), "breach") },
		"expired":     func(w *world) { w.clock.advance(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			addr, cookie := w.serve(t)
			stream, hijacked := dial(t, addr, "/stream", cookie), dial(t, addr, "/hijack", cookie)
			end(w)
			rest, err := io.ReadAll(stream)
			if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) || !strings.Contains(string(rest), session.ErrEnded.Error()) {
				t.Errorf("stream: got %q, %v; want it to end with ErrEnded", rest, err)
			}
			if rest, err := io.ReadAll(hijacked); err != nil && !strings.Contains(err.Error(), "reset") || len(rest) != 0 {
				t.Errorf("hijacked connection: got %q, %v; want it closed", rest, err)
			}
		})
	}
}

// TestChannelsOfOtherNodes: what another manager revokes ends here within
// seconds.
func TestChannelsOfOtherNodes(t *testing.T) {
	t.Parallel()
	shared := external{memory.New()}
	here := newWorld(t, func(c *session.Config) { c.Store = shared })
	there := newWorld(t, func(c *session.Config) { c.Store = shared })
	addr, cookie := here.serve(t)
	stream := dial(t, addr, "/stream", cookie)
	if n, err := there.RevokeSubject(t.Context(), "alice", "stolen"); n != 1 || err != nil {
		t.Fatalf("got %d, %v", n, err)
	}
	if rest, _ := io.ReadAll(stream); !strings.Contains(string(rest), session.ErrEnded.Error()) {
		t.Errorf("got %q, want ErrEnded", rest)
	}
}

// TestDeafStreamIsCutOff: a handler that does not look at its context cannot go
// on sending.
func TestDeafStreamIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	failed := make(chan error, 1)
	w.mux.HandleFunc("GET /deaf", func(rw http.ResponseWriter, _ *http.Request) {
		for {
			if _, err := io.WriteString(rw, "hello\n"); err != nil {
				failed <- err
				return
			}
			_ = http.NewResponseController(rw).Flush()
			time.Sleep(10 * time.Millisecond)
		}
	})
	addr, cookie := w.serve(t)
	dial(t, addr, "/deaf", cookie)
	_, _ = w.RevokeSubject(t.Context(), "alice", "stolen")
	select {
	case err := <-failed:
		if !errors.Is(err, session.ErrEnded) {
			t.Errorf("got %v, want ErrEnded", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("goes on sending after the revocation")
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		watched, stop := s.Watch(context.WithoutCancel(r.Context()))
		defer stop()
		child, cancel := context.WithCancel(r.Context())
		defer cancel()
		if watched.Err() != nil || r.Context().Err() != nil {
			t.Fatal("ended at once")
		}
		if _, err := w.Revoke(context.Background(), s.Handle(), "test"); err != nil {
			t.Fatal(err)
		}
		for name, ctx := range map[string]context.Context{"watched": watched, "request": r.Context(), "child": child} {
			select {
			case <-ctx.Done():
			case <-time.After(5 * time.Second):
				t.Errorf("%s context did not end", name)
			}
			if !errors.Is(context.Cause(ctx), session.ErrEnded) {
				t.Errorf("%s context: got cause %v", name, context.Cause(ctx))
			}
		}
	})
}

// TestRequestContext: the lazily made context behaves like the request's own.
func TestRequestContext(t *testing.T) {
	w := newWorld(t, nil)
	type key struct{}
	for _, early := range []bool{true, false} {
		parent, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, "v"), time.Hour)
		var ctx context.Context
		w.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			ctx = r.Context()
			if early {
				_ = ctx.Done()
			}
			if _, ok := ctx.Deadline(); !ok || ctx.Value(key{}) != "v" || ctx.Err() != nil {
				t.Error("deadline, value or error got lost")
			}
			cancel()
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("got %v, want context.Canceled", ctx.Err())
			}
		})).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(parent))
	}
}
