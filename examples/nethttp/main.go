// Nethttp shows sessions in a program that uses net/http alone: a counter, a
// login, a logout, and pages for those who are signed in.
//
//	go run ./examples/nethttp
//
// Open http://127.0.0.1:8080/, count, sign in as alice (coat): the counter comes
// along, and the browser's developer tools show a new cookie. The clock on
// /account/clock stops when you sign out in another tab.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/page"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/session"
)

// count is kept in the session, and moves along when its visitor signs in.
var count = session.NewKey[int]("count", session.CarryOver)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	m, err := session.New(session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	// Handler is the outermost: everything inside of it has a session.
	if err := serve.Run(*addr, m.Handler(routes(m)), m.Close); err != nil {
		log.Fatal(err)
	}
}

// app holds what the handlers need.
type app struct{ sessions *session.Manager }

func routes(m *session.Manager) http.Handler {
	a := &app{sessions: m}
	account := http.NewServeMux()
	account.HandleFunc("GET /account", a.account)
	account.HandleFunc("GET /account/clock", a.clock)

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("POST /count", a.count)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST /fail", a.fail)
	// A group is a mux of its own. What is behind RequireLogin needs no check.
	mux.Handle("/account", m.RequireLogin(account))
	mux.Handle("/account/", m.RequireLogin(account))
	return mux
}

// home shows the page. The form token comes first: it may need a cookie, which
// must be set before the first byte.
func (a *app) home(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	csrf, err := a.sessions.CSRFField(r.Context())
	if err != nil {
		a.sessions.Deny(w, r, err)
		return
	}
	n, _ := count.Get(s)
	_ = page.Write(w, page.Page{Title: "net/http", User: s.Subject(), Count: n, CSRF: csrf})
}

// count adds one. Update loses nothing, however many requests count at a time.
func (a *app) count(w http.ResponseWriter, r *http.Request) {
	err := count.Update(r.Context(), session.From(r.Context()), func(n *int) error {
		*n++
		return nil
	})
	a.done(w, r, err)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !accounts.Check(user, r.PostFormValue("password")) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	a.done(w, r, a.sessions.Login(r.Context(), session.Identity{Subject: user, Methods: []string{"pwd"}}))
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	a.done(w, r, a.sessions.Logout(r.Context()))
}

// fail changes the session and panics: what was set is not stored.
func (a *app) fail(_ http.ResponseWriter, r *http.Request) {
	if err := count.Set(session.From(r.Context()), 1000); err != nil {
		return
	}
	panic("nethttp: failing, as was asked for")
}

// account lists the user's sessions.
func (a *app) account(w http.ResponseWriter, r *http.Request) {
	for s, err := range a.sessions.Sessions(r.Context(), session.From(r.Context()).Subject()) {
		if err != nil {
			a.sessions.Deny(w, r, err)
			return
		}
		fmt.Fprintf(w, "%s since %s from %s, this one: %t\n", s.Subject, s.Created.Format(time.DateTime), s.First.Addr, s.Current)
	}
}

// clock streams the time. After the first Flush, the request's context ends when
// the session does.
func (a *app) clock(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	ticks := time.NewTicker(time.Second)
	defer ticks.Stop()
	for {
		fmt.Fprintf(w, "data: %s\n\n", time.Now().Format(time.TimeOnly))
		if http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-ticks.C:
		case <-r.Context().Done():
			if context.Cause(r.Context()) == session.ErrEnded {
				fmt.Fprint(w, "event: end\ndata: signed out\n\n")
			}
			return
		}
	}
}

// done goes back to the page, or says what went wrong.
func (a *app) done(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		a.sessions.Deny(w, r, err)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
