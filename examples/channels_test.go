package examples_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/coder/websocket"
)

// socket is an open WebSocket.
type socket struct {
	t    *testing.T
	conn *websocket.Conn
}

// dial opens a WebSocket with the browser's cookies, from a page of an origin.
func (b *browser) dial(origin string) (*websocket.Conn, int) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), endTimeout)
	defer cancel()
	header := b.request(ctx, "GET", "/", nil).Header
	header.Set("Origin", origin)
	conn, resp, err := websocket.Dial(ctx, b.url+"/chat", &websocket.DialOptions{HTTPHeader: header})
	if resp == nil {
		b.t.Fatal(err)
	}
	return conn, resp.StatusCode
}

func (b *browser) socket() *socket {
	b.t.Helper()
	conn, status := b.dial(b.url)
	if conn == nil {
		b.t.Fatalf("opening a WebSocket: got status %d", status)
	}
	b.t.Cleanup(func() { _ = conn.CloseNow() })
	return &socket{b.t, conn}
}

func (s *socket) say(text string) {
	s.t.Helper()
	if err := s.conn.Write(s.t.Context(), websocket.MessageText, []byte(text)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *socket) read() (string, error) {
	ctx, cancel := context.WithTimeout(s.t.Context(), endTimeout)
	defer cancel()
	_, text, err := s.conn.Read(ctx)
	return string(text), err
}

func (s *socket) hears(want string) {
	s.t.Helper()
	if got, err := s.read(); err != nil || got != want {
		s.t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

// ends waits for the end and wants to be told the reason.
func (s *socket) ends() {
	s.t.Helper()
	if got, err := s.read(); websocket.CloseStatus(err) != 4001 {
		s.t.Errorf("got %q, %v; want the end of the session", got, err)
	}
}

// open opens an event stream and leaves it.
func (b *browser) open(path string) (status int) {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	defer cancel()
	resp, err := b.send(b.request(ctx, "GET", path, nil))
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}

func TestWebSocket(t *testing.T) {
	t.Parallel()
	p := start(t, "websocket")
	user := func(t *testing.T, name, password string) *browser {
		b := newBrowser(t, p)
		b.signIn("/", "/login", name, password)
		return b
	}
	t.Run("refused", func(t *testing.T) {
		if conn, status := newBrowser(t, p).dial(p.url); conn != nil || status != http.StatusUnauthorized {
			t.Errorf("for a visitor: got status %d, want 401", status)
		}
		if conn, status := user(t, "alice", "coat").dial("https://evil.example"); conn != nil || status != http.StatusForbidden {
			t.Errorf("for a page of another site: got status %d, want 403", status)
		}
	})
	t.Run("until logout elsewhere", func(t *testing.T) {
		alice, bob := user(t, "alice", "coat"), user(t, "bob", "hat")
		here, there, other := alice.socket(), alice.twin().socket(), bob.socket()
		here.say("good evening")
		for _, s := range []*socket{here, there, other} {
			s.hears("alice: good evening")
		}
		alice.submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
		here.ends()
		there.ends()
		other.say("alone at last")
		other.hears("bob: alone at last")
	})
	t.Run("until revoked", func(t *testing.T) {
		first, second := user(t, "alice", "coat"), user(t, "alice", "coat")
		lost, kept := first.socket(), second.twin()
		second.submit("/", "/elsewhere").want(t, "ending the others", http.StatusSeeOther)
		lost.ends()
		first.shows("/", "Password")
		second.shows("/", "alice is signed in")
		kept.shows("/", "Password") // RevokeOthers has replaced this token too
	})
	t.Run("until the program stops", func(t *testing.T) {
		own := start(t, "websocket")
		b := newBrowser(t, own)
		b.signIn("/", "/login", "alice", "coat")
		s := b.socket()
		own.stop()
		if _, err := s.read(); err == nil {
			t.Error("the WebSocket outlives its program")
		}
	})
	t.Run("until idle", func(t *testing.T) {
		short := start(t, "websocket", "-idle", "5s")
		b := newBrowser(t, short)
		b.signIn("/", "/login", "alice", "coat")
		b.socket().ends()
	})
}

func TestEventStream(t *testing.T) {
	t.Parallel()
	p := start(t, "sse")
	const goodbye = "data: your session has ended"
	ends := func(t *testing.T, s *stream) {
		t.Helper()
		if got := s.ends(); got != goodbye {
			t.Errorf("got last words %q, want %q", got, goodbye)
		}
	}
	user := func(t *testing.T, name, password string) *browser {
		b := newBrowser(t, p)
		b.signIn("/", "/login", name, password)
		return b
	}
	newBrowser(t, p).get("/news").want(t, "for a visitor", http.StatusUnauthorized)
	t.Run("until logout elsewhere", func(t *testing.T) {
		alice, bob := user(t, "alice", "coat"), user(t, "bob", "hat")
		here, other := alice.stream("/news"), bob.stream("/news")
		bob.submit("/", "/coat", "coat", "a\nblue  coat").want(t, "handing in", http.StatusSeeOther)
		for _, s := range []*stream{here, other} {
			if got := s.next(); got != "bob hands in a blue coat" {
				t.Errorf("got %q, want the coat", got)
			}
		}
		alice.twin().submit("/", "/logout").want(t, "logout", http.StatusSeeOther)
		ends(t, here)
		bob.submit("/", "/coat", "coat", "a hat").want(t, "handing in", http.StatusSeeOther)
		if got := other.next(); got != "bob hands in a hat" {
			t.Errorf("got %q, want the hat", got)
		}
	})
	t.Run("until revoked", func(t *testing.T) {
		first, second := user(t, "alice", "coat"), user(t, "alice", "coat")
		s := first.stream("/news")
		second.submit("/", "/everywhere").want(t, "signing out everywhere", http.StatusSeeOther)
		ends(t, s)
		first.get("/news").want(t, "opening it again", http.StatusUnauthorized)
	})
	t.Run("until idle, though the browser opens it again", func(t *testing.T) {
		short := start(t, "sse", "-idle", "5s")
		b := newBrowser(t, short)
		b.signIn("/", "/login", "alice", "coat")
		ends(t, b.stream("/news"))

		b.signIn("/", "/login", "alice", "coat")
		wait(t, "opening the stream again and again keeps the session alive", func() bool {
			return b.open("/news") == http.StatusUnauthorized
		})
	})
	t.Run("until the program stops", func(t *testing.T) {
		own := start(t, "sse")
		b := newBrowser(t, own)
		b.signIn("/", "/login", "alice", "coat")
		s := b.stream("/news")
		own.stop()
		s.ends()
	})
}
