package faults_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session"
)

// load is users at work on two nodes, and a record of what they were answered.
type load struct {
	t      *testing.T
	clock  *clock
	nodes  [2]*node
	client *http.Client
	began  time.Time

	visits atomic.Int64 // each by a subject of its own
	values atomic.Int64 // that were written, each once
	failed atomic.Int64 // requests
	served atomic.Int64
	slow   atomic.Int64 // the longest that a request took

	mu       sync.Mutex
	sessions []*tracked
	complain int
}

// users is how many sign in at a time, each with a browser of two tabs.
const users = 6

// run keeps users busy until the context ends.
func (l *load) run(ctx context.Context) {
	var wg sync.WaitGroup
	for range users {
		wg.Go(func() {
			for ctx.Err() == nil {
				l.visit(ctx, fmt.Sprintf("user-%d", l.visits.Add(1)))
			}
		})
	}
	wg.Go(func() {
		for sleep(ctx, 700*time.Millisecond) {
			l.clock.jump()
		}
	})
	wg.Wait()
}

// sleep reports whether the time has passed before the context ended.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// visit is a session from its login to some requests after its end.
func (l *load) visit(ctx context.Context, subject string) {
	s := l.login(ctx, subject)
	if s == nil {
		return
	}
	l.mu.Lock()
	l.sessions = append(l.sessions, s)
	l.mu.Unlock()
	var wg sync.WaitGroup
	for i, n := range l.nodes {
		wg.Go(func() { l.tab(ctx, s, n, i) })
	}
	if rand.IntN(10) < 7 { // the others stay, to be looked at in the end
		wg.Go(func() {
			if sleep(ctx, time.Duration(rand.IntN(60))*time.Millisecond) {
				l.end(s, l.nodes[rand.IntN(2)])
			}
		})
	}
	wg.Wait()
}

// login tries until it succeeds.
func (l *load) login(ctx context.Context, subject string) *tracked {
	for ctx.Err() == nil {
		answer, ok := l.ask(l.nodes[rand.IntN(2)], request{path: "/login/" + subject})
		if ok && answer.status == http.StatusOK {
			if answer.token == "" {
				l.errorf("a login without a cookie")
				return nil
			}
			return &tracked{subject: subject, handle: answer.text, first: answer.token, token: answer.token}
		}
		sleep(ctx, 20*time.Millisecond)
	}
	return nil
}

// tab reads and writes on one node, and a little beyond the session's end.
func (l *load) tab(ctx context.Context, s *tracked, n *node, client int) {
	refused := 0
	for range 6 + rand.IntN(8) {
		do := l.read
		if rand.IntN(5) < 2 {
			do = l.write
		}
		if do(s, n, client) == refusal {
			refused++
		}
		if refused == 3 || !sleep(ctx, time.Duration(rand.IntN(12))*time.Millisecond) {
			return
		}
	}
}

// verdict is what a node made of a request.
type verdict int

const (
	failure verdict = iota // it did not know
	refusal
	acceptance
)

// read asks for the value.
func (l *load) read(s *tracked, n *node, client int) verdict {
	return l.try(s, n, client, asked{action: reads}, request{path: "/read"})
}

func (l *load) write(s *tracked, n *node, client int) verdict {
	v := l.values.Add(1)
	return l.try(s, n, client, asked{action: writes, value: int(v)}, request{path: fmt.Sprintf("/write/%d", v)})
}

// try makes a request of the session's browser and records what is known of it.
func (l *load) try(s *tracked, n *node, client int, in asked, q request) verdict {
	l.clock.requests.RLock()
	defer l.clock.requests.RUnlock()
	q.token = s.cookie()
	in.token = q.token
	began := l.now()
	answer, ok := l.ask(n, q)
	if !ok {
		return failure
	}
	if in.action == reads {
		began -= n.lag // what the node knew may have been that old
	}
	switch answer.status {
	case http.StatusOK:
		out := answered{token: answer.token}
		if in.action == reads {
			v, err := strconv.Atoi(answer.text)
			if err != nil {
				l.errorf("reading got %q", answer.text)
				return failure
			}
			out.value = v
		}
		if in.action == ends {
			out.token = ""
		}
		s.record(client, in, out, began, l.now())
		return acceptance
	case http.StatusUnauthorized:
		s.record(client, in, answered{refused: true}, began, l.now())
		return refusal
	default: // unavailable
		if answer.unknown && in.action != reads {
			s.record(client, in, answered{unknown: true}, began, l.now())
		}
	}
	return failure
}

