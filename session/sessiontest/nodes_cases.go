package sessiontest

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// ending is a way to end sessions of alice on a node.
type ending struct {
	name string
	// end is given the node, the session that ends and another one of alice's.
	end func(p *pair, n *node, victim, other *client) error
	// otherToo and everybody say who else loses his session.
	otherToo, everybody bool
}

func endings() []ending {
	return []ending{
		{name: "logout", end: func(_ *pair, n *node, victim, _ *client) error {
			return statusError(victim.twin().post(n, "/logout", ""))
		}},
		{name: "handle", end: func(p *pair, n *node, victim, _ *client) error {
			changed, err := n.Revoke(p.t.Context(), victim.handle(n), "test")
			if err == nil && !changed {
				return errors.New("the session had ended before")
			}
			return err
		}},
		{name: "subject", otherToo: true, end: func(p *pair, n *node, _, _ *client) error {
			_, err := n.RevokeSubject(p.t.Context(), "alice", "test")
			return err
		}},
		{name: "link", otherToo: true, end: func(p *pair, n *node, _, _ *client) error {
			_, err := n.RevokeLink(p.t.Context(), linkOf("alice"), "test")
			return err
		}},
		{name: "others", end: func(_ *pair, n *node, _, other *client) error {
			return statusError(other.post(n, "/others", ""))
		}},
		{name: "all", otherToo: true, everybody: true, end: func(p *pair, n *node, _, _ *client) error {
			return n.RevokeAll(p.t.Context(), "test")
		}},
	}
}

func statusError(status int) error {
	if status != http.StatusOK {
		return fmt.Errorf("got status %d", status)
	}
	return nil
}

// endedElsewhere ends a session on each node in turn while the other one has it in
// use: with whatever copies it keeps, and with a writing request in flight.
func endedElsewhere(t *testing.T, run *nodesRun) {
	for clocks, skew := range skews() {
		for _, e := range endings() {
			t.Run(e.name+"/"+clocks, func(t *testing.T) {
				p := run.pair(t, skew, nil)
				for at, n := range p.nodes {
					p.endElsewhere(e, n, p.nodes[1-at])
				}
			})
		}
	}
}

func (p *pair) endElsewhere(e ending, here, there *node) {
	p.t.Helper()
	victim, other, bob := p.login(here, "alice"), p.login(there, "alice"), p.login(here, "bob")
	for range 2 {
		p.accepted("before", victim, "alice []")
		p.accepted("another session before", other, "alice []")
		p.accepted("somebody else before", bob, "bob []")
	}
	land := victim.takeOff(there)
	if err := e.end(p, here, victim, other); err != nil {
		p.t.Fatal(err)
	}
	// What asks for a recent login does not go by copies, whatever the lag.
	if status, _ := victim.twin().get(there, "/fresh"); status != http.StatusUnauthorized {
		p.t.Errorf("what asks for a recent login, on the other node: got status %d, want 401", status)
	}
	if status := land(); status < 400 || status >= 500 {
		p.t.Errorf("writing request that was in flight on the other node: got status %d, want a refusal", status)
	}
	p.refused("the session that has ended", victim)
	if e.otherToo {
		p.refused("the other session", other)
	} else {
		p.accepted("the session that was spared", other, "alice []")
	}
	if e.everybody {
		p.refused("somebody else's session", bob)
	} else {
		p.accepted("somebody else's session", bob, "bob []")
	}
	p.clock.Advance(time.Minute) // for the next login of alice
	p.endAll()
}

// endAll makes room for the next test.
func (p *pair) endAll() {
	p.t.Helper()
	for _, subject := range []string{"alice", "bob"} {
		if _, err := p.nodes[0].RevokeSubject(p.t.Context(), subject, "test"); err != nil {
			p.t.Fatal(err)
		}
	}
	p.clock.Advance(time.Minute)
}

