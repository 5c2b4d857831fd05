package sessiontest

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// Nodes tells [RunNodes] how to get at an engine that several nodes share.
type Nodes struct {
	// Open opens a store for each of two nodes on the same data, on which there
	// need not be any namespaces but those of the tests, "test-…". t.Cleanup
	// closes them.
	Open func(t testing.TB) [2]store.Store
	// Lag is how long a node may go on from what it knew, after another one
	// has acknowledged a change, in real time. Zero, right for stores that
	// keep no copies, means not at all.
	Lag time.Duration
}

// RunNodes runs what must hold for several managers on one engine, the part that
// [storetest.Run] cannot show: a login on one node is one on the other, a
// revocation on one is obeyed by the other, also by what is under way there, and
// clocks that differ by [store.ClockSkew] undo nothing.
//
// [storetest.Run]: https://pkg.go.dev/cloakroom.example/session/store/storetest#Run
func RunNodes(t *testing.T, h Nodes) {
	run := &nodesRun{stores: h.Open(t), lag: h.Lag}
	for _, c := range nodeCases() {
		t.Run(c.name, func(t *testing.T) { c.run(t, run) })
	}
}

// nodesRun is one run of the suite.
type nodesRun struct {
	stores [2]store.Store
	lag    time.Duration
	pairs  int // so far
}

type nodeCase struct {
	name string
	run  func(t *testing.T, run *nodesRun)
}

func nodeCases() []nodeCase {
	return []nodeCase{
		{"ended_elsewhere", endedElsewhere},
		{"limit_refuses", func(t *testing.T, run *nodesRun) { limitRaces(t, run, false) }},
		{"limit_ends_oldest", func(t *testing.T, run *nodesRun) { limitRaces(t, run, true) }},
		{"rotation_races", rotationRaces},
		{"changes_add_up", changesAddUp},
		{"half_open_login_completed_elsewhere", halfOpen},
		{"login_after_revocation", loginAfterRevocation},
		{"idle_end", idleEnd},
		{"absolute_end", absoluteEnd},
	}
}

// skews are by how much the second node's clock is ahead.
func skews() map[string]time.Duration {
	return map[string]time.Duration{
		"clocks_agree": 0, "second_clock_ahead": store.ClockSkew, "second_clock_behind": -store.ClockSkew,
	}
}

// pair is two nodes on one engine.
type pair struct {
	t     testing.TB
	clock *Clock
	nodes [2]*node
	lag   time.Duration
}

// node is a manager with a small application.
type node struct {
	*session.Manager
	http.Handler
	reuses atomic.Int64
}

const cookieName = "__Host-id"

var (
	items  = session.NewKey[[]string]("items")
	remark = session.NewKey[string]("remark")
)

// pair makes two nodes that have no sessions yet; the second one's clock is ahead
// by skew.
func (run *nodesRun) pair(t testing.TB, skew time.Duration, change func(*session.Config)) *pair {
	t.Helper()
	run.pairs++
	p := &pair{t: t, clock: NewClock(), lag: run.lag}
	for i, s := range run.stores {
		p.nodes[i] = p.newNode(s, fmt.Sprintf("test-%d", run.pairs), time.Duration(i)*skew, change)
	}
	return p
}

func (p *pair) newNode(s store.Store, namespace string, ahead time.Duration, change func(*session.Config)) *node {
	p.t.Helper()
	n := new(node)
	c := session.Config{
		Store: s, Namespace: namespace, CookieName: cookieName, Keys: [][]byte{[]byte("the deployment's key, on all its nodes")},
		Now:       func() time.Time { return p.clock.Now().Add(ahead) },
		Observers: []func(session.Event){n.observe}, Logger: slog.New(slog.DiscardHandler),
		StoreTimeout: time.Minute, // on a busy machine many wait for one session
	}
	if change != nil {
		change(&c)
	}
	var err error
	if n.Manager, err = session.New(c); err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := n.Close(ctx); err != nil {
			p.t.Errorf("closing a manager: %v", err)
		}
	})
	n.Handler = n.Manager.Handler(n.routes())
	return n
}

func (n *node) observe(e session.Event) {
	if e.Type == session.EventReuse {
		n.reuses.Add(1)
	}
}

// routes are the application that runs on every node.
func (n *node) routes() *http.ServeMux {
	mux := http.NewServeMux()
	handle := func(pattern string, answer func(s *session.Session, r *http.Request) (string, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			text, err := answer(session.From(r.Context()), r)
			if err != nil {
				n.Deny(w, r, err)
				return
			}
			_, _ = io.WriteString(w, text)
		})
	}
	handle("GET /csrf", func(_ *session.Session, r *http.Request) (string, error) { return n.CSRFToken(r.Context()) })
	handle("GET /whoami", func(s *session.Session, _ *http.Request) (string, error) {
		if err := s.CheckLogin(); err != nil {
			return "", err
		}
		list, _ := items.Get(s)
		text, _ := remark.Get(s)
		return fmt.Sprintf("%s %v %s", s.Subject(), list, text), s.Err()
	})
	handle("GET /handle", func(s *session.Session, _ *http.Request) (string, error) { return s.Handle().String(), s.Err() })
	mux.Handle("GET /fresh", n.RequireFresh(time.Hour, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
	handle("POST /login", func(_ *session.Session, r *http.Request) (string, error) {
		return "", n.Login(r.Context(), identity(r))
	})
	handle("POST /begin", func(_ *session.Session, r *http.Request) (string, error) {
		return "", n.LoginPending(r.Context(), identity(r))
	})
	handle("POST /complete", func(_ *session.Session, r *http.Request) (string, error) {
		return "", n.CompleteLogin(r.Context(), session.Identity{Methods: []string{"otp"}})
	})
	handle("POST /logout", func(_ *session.Session, r *http.Request) (string, error) { return "", n.Logout(r.Context()) })
	handle("POST /others", func(_ *session.Session, r *http.Request) (string, error) {
		_, err := n.RevokeOthers(r.Context())
		return "", err
	})
	handle("POST /add", func(s *session.Session, r *http.Request) (string, error) {
		return "", items.Update(r.Context(), s, func(list *[]string) error {
			*list = append(*list, r.FormValue("value"))
			return nil
		})
	})
	handle("POST /remark", func(s *session.Session, r *http.Request) (string, error) {
		return "", remark.Set(s, r.FormValue("value"))
	})
	return mux
}

// identity is who signs in with the form.
func identity(r *http.Request) session.Identity {
	subject := r.FormValue("value")
	return session.Identity{Subject: subject, Methods: []string{"pwd"}, Links: []string{linkOf(subject)}}
}

// linkOf is the name that an identity provider has for the subject's sessions.
func linkOf(subject string) string { return subject + "@idp.example" }
