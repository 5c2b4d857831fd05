package demo

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"
	"unicode"

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
		agent = agentName(agent)
	}
	text := fmt.Sprintf("%s  %-24s  %-6s  %-15s  %-15s  %s", at.Local().Format(time.TimeOnly), what, who, ticket, from, agent)
	l.mu.Lock()
	defer l.mu.Unlock()
	fmt.Fprintln(l.w, strings.TrimRight(printable(text), " "))
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
		return "STOLEN TICKET, ended"
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

// printable replaces what a terminal would obey.
func printable(text string) string {
	return strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return '?'
		}
		return c
	}, text)
}

// agentName says in our own words which browser it is. It is a courtesy: agents
// say what they like.
func agentName(agent string) string {
	find := func(names ...[2]string) string {
		for _, n := range names {
			if strings.Contains(agent, n[0]) {
				return n[1]
			}
		}
		return ""
	}
	// The order counts: most browsers also claim to be others.
	browser := find([2]string{"Firefox/", "Firefox"}, [2]string{"FxiOS/", "Firefox"}, [2]string{"Edg", "Edge"},
		[2]string{"OPR/", "Opera"}, [2]string{"SamsungBrowser/", "Samsung Internet"}, [2]string{"CriOS/", "Chrome"},
		[2]string{"Chrome/", "Chrome"}, [2]string{"Safari/", "Safari"}, [2]string{"curl/", "curl"},
		[2]string{"Go-http-client/", "Go program"})
	system := find([2]string{"Android", "Android"}, [2]string{"iPhone", "iPhone"}, [2]string{"iPad", "iPad"},
		[2]string{"Windows", "Windows"}, [2]string{"Mac OS X", "macOS"},
		[2]string{"CrOS", "ChromeOS"}, [2]string{"Linux", "Linux"})
	switch {
	case browser == "":
		return "unknown browser"
	case system == "":
		return browser
	}
	return browser + " on " + system
}
