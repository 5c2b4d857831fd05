package demo

import (
	"net/http"
	"slices"
	"time"

	"cloakroom.example/session"
)

// causeOwner is why a session has ended that its user ended from elsewhere.
const causeOwner = "by its user"

// maxSessionLines is how many sessions the account page shows. Who knows a
// password can make any number of them.
const maxSessionLines = 50

// sessionLine is one line of "your sessions".
type sessionLine struct {
	Handle  string
	Device  string
	Address string
	Since   time.Time
	Seen    time.Time
	Ago     string
	Current bool
	Pending bool // knows the password, and owes the code
}

// sessionLines lists the sessions of a user, this one first, then those used
// last, and returns how many more there are.
func (s *Shop) sessionLines(r *http.Request, subject string) (lines []sessionLine, more int, err error) {
	now := s.now()
	for known, err := range s.sessions.Sessions(r.Context(), subject) {
		if err != nil {
			return nil, 0, err
		}
		lines = append(lines, sessionLine{
			Handle: known.Handle.String(), Device: agentName(known.Last.Agent), Address: known.Last.Addr.String(),
			Since: known.Created.Local(), Seen: known.Seen.Local(), Ago: ago(now.Sub(known.Seen)),
			Current: known.Current, Pending: known.State == session.Pending,
		})
	}
	slices.SortFunc(lines, func(a, b sessionLine) int {
		if a.Current != b.Current {
			return choose(a.Current, -1, 1)
		}
		return b.Seen.Compare(a.Seen)
	})
	if more = len(lines) - maxSessionLines; more > 0 {
		return lines[:maxSessionLines], more, nil
	}
	return lines, 0, nil
}

// ago says how long something is past. Last use is written once a minute at most.
func ago(d time.Duration) string {
	switch day := 24 * time.Hour; {
	case d < 2*time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute") + " ago"
	case d < day:
		return count(int(d/time.Hour), "hour") + " ago"
	default:
		return count(int(d/day), "day") + " ago"
	}
}

// endSession ends one session of the user who asks for it. The handle comes from
// him, so that it is looked for among his own.
func (s *Shop) endSession(w http.ResponseWriter, r *http.Request) {
	handle, err := session.ParseHandle(r.PostFormValue("session"))
	if err != nil {
		s.noSuchSession(w)
		return
	}
	current := session.From(r.Context())
	if handle == current.Handle() {
		s.logout(w, r)
		return
	}
	for known, err := range s.sessions.Sessions(r.Context(), current.Subject()) {
		if err != nil {
			s.denied(w, r, err)
			return
		}
		if known.Handle == handle {
			_, err := s.sessions.Revoke(r.Context(), handle, causeOwner)
			s.backToAccount(w, r, "That session is ended: "+agentName(known.Last.Agent)+" is signed out.", err)
			return
		}
	}
	s.noSuchSession(w)
}

func (s *Shop) noSuchSession(w http.ResponseWriter) {
	s.problem(w, http.StatusNotFound, "No such ticket of yours",
		"You have no session under that number: it may have ended in the meantime. Nothing was changed.")
}

// endOthers ends all other sessions of the user.
func (s *Shop) endOthers(w http.ResponseWriter, r *http.Request) {
	n, err := s.sessions.RevokeOthers(r.Context())
	s.backToAccount(w, r, othersText(n), err)
}

func othersText(n int) string {
	if n == 0 {
		return "There was no other session to end."
	}
	return count(n, "other session") + choose(n == 1, " is", " are") + " ended."
}

// backToAccount shows the account page with a note, or why there is none.
func (s *Shop) backToAccount(w http.ResponseWriter, r *http.Request, note string, err error) {
	if err == nil {
		err = notice.Set(session.From(r.Context()), note)
	}
	if err != nil {
		s.denied(w, r, err)
		return
	}
	http.Redirect(w, r, "/account", http.StatusSeeOther)
}
