package demo

import (
	"context"
	"net/http"
	"time"

	"cloakroom.example/session"
)

// readmit says who somebody is today who is kept signed in: no longer anybody, if
// the account is gone, and otherwise with the role that it has now.
func (s *Shop) readmit(_ context.Context, who session.Snapshot) (session.Identity, error) {
	account, ok := s.accounts.find(who.Subject)
	if !ok {
		return session.Identity{}, session.ErrLoginRequired
	}
	return session.Identity{Role: account.Role}, nil
}

// wantsRemembering reports whether the box of the login form is ticked.
func wantsRemembering(r *http.Request) bool { return r.PostFormValue("remember") == "yes" }

// isRestored reports whether the session was made because its user is kept signed
// in: nobody has proved anything since.
func isRestored(current *session.Session) bool {
	known, ok := current.Snapshot()
	return ok && known.Restored
}

// reauthenticate notes that the password was typed. A session that was restored has
// the level of a password from then on.
func (s *Shop) reauthenticate(r *http.Request) error {
	if err := s.sessions.Reauthenticate(r.Context(), "pwd"); err != nil {
		return err
	}
	if session.From(r.Context()).Assurance().Level >= levelPassword {
		return nil
	}
	return s.sessions.Elevate(r.Context(), func(a *session.Assurance) { a.Level = levelPassword })
}

// keptLines lists the browsers that are kept signed in and have no session at the
// moment: they come back by themselves.
func (s *Shop) keptLines(r *http.Request, subject string, busy map[session.Handle]bool, now time.Time) (lines []sessionLine, err error) {
	for known, err := range s.sessions.Remembered(r.Context(), subject) {
		if err != nil {
			return nil, err
		}
		if !busy[known.Handle] {
			line := newSessionLine(known, now)
			line.Kept, line.Away, line.Until = true, true, known.Expires.Local()
			lines = append(lines, line)
		}
	}
	return lines, nil
}
