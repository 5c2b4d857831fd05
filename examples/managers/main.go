// Managers shows two managers in one program: customers and staff of a shop. Each
// has its own namespace, cookie, limits and group of pages; a person can be signed
// in to both, and leaving one leaves the other alone.
//
//	go run ./examples/managers
//
// Open http://127.0.0.1:8080/ and http://127.0.0.1:8080/staff/ in two tabs. Sign in to
// both as alice (coat); the developer tools show one cookie for each. Sign out of
// either.
package main

import (
	"flag"
	"html/template"
	"log"
	"net/http"
	"time"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/session"
	"cloakroom.example/session/store/memory"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	kept := memory.New() // one store is enough: namespaces never mix
	customers, err := session.New(session.Config{
		Store: kept, Namespace: "customers", Limits: session.AAL1(),
	})
	if err != nil {
		log.Fatal(err)
	}
	staff, err := session.New(session.Config{
		Store: kept, Namespace: "staff", SameSite: http.SameSiteStrictMode,
		Limits: session.Limits{Idle: 15 * time.Minute, Absolute: 8 * time.Hour}, // a shift
		// Nobody works at two places at a time.
		MaxSessions: 1, EndOldest: true,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := serve.Run(*addr, routes(customers, staff), customers.Close, staff.Close); err != nil {
		log.Fatal(err)
	}
}

// routes gives each manager its own pages, side by side and not one around the
// other: around each other, both would demand their form token in every form.
func routes(customers, staff *session.Manager) http.Handler {
	shop := &area{sessions: customers, Title: "Shop", Home: "/", Other: "/staff/"}
	back := &area{
		sessions: staff, Title: "Staff", Home: "/staff/", Other: "/",
		employs: func(user string) bool { return user == "alice" },
	}
	mux := http.NewServeMux()
	mux.Handle("/", customers.Handler(shop.routes()))
	mux.Handle("/staff/", staff.Handler(back.routes()))
	return mux
}

// area is a group of pages with sessions of its own. In its handlers
// [session.From] finds those sessions, because only their manager is around them.
type area struct {
	sessions           *session.Manager
	Title, Home, Other string
	employs            func(user string) bool // nil: whoever has an account
}

func (a *area) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+a.Home+"{$}", a.page)
	mux.HandleFunc("POST "+a.Home+"login", a.login)
	mux.HandleFunc("POST "+a.Home+"logout", a.logout)
	return mux
}

var layout = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Area.Title}}</title>
<h1>{{.Area.Title}}</h1>
{{if .User}}
<p><b>{{.User}}</b> is signed in, until {{.Ends}} at the latest.</p>
<form method="post" action="{{.Area.Home}}logout">{{.CSRF}}<button>Sign out</button></form>
{{else}}
<p>Nobody is signed in.</p>
<form method="post" action="{{.Area.Home}}login">{{.CSRF}}
<label>Name <input name="user" value="alice" autocomplete="username"></label>
<label>Password <input name="password" type="password" autocomplete="current-password"></label> (coat)
<button>Sign in</button></form>
{{end}}
<p><a href="{{.Area.Other}}">the other side</a></p>
</html>
`))

func (a *area) page(w http.ResponseWriter, r *http.Request) {
	csrf, err := a.sessions.CSRFField(r.Context())
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	facts, _ := session.From(r.Context()).Snapshot()
	_ = layout.Execute(w, map[string]any{
		"Area": a, "User": session.From(r.Context()).Subject(), "Ends": facts.Deadline.Format(time.DateTime), "CSRF": csrf,
	})
}

func (a *area) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !accounts.Check(user, r.PostFormValue("password")) || a.employs != nil && !a.employs(user) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	a.home(w, r, a.sessions.Login(r.Context(), session.Identity{Subject: user, Methods: []string{"pwd"}}))
}

func (a *area) logout(w http.ResponseWriter, r *http.Request) {
	a.home(w, r, a.sessions.Logout(r.Context()))
}

// home goes back to the area's page, or says what went wrong.
func (a *area) home(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	http.Redirect(w, r, a.Home, http.StatusSeeOther)
}
