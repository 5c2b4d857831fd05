package demo

import (
	"errors"
	"net/http"
	"net/url"
	"slices"

	"cloakroom.example/session"
)

// The assurance levels that the shop gives.
const (
	levelPassword = 1
	levelBoth     = 2 // password and code
)

// shownFactor is the id of the second factor that a session has shown. The level
// alone does not tell: it may be that of an earlier factor, which somebody else
// has switched on, shown and switched off again.
var shownFactor = session.NewKey[string]("shown-factor")

// owesCode reports whether the account has a second factor that the session has
// not shown.
func (s *Shop) owesCode(current *session.Session) bool {
	id := s.accounts.factorID(current.Subject())
	if id == "" {
		return false
	}
	shown, _ := shownFactor.Get(current)
	return shown != id || current.Assurance().Level < levelBoth
}

// requireFactor passes on requests of sessions that have shown all that their
// account has. A session that is older than the second factor has not: it is
// raised here, when that matters, instead of being ended.
func (s *Shop) requireFactor(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		current := session.From(r.Context())
		if s.owesCode(current) {
			askFor(w, r, choose(isRestored(current), "/account/confirm", "/account/code"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

// stepUpForm asks for a code of the second factor, unless there is nothing to ask
// for, such as when another tab has shown it.
func (s *Shop) stepUpForm(w http.ResponseWriter, r *http.Request) {
	if !s.owesCode(session.From(r.Context())) {
		http.Redirect(w, r, "/account", http.StatusSeeOther)
		return
	}
	if isRestored(session.From(r.Context())) { // a code alone would be one factor
		http.Redirect(w, r, "/account/confirm?"+url.Values{"next": {r.URL.Query().Get("next")}}.Encode(), http.StatusSeeOther)
		return
	}
	s.showStepUp(w, r, http.StatusOK, r.URL.Query().Get("next"), "")
}

func (s *Shop) showStepUp(w http.ResponseWriter, r *http.Request, status int, next, wrong string) {
	text, deed := purpose(next)
	data := confirmData{Next: next, Purpose: text, Deed: deed, Wrong: wrong}
	s.show(w, r, status, "account-code", page{Title: "Is it you?", Data: data})
}

// stepUp raises the session of who has shown the second factor, and goes on.
func (s *Shop) stepUp(w http.ResponseWriter, r *http.Request) {
	next, subject := r.PostFormValue("next"), session.From(r.Context()).Subject()
	if isRestored(session.From(r.Context())) {
		s.denied(w, r, session.ErrStale)
		return
	}
	id, refused := s.proveCode(r, subject)
	if errors.Is(refused, errNoFactor) {
		s.goOn(w, r, next) // switched off meanwhile: there is nothing to show
		return
	}
	if refused != nil {
		status, text := codeText(refused)
		s.showStepUp(w, r, status, next, text)
		return
	}
	err := s.raise(r)
	if err == nil {
		err = shownFactor.Set(session.From(r.Context()), id)
	}
	if err != nil {
		s.denied(w, r, err)
		return
	}
	s.goOn(w, r, next)
}

// raise notes that the second factor was shown in this session.
func (s *Shop) raise(r *http.Request) error {
	return s.sessions.Elevate(r.Context(), func(a *session.Assurance) {
		a.Level = max(a.Level, levelBoth)
		if !slices.Contains(a.Methods, "otp") {
			a.Methods = append(a.Methods, "otp")
		}
	})
}

// proveCode uses up the code that was sent, and returns which factor it is of.
func (s *Shop) proveCode(r *http.Request, subject string) (id string, err error) {
	id, err = s.accounts.acceptCode(subject, typedCode(r.PostFormValue("code")), s.now())
	switch {
	case errors.Is(err, errCodeWrong):
		s.log.note("wrong code", subject, r)
	case errors.Is(err, errCodeUsed):
		s.log.note("code used before", subject, r)
	case errors.Is(err, errCodeTooMany):
		s.log.note("too many codes", subject, r)
	}
	return id, err
}

// codeText says why a code was refused.
func codeText(err error) (status int, text string) {
	switch {
	case errors.Is(err, errCodeUsed):
		return http.StatusForbidden, "That code was used already, and each counts once. Wait for the next one."
	case errors.Is(err, errCodeTooMany):
		return http.StatusTooManyRequests, "Too many wrong codes. Please try again in two minutes. " +
			"If it was not you who typed them, somebody knows your password: change it."
	}
	return http.StatusForbidden, "That is not the code. Look for the one that your app shows now."
}
