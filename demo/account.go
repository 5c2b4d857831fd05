package demo

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"cloakroom.example/session"
)

// accountData is what the account page shows.
type accountData struct {
	Ticket           string // the session's public name
	Since            time.Time
	How              string
	Role             string
	IdleLeft, Left   string
	IdleAt, Deadline time.Time
	From             string
}

// account shows who is signed in, since when, and for how long.
func (s *Shop) account(w http.ResponseWriter, r *http.Request) {
	known, ok := session.From(r.Context()).Snapshot()
	if !ok {
		s.denied(w, r, session.ErrLoginRequired)
		return
	}
	now := time.Now()
	s.show(w, r, http.StatusOK, "account", page{Title: "Your account", Data: accountData{
		Ticket:   known.Handle.String(),
		Since:    known.Assurance.At.Local(),
		How:      howText(known.Assurance.Methods),
		Role:     known.Assurance.Role,
		IdleLeft: spell(known.Expires.Sub(now)), IdleAt: known.Expires.Local(),
		Left: spell(known.Deadline.Sub(now)), Deadline: known.Deadline.Local(),
		From: agentName(known.Last.Agent),
	}})
}

// howText says in words how somebody has authenticated.
func howText(methods []string) string {
	words := make([]string, 0, len(methods))
	for _, method := range methods {
		if method == "pwd" { // RFC 8176
			method = "password"
		}
		words = append(words, method)
	}
	return strings.Join(words, " and ")
}

// spell writes a duration as people say it, rounded down to minutes.
func spell(d time.Duration) string {
	if d < time.Minute {
		return "less than a minute"
	}
	hours, minutes := int(d/time.Hour), int(d%time.Hour/time.Minute)
	switch {
	case hours == 0:
		return count(minutes, "minute")
	case minutes == 0:
		return count(hours, "hour")
	}
	return count(hours, "hour") + " " + count(minutes, "minute")
}

// count writes a number of things: 1 hour, 2 hours.
func count(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
