// Before is an application on gorilla/sessions with its CookieStore: the whole
// session travels in the cookie, signed.
//
//	go run ./examples/migrate/gorilla/before -data /tmp/wardrobe
//
// Open http://127.0.0.1:8080/, hang up a coat, sign in as alice (coat). Then stop it
// and start ../after on the same folder.
package main

import (
	"flag"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gorilla/sessions"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/examples/migrate/internal/durable"
	"cloakroom.example/examples/migrate/internal/wardrobe"
)

// cookie is the name of the session.
const cookie = "wardrobe"

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	dir := flag.String("data", filepath.Join(os.TempDir(), "wardrobe"), "the folder with the key")
	age := flag.Duration("max-age", 30*24*time.Hour, "how long a cookie is valid")
	flag.Parse()
	if err := os.MkdirAll(*dir, 0o700); err != nil {
		log.Fatal(err)
	}
	key, err := durable.Key(filepath.Join(*dir, "cookie.key"))
	if err != nil {
		log.Fatal(err)
	}
	a := &app{sessions: sessions.NewCookieStore(key)}
	a.sessions.MaxAge(int(age.Seconds()))
	a.sessions.Options.Secure, a.sessions.Options.HttpOnly = false, true // it is served over plain HTTP here
	a.sessions.Options.SameSite = http.SameSiteLaxMode
	if err := serve.Run(*addr, a.routes()); err != nil {
		log.Fatal(err)
	}
}

// app holds what the handlers need.
type app struct{ sessions *sessions.CookieStore }

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
	s, _ := a.sessions.Get(r, cookie) // with an error, it is a new one
	p := wardrobe.Page{Library: "gorilla/sessions"}
	p.User, _ = s.Values["user"].(string)
	p.Coats, _ = s.Values["coats"].([]string)
	if shown := s.Flashes(); len(shown) > 0 {
		p.Notice, _ = shown[0].(string)
		if err := s.Save(r, w); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
	}
	_ = wardrobe.Write(w, p)
}

func (a *app) coat(w http.ResponseWriter, r *http.Request) {
	s, _ := a.sessions.Get(r, cookie)
	coats, _ := s.Values["coats"].([]string)
	s.Values["coats"] = append(coats, r.PostFormValue("coat"))
	save(w, r, s)
}

func (a *app) login(w http.ResponseWriter, r *http.Request) {
	user := r.PostFormValue("user")
	if !accounts.Check(user, r.PostFormValue("password")) {
		http.Error(w, "wrong name or password", http.StatusUnauthorized)
		return
	}
	s, _ := a.sessions.Get(r, cookie)
	s.Values["user"] = user
	s.AddFlash("Good to see you.")
	save(w, r, s)
}

// logout removes the cookie from the browser. Whoever has a copy stays signed in:
// there is nothing on the server that could end.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	s, _ := a.sessions.Get(r, cookie)
	s.Options.MaxAge = -1
	save(w, r, s)
}

// giveAway asks for nothing but a session here.
func (a *app) giveAway(w http.ResponseWriter, r *http.Request) {
	s, _ := a.sessions.Get(r, cookie)
	if user, _ := s.Values["user"].(string); user == "" {
		http.Error(w, "please sign in", http.StatusUnauthorized)
		return
	}
	delete(s.Values, "coats")
	save(w, r, s)
}

// save writes the cookie and goes back to the page.
func save(w http.ResponseWriter, r *http.Request, s *sessions.Session) {
	if err := s.Save(r, w); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	http.Redirect(w, r, "/", http.StatusSeeOther)
}