// limitRaces lets many logins of one subject race on both nodes: the limit is kept
// at every moment, and nobody who was signed in is gone without having made room.
func limitRaces(t *testing.T, run *nodesRun, endOldest bool) {
	const most, logins = 3, 20
	p := run.pair(t, 0, func(c *session.Config) { c.MaxSessions, c.EndOldest = most, endOldest })
	clients, statuses := make([]*client, logins), make([]int, logins)
	var wg sync.WaitGroup
	for i := range clients {
		clients[i] = p.client()
		wg.Go(func() { statuses[i] = clients[i].post(p.nodes[i%2], "/login", "alice") })
	}
	wg.Wait()
	signedIn := 0
	for i, status := range statuses {
		switch {
		case status == http.StatusOK:
			signedIn++
		case endOldest || status != http.StatusForbidden:
			t.Errorf("login %d: got status %d", i, status)
		}
	}
	if want := map[bool]int{true: logins, false: most}[endOldest]; signedIn != want {
		t.Errorf("got %d logins that succeeded, want %d", signedIn, want)
	}
	for i, n := range p.nodes {
		if alive, err := n.Count(t.Context(), "alice"); err != nil || alive != most {
			t.Errorf("node %d: got %d sessions, %v, want %d", i, alive, err, most)
		}
		p.soon(fmt.Sprintf("clients that node %d knows", i), func() string {
			known := 0
			for _, c := range clients {
				if c.who(n) != nobody {
					known++
				}
			}
			return fmt.Sprint(known)
		}, fmt.Sprint(most))
	}
}

// rotationRaces lets many requests with one token meet a due rotation on both
// nodes: all are served, and all that get a new token get the same.
func rotationRaces(t *testing.T, run *nodesRun) {
	for clocks, skew := range skews() {
		t.Run(clocks, func(t *testing.T) {
			p := run.pair(t, skew, nil)
			c := p.login(p.nodes[0], "alice")
			for round := range 3 {
				p.clock.Advance(16 * time.Minute)
				successor := p.rotate(c, round)
				c.mu.Lock()
				c.cookies[cookieName] = successor
				c.mu.Unlock()
				p.accepted("the successor", c, "alice []")
				p.clock.Advance(time.Minute)
			}
			for i, n := range p.nodes {
				if reuses := n.reuses.Load(); reuses != 0 {
					t.Errorf("node %d: got %d reports of reuse, want none", i, reuses)
				}
			}
		})
	}
}

// rotate sends requests in parallel and returns the token that they were given.
func (p *pair) rotate(c *client, round int) string {
	p.t.Helper()
	old := c.token()
	tabs := make([]*client, 20)
	var wg sync.WaitGroup
	for i := range tabs {
		tabs[i] = c.twin()
		wg.Go(func() {
			if got := tabs[i].who(p.nodes[i%2]); got != "alice []" {
				p.t.Errorf("round %d, tab %d: got %q", round, i, got)
			}
		})
	}
	wg.Wait()
	for i, tab := range tabs { // some may have been served before the rotation
		p.soon(fmt.Sprintf("round %d, tab %d has a new token", round, i), func() string {
			tab.who(p.nodes[(i+1)%2])
			return fmt.Sprint(tab.token() != old)
		}, "true")
	}
	successors := make(map[string]bool)
	for _, tab := range tabs {
		successors[tab.token()] = true
	}
	if len(successors) != 1 {
		p.t.Fatalf("round %d: got %d different successors, want 1", round, len(successors))
	}
	return tabs[0].token()
}

// changesAddUp changes one session's values on both nodes at once.
func changesAddUp(t *testing.T, run *nodesRun) {
	for clocks, skew := range skews() {
		t.Run(clocks, func(t *testing.T) {
			p := run.pair(t, skew, nil)
			c := p.login(p.nodes[0], "alice")
			const changes = 50
			var want []string
			var wg sync.WaitGroup
			for i := range changes {
				value := fmt.Sprintf("%02d", i)
				want = append(want, value)
				wg.Go(func() {
					if status := c.twin().post(p.nodes[i%2], "/add", value); status != http.StatusOK {
						t.Errorf("change %d: got status %d", i, status)
					}
				})
			}
			wg.Wait()
			for i, n := range p.nodes {
				p.soon(fmt.Sprintf("changes that node %d sees", i), func() string {
					got := strings.Fields(strings.Trim(strings.TrimPrefix(c.who(n), "alice "), "[]"))
					slices.Sort(got)
					return strings.Join(got, " ")
				}, strings.Join(want, " "))
			}
		})
	}
}

