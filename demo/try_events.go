package demo

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"cloakroom.example/session"
)

// eventLine is an event that a request has caused.
type eventLine struct {
	Type, Cause, Subject, Ticket, Text string
}

func newEventLine(e session.Event) eventLine {
	l := eventLine{Type: e.Type, Cause: e.Cause, Subject: e.Subject, Text: eventText(e)}
	if !e.Handle.IsZero() {
		l.Ticket = e.Handle.String()[:6] + "…"
	}
	return l
}

// expectation is an event that has to come.
type expectation struct {
	of   *exchange
	kind string
}

// expect demands that the last request shown has caused an event.
func (r *run) expect(kind string) {
	if r.over() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	wire := r.steps[len(r.steps)-1].Wire
	r.asked = append(r.asked, expectation{wire[len(wire)-1], kind})
}

// gather adds the events to the requests that caused them. They come from a
// queue that no request waits for, so that those expected are waited for here.
func (r *run) gather(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, r.lab.patience/3)
	defer cancel()
	wire := make(map[string]*exchange)
	for _, s := range r.steps {
		for _, x := range s.Wire {
			wire[strconv.Itoa(x.number)] = x
		}
	}
	for since := r.since; ; {
		news := r.shop.journal.since(since)
		since = news.last
		for _, e := range news.events {
			if _, number, ours := strings.Cut(e.Agent, r.mark()); ours && wire[number] != nil {
				wire[number].Events = append(wire[number].Events, newEventLine(e))
			}
		}
		if news.more != nil && !(r.waits() && await(ctx, news.more)) {
			break
		}
	}
	if !r.undecided() {
		return
	}
	noticed := make(map[string]int) // :: kind → its claim
	for _, e := range r.asked {
		i, there := noticed[e.kind]
		if !there {
			i = len(r.claims)
			noticed[e.kind] = i
			r.claims = append(r.claims, claim{Text: "The shop has noticed: " + e.kind, Held: true})
		}
		r.claims[i].Held = r.claims[i].Held && !e.missing()
	}
}

// waits reports whether an event is missing that the verdict depends on.
func (r *run) waits() bool { return r.undecided() && slices.ContainsFunc(r.asked, expectation.missing) }

// await reports whether something happens before the context ends.
func await(ctx context.Context, something <-chan struct{}) bool {
	select {
	case <-something:
		return true
	case <-ctx.Done():
		return false
	}
}

// missing reports whether the event has not come yet.
func (e expectation) missing() bool {
	return !slices.ContainsFunc(e.of.Events, func(l eventLine) bool { return l.Type == e.kind })
}
