// Chi shows sessions in a program that routes with go-chi/chi. Its middleware is
// func(http.Handler) http.Handler, which is what [session.Manager.Handler] and
// RequireLogin are: nothing is to be adapted, and what writes, flushes and
// hijacks is net/http's own.
//
//	go run ./examples/chi
//
// Open http://127.0.0.1:8080/, count, sign in as alice (coat), sign out.
package main

import (
	"flag"
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

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
	if err := serve.Run(*addr, routes(m), m.Close); err != nil {
		log.Fatal(err)
	}
}

// app holds what the handlers need.
type app struct{ sessions *session.Manager }

func routes(m *session.Manager) http.Handler {
	a := &app{sessions: m}
	r := chi.NewRouter()
	// Recoverer comes first: a panic must pass through the manager, which drops
	// what the handler had changed. Whatever replaces the response writer, such
	// as Compress, comes before the manager too.
	r.Use(middleware.Recoverer, m.Handler)
	r.Get("/", a.home)
	r.Post("/count", a.count)
	r.Post("/login", a.login)
	r.Post("/logout", a.logout)
	r.Post("/fail", a.fail)
	r.Route("/account", func(r chi.Router) {
		r.Use(m.RequireLogin)
		r.Get("/", a.account)
		r.Get("/clock", a.clock)
	})
	return r
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	csrf, err := a.sessions.CSRFField(r.Context()) // before the first byte
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	n, _ := count.Get(s)
	_ = page.Write(w, page.Page{Title: "chi", User: s.Subject(), Count: n, CSRF: csrf})
}

func (a *app) count(w http.ResponseWriter, r *http.Request) {
	home(w, r, count.Update(r.Context(), session.From(r.Context()), func(n *int) error {
		*n++
		return nil
	}))
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !accounts.Check(user, r.PostFormValue("password")) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	home(w, r, a.sessions.Login(r.Context(), session.Identity{Subject: user, Methods: []string{"pwd"}}))
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	home(w, r, a.sessions.Logout(r.Context()))
}

// fail changes the session and panics: what was set is not stored.
func (a *app) fail(_ http.ResponseWriter, r *http.Request) {
	if err := count.Set(session.From(r.Context()), 1000); err == nil {
		panic("chi: failing, as was asked for")
	}
}

func (a *app) account(w http.ResponseWriter, r *http.Request) {
	fmt.Fprintf(w, "the account of %s\n", session.From(r.Context()).Subject())
}

// clock streams the time until the client leaves or the session ends.
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
			return
		}
	}
}

// home goes back to the page, or says what went wrong.
func home(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
