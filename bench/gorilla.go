package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"

	"github.com/gorilla/sessions"
)

// gorillaName is the name of its session, and thereby of its cookie.
const gorillaName = "session"

// gorilla is github.com/gorilla/sessions, used as its README shows: Get at the
// beginning of the handler, Save before the response if something has changed.
type gorilla struct {
	label   string
	store   sessions.Store
	server  bool
	release func() error // nil if there is nothing to release
}

// newGorillaCookie keeps sessions in signed cookies.
func newGorillaCookie() *gorilla {
	registerProfile()
	return &gorilla{label: "gorilla cookie", store: sessions.NewCookieStore(bytes.Repeat([]byte("k"), 32))}
}

// newGorillaFile keeps sessions in files in the folder.
func newGorillaFile(dir string) *gorilla {
	registerProfile()
	return &gorilla{label: "gorilla file", store: sessions.NewFilesystemStore(dir, bytes.Repeat([]byte("k"), 32)), server: true}
}

func (g *gorilla) name() string                      { return g.label }
func (*gorilla) wrap(next http.Handler) http.Handler { return next }

// change changes the values of the request's session and saves it.
func (g *gorilla) change(w http.ResponseWriter, r *http.Request, key string, value any) error {
	s, err := g.store.Get(r, gorillaName)
	if err != nil {
		return err
	}
	s.Values[key] = value
	return s.Save(r, w)
}

// value returns a value of the request's session, nil if there is none.
func (g *gorilla) value(r *http.Request, key string) any {
	s, err := g.store.Get(r, gorillaName)
	if err != nil {
		return nil
	}
	return s.Values[key]
}

func (g *gorilla) login(w http.ResponseWriter, r *http.Request, user string) error {
	return g.change(w, r, "userID", user)
}

// logout removes the session as the package's documentation says: by MaxAge.
func (g *gorilla) logout(w http.ResponseWriter, r *http.Request) error {
	s, err := g.store.Get(r, gorillaName)
	if err != nil {
		return err
	}
	s.Options.MaxAge = -1
	return s.Save(r, w)
}

func (*gorilla) formToken(*http.Request) (string, error) { return "", nil }

func (g *gorilla) user(r *http.Request) string {
	user, _ := g.value(r, "userID").(string)
	return user
}

func (g *gorilla) bytes(r *http.Request) []byte {
	value, _ := g.value(r, "bytes").([]byte)
	return value
}

func (g *gorilla) setBytes(w http.ResponseWriter, r *http.Request, value []byte) error {
	return g.change(w, r, "bytes", value)
}

func (g *gorilla) profile(r *http.Request) (profile, bool) {
	p, ok := g.value(r, "profile").(profile)
	return p, ok
}

func (g *gorilla) setProfile(w http.ResponseWriter, r *http.Request, p profile) error {
	return g.change(w, r, "profile", p)
}

func (g *gorilla) mark(w http.ResponseWriter, r *http.Request, number int) error {
	return g.change(w, r, fmt.Sprintf("mark-%d", number), "here")
}

func (g *gorilla) marked(r *http.Request, number int) bool {
	return g.value(r, fmt.Sprintf("mark-%d", number)) == "here"
}

func (g *gorilla) onServer() bool { return g.server }

func (g *gorilla) close(context.Context) error {
	if g.release == nil {
		return nil
	}
	return g.release()
}