// end ends the session in one of the ways there are.
func (l *load) end(s *tracked, n *node) {
	if rand.IntN(3) == 0 {
		l.logout(s, n)
		return
	}
	began := l.now()
	err := l.revoke(s, n)
	switch {
	case err == nil:
		s.record(2, asked{action: ends}, answered{}, began, l.now())
	case errors.Is(err, session.ErrUnknownOutcome):
		s.record(2, asked{action: ends}, answered{unknown: true}, began, l.now())
	case !errors.Is(err, session.ErrUnavailable):
		l.errorf("revoking: %v", err)
	}
}

// logout is what the user does himself, with a form.
func (l *load) logout(s *tracked, n *node) {
	page, ok := l.ask(n, request{path: "/csrf", token: s.cookie()})
	if ok && page.status == http.StatusOK {
		l.try(s, n, 2, asked{action: ends}, request{path: "/logout", form: page.text})
	}
}

func (l *load) revoke(s *tracked, n *node) error {
	if rand.IntN(2) == 0 {
		_, err := n.RevokeSubject(context.Background(), s.subject, "test")
		return err
	}
	h, err := session.ParseHandle(s.handle)
	if err != nil {
		return err
	}
	_, err = n.Revoke(context.Background(), h, "test")
	return err
}

func (l *load) now() time.Duration { return time.Since(l.began) }

// ask sends a request and checks what every answer has to be like.
func (l *load) ask(n *node, q request) (response, bool) {
	began := time.Now()
	answer, err := n.send(l.client, q)
	if err != nil {
		l.errorf("a request without an answer: %v", err)
		return response{}, false
	}
	if took := time.Since(began); took > answerTime {
		l.errorf("%s: answered %d after %v, want at most %v", q.path, answer.status, took, answerTime)
	} else {
		for longest := l.slow.Load(); int64(took) > longest && !l.slow.CompareAndSwap(longest, int64(took)); {
			longest = l.slow.Load()
		}
	}
	switch answer.status {
	case http.StatusOK:
		l.served.Add(1)
		return answer, true
	case http.StatusServiceUnavailable:
		l.failed.Add(1)
	case http.StatusUnauthorized:
	default:
		l.errorf("%s: got status %d: %s", q.path, answer.status, answer.text)
		return answer, false
	}
	if answer.touched {
		l.errorf("%s: an answer of status %d sets or clears the session cookie", q.path, answer.status)
	}
	return answer, true
}

// errorf reports the first few complaints.
func (l *load) errorf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.complain++; l.complain <= 10 {
		l.t.Errorf(format, args...)
	}
}

// recovered waits until both nodes sign somebody in, store a value and read it.
func (l *load) recovered(ctx context.Context) time.Duration {
	began := time.Now()
	for _, n := range l.nodes {
		for {
			s := l.login(ctx, "after-the-fault")
			if s == nil {
				l.t.Fatalf("no login succeeds %v after the fault", time.Since(began))
			}
			if l.write(s, n, 0) == acceptance && l.read(s, n, 0) == acceptance {
				break
			}
		}
	}
	return time.Since(began)
}

// last reads every session once more on both nodes, when all is well again and no
// copies are left.
func (l *load) last(ctx context.Context) {
	var wg sync.WaitGroup
	for part := range users {
		wg.Go(func() {
			for i := part; i < len(l.sessions); i += users {
				for client, n := range l.nodes {
					for l.read(l.sessions[i], n, client) == failure && sleep(ctx, 20*time.Millisecond) {
					}
				}
			}
		})
	}
	wg.Wait()
	if ctx.Err() != nil {
		l.t.Error("sessions cannot be read when all should be well")
	}
}
