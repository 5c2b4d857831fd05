package demo

import (
	"iter"
	"net/http"
	"slices"
	"time"

	"cloakroom.example/plain"
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
	Kept    bool // the browser is kept signed in
	// Restored says that the session was made by that; Away, that there is none
	// now, and one would be made until Until.
	Restored, Away bool
	Until          time.Time
}

// newSessionLine puts a session into words.
func newSessionLine(known session.Snapshot, now time.Time) sessionLine {
	return sessionLine{
		Handle: known.Handle.String(), Device: plain.Agent(known.Last.Agent), Address: known.Last.Addr.String(),
		Since: since(known).Local(), Seen: known.Seen.Local(), Ago: ago(now.Sub(known.Seen)),
		Current: known.Current, Pending: known.State == session.Pending,
		Kept: !known.Series.IsZero(), Restored: known.Restored,
	}
}

// sessionLines lists the sessions of a user and the browsers that are kept signed in
// without one, this one first, then those used last, and returns how many more there
// are.
func (s *Shop) sessionLines(r *http.Request, subject string) (lines []sessionLine, more int, err error) {
	lines, err = s.allLines(r, subject)
	if err != nil {
		return nil, 0, err
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

// allLines lists them in no order.
func (s *Shop) allLines(r *http.Request, subject string) (lines []sessionLine, err error) {
	now, busy := s.now(), make(map[session.Handle]bool)
	for known, err := range s.sessions.Sessions(r.Context(), subject) {
		if err != nil {
			return nil, err
		}
		busy[known.Series] = true
		lines = append(lines, newSessionLine(known, now))
	}
	kept, err := s.keptLines(r, subject, busy, now)
	return append(lines, kept...), err
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
	known, ok, err := s.ownSession(r, current.Subject(), handle)
	switch {
	case err != nil:
		s.denied(w, r, err)
	case !ok:
		s.noSuchSession(w)
	case known.Current:
		s.logout(w, r) // what keeps this browser signed in
	default:
		_, err := s.sessions.Revoke(r.Context(), handle, causeOwner)
		s.backToAccount(w, r, "That session is ended: "+plain.Agent(known.Last.Agent)+" is signed out.", err)
	}
}

// ownSession looks for a session of a user, or a browser that is kept signed in.
func (s *Shop) ownSession(r *http.Request, subject string, handle session.Handle) (known session.Snapshot, ok bool, err error) {
	for _, list := range []iter.Seq2[session.Snapshot, error]{
		s.sessions.Sessions(r.Context(), subject), s.sessions.Remembered(r.Context(), subject),
	} {
		for known, err := range list {
			if err != nil {
				return session.Snapshot{}, false, err
			}
			if known.Handle == handle {
				return known, true, nil
			}
		}
	}
	return session.Snapshot{}, false, nil
}

func (s *Shop) noSuchSession(w http.ResponseWriter) {
	s.problem(w, http.StatusNotFound, "No such ticket of yours",
		"You have no session under that number: it may have ended in the meantime. Nothing was changed.")
}

// endOthers ends all other sessions of the user.
func (s *Shop) endOthers(w http.ResponseWriter, r *http.Request) {
	n, err := s.revokeOthers(r)
	s.backToAccount(w, r, othersText(n), err)
}

// revokeOthers ends all other sessions of the user, and says how many the account page
// has shown: a browser that would have come back by itself is one, too.
func (s *Shop) revokeOthers(r *http.Request) (n int, err error) {
	lines, err := s.allLines(r, session.From(r.Context()).Subject())
	if err != nil {
		return 0, err
	}
	for _, line := range lines {
		if !line.Current {
			n++
		}
	}
	_, err = s.sessions.RevokeOthers(r.Context())
	return n, err
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
