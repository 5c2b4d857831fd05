package demo

import (
	"errors"
	"net/http"
	"net/url"

	"cloakroom.example/session"
)

// askCode notes that somebody knows the password, and asks for the code. Until
// that comes, there is no login: not even a session that could be taken for one.
func (s *Shop) askCode(w http.ResponseWriter, r *http.Request, account Account, form loginData) {
	err := s.sessions.LoginPending(r.Context(), session.Identity{
		Subject: account.Name, Role: account.Role, Methods: []string{"pwd"}, Level: levelPassword,
		Remember: form.Remember, // once the login is complete
	})
	if err != nil {
		s.denied(w, r, err)
		return
	}
	http.Redirect(w, r, "/login/code?"+url.Values{"next": {form.Next}}.Encode(), http.StatusSeeOther)
}

// loginCodeForm asks who knows the password for a code.
func (s *Shop) loginCodeForm(w http.ResponseWriter, r *http.Request) {
	if _, ok := session.From(r.Context()).Pending(r.Context()); !ok {
		s.startAgain(w, r, r.URL.Query().Get("next"))
		return
	}
	s.showLoginCode(w, r, http.StatusOK, r.URL.Query().Get("next"), "")
}

func (s *Shop) showLoginCode(w http.ResponseWriter, r *http.Request, status int, next, wrong string) {
	s.show(w, r, status, "login-code", page{Title: "Your second factor", Data: confirmData{Next: localPath(next), Wrong: wrong}})
}

// startAgain sends the browser to the first step of the login.
func (s *Shop) startAgain(w http.ResponseWriter, r *http.Request, next string) {
	http.Redirect(w, r, "/login?"+url.Values{"next": {localPath(next)}}.Encode(), http.StatusSeeOther)
}

// loginCode completes the login of who has both factors.
func (s *Shop) loginCode(w http.ResponseWriter, r *http.Request) {
	next := r.PostFormValue("next")
	half, ok := session.From(r.Context()).Pending(r.Context())
	if !ok {
		s.startAgain(w, r, next)
		return
	}
	id, refused := s.proveCode(r, half.Subject)
	if errors.Is(refused, errNoFactor) {
		s.startAgain(w, r, next) // switched off meanwhile, or the shop has been restarted
		return
	}
	if refused != nil {
		status, text := codeText(refused)
		s.showLoginCode(w, r, status, next, text)
		return
	}
	err := s.sessions.CompleteLogin(r.Context(), session.Identity{Methods: []string{"otp"}, Level: levelBoth})
	if errors.Is(err, session.ErrLoginRequired) {
		s.startAgain(w, r, next) // it took too long, or was ended from elsewhere
		return
	}
	if err == nil {
		err = shownFactor.Set(session.From(r.Context()), id)
	}
	s.welcome(w, r, half.Subject, next, err)
}
