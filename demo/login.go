package demo

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"cloakroom.example/session"
)

// signedOutParam asks the shop's page to say that the user is signed out. A
// flash value would need a new session just for that.
const signedOutParam = "signed-out"

// loginData is what the login form shows.
type loginData struct {
	Username string
	Next     string
	Remember bool // the box is ticked
	Wrong    bool
	Wait     string // until the next attempt, if there were too many
}

// loginForm asks who it is.
func (s *Shop) loginForm(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.URL.Query().Get("next"))
	if session.From(r.Context()).Subject() != "" {
		http.Redirect(w, r, next, http.StatusSeeOther)
		return
	}
	s.show(w, r, http.StatusOK, "login", page{Title: "Sign in", Notice: endedNotice(r), Data: loginData{Next: next}})
}

// login signs in who knows a password. The answer does not tell an unknown name
// from a wrong password, neither by its text nor by its time.
func (s *Shop) login(w http.ResponseWriter, r *http.Request) {
	form := loginData{
		Username: strings.ToLower(strings.TrimSpace(r.PostFormValue("username"))),
		Next:     localPath(r.PostFormValue("next")),
		Remember: wantsRemembering(r),
	}
	if len(form.Username) > maxUsername {
		form.Username = "" // longer than any name, and not worth showing again
	}
	source := sourceOf(r)
	forgive, wait := s.attempts.take(source, form.Username, s.now())
	if wait > 0 {
		form.Wait = count(int(wait.Seconds()), "second")
		w.Header().Set("Retry-After", strconv.Itoa(int(wait.Seconds())))
		s.log.note("too many tries", s.accounts.known(form.Username), r)
		s.show(w, r, http.StatusTooManyRequests, "login", page{Title: "Sign in", Data: form})
		return
	}
	account, ok := s.accounts.check(r.Context(), form.Username, r.PostFormValue("password"))
	if !ok {
		form.Wrong = true
		s.log.note("wrong password", s.accounts.known(form.Username), r)
		s.show(w, r, http.StatusUnauthorized, "login", page{Title: "Sign in", Data: form})
		return
	}
	forgive()
	if s.accounts.hasFactor(account.Name) {
		s.askCode(w, r, account, form)
		return
	}
	err := s.sessions.Login(r.Context(), session.Identity{
		Subject: account.Name, Role: account.Role, Methods: []string{"pwd"}, Level: levelPassword, Remember: form.Remember,
	})
	s.welcome(w, r, account.Name, form.Next, err)
}

// welcome ends a login, and goes on to where it was asked for.
func (s *Shop) welcome(w http.ResponseWriter, r *http.Request, name, next string, err error) {
	if err == nil {
		err = notice.Set(session.From(r.Context()), "Good to see you, "+name+". You are signed in.")
	}
	if err != nil {
		s.denied(w, r, err)
		return
	}
	http.Redirect(w, r, localPath(next), http.StatusSeeOther)
}

// logout signs out, here and for every copy of the cookie.
func (s *Shop) logout(w http.ResponseWriter, r *http.Request) {
	if err := s.sessions.Logout(r.Context()); err != nil {
		s.denied(w, r, err)
		return
	}
	http.Redirect(w, r, "/?"+signedOutParam, http.StatusSeeOther)
}

// localPath returns where to go after signing in: one of our pages, whatever was
// asked for. A list instead of rules about slashes cannot be tricked.
func localPath(next string) string {
	switch next {
	case "/cart", "/account", "/account/password", "/admin", "/try":
		return next
	}
	return "/"
}

// sourceOf returns where a request comes from, for counting attempts: the
// address, or the /64 of an IPv6 address. The shop trusts no proxy.
func sourceOf(r *http.Request) netip.Prefix {
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Prefix{}
	}
	addr, bits := peer.Addr().Unmap().WithZone(""), 32
	if addr.Is6() {
		bits = 64
	}
	prefix, _ := addr.Prefix(bits)
	return prefix
}
