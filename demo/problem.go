package demo

import (
	"errors"
	"net/http"
	"net/url"

	"cloakroom.example/session"
)

// problemData is what a page says about something that did not work.
type problemData struct {
	Status int
	Text   string
	Login  bool // offer to sign in
}

// denied answers a request that the session library has refused. The session may
// be unusable by now, and the headers' time for cookies over: its page has
// neither forms nor names.
func (s *Shop) denied(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, session.ErrLoginRequired) && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		next := url.Values{"next": {localPath(r.URL.Path)}}
		http.Redirect(w, r, "/login?"+next.Encode(), http.StatusSeeOther)
		return
	}
	if errors.Is(err, session.ErrStale) {
		askFor(w, r, "/account/confirm")
		return
	}
	session.RetryAfter(w, err)
	status := session.Status(err)
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		status = http.StatusRequestEntityTooLarge
	}
	title, text := explain(status, err)
	w.Header().Set("Cache-Control", "no-store")
	s.write(w, status, "problem", page{Title: title, Here: r.URL.Path, Data: problemData{
		Status: status, Text: text, Login: status == http.StatusUnauthorized,
	}})
}

// explain says in friendly words why a request was refused.
func explain(status int, err error) (title, text string) {
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return "That is too much", "The cloakroom takes coats, not wardrobes. Nothing was changed."
	case errors.Is(err, session.ErrCSRF):
		return "This page is out of date", "The form was opened before you signed in or out, in another browser, " +
			"or it did not come from this shop. Nothing was changed. Open the shop again and try once more. " +
			"If that does not help, your browser does not keep our cookie: use localhost, or start the shop with --tls."
	case errors.Is(err, session.ErrConflict):
		return "Somebody was faster", "The same thing was changed at the same time. Look at it again, and try once more."
	case status == http.StatusUnauthorized:
		return "Your ticket has run out", "Your session has ended. Nothing was changed. Please sign in again."
	case status == http.StatusTooManyRequests:
		return "The counter is crowded", "Too many new visitors came from your address. Please try again in a minute."
	case status == http.StatusServiceUnavailable:
		return "The attendant has stepped out", "We cannot look up your session at the moment. Nothing was changed. " +
			"Please try again in a few seconds."
	}
	return "Something went wrong", "That was our fault. Nothing was changed; please try again."
}

// missing answers requests for pages that are not there, or not in that way.
func (s *Shop) missing(w http.ResponseWriter, _ *http.Request, status int) {
	w.Header().Del("X-Content-Type-Options") // the mux has added its own
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if status == http.StatusMethodNotAllowed {
		s.problem(w, status, "Not this way", "There is such a page, but it does not do what you asked of it.")
		return
	}
	s.problem(w, http.StatusNotFound, "Nothing hangs here", "This peg is empty: there is no such page.")
}

// problem answers with a friendly page that needs no session.
func (s *Shop) problem(w http.ResponseWriter, status int, title, text string) {
	s.write(w, status, "problem", page{Title: title, Data: problemData{Status: status, Text: text}})
}
