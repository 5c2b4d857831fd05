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
	Level            uint8 // of assurance
	IdleLeft, Left   string
	IdleAt, Deadline time.Time
	Sessions         []sessionLine
	More             int  // sessions that are not shown
	Factor           bool // there is a second factor
	Kept             bool // this browser is kept signed in
	Restored         bool // and this session was made by that
	Proven           bool // this session has shown it
}

// account shows who is signed in, since when and for how long, and where else.
func (s *Shop) account(w http.ResponseWriter, r *http.Request) {
	known, ok := session.From(r.Context()).Snapshot()
	if !ok {
		s.denied(w, r, session.ErrLoginRequired)
		return
	}
	lines, more, err := s.sessionLines(r, known.Subject)
	if err != nil {
		s.denied(w, r, err)
		return
	}
	now := s.now()
	s.show(w, r, http.StatusOK, "account", page{Title: "Your account", Data: accountData{
		Ticket:   known.Handle.String(),
		Since:    since(known).Local(),
		Kept:     !known.Series.IsZero(),
		Restored: known.Restored,
		How:      howText(known.Assurance.Methods),
		Role:     known.Assurance.Role,
		Level:    known.Assurance.Level,
		IdleLeft: spell(known.Expires.Sub(now)), IdleAt: known.Expires.Local(),
		Left: spell(known.Deadline.Sub(now)), Deadline: known.Deadline.Local(),
		Sessions: lines, More: more,
		Factor: s.accounts.hasFactor(known.Subject), Proven: !s.owesCode(session.From(r.Context())),
	}})
}

// since returns when a user has signed in himself. His browser may have come back
// since then.
func since(known session.Snapshot) time.Time {
	if known.Restored {
		return known.Assurance.At
	}
	return known.Created
}

// howText says in words how somebody has authenticated.
func howText(methods []string) string {
	words := make([]string, 0, len(methods))
	for _, method := range methods {
		switch method { // RFC 8176
		case "pwd":
			method = "password"
		case "otp":
			method = "code"
		case session.MethodRemember:
			method = "being kept signed in"
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
