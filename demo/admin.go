package demo

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cloakroom.example/plain"
	"cloakroom.example/session"
)

const (
	// adminRole is the role that may look after the sessions of others.
	adminRole = "admin"
	// adminFresh is how long after authenticating an administrator may do so.
	adminFresh = 15 * time.Minute
	// adminHappened is how many of the last events the list begins with.
	adminHappened = 12
)

// adminData is what the page with all sessions shows.
type adminData struct {
	Search adminSearch
	Wrong  string // why the search makes no sense
	List   sessionList
	// Happened are the last events, the latest one first.
	Happened []happening
	Live     string // address of the stream that keeps the page up to date
}

// Reasons why somebody may not see the sessions of others, besides those of the
// library.
var (
	errStaffOnly = errors.New("demo: not an administrator")
	errNoCode    = errors.New("demo: the second factor is missing")
)

// checkAdmin returns nil if the request comes from an administrator who has
// authenticated lately, by all factors that he has. The role is the session's
// own: it was sealed at login, and whoever changes the row in the database gets
// no session at all.
func (s *Shop) checkAdmin(r *http.Request) error {
	current := session.From(r.Context())
	if err := current.CheckLogin(); err != nil {
		return err
	}
	known, ok := current.Snapshot()
	if !ok || known.Assurance.Role != adminRole {
		return errStaffOnly // before asking for a password that would not help
	}
	if known.Restored {
		return session.ErrStale // and of the code afterwards
	}
	if s.owesCode(current) {
		return errNoCode
	}
	return current.CheckFresh(adminFresh)
}

// forAdmin passes on requests of administrators, and sends those away who are not
// or have to authenticate first.
func (s *Shop) forAdmin(next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch err := s.checkAdmin(r); {
		case err == nil:
			next(w, r)
		case errors.Is(err, errStaffOnly):
			s.problem(w, http.StatusForbidden, "Staff only",
				"Behind this door hang the tickets of everybody, and your account has no key to it. Nothing was changed.")
		case errors.Is(err, errNoCode):
			http.Redirect(w, r, "/account/code?next=%2Fadmin", http.StatusSeeOther)
		case errors.Is(err, session.ErrStale):
			http.Redirect(w, r, "/account/confirm?next=%2Fadmin", http.StatusSeeOther)
		case errors.Is(err, session.ErrLoginRequired) && r.Method == http.MethodGet:
			http.Redirect(w, r, "/login?next=%2Fadmin", http.StatusSeeOther)
		default:
			s.denied(w, r, err)
		}
	})
}

// admin lists all sessions, or those that are searched for.
func (s *Shop) admin(w http.ResponseWriter, r *http.Request) {
	last := s.journal.now()
	news := s.journal.since(last - min(last, adminHappened))
	data := adminData{Happened: happenings(news.events)}
	status := http.StatusOK
	data.Search, data.Wrong = parseSearch(r.URL.Query())
	if data.Wrong == "" {
		var err error
		data.List, err = s.search(r, data.Search)
		if errors.Is(err, errCursor) {
			s.problem(w, http.StatusBadRequest, "Where was that?", "There is no such place in the list. Begin with its first page.")
			return
		}
		if err != nil {
			s.denied(w, r, err)
			return
		}
	} else {
		status = http.StatusUnprocessableEntity
	}
	live := data.Search.values()
	live.Set("after", strconv.FormatUint(news.last, 10))
	data.Live = "/admin/live?" + live.Encode()
	s.show(w, r, status, "admin", page{Title: "All sessions", Data: data})
}

// happening is an event in words. What came from the network is an address, one
// of our own words, or harmless to look at.
type happening struct {
	At     time.Time
	What   string
	Reason string // that an administrator gave
	Who    string
	By     string
	From   string
	Device string
	Handle string
	Bad    bool // somebody tried what he must not, or something failed
}

// happenings puts events into words, the latest one first.
func happenings(events []session.Event) []happening {
	all := make([]happening, 0, len(events))
	for i := len(events) - 1; i >= 0; i-- {
		all = append(all, newHappening(events[i]))
	}
	return all
}

func newHappening(e session.Event) happening {
	h := happening{At: e.Time.Local(), Who: legible(e.Subject), By: initiatorText(e), Bad: isBad(e)}
	what, reason := adminEventText(e)
	h.What, h.Reason = legible(what), legible(reason)
	if e.Addr.IsValid() {
		h.From = e.Addr.String()
	}
	if e.Agent != "" {
		h.Device = plain.Agent(e.Agent)
	}
	if !e.Handle.IsZero() && !ofLogin(e) {
		h.Handle = e.Handle.String()
	}
	return h
}

// adminEventText says what happened, and the reason if an administrator gave one.
func adminEventText(e session.Event) (what, reason string) {
	if e.Type == session.EventDropped {
		return count(e.Count, "event") + " missing here", ""
	}
	reason, forced := strings.CutPrefix(e.Cause, adminCause)
	if !forced {
		return eventText(e), ""
	}
	switch {
	case e.Type == session.EventForgotten:
		return "no longer kept signed in", reason
	case e.Type == session.EventExpired:
		return "forced to sign out", reason
	case e.Type == session.EventRevoked && e.Subject != "":
		return "forced to sign out everywhere", reason
	case e.Type == session.EventRevoked:
		return "everybody forced to sign out", reason
	}
	e.Cause = "ended by force"
	return eventText(e), reason
}

// ofLogin reports whether an event is about somebody being kept signed in: its handle
// is not that of a session.
func ofLogin(e session.Event) bool {
	switch e.Type {
	case session.EventRemembered, session.EventRestored, session.EventForgotten:
		return true
	}
	return e.Type == session.EventReuse && e.Cause == session.MethodRemember
}

// initiatorText says who has caused an event.
func initiatorText(e session.Event) string {
	switch e.Type {
	case session.EventExpired, session.EventLocked, session.EventReuse, session.EventDropped, session.EventForgotten:
		if e.Initiator == "" {
			return "the shop"
		}
	case session.EventCreated, session.EventLogout:
		if e.Initiator == "" {
			return "a visitor"
		}
	}
	if e.Initiator == "" {
		return "somebody" // whoever presented the ticket
	}
	return legible(e.Initiator)
}

// isBad reports whether an event is an attack or a failure.
func isBad(e session.Event) bool {
	switch e.Type {
	case session.EventCreated, session.EventRenewed, session.EventExpired, session.EventLogout, session.EventLocked,
		session.EventRevoked, session.EventRemembered, session.EventRestored, session.EventForgotten:
		return false
	}
	return true
}

// maxLegible is the longest text from elsewhere that a page shows.
const maxLegible = 200

// legible makes a text from elsewhere fit to be shown: nothing that cannot be
// seen, turns the line around or fills the page.
func legible(text string) string {
	if len(text) > maxLegible {
		text = strings.ToValidUTF8(text[:maxLegible], "") + "…"
	}
	return plain.Text(text)
}
