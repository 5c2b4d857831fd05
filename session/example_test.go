package session_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
)

// A whole application: a page for everybody, a login, a logout.
func Example() {
	m, err := session.New(session.Config{})
	if err != nil {
		log.Fatal(err)
	}
	defer m.Close(context.Background())

	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, r *http.Request) {
		field, err := m.CSRFField(r.Context()) // before the first byte
		if err != nil {
			http.Error(w, err.Error(), session.Status(err))
			return
		}
		fmt.Fprintf(w, `Hello %s <form method="post" action="/login">%s …</form>`, session.From(r.Context()).Subject(), field)
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		// … after checking the password:
		if err := m.Login(r.Context(), session.Identity{Subject: "alice", Methods: []string{"pwd"}}); err != nil {
			http.Error(w, err.Error(), session.Status(err))
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	mux.HandleFunc("POST /logout", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Logout(r.Context()); err != nil {
			http.Error(w, err.Error(), session.Status(err))
			return
		}
		http.Redirect(w, r, "/", http.StatusSeeOther)
	})
	_ = http.Server{Addr: "127.0.0.1:8080", Handler: m.Handler(mux)}
	// Output:
}

// Baskets survive the login of the visitor who filled them.
func ExampleNewKey() {
	type Basket struct{ Items []string }
	var basket = session.NewKey[Basket]("basket", session.CarryOver) // usually a package variable

	m, _ := session.New(session.Config{})
	defer m.Close(context.Background())
	serve(m, func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		_ = basket.Set(s, Basket{Items: []string{"coat"}})
		_ = m.Login(r.Context(), session.Identity{Subject: "alice"})
		b, ok := basket.Get(s)
		fmt.Println(s.Subject(), b.Items, ok)
	})
	// Output: alice [coat] true
}

// Update stores at once and loses nothing, whatever other requests do.
func ExampleKey_Update() {
	var visits = session.NewKey[int]("visits")

	m, _ := session.New(session.Config{})
	defer m.Close(context.Background())
	serve(m, func(w http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		for range 3 {
			err := visits.Update(r.Context(), s, func(n *int) error { *n++; return nil })
			if err != nil {
				http.Error(w, err.Error(), session.Status(err))
				return
			}
		}
		n, _ := visits.Get(s)
		fmt.Println(n)
	})
	// Output: 3
}

// Sensitive pages ask for the password again.
func ExampleManager_RequireFresh() {
	clock := sessiontest.NewClock()
	m, _ := session.New(session.Config{Now: clock.Now})
	defer m.Close(context.Background())
	transfer := m.RequireFresh(5*time.Minute, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "transferred")
	}))
	serve(m, func(w http.ResponseWriter, r *http.Request) {
		_ = m.Login(r.Context(), session.Identity{Subject: "alice"})
		rec := httptest.NewRecorder()
		transfer.ServeHTTP(rec, r)
		fmt.Println(rec.Code, rec.Body)
	})
	// Output: 200 transferred
}

// Ending all sessions of a user, for example when the password was reset.
func ExampleManager_RevokeSubject() {
	m, _ := session.New(session.Config{})
	defer m.Close(context.Background())
	for range 2 {
		serve(m, func(_ http.ResponseWriter, r *http.Request) {
			_ = m.Login(r.Context(), session.Identity{Subject: "alice"})
		})
	}
	n, err := m.RevokeSubject(context.Background(), "alice", "password reset")
	fmt.Println(n, err)
	// Output: 2 <nil>
}

// A list of the user's sessions, as an account page shows it.
func ExampleManager_Sessions() {
	m, _ := session.New(session.Config{})
	defer m.Close(context.Background())
	serve(m, func(_ http.ResponseWriter, r *http.Request) {
		_ = m.Login(r.Context(), session.Identity{Subject: "alice", Label: "laptop"})
		for s, err := range m.Sessions(r.Context(), "alice") {
			fmt.Println(s.Label, s.First.Addr, "this one:", s.Current, err)
		}
	})
	// Output: laptop 192.0.2.1 this one: true <nil>
}

// serve runs f as the handler of one request.
func serve(m *session.Manager, f http.HandlerFunc) {
	m.Handler(f).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "https://shop.example/", nil))
}
