// Websocket shows a chat over WebSockets (coder/websocket) that ends with the
// session of who has opened it: by a logout in another tab, when it is ended from
// elsewhere, or when it expires.
//
//	go run ./examples/websocket
//
// Open http://127.0.0.1:8080/ in two tabs, sign in as alice (coat), chat, and sign
// out in one of them: the other one says so at once. Sign in with another browser
// too and end the first one from there. With -idle 1m, wait.
package main

import (
	"embed"
	"flag"
	"html/template"
	"log"
	"net/http"
	"time"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/room"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/session"
)

//go:embed page.html chat.js
var files embed.FS

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	idle := flag.Duration("idle", 30*time.Minute, "how long a session lives without activity")
	flag.Parse()
	m, err := session.New(session.Config{Limits: session.Limits{Idle: *idle}})
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
	mux.Handle("GET /chat.js", http.FileServerFS(files))
	// The manager has compared the origin: a page of another site cannot open a
	// WebSocket with our cookie.
	mux.Handle("GET /chat", m.RequireLogin(http.HandlerFunc(a.chat)))
	mux.Handle("GET /here", m.RequireLogin(http.HandlerFunc(here)))
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST /elsewhere", a.elsewhere)
	return mux
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

// elsewhere ends all other sessions of the user. An application asks for the
// password before, see [session.Manager.RequireFresh].
func (a *app) elsewhere(w http.ResponseWriter, r *http.Request) {
	_, err := a.sessions.RevokeOthers(r.Context())
	home(w, r, err)
}

// here is what the script asks for while its user types: what goes through the
// WebSocket is no request, and does not count as activity.
func here(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// home goes back to the page, or says what went wrong.
func home(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
