// After is the application of ../before on cloakroom. With -bridge, those who are
// signed in there stay signed in.
//
//	go run ./examples/migrate/scs/after -data /tmp/wardrobe -bridge
//
// Open http://127.0.0.1:8080/ with the browser that has been at ../before: the coats are
// there, and the developer tools show that the cookie "session" has gone.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/alexedwards/scs/v2"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/examples/migrate/crossing"
	"cloakroom.example/examples/migrate/internal/durable"
	"cloakroom.example/examples/migrate/internal/wardrobe"
	"cloakroom.example/examples/migrate/scs/bridge"
	"cloakroom.example/session"
)

// The values of a session.
var (
	coats  = session.NewKey[[]string]("coats", session.CarryOver)
	notice = session.NewKey[string]("notice", session.Flash)
)

// fresh is how long after the password sensitive requests are accepted.
const fresh = 5 * time.Minute

// limits are those of the old application.
func limits() session.Limits { return session.Limits{Idle: time.Hour, Absolute: 24 * time.Hour} }

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	dir := flag.String("data", filepath.Join(os.TempDir(), "wardrobe"), "the folder with the sessions, new and old")
	bridged := flag.Bool("bridge", false, "keep those signed in who are so in ../before")
	until := flag.Duration("until", 24*time.Hour, "for how long from now; a real application names a date")
	flag.Parse()
	if err := run(*addr, *dir, *bridged, time.Now().Add(*until)); err != nil {
		log.Fatal(err)
	}
}

func run(addr, dir string, bridged bool, until time.Time) (err error) {
	kept, err := durable.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	m, err := session.New(session.Config{Store: kept.Store, Keys: kept.Keys, Limits: limits()})
	if err != nil {
		return err
	}
	a := &app{sessions: m}
	h := a.routes()
	if bridged { // what is to be removed later
		db, err := durable.Database(filepath.Join(dir, "scs.db"))
		if err != nil {
			return err
		}
		defer db.Close()
		if h, err = overBridge(m, db, until, h); err != nil {
			return err
		}
	}
	return serve.Run(addr, m.Handler(h), m.Close)
}

// overBridge says where the old sessions are, and what is in them.
func overBridge(m *session.Manager, db *sql.DB, until time.Time, next http.Handler) (http.Handler, error) {
	old := &bridge.Bridge{
		Manager: scs.New(), DB: db,
		Subject: func(values map[string]any) string {
			user, _ := values["user"].(string)
			return user
		},
		Move: func(s *session.Session, values map[string]any) error {
			if hung, ok := values["coats"].([]string); ok {
				return coats.Set(s, hung)
			}
			return nil
		},
	}
	if err := old.Prepare(context.Background()); err != nil {
		return nil, err
	}
	c := &crossing.Crossing{
		Sessions: m, Limits: limits(), Cookie: old.Manager.Cookie.Name, Until: until,
		Take: old.Take, Clear: old.Clear, Log: slog.Default(),
	}
	return c.Handler(next), nil
}

// app holds what the handlers need.
type app struct{ sessions *session.Manager }

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.HandleFunc("POST /coat", a.coat)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST /others", a.others)
	mux.HandleFunc("POST /confirm", a.confirm)
	mux.Handle("POST /close", a.sessions.RequireFresh(fresh, http.HandlerFunc(a.giveAway)))
	return mux
}

func (a *app) page(w http.ResponseWriter, r *http.Request) {
	s := session.From(r.Context())
	csrf, err := a.sessions.CSRFField(r.Context())
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	facts, _ := s.Snapshot()
	hung, _ := coats.Get(s)
	text, _ := notice.Get(s)
	_ = wardrobe.Write(w, wardrobe.Page{
		Library: "cloakroom", User: s.Subject(), Notice: text, Coats: hung, Ends: facts.Deadline, CSRF: csrf,
	})
}

func (a *app) coat(w http.ResponseWriter, r *http.Request) {
	home(w, r, coats.Update(r.Context(), session.From(r.Context()), func(hung *[]string) error {
		*hung = append(*hung, r.PostFormValue("coat"))
		return nil
	}))
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !accounts.Check(user, r.PostFormValue("password")) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	err := a.sessions.Login(r.Context(), session.Identity{Subject: user, Methods: []string{"pwd"}})
	if err == nil {
		err = notice.Set(session.From(r.Context()), "Good to see you.")
	}
	home(w, r, err)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	home(w, r, a.sessions.Logout(r.Context()))
}

// others ends all other sessions of the user, those of the old application that
// have not come over included.
func (a *app) others(w http.ResponseWriter, r *http.Request) {
	_, err := a.sessions.RevokeOthers(r.Context())
	home(w, r, err)
}

// confirm takes the password again.
func (a *app) confirm(w http.ResponseWriter, r *http.Request) {
	if !accounts.Check(session.From(r.Context()).Subject(), r.PostFormValue("password")) {
		http.Error(w, "wrong password", http.StatusForbidden)
		return
	}
	home(w, r, a.sessions.Reauthenticate(r.Context(), "pwd"))
}

// giveAway asks for more than a session: see routes.
func (a *app) giveAway(w http.ResponseWriter, r *http.Request) {
	home(w, r, coats.Delete(session.From(r.Context())))
}

// home goes back to the page, or says what went wrong.
func home(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		http.Error(w, err.Error(), session.Status(err))
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
