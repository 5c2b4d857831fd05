package demo

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"cloakroom.example/session"
)

// run is one attack under way. Once something has failed that should not, or the
// time is over, its methods do nothing more, and there is no verdict.
type run struct {
	shop      *Shop
	lab       *lab
	ctx       context.Context
	id        string // in the user agents of all its requests
	host      string
	agent     string // the visitor's
	transport *http.Transport
	since     uint64 // the journal's last event before it

	identity session.Identity // whose further sessions it makes
	mine     string           // the visitor's own ticket, if he is signed in
	handle   session.Handle   // and what it opens

	slowly chan struct{} // a slow request has begun
	resume chan struct{} // slow requests may go on

	door sync.RWMutex // held by requests under way
	shut bool

	mu      sync.Mutex
	err     error
	doubt   string
	steps   []*step
	claims  []claim
	letters map[string]int // :: ticket → its letter, counted from 0
	made    map[session.Handle]bool
	asked   []expectation
	count   int // of requests
}

// step is what happens at a time, in words, and what went over the wire.
type step struct {
	Text  string
	SQL   string
	Wire  []*exchange
	Notes []string
	Rows  []tableRow
}

// Whole returns the exchanges that are shown line by line.
func (s *step) Whole() []*exchange {
	return slices.DeleteFunc(slices.Clone(s.Wire), func(x *exchange) bool { return x.Brief })
}

// Briefly returns the exchanges of which each is one line.
func (s *step) Briefly() []*exchange {
	return slices.DeleteFunc(slices.Clone(s.Wire), func(x *exchange) bool { return !x.Brief })
}

// claim is something that has to be so for the attack to count as refused. If it is
// decisive and was not so, the attack has worked.
type claim struct {
	Text     string
	Held     bool
	decisive bool
}

// over reports whether there is nothing more to do.
func (r *run) over() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil && r.ctx.Err() != nil {
		r.err = r.ctx.Err()
	}
	return r.err != nil
}

// fail ends the run without a verdict.
func (r *run) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err == nil {
		r.err = err
	}
}

// unsure notes why there can be no verdict.
func (r *run) unsure(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.doubt == "" {
		r.doubt = fmt.Sprintf(format, args...)
	}
}

// step begins the next step.
func (r *run) step(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps = append(r.steps, &step{Text: text})
}

// note adds a sentence below what went over the wire.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.steps[len(r.steps)-1]
	s.Notes = append(s.Notes, fmt.Sprintf(format, args...))
}

// sql adds a statement above what went over the wire.
func (r *run) sql(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.steps[len(r.steps)-1].SQL = fmt.Sprintf(format, args...)
}

// claim notes whether something was as it has to be.
func (r *run) claim(text string, held bool) { r.add(claim{Text: text, Held: held}) }

// breach notes whether the thief has got what he wanted. The text says that he
// has not.
func (r *run) breach(text string, happened bool) {
	r.add(claim{Text: text, Held: !happened, decisive: true})
}

func (r *run) add(c claim) {
	if r.over() {
		return // what was not looked at is neither so nor not
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.claims = append(r.claims, c)
}

// begin notes that a client is about to send something.
func (r *run) begin(c *client) *exchange {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	x := &exchange{Who: c.who, Thief: c.thief, Brief: c.show == shownBriefly, number: r.count, step: len(r.steps)}
	x.agent = marked(c.agent, r.mark()+strconv.Itoa(r.count))
	if c.show != notShown {
		s := r.steps[len(r.steps)-1]
		s.Wire = append(s.Wire, x)
	}
	return x
}

// mark is what user agents carry before the number of the request.
func (r *run) mark() string { return "try/" + r.id + "-" }

// issued notes that the shop has issued a ticket.
func (r *run) issued(ticket string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, known := r.letters[ticket]; !known && ticket != "" {
		r.letters[ticket] = len(r.letters)
	}
}

// piece shows a ticket. made says what it is if the shop has not issued it.
func (r *run) piece(ticket, made string) piece {
	if ticket == "" {
		return piece{}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	n, known := r.letters[ticket]
	if !known {
		if made == "" {
			made = "made up"
		}
		return piece{Text: redact(ticket), Mark: made}
	}
	letter := string(rune('A' + n%26))
	return piece{Text: redact(ticket), Mark: "ticket " + letter, Letter: letter}
}

// self returns the visitor with his own session, or, for somebody who is not
// signed in, a guest with one.
func (r *run) self() *client {
	c := r.browser("You")
	if r.mine == "" {
		quiet := c.copy(c.who, notShown)
		r.signIn(quiet)
		c.cookies = quiet.cookies
		return c
	}
	r.issued(r.mine)
	c.take(r.mine)
	// The visitor's browser must be the first one to show a successor, or it
	// could come too late with what it has.
	c.pinned = true
	return c
}

// signIn signs a client in, by the laboratory's own door.
func (r *run) signIn(c *client) {
	if a := c.post("/lab/sign-in"); a.status != http.StatusSeeOther || c.ticket() == "" {
		r.unsure("signing in was answered %s", statusText(a.status))
	}
}

// opens reports whether the shop has shown the account, which takes somebody
// signed in.
func (r *run) opens(a answer) bool {
	switch {
	case a.status == http.StatusOK:
		return true
	case a.status == http.StatusSeeOther && strings.HasPrefix(a.location, "/login"), a.status == http.StatusUnauthorized:
	default:
		r.unsure("a request was answered %s, which says nothing about the ticket", statusText(a.status))
	}
	return false
}

func statusText(status int) string {
	if status == 0 {
		return "not at all"
	}
	return strings.TrimSpace(strconv.Itoa(status) + " " + http.StatusText(status))
}