// halfOpen begins a login on one node and completes it on the other, unless a
// revocation has come between.
func halfOpen(t *testing.T, run *nodesRun) {
	for clocks, skew := range skews() {
		t.Run(clocks, func(t *testing.T) {
			p := run.pair(t, skew, nil)
			for at, n := range p.nodes {
				c := p.client()
				if status := c.post(n, "/begin", "alice"); status != http.StatusOK {
					t.Fatalf("beginning: got status %d", status)
				}
				p.accepted("a half-open login", c, nobody)
				if status := c.post(p.nodes[1-at], "/complete", ""); status != http.StatusOK {
					t.Fatalf("completing on the other node: got status %d", status)
				}
				p.accepted("the login", c, "alice []")
				if c = p.client(); c.post(n, "/begin", "alice") != http.StatusOK {
					t.Fatal("beginning again failed")
				}
				if _, err := p.nodes[1-at].RevokeSubject(t.Context(), "alice", "test"); err != nil {
					t.Fatal(err)
				}
				if status := c.post(n, "/complete", ""); status != http.StatusUnauthorized {
					t.Errorf("completing after a revocation on the other node: got status %d, want 401", status)
				}
				p.refused("what the revocation has ended", c)
				p.clock.Advance(time.Minute)
			}
		})
	}
}

// loginAfterRevocation signs in on one node right after a revocation on the other.
// Where clocks differ, such a login may be refused for a while; once granted, it
// stays.
func loginAfterRevocation(t *testing.T, run *nodesRun) {
	revocations := map[string]func(p *pair, n *node) error{
		"subject": func(p *pair, n *node) error {
			_, err := n.RevokeSubject(p.t.Context(), "alice", "test")
			return err
		},
		"link": func(p *pair, n *node) error {
			_, err := n.RevokeLink(p.t.Context(), linkOf("alice"), "test")
			return err
		},
		"all": func(p *pair, n *node) error { return n.RevokeAll(p.t.Context(), "test") },
	}
	for clocks, skew := range skews() {
		for name, revoke := range revocations {
			t.Run(name+"/"+clocks, func(t *testing.T) {
				p := run.pair(t, skew, nil)
				for at, n := range p.nodes {
					old := p.login(n, "alice")
					p.clock.Advance(time.Second)
					if err := revoke(p, p.nodes[1-at]); err != nil {
						t.Fatal(err)
					}
					p.loginAgain(n)
					p.refused("the session that was revoked", old)
					p.clock.Advance(time.Minute)
				}
			})
		}
	}
}

// loginAgain tries until a login is granted, which is not later than the clocks
// can explain.
func (p *pair) loginAgain(n *node) {
	p.t.Helper()
	const step = time.Second
	for waited := time.Duration(0); ; waited += step {
		c := p.client()
		switch status := c.post(n, "/login", "alice"); {
		case status == http.StatusOK:
			p.accepted("the login after the revocation", c, "alice []")
			return
		case status != http.StatusUnauthorized:
			p.t.Fatalf("login after the revocation: got status %d, want 200 or 401", status)
		}
		p.refused("a login that was refused", c)
		if waited > 2*store.ClockSkew {
			p.t.Fatalf("logins are refused %v after the revocation", waited)
		}
		p.clock.Advance(step)
	}
}

// idleEnd leaves a session alone after using it on both nodes.
func idleEnd(t *testing.T, run *nodesRun) {
	for clocks, skew := range skews() {
		t.Run(clocks, func(t *testing.T) {
			p := run.pair(t, skew, func(c *session.Config) { c.Limits.Idle = 30 * time.Minute })
			c := p.login(p.nodes[0], "alice")
			p.accepted("at once", c, "alice []")
			p.clock.Advance(30*time.Minute - store.ClockSkew - time.Second)
			p.accepted("shortly before the end", c, "alice []")
			p.clock.Advance(30*time.Minute + store.ClockSkew + time.Second)
			p.refused("after the end", c)
		})
	}
}

// absoluteEnd keeps a session in use, on both nodes in turn, until its end.
func absoluteEnd(t *testing.T, run *nodesRun) {
	for clocks, skew := range skews() {
		t.Run(clocks, func(t *testing.T) {
			p := run.pair(t, skew, func(c *session.Config) {
				c.Limits.Idle, c.Limits.Absolute = 30*time.Minute, 5*time.Hour
			})
			c := p.login(p.nodes[0], "alice")
			const step = 20 * time.Minute
			turn := 0
			for used := step; used < 5*time.Hour; used += step {
				p.clock.Advance(step)
				turn = 1 - turn
				p.soon(fmt.Sprintf("after %v on node %d", used, turn), func() string { return c.who(p.nodes[turn]) }, "alice []")
			}
			p.clock.Advance(step + store.ClockSkew + time.Second)
			p.refused("after the end", c)
			for i, n := range p.nodes {
				if reuses := n.reuses.Load(); reuses != 0 {
					t.Errorf("node %d: got %d reports of reuse, want none", i, reuses)
				}
			}
		})
	}
}
