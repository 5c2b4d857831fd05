package sessiontest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// client is a browser that talks to several nodes, as one behind a load balancer
// does. It is safe for concurrent use.
type client struct {
	t       testing.TB
	mu      sync.Mutex
	cookies map[string]string
}

func (p *pair) client() *client { return &client{t: p.t, cookies: make(map[string]string)} }

// twin returns a second client with the same cookies, which does not see what the
// first one receives.
func (c *client) twin() *client {
	other := &client{t: c.t, cookies: make(map[string]string)}
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, value := range c.cookies {
		other.cookies[name] = value
	}
	return other
}

// token returns the value of the session cookie.
func (c *client) token() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cookies[cookieName]
}

func (c *client) request(method, path string, form url.Values) *http.Request {
	r := httptest.NewRequest(method, "https://shop.example"+path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	return r
}

// do sends a request to a node, keeps the cookies of the response, and returns its
// status and text.
func (c *client) do(n http.Handler, r *http.Request) (int, string) {
	w := httptest.NewRecorder()
	n.ServeHTTP(w, r)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cookie := range w.Result().Cookies() {
		if cookie.MaxAge < 0 {
			delete(c.cookies, cookie.Name)
		} else {
			c.cookies[cookie.Name] = cookie.Value
		}
	}
	return w.Code, strings.TrimSpace(w.Body.String())
}

func (c *client) get(n *node, path string) (int, string) { return c.do(n, c.request("GET", path, nil)) }

// form returns a POST request with a form token that the node has made.
func (c *client) form(n *node, path, value string) *http.Request {
	_, token := c.get(n, "/csrf")
	return c.request("POST", path, url.Values{"csrf": {token}, "value": {value}})
}

func (c *client) post(n *node, path, value string) int {
	status, _ := c.do(n, c.form(n, path, value))
	return status
}

// login signs a subject in on a node.
func (p *pair) login(n *node, subject string) *client {
	p.t.Helper()
	c := p.client()
	if status, text := c.do(n, c.form(n, "/login", subject)); status != http.StatusOK {
		p.t.Fatalf("login of %s: got status %d: %s", subject, status, text)
	}
	return c
}

// who returns who the node says the client is, with his values.
func (c *client) who(n *node) string {
	switch status, text := c.get(n, "/whoami"); status {
	case http.StatusOK:
		return text
	case http.StatusUnauthorized:
		return nobody
	default:
		return http.StatusText(status)
	}
}

// nobody is what who returns for somebody who is not signed in.
const nobody = "nobody"

// soon waits, no longer than the engine may lag, until got returns what is
// wanted, and complains if it does not.
func (p *pair) soon(what string, got func() string, want string) bool {
	p.t.Helper()
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		late := time.Since(began) >= p.lag // before the question is asked
		answer := got()
		if answer == want {
			return true
		}
		if late {
			p.t.Errorf("%s: got %q, want %q", what, answer, want)
			return false
		}
	}
}

// refused checks that both nodes refuse the client, and go on doing so.
func (p *pair) refused(what string, c *client) {
	p.t.Helper()
	for i, n := range p.nodes {
		for range 3 {
			if !p.soon(fmt.Sprintf("%s, on node %d", what, i), func() string { return c.twin().who(n) }, nobody) {
				break
			}
		}
	}
}

// accepted checks that both nodes know the client.
func (p *pair) accepted(what string, c *client, want string) {
	p.t.Helper()
	for i, n := range p.nodes {
		p.soon(fmt.Sprintf("%s, on node %d", what, i), func() string { return c.who(n) }, want)
	}
}

// takeOff sends a writing request to a node and returns when its handler runs.
// land lets it write and returns the status.
func (c *client) takeOff(n *node) (land func() int) {
	c.t.Helper()
	begun, release, status := make(chan struct{}), make(chan struct{}), make(chan int, 1)
	h := n.Manager.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		close(begun)
		<-release
		if err := remark.Set(session.From(r.Context()), "late"); err != nil {
			n.Deny(w, r, err)
		}
	}))
	r := c.form(n, "/slow", "")
	go func() {
		code, _ := c.twin().do(h, r)
		status <- code
	}()
	select {
	case <-begun:
	case code := <-status:
		c.t.Fatalf("request in flight: got status %d before its handler ran", code)
	}
	return func() int {
		close(release)
		return <-status
	}
}

// handle returns the handle of the client's session.
func (c *client) handle(n *node) store.Handle {
	c.t.Helper()
	_, text := c.get(n, "/handle")
	h, err := store.ParseHandle(text)
	if err != nil {
		c.t.Fatal(err)
	}
	return h
}
