package demo

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"cloakroom.example/session"
)

// statePath is what open pages ask for whether they still may show what they
// show.
const statePath = "/session"

// isState reports whether a request only asks for the state of the session: that
// is the page's doing, and no activity of its user.
func isState(r *http.Request) bool { return r.URL.Path == statePath }

// state answers who is signed in, and for how many seconds. Nothing in it is a
// secret to who holds the session.
func (s *Shop) state(w http.ResponseWriter, r *http.Request) {
	var answer struct {
		User     string `json:"user"`     // empty if nobody is
		Idle     int    `json:"idle"`     // if nothing is done; never more than Absolute
		Absolute int    `json:"absolute"` // whatever is done
	}
	current := session.From(r.Context())
	if err := current.Err(); errors.Is(err, session.ErrUnavailable) {
		s.denied(w, r, err) // not the same as being signed out
		return
	}
	if known, ok := current.Snapshot(); ok && current.Subject() != "" {
		answer.User = known.Subject
		answer.Idle = int(known.Expires.Sub(s.now()).Seconds())
		answer.Absolute = int(known.Deadline.Sub(s.now()).Seconds())
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(answer) // the client may be gone
}

// stay does nothing: the request itself is the activity that keeps the session.
func (s *Shop) stay(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// warnBefore is how long before the idle timeout pages warn: long enough to notice
// it and to answer (WCAG 2.2.1 asks for 20 seconds), but not most of the time.
func warnBefore(idle time.Duration) time.Duration {
	return min(2*time.Minute, max(20*time.Second, idle/3))
}
