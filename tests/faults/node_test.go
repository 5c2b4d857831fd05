package faults_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

const (
	cookieName = "__Host-id"
	// storeTimeout is how long a request may wait for the store.
	storeTimeout = 500 * time.Millisecond
	// answerTime is when a request must have been answered, whatever the store
	// does: two operations may time out one after the other, and the machine
	// may be busy. It is less than a server stays frozen.
	answerTime = 2*storeTimeout + 2*time.Second
	// outcomeHeader tells the test what an error says about a change.
	outcomeHeader  = "Test-Outcome"
	outcomeUnknown = "unknown"
)

// clock is the nodes' time: it passes as everywhere, and jumps.
type clock struct {
	// requests is held for reading while a request is under way: a token that
	// waits in the network while the clock jumps would look stolen.
	requests sync.RWMutex
	mu       sync.Mutex
	ahead    time.Duration
}

// Now is the nodes' time.
func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

// jump makes the next rotation of every session due.
func (c *clock) jump() {
	c.requests.Lock()
	defer c.requests.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += rotation + 10*time.Second
}

// rotation is the shortest that a manager takes.
const rotation = 2 * time.Minute

// node is a manager with an application, behind an HTTP server.
type node struct {
	*session.Manager
	server *httptest.Server
	// lag is how long what another node has done may not be seen here.
	lag time.Duration

	mu sync.Mutex
	// causes says why sessions have ended, as this node reported.
	causes map[string]string // :: handle
}

// observe notes what the node reports about sessions.
func (n *node) observe(e session.Event) {
	if e.Cause == "" {
		return
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.causes[e.Handle.String()] += fmt.Sprintf(" %s (%s)", e.Type, e.Cause)
}

// cause returns what the node has reported about a session.
func (n *node) cause(handle string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.causes[handle]
}

var value = session.NewKey[int]("value")

func startNode(t *testing.T, s store.Store, c *clock, namespace string, lag time.Duration) *node {
	t.Helper()
	n := &node{lag: lag, causes: make(map[string]string)}
	var err error
	n.Manager, err = session.New(session.Config{
		Store: s, Namespace: namespace, CookieName: cookieName, Now: c.Now, StoreTimeout: storeTimeout,
		Keys:   [][]byte{[]byte("the deployment's key, on all its nodes")},
		Limits: session.Limits{Idle: 12 * time.Hour, Absolute: 24 * time.Hour, Rotate: rotation}, Logger: slog.New(slog.DiscardHandler),
		Observers: []func(session.Event){n.observe},
		Denied: func(w http.ResponseWriter, r *http.Request, err error) {
			if errors.Is(err, session.ErrUnknownOutcome) {
				w.Header().Set(outcomeHeader, outcomeUnknown)
			}
			session.Deny(w, r, err)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	n.server = httptest.NewServer(n.Handler(n.routes()))
	return n
}

// close ends the node. The store may still be down.
func (n *node) close(t *testing.T) {
	n.server.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := n.Close(ctx); err != nil {
		t.Errorf("closing a manager: %v", err)
	}
}

func (n *node) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(path string, answer func(s *session.Session, r *http.Request) (string, error)) {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			text, err := answer(session.From(r.Context()), r)
			if err != nil {
				n.Deny(w, r, err)
				return
			}
			_, _ = io.WriteString(w, text)
		})
	}
	handle("GET /csrf", func(_ *session.Session, r *http.Request) (string, error) { return n.CSRFToken(r.Context()) })
	handle("GET /login/{subject}", func(s *session.Session, r *http.Request) (string, error) {
		err := n.Login(r.Context(), session.Identity{Subject: r.PathValue("subject")})
		return s.Handle().String(), err
	})
	handle("GET /read", func(s *session.Session, _ *http.Request) (string, error) {
		if err := s.CheckLogin(); err != nil {
			return "", err
		}
		v, _, err := value.Lookup(s)
		return strconv.Itoa(v), err
	})
	handle("GET /write/{value}", func(s *session.Session, r *http.Request) (string, error) {
		if err := s.CheckLogin(); err != nil {
			return "", err
		}
		v, err := strconv.Atoi(r.PathValue("value"))
		if err != nil {
			return "", err
		}
		return "", value.Set(s, v)
	})
	handle("POST /logout", func(s *session.Session, r *http.Request) (string, error) {
		if err := s.CheckLogin(); err != nil {
			return "", err
		}
		return "", n.Logout(r.Context())
	})
	return mux
}

// response is what came back.
type response struct {
	status  int
	text    string
	token   string // that the session cookie is set to
	touched bool   // the session cookie is set or cleared
	unknown bool   // a change may have been stored
}

// request is what a browser asks of a node.
type request struct {
	path, token string
	// form is the form token. With it, the request is a POST.
	form string
}

// send sends a request to the node.
func (n *node) send(client *http.Client, q request) (response, error) {
	method := "GET"
	if q.form != "" {
		method = "POST"
	}
	r, err := http.NewRequest(method, n.server.URL+q.path, nil)
	if err != nil {
		return response{}, err
	}
	r.Header.Set(session.CSRFHeader, q.form)
	if q.token != "" {
		r.Header.Set("Cookie", cookieName+"="+q.token)
	}
	resp, err := client.Do(r)
	if err != nil {
		return response{}, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return response{}, fmt.Errorf("reading the response: %w", err)
	}
	answer := response{
		status: resp.StatusCode, text: strings.TrimSpace(string(text)), unknown: resp.Header.Get(outcomeHeader) == outcomeUnknown,
	}
	for _, c := range resp.Cookies() {
		if c.Name == cookieName {
			answer.touched = true
			if c.MaxAge >= 0 {
				answer.token = c.Value
			}
		}
	}
	return answer, nil
}
