package demo

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"

	"cloakroom.example/plain"
	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// adminLine is a session in words.
type adminLine struct {
	Handle string
	User   string // empty for visitors
	State  string
	Alive  bool
	Locked bool
	Own    bool // of the administrator who is looking
	Broken bool // the store cannot read it
	Since  time.Time
	Seen   time.Time
	Device string
	Addr   string
	// What is known of the end, if there was one.
	Ended  time.Time
	Why    string
	Reason string
	By     string
	// SinceText, SeenText and EndedText say how long ago that was.
	SinceText, SeenText, EndedText string

	half  bool // the second factor is missing
	addrs []netip.Addr
}

// newAdminLine puts a record into words.
func (s *Shop) newAdminLine(r *store.Record, own session.Handle, now time.Time) adminLine {
	l := adminLine{
		Handle: r.Handle.String(), User: legible(r.Subject), Alive: r.Alive(now), Locked: r.LockedAt(now), Own: r.Handle == own,
		Since: r.Created.Local(), Seen: r.Seen.Local(),
	}
	if !r.Assurance.At.IsZero() {
		l.Since = r.Assurance.At.Local()
	}
	l.Locked = l.Locked && l.Alive
	l.State, l.half = stateText(r, now), r.State == store.Pending
	first, last := s.clientsOf(r)
	l.Device = plain.Agent(last.Agent)
	for _, c := range []session.Client{first, last} {
		if c.Addr.IsValid() {
			l.Addr, l.addrs = c.Addr.String(), append(l.addrs, c.Addr)
		}
	}
	l.SinceText, l.SeenText = ago(now.Sub(l.Since)), ago(now.Sub(l.Seen))
	if !l.Alive {
		l.endIt(r, now)
	}
	return l
}

// endIt says when, why and by whom a session has ended.
func (l *adminLine) endIt(r *store.Record, now time.Time) {
	end := r.End
	if !r.Ended() {
		end.Cause, _ = r.Expired(now) // nobody has come by to notice
		end.At = r.Expiry()
	}
	l.Ended, l.By = end.At.Local(), legible(end.By)
	l.EndedText = ago(now.Sub(l.Ended))
	reason, forced := strings.CutPrefix(end.Cause, adminCause)
	if forced {
		l.Why, l.Reason = "forced to sign out", legible(reason)
		return
	}
	l.Why = legible(endText(end.Cause))
}

// endText says why a session has ended.
func endText(cause string) string {
	switch cause {
	case session.CauseLogout:
		return "signed out"
	case store.CauseRenewed:
		return "got a new ticket"
	case store.CauseIdle:
		return "not used for too long"
	case store.CauseAbsolute:
		return "lasted as long as it may"
	case store.CauseLimit:
		return "too many sessions"
	case session.CauseReuse:
		return "its ticket was stolen"
	}
	return cause
}

// clientsOf returns where a session began and was used last. A session that has
// ended says nothing of it any more, but the journal may.
func (s *Shop) clientsOf(r *store.Record) (first, last session.Client) {
	if r.First != (session.Client{}) || !r.Ended() {
		return r.First, r.Last
	}
	for _, e := range s.journal.of(r.Handle) {
		// Others may be the cause of other events.
		if e.Handle == r.Handle && (e.Type == session.EventCreated || e.Type == session.EventRenewed) {
			last = session.Client{Addr: e.Addr, Agent: e.Agent}
			if first == (session.Client{}) {
				first = last
			}
		}
	}
	return first, last
}

// stateText says what a session is.
func stateText(r *store.Record, now time.Time) string {
	switch {
	case !r.Alive(now):
		return "ended"
	case r.LockedAt(now):
		return "locked"
	case r.State == store.Anonymous:
		return "visitor"
	case r.State == store.Pending:
		return "second factor missing"
	}
	return "signed in"
}

// Class returns the name that the style sheet has for the state.
func (l adminLine) Class() string {
	switch {
	case !l.Alive:
		return "over"
	case l.Locked, l.half:
		return "half"
	case l.User != "":
		return "in"
	}
	return "guest"
}

// adminSessionData is what the page of one session shows.
type adminSessionData struct {
	adminLine
	Gone      bool // the store does not know it any more
	How, Role string
	Idle, End string // in what time it ends
	FirstAddr string
	Agent     string // as it calls itself
	Timeline  []happening
}

// adminSession shows one session, and what happened to it.
func (s *Shop) adminSession(w http.ResponseWriter, r *http.Request) {
	h, err := session.ParseHandle(r.URL.Query().Get("handle"))
	if err != nil {
		s.missing(w, r, http.StatusNotFound)
		return
	}
	data, err := s.describe(r, h)
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.missing(w, r, http.StatusNotFound)
	case err != nil:
		s.denied(w, r, err)
	default:
		s.show(w, r, http.StatusOK, "admin-session", page{Title: "One session", Data: data})
	}
}

// describe collects what is known about a session, which is nothing secret.
func (s *Shop) describe(r *http.Request, h session.Handle) (data adminSessionData, err error) {
	events := s.journal.of(h)
	data.Timeline = happenings(events)
	slices.Reverse(data.Timeline) // a story is told from its beginning
	known, err := s.find(r.Context(), h)
	if errors.Is(err, store.ErrNotFound) && len(events) > 0 {
		data.Gone, data.Handle, data.State = true, h.String(), "forgotten"
		return data, nil
	}
	if errors.Is(err, store.ErrFormat) {
		// Somebody has damaged it. All that can be done with it is to end it.
		data.Broken, data.Alive, data.Handle, data.State = true, true, h.String(), "unreadable"
		return data, nil
	}
	if err != nil {
		return data, err
	}
	now := s.now()
	data.adminLine = s.newAdminLine(&known, session.From(r.Context()).Handle(), now)
	data.How, data.Role = howText(known.Assurance.Methods), legible(known.Assurance.Role)
	data.Agent = legible(known.Last.Agent)
	if known.First.Addr.IsValid() {
		data.FirstAddr = known.First.Addr.String()
	}
	if data.Alive {
		data.Idle, data.End = spell(known.Expiry().Sub(now)), spell(known.Deadline.Sub(now))
	}
	return data, nil
}

// find loads a session by its handle, ended ones too.
func (s *Shop) find(ctx context.Context, h session.Handle) (store.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, adminPatience)
	defer cancel()
	return s.store.Load(ctx, store.Key{Handle: h}, nil)
}
