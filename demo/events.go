package demo

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"cloakroom.example/plain"
	"cloakroom.example/session"
)

// eventLog writes one readable line for each event. What came from the network
// reaches the terminal only as an address or as one of our own words, and what an
// administrator gives as his reason as one line of printable text.
type eventLog struct {
	mu sync.Mutex
	w  io.Writer
}

func newEventLog(w io.Writer) *eventLog {
	if w == nil {
		w = io.Discard
	}
	return &eventLog{w: w}
}

// observe is the observer of the session library.
func (l *eventLog) observe(e session.Event) {
	ticket := ""
	if !e.Handle.IsZero() {
		ticket = "session " + e.Handle.String()[:6] + "…"
	}
	if e.Type == session.EventDropped {
		ticket = fmt.Sprintf("%d lines", e.Count)
	}
	l.line(e.Time, eventText(e), e.Subject, ticket, e.Addr, e.Agent)
}

// note writes about passwords and codes, of which the library knows nothing and so
// reports nothing.
func (l *eventLog) note(what, account string, r *http.Request) {
	l.line(time.Now(), what, account, "", sourceOf(r).Addr(), r.UserAgent())
}

func (l *eventLog) line(at time.Time, what, who, ticket string, addr netip.Addr, agent string) {
	if who == "" {
		who = "–"
	}
	from := ""
	if addr.IsValid() {
		from = addr.String()
	}
	if agent != "" {
		agent = plain.Agent(agent)
	}
	text := fmt.Sprintf("%s  %-24s  %-6s  %-15s  %-15s  %s", at.Local().Format(time.TimeOnly), what, who, ticket, from, agent)
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, strings.TrimRight(plain.Text(text), " "))
}

// eventText says in a few words what happened.
func eventText(e session.Event) string {
	switch e.Type {
	case session.EventCreated:
		switch e.Cause {
		case "login":
			return "signed in"
		case "pending":
			return "password right, code owed"
		case session.MethodRemember:
			return "signed in, as kept"
		}
		return "new visitor"
	case session.EventRenewed:
		switch e.Cause {
		case "login":
			return "signed in"
		case "rotation":
			return "ticket replaced"
		}
		return "ticket replaced: " + e.Cause
	case session.EventExpired:
		return "ended: " + e.Cause
	case session.EventLogout:
		return choose(e.Subject == "", "left", "signed out")
	case session.EventLocked:
		return "locked: " + e.Cause
	case session.EventRevoked:
		return "revoked: " + e.Cause
	case session.EventUseAfterExpire:
		return "old ticket shown: " + e.Cause
	case session.EventReuse:
		return choose(e.Cause == session.MethodRemember, "STOLEN LOGIN, forgotten", "STOLEN TICKET, ended")
	case session.EventRemembered:
		return "kept signed in"
	case session.EventRestored:
		return "came back by itself"
	case session.EventForgotten:
		return "not kept: " + e.Cause
	case session.EventUnknownToken:
		return "refused ticket: " + e.Cause
	case session.EventCookieConflict:
		return "refused: two tickets"
	case session.EventUnreadable:
		return "unreadable: " + e.Cause
	case session.EventCSRF:
		return "refused: forged form"
	case session.EventLimit:
		return "refused: too many logins"
	case session.EventBudget:
		return "refused: crowd"
	case session.EventStoreFailed:
		return "store failed: " + e.Cause
	case session.EventDropped:
		return "missing from this log"
	}
	return e.Type
}

func choose[T any](first bool, a, b T) T {
	if first {
		return a
	}
	return b
}
