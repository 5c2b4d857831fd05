// Bearer shows a JSON API for programs that are no browsers: an app on a phone, a
// command-line tool. The session's token does not travel in a cookie, but in the
// Authorization header; the login's answer is the only one that tells it. Nothing
// is attached by itself, so that there are no form tokens. What is refused is
// answered as a problem document (RFC 9457).
//
//	go run ./examples/bearer
//
//	U=http://127.0.0.1:8080/v1
//	curl $U/session -d '{"user":"alice","password":"coat"}'
//	T=…                                    # the token of the answer
//	curl $U/note -H "Authorization: Bearer $T" -X PUT -d '{"note":"feed the cat"}'
//	curl $U/me -H "Authorization: Bearer $T"
//	curl -i $U/session -H "Authorization: Bearer $T" -X DELETE
//	curl -i $U/me -H "Authorization: Bearer $T"    # 401: the token is dead
package main

import (
	"encoding/json"
	"flag"
	"log"
	"net/http"
	"time"

	"cloakroom.example/examples/internal/accounts"
	"cloakroom.example/examples/internal/serve"
	"cloakroom.example/session"
)

// note is kept in the session.
var note = session.NewKey[string]("note")

const (
	// maxBody is more than any request of ours takes.
	maxBody = 16 << 10
	// fresh is how long after the password sensitive requests are accepted.
	fresh = 5 * time.Minute
)

func main() {
	addr := flag.String("addr", "127.0.0.1:8080", "the address to listen on")
	flag.Parse()
	// Denied answers whatever the manager refuses, here in the API's own format.
	m, err := session.New(session.Config{Denied: problem})
	if err != nil {
		log.Fatal(err)
	}
	if err := serve.Run(*addr, api(m, accounts.Check), m.Close); err != nil {
		log.Fatal(err)
	}
}

// app holds what the handlers need.
type app struct {
	sessions *session.Manager
	knows    func(user, password string) bool
}

func api(m *session.Manager, knows func(user, password string) bool) http.Handler {
	a := &app{sessions: m, knows: knows}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/session", a.login)
	user := func(pattern string, h http.HandlerFunc) { mux.Handle(pattern, m.RequireLogin(h)) }
	user("GET /v1/me", a.me)
	user("GET /v1/note", a.note)
	user("PUT /v1/note", a.setNote)
	user("POST /v1/session/confirm", a.confirm)
	user("DELETE /v1/session", a.logout)
	mux.Handle("DELETE /v1/sessions", m.RequireFresh(fresh, http.HandlerFunc(a.endAll)))
	return http.MaxBytesHandler(m.BearerHandler(mux), maxBody)
}

// credentials is what somebody proves who he is with.
type credentials struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// login answers with the token, once: afterwards only the client has it.
func (a *app) login(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if !read(w, r, &c) {
		return
	}
	if !a.knows(c.User, c.Password) {
		writeProblem(w, http.StatusUnauthorized, "wrong-password", "Wrong name or password.")
		return
	}
	id := session.Identity{Subject: c.User, Methods: []string{"pwd"}, Label: r.UserAgent()}
	a.answerToken(w, r, http.StatusCreated, a.sessions.Login(r.Context(), id))
}

// confirm takes the password again. The session goes on under a new token.
func (a *app) confirm(w http.ResponseWriter, r *http.Request) {
	var c credentials
	if !read(w, r, &c) {
		return
	}
	if !a.knows(session.From(r.Context()).Subject(), c.Password) {
		writeProblem(w, http.StatusForbidden, "wrong-password", "Wrong password.")
		return
	}
	a.answerToken(w, r, http.StatusOK, a.sessions.Reauthenticate(r.Context(), "pwd"))
}

// answerToken tells the token that this request has made.
func (a *app) answerToken(w http.ResponseWriter, r *http.Request, status int, err error) {
	if err != nil {
		problem(w, r, err)
		return
	}
	s := session.From(r.Context())
	token, _ := s.Token()
	facts, _ := s.Snapshot()
	answer(w, status, map[string]any{"token": token.Reveal(), "ends": facts.Deadline})
}

func (a *app) me(w http.ResponseWriter, r *http.Request) {
	facts, _ := session.From(r.Context()).Snapshot()
	answer(w, http.StatusOK, map[string]any{"user": facts.Subject, "since": facts.Created, "ends": facts.Deadline})
}

func (a *app) note(w http.ResponseWriter, r *http.Request) {
	text, _, err := note.Lookup(session.From(r.Context()))
	if err != nil {
		problem(w, r, err)
		return
	}
	answer(w, http.StatusOK, map[string]string{"note": text})
}

func (a *app) setNote(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Note string `json:"note"`
	}
	if !read(w, r, &body) {
		return
	}
	if err := note.Set(session.From(r.Context()), body.Note); err != nil {
		problem(w, r, err)
		return
	}
	answer(w, http.StatusOK, body)
}

// logout ends the session.
func (a *app) logout(w http.ResponseWriter, r *http.Request) {
	done(w, r, a.sessions.Logout(r.Context()))
}

// endAll ends every session of the user, this one too.
func (a *app) endAll(w http.ResponseWriter, r *http.Request) {
	_, err := a.sessions.RevokeSubject(r.Context(), session.From(r.Context()).Subject(), "the user's wish")
	done(w, r, err)
}

func done(w http.ResponseWriter, r *http.Request, err error) {
	if err != nil {
		problem(w, r, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

// read decodes a request, or answers what is wrong with it.
func read(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		// The decoder's own text would quote what was sent: a password.
		writeProblem(w, http.StatusBadRequest, "malformed", "The body is not the JSON object that is expected here.")
		return false
	}
	return true
}

// answer writes JSON. If the session could not be stored, the answer has been
// replaced by a problem, and there is nothing left to say.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}
