package demo

import (
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cloakroom.example/session"
)

// freshFor is how long after typing the password one may do what matters.
const freshFor = 5 * time.Minute

// guarded passes on requests of users who have proved themselves in the last
// minutes, by all the factors that their account has. The others are asked, and
// go on from there.
func (s *Shop) guarded(next http.HandlerFunc) http.Handler {
	// The code comes first: it is fresh proof itself, so that nobody is asked
	// for both.
	return s.sessions.RequireLogin(s.requireFactor(s.sessions.RequireFresh(freshFor, next)))
}

// purpose says what somebody wants who was stopped at one of our paths, and
// whether that is something to do rather than a page to see. Other paths have
// none: the list keeps those who write links from choosing.
func purpose(path string) (text string, deed bool) {
	switch path {
	case "/account/sessions/end-others":
		return "end all your other sessions", true
	case "/account/second-factor/off":
		return "switch off your second factor", true
	case "/account/second-factor":
		return "set up a second factor", false
	case "/account/password":
		return "change your password", false
	case "/account":
		return "stay signed in", false
	case "/admin":
		return "enter the office", false
	}
	return "", false
}

// goOn continues at the path where somebody was stopped: pages are shown, deeds
// are done at once, by the same handler that has refused before.
func (s *Shop) goOn(w http.ResponseWriter, r *http.Request, path string) {
	switch text, deed := purpose(path); {
	case text == "":
		http.Redirect(w, r, "/account", http.StatusSeeOther)
	case deed:
		again := *r
		again.URL = &url.URL{Path: path}
		s.routes.ServeHTTP(w, &again)
	default:
		http.Redirect(w, r, path, http.StatusSeeOther)
	}
}

// confirmData is what the pages show that ask for a proof.
type confirmData struct {
	Next    string
	Purpose string
	Deed    bool // it is done at once
	Wrong   string
}

// askFor sends the browser to a page that asks for a proof, and from there to
// where it is now.
func askFor(w http.ResponseWriter, r *http.Request, page string) {
	http.Redirect(w, r, page+"?"+url.Values{"next": {r.URL.Path}}.Encode(), http.StatusSeeOther)
}

// confirmForm asks for the password again.
func (s *Shop) confirmForm(w http.ResponseWriter, r *http.Request) {
	s.showConfirm(w, r, http.StatusOK, r.URL.Query().Get("next"), "")
}

func (s *Shop) showConfirm(w http.ResponseWriter, r *http.Request, status int, next, wrong string) {
	text, deed := purpose(next)
	data := confirmData{Next: next, Purpose: text, Deed: deed, Wrong: wrong}
	s.show(w, r, status, "account-confirm", page{Title: "Is it you?", Data: data})
}

// confirm notes that the user has typed the password again, and goes on. If he
// only wants to stay signed in, that is done, too: the absolute timeout starts
// anew.
func (s *Shop) confirm(w http.ResponseWriter, r *http.Request) {
	next := r.PostFormValue("next")
	if _, refused := s.prove(w, r, r.PostFormValue("password")); refused != nil {
		s.showConfirm(w, r, refused.status, next, refused.text)
		return
	}
	if err := s.reauthenticate(r); err != nil {
		s.denied(w, r, err)
		return
	}
	s.goOn(w, r, next)
}

// refusal is why a proof was not accepted.
type refusal struct {
	status int
	text   string
}

// prove checks the password of who is signed in, as often as at the login.
// It returns the hash that the password fits.
func (s *Shop) prove(w http.ResponseWriter, r *http.Request, password string) (hash []byte, refused *refusal) {
	subject := session.From(r.Context()).Subject()
	forgive, wait := s.attempts.take(sourceOf(r), subject, s.now())
	if wait > 0 {
		s.log.note("too many tries", subject, r)
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		return nil, &refusal{http.StatusTooManyRequests, "Too many tries. Please wait " + count(int(wait.Seconds()), "second") + ", then try again."}
	}
	hash, ok := s.accounts.verify(r.Context(), subject, password)
	if !ok {
		s.log.note("wrong password", subject, r)
		return nil, &refusal{http.StatusForbidden, "That is not your password."}
	}
	forgive()
	return hash, nil
}
