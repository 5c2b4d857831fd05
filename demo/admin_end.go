package demo

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

const (
	// adminCause comes before the reason that an administrator gives, so that
	// it cannot be taken for one of the library's own.
	adminCause = "admin: "
	// maxReason is the longest reason, in bytes.
	maxReason = 200
	// everybody is what has to be typed before all sessions are ended.
	everybody = "everybody"
	// endedParam asks the login page to say that the session is over. A flash
	// value would need a new session just for that.
	endedParam = "ended"
)

// target says whose sessions are to end: one, those of a user, or all.
type target struct {
	Handle session.Handle
	User   string
	All    bool
}

// parseTarget reads a target, and reports whether it is exactly one.
func parseTarget(v url.Values) (t target, ok bool) {
	t.User, t.All = v.Get("user"), v.Get("all") == "yes"
	if len(t.User) > maxUsername || legible(t.User) != t.User {
		return target{}, false // nobody is called that
	}
	named := 0
	if v.Get("handle") != "" {
		var err error
		if t.Handle, err = session.ParseHandle(v.Get("handle")); err != nil {
			return target{}, false
		}
		named++
	}
	if t.User != "" {
		named++
	}
	if t.All {
		named++
	}
	return t, named == 1
}

// endData is what the page shows that asks for the reason.
type endData struct {
	Target   target
	Line     adminLine // of a single session
	Sessions int       // how many will end
	Own      bool      // the administrator's own is among them
	Reason   string
	Wrong    string // what is wrong with the reason
	Unsure   bool   // the word that confirms it was not typed
	Confirm  string // that word, if it is needed
}

// adminEndForm asks why sessions are to end.
func (s *Shop) adminEndForm(w http.ResponseWriter, r *http.Request) {
	t, ok := parseTarget(r.URL.Query())
	if !ok {
		s.missing(w, r, http.StatusNotFound)
		return
	}
	s.askWhy(w, r, http.StatusOK, endData{Target: t})
}

// askWhy shows the form, with what it is about.
func (s *Shop) askWhy(w http.ResponseWriter, r *http.Request, status int, data endData) {
	current := session.From(r.Context())
	var err error
	switch t := data.Target; {
	case t.All:
		data.Confirm, data.Own = everybody, true
		data.Sessions, err = s.sessions.Count(r.Context(), "")
	case t.User != "":
		data.Own = t.User == current.Subject()
		data.Sessions, err = s.sessions.Count(r.Context(), t.User)
	default:
		var known adminSessionData
		known, err = s.describe(r, t.Handle)
		data.Line, data.Own = known.adminLine, known.Own
		if known.Alive {
			data.Sessions = 1
		}
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		s.missing(w, r, http.StatusNotFound)
	case err != nil:
		s.denied(w, r, err)
	default:
		s.show(w, r, status, "admin-end", page{Title: "Force to sign out", Data: data})
	}
}

// adminEnd ends sessions, for a reason.
func (s *Shop) adminEnd(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		s.denied(w, r, err)
		return
	}
	t, ok := parseTarget(r.PostForm)
	if !ok {
		s.problem(w, http.StatusBadRequest, "Who should that be?", "The form does not say whose session is to end. Nothing was changed.")
		return
	}
	data := endData{Target: t, Reason: strings.TrimSpace(r.PostFormValue("reason"))}
	data.Wrong = checkReason(data.Reason)
	data.Unsure = t.All && strings.TrimSpace(r.PostFormValue("confirm")) != everybody
	if data.Wrong != "" || data.Unsure {
		data.Reason = legible(data.Reason)
		s.askWhy(w, r, http.StatusUnprocessableEntity, data)
		return
	}
	said, err := s.end(r.Context(), t, adminCause+data.Reason)
	if err != nil {
		s.denied(w, r, err)
		return
	}
	s.afterEnd(w, r, t, said)
}

// checkReason says what is wrong with a reason.
func checkReason(reason string) string {
	switch {
	case reason == "":
		return "Please give a reason. It stands in the log, and in the story of each session."
	case len(reason) > maxReason:
		return fmt.Sprintf("That is too long: %d bytes, at most %d.", len(reason), maxReason)
	case !utf8.ValidString(reason) || strings.ContainsFunc(reason, func(c rune) bool { return !unicode.IsPrint(c) }):
		return "Please write one line of plain text."
	}
	return ""
}

// end ends what was asked for, on behalf of the administrator whose request it is.
func (s *Shop) end(ctx context.Context, t target, cause string) (said string, err error) {
	switch {
	case t.All:
		return "", s.sessions.RevokeAll(ctx, cause)
	case t.User != "":
		n, err := s.sessions.RevokeSubject(ctx, t.User, cause)
		return count(n, "session") + " of " + legible(t.User) + " ended.", err
	}
	alive, err := s.sessions.Revoke(ctx, t.Handle, cause)
	return choose(alive, "The session has ended.", "The session had ended before."), err
}

// afterEnd shows what has become of it: to whoever has ended his own session, too,
// that it is over.
func (s *Shop) afterEnd(w http.ResponseWriter, r *http.Request, t target, said string) {
	current := session.From(r.Context())
	if current.Err() != nil {
		http.Redirect(w, r, "/login?next=%2Fadmin&"+endedParam+"="+choose(t.All, "all", "own"), http.StatusSeeOther)
		return
	}
	if err := notice.Set(current, said); err != nil {
		s.denied(w, r, err)
		return
	}
	next := "/admin?" + url.Values{"user": {t.User}, "state": {"any"}}.Encode()
	if t.User == "" {
		next = "/admin/session?" + url.Values{"handle": {t.Handle.String()}}.Encode()
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// endedNotice is what the login page says to an administrator who has ended his
// own session.
func endedNotice(r *http.Request) string {
	switch r.URL.Query().Get(endedParam) {
	case "all":
		return "Everybody is signed out, you too. Sign in to go on."
	case "own":
		return "Your session has ended, as you asked. Sign in to go on."
	}
	return ""
}
