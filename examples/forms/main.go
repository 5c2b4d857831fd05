// Forms shows HTML forms made with html/template: the form token, a message that
// shows once, and errors that lose nothing of what was typed – not even when the
// form itself has become invalid.
//
//	go run ./examples/forms
//
// Open http://127.0.0.1:8080/ and send the form with a mistake: everything is still
// there. Correct it: a message appears, and is gone when you reload. Then open the
// page in two tabs, type something into the first, sign in in the second (alice,
// coat), and send the first: its token has died with the login, but what you typed
// is shown again, with a new token.
package main

import (
	"embed"
	"errors"
	"flag"
	"html/template"
	"log"
	"net/http"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/session"
)

// The values of a session. Reports move along when their visitor signs in; notice
// vanishes when it has been shown.
var (
	reports = session.NewKey[[]report]("reports", session.CarryOver)
	notice  = session.NewKey[string]("notice", session.Flash)
)

//go:embed page.html
var files embed.FS

// maxBody is more than any form of ours takes.
const maxBody = 64 << 10

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	a := &app{layout: template.Must(template.ParseFS(files, "page.html"))}
	var err error
	if a.sessions, err = session.New(session.Config{Denied: a.denied}); err != nil {
		log.Fatal(err)
	}
	if err := serve.Run(*addr, http.MaxBytesHandler(a.sessions.Handler(a.routes()), maxBody), a.sessions.Close); err != nil {
		log.Fatal(err)
	}
}

// app holds what the handlers need.
type app struct {
	sessions *session.Manager
	layout   *template.Template
}

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) { a.show(w, r, http.StatusOK, page{}) })
	mux.HandleFunc("POST /report", a.report)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	return mux
}

// report takes the form. After a success the browser is sent on, so that reloading
// does not send the form twice; the message waits in the session until then.
func (a *app) report(w http.ResponseWriter, r *http.Request) {
	typed := reportFrom(r)
	if mistakes := typed.check(); len(mistakes) > 0 {
		a.show(w, r, http.StatusUnprocessableEntity, page{Typed: typed, Mistakes: mistakes})
		return
	}
	s := session.From(r.Context())
	err := reports.Update(r.Context(), s, func(all *[]report) error {
		*all = append(*all, typed)
		return nil
	})
	if err == nil {
		err = notice.Set(s, "Thank you. We will look for your "+typed.What+".")
	}
	a.home(w, r, err)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !accounts.Check(user, r.PostFormValue("password")) {
		a.show(w, r, http.StatusUnauthorized, page{Wrong: user})
		return
	}
	a.home(w, r, a.sessions.Login(r.Context(), session.Identity{Subject: user, Methods: []string{"pwd"}}))
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.home(w, r, a.sessions.Logout(r.Context()))
}

// home goes back to the page, or says what went wrong.
func (a *app) home(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		a.denied(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// denied answers what the manager refuses. A form whose token is not valid any more
// is shown again with what was typed, if it comes from a page of ours: what
// another site made the browser send must not be put into anybody's form.
func (a *app) denied(w http.ResponseWriter, r *http.Request, err error) {
	expired := errors.Is(err, session.ErrCSRF) || errors.Is(err, session.ErrEnded)
	if expired && r.Method == http.MethodPost && r.URL.Path == "/report" && ownOrigin(r) {
		a.show(w, r, session.Status(err), page{Typed: reportFrom(r), Expired: true})
		return
	}
	session.Deny(w, r, err)
}

// ownOrigin reports whether nothing says that a request comes from another site.
func ownOrigin(r *http.Request) bool { return http.NewCrossOriginProtection().Check(r) == nil }
