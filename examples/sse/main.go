// Sse shows an event stream that ends with the session of who has opened it: by a
// logout in another tab, when it is ended from elsewhere, or when it expires.
//
//	go run ./examples/sse
//
// Open http://127.0.0.1:8080/ in two tabs, sign in as alice (coat), hand in a coat in
// one and see it in both; then sign out in one: the other one says so at once. With
// -idle 1m, wait: a stream that is open is no activity.
package main

import (
	"context"
	"embed"
	"errors"
	"flag"
	"fmt"
	"html/template"
	"log"
	"net/http"
	"strings"
	"time"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/room"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/session"
)

//go:embed page.html news.js
var files embed.FS

// keepAlive is how often something is sent, so that no proxy takes the stream for
// dead.
const keepAlive = 15 * time.Second

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	idle := flag.Duration("idle", 30*time.Minute, "how long a session lives without activity")
	flag.Parse()
	m, err := session.New(session.Config{
		Limits: session.Limits{Idle: *idle},
		// Browsers open a broken stream again by themselves. That must not keep a
		// session alive whose user has left.
		NotActivity: func(r *http.Request) bool { return r.URL.Path == "/news" },
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := serve.Run(*addr, m.Handler(routes(m)), m.Close); err != nil {
		log.Fatal(err)
	}
}

// app holds what the handlers need.
type app struct {
	sessions *session.Manager
	layout   *template.Template
	room     room.Room
}

func routes(m *session.Manager) http.Handler {
	a := &app{sessions: m, layout: template.Must(template.ParseFS(files, "page.html"))}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.Handle("GET /news.js", http.FileServerFS(files))
	mux.Handle("GET /news", m.RequireLogin(http.HandlerFunc(a.news)))
	mux.Handle("POST /coat", m.RequireLogin(http.HandlerFunc(a.coat)))
	mux.Handle("POST /everywhere", m.RequireLogin(http.HandlerFunc(a.everywhere)))
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	return mux
}

// news is the stream. With the first Flush the response becomes an open channel:
// from then on the request's context ends with the session, and a second later
// nothing more gets out, whether the handler notices or not.
func (a *app) news(w http.ResponseWriter, r *http.Request) {
	messages, leave := a.room.Join()
	defer leave()
	w.Header().Set("Content-Type", "text/event-stream")
	out := http.NewResponseController(w)
	fmt.Fprint(w, "data: listening\n\n")
	beat := time.NewTicker(keepAlive)
	defer beat.Stop()
	for {
		if out.Flush() != nil {
			return
		}
		select {
		case text := <-messages:
			fmt.Fprintf(w, "data: %s\n\n", text)
		case <-beat.C:
			fmt.Fprint(w, ": still here\n\n")
		case <-r.Context().Done():
			// It ends, too, when the client leaves; then there is nobody to tell.
			if errors.Is(context.Cause(r.Context()), session.ErrEnded) {
				fmt.Fprint(w, "event: ended\ndata: your session has ended\n\n")
			}
			return
		}
	}
}

// coat tells everybody.
func (a *app) coat(w http.ResponseWriter, r *http.Request) {
	what := strings.Join(strings.Fields(r.PostFormValue("coat")), " ") // a line break would begin another field
	a.room.Say(session.From(r.Context()).Subject() + " hands in " + what)
	home(w, r, nil)
}

func (a *app) page(w http.ResponseWriter, r *http.Request) {
	csrf, err := a.sessions.CSRFField(r.Context())
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	data := map[string]any{"User": session.From(r.Context()).Subject(), "CSRF": csrf}
	_ = a.layout.ExecuteTemplate(w, "page.html", data)
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

// everywhere ends all sessions of the user, as one does after a password was
// changed.
func (a *app) everywhere(w http.ResponseWriter, r *http.Request) {
	_, err := a.sessions.RevokeSubject(r.Context(), session.From(r.Context()).Subject(), "signed out everywhere")
	home(w, r, err)
}

// home goes back to the page, or says what went wrong.
func home(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
