// Before is an application on alexedwards/scs, with its sessions in SQLite.
//
//	go run ./examples/migrate/scs/before -data /tmp/wardrobe
//
// Open http://127.0.0.1:8080/, hang up a coat, sign in as alice (coat). Then stop it
// and start ../after on the same folder.
package main

import (
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/examples/migrate/internal/durable"
	"cloakroom.example/examples/migrate/internal/wardrobe"
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	dir := flag.String("data", filepath.Join(os.TempDir(), "wardrobe"), "the folder with the sessions")
	lifetime := flag.Duration("lifetime", 24*time.Hour, "how long a session lives")
	idle := flag.Duration("idle", time.Hour, "how long it lives without activity")
	flag.Parse()
	db, err := open(*dir)
	if err != nil {
		log.Fatal(err)
	}
	old := sqlite3store.New(db)
	sm := scs.New()
	sm.Store, sm.Lifetime, sm.IdleTimeout = old, *lifetime, *idle
	a := &app{sessions: sm}
	err = serve.Run(*addr, sm.LoadAndSave(a.routes()))
	old.StopCleanup()
	if err := errors.Join(err, db.Close()); err != nil {
		log.Fatal(err)
	}
}

// open opens the database with the table that scs asks for.
func open(dir string) (*sql.DB, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the folder: %w", err)
	}
	db, err := durable.Database(filepath.Join(dir, "scs.db"))
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(`CREATE TABLE IF NOT EXISTS sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL)`)
	if err != nil {
		return nil, fmt.Errorf("making the table: %w", err)
	}
	return db, nil
}

// app holds what the handlers need.
type app struct{ sessions *scs.SessionManager }

func (a *app) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.page)
	mux.HandleFunc("POST /coat", a.coat)
	mux.HandleFunc("POST /login", a.login)
	mux.HandleFunc("POST /logout", a.logout)
	mux.HandleFunc("POST /close", a.giveAway)
	return mux
}

func (a *app) page(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	_ = wardrobe.Write(w, wardrobe.Page{
		Library: "scs", User: a.sessions.GetString(ctx, "user"), Notice: a.sessions.PopString(ctx, "notice"),
		Coats: a.coats(r), Ends: a.sessions.Deadline(ctx),
	})
}

func (a *app) coats(r *http.Request) []string {
	coats, _ := a.sessions.Get(r.Context(), "coats").([]string)
	return coats
}

func (a *app) coat(w http.ResponseWriter, r *http.Request) {
	a.sessions.Put(r.Context(), "coats", append(a.coats(r), r.PostFormValue("coat")))
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !accounts.Check(user, r.PostFormValue("password")) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	if err := a.sessions.RenewToken(r.Context()); err != nil {
		http.Error(w, "sessions are unavailable", http.StatusServiceUnavailable)
		return
	}
	a.sessions.Put(r.Context(), "user", user)
	a.sessions.Put(r.Context(), "notice", "Good to see you.")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	if err := a.sessions.Destroy(r.Context()); err != nil {
		http.Error(w, "sessions are unavailable", http.StatusServiceUnavailable)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}

// giveAway is what asks for nothing but a session here.
func (a *app) giveAway(w http.ResponseWriter, r *http.Request) {
	if a.sessions.GetString(r.Context(), "user") == "" {
		http.Error(w, "please sign in", http.StatusUnauthorized)
		return
	}
	a.sessions.Remove(r.Context(), "coats")
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
