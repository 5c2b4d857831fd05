// After is the application of ../before on cloakroom. With -bridge, those who are
// signed in there stay signed in.
//
//	go run ./examples/migrate/gorilla/after -data /tmp/wardrobe -bridge
//
// Open http://127.0.0.1:8080/ with the browser that has been at ../before: the coats are
// there, and the developer tools show that the cookie "wardrobe" has gone.
package main

import (
	"context"
	"errors"
	"flag"
	"log"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gorilla/sessions"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/examples/migrate/crossing"
	"cloakroom.example/examples/migrate/gorilla/bridge"
	"cloakroom.example/examples/migrate/internal/durable"
	"cloakroom.example/examples/migrate/internal/wardrobe"
	"cloakroom.example/session"
)

// The values of a session.
var (
	coats  = session.NewKey[[]string]("coats", session.CarryOver)
	notice = session.NewKey[string]("notice", session.Flash)
)

// fresh is how long after the password sensitive requests are accepted.
const fresh = 5 * time.Minute

// limits are what sessions are given from now on. That is much less than the 30 days
// for which gorilla's cookies last unless told otherwise.
func limits() session.Limits { return session.Limits{Idle: time.Hour, Absolute: 24 * time.Hour} }

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	dir := flag.String("data", filepath.Join(os.TempDir(), "wardrobe"), "the folder with the sessions and the old key")
	bridged := flag.Bool("bridge", false, "keep those signed in who are so in ../before")
	age := flag.Duration("max-age", 30*24*time.Hour, "how long an old cookie is valid, as in ../before")
	until := flag.Duration("until", 30*24*time.Hour, "for how long from now; a real application names a date")
	flag.Parse()
	a := new(app)
	if *bridged {
		a.old = &bridge.Bridge{Name: "wardrobe", Subject: subjectOf, Move: move}
	}
	if err := a.run(*addr, *dir, *age, time.Now().Add(*until)); err != nil {
		log.Fatal(err)
	}
}

// app holds what the handlers need.
type app struct {
	sessions *session.Manager
	old      *bridge.Bridge // nil without a bridge
}

func (a *app) run(addr, dir string, age time.Duration, until time.Time) (err error) {
	kept, err := durable.Open(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, kept.Close()) }()
	a.sessions, err = session.New(session.Config{Store: kept.Store, Keys: kept.Keys, Limits: limits()})
	if err != nil {
		return err
	}
	h := a.routes()
	if a.old != nil { // what is to be removed later, with the field and its use in logout
		if a.old.DB, err = durable.Database(filepath.Join(dir, "bridge.db")); err != nil {
			return err
		}
		defer a.old.DB.Close()
		if h, err = a.overBridge(dir, age, until, h); err != nil {
			return err
		}
	}
	return serve.Run(addr, a.sessions.Handler(h), a.sessions.Close)
}

// overBridge reads the old key and brings over who comes with an old cookie.
func (a *app) overBridge(dir string, age time.Duration, until time.Time, next http.Handler) (http.Handler, error) {
	key, err := durable.Key(filepath.Join(dir, "cookie.key"))
	if err != nil {
		return nil, err
	}
	a.old.Store = sessions.NewCookieStore(key)
	a.old.Store.MaxAge(int(age.Seconds()))
	if err := a.old.Prepare(context.Background()); err != nil {
		return nil, err
	}
	c := &crossing.Crossing{
		Sessions: a.sessions, Limits: limits(), Cookie: a.old.Name, Until: until,
		Take: a.old.Take, Clear: a.old.Clear, Log: slog.Default(),
	}
	return c.Handler(next), nil
}

// subjectOf finds the user in an old session.
func subjectOf(values map[any]any) string {
	user, _ := values["user"].(string)
	return user
}

// move brings the coats over.
func move(s *session.Session, values map[any]any) error {
	if hung, ok := values["coats"].([]string); ok {
		return coats.Set(s, hung)
	}
	return nil
}

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
	if user := session.From(r.Context()).Subject(); a.old != nil && user != "" {
		if err := a.old.SignedOut(r.Context(), user); err != nil {
			home(w, r, errors.Join(session.ErrUnavailable, err))
			return
		}
	}
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
