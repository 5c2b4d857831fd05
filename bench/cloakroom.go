package main

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/sqlstore"
)

var (
	bytesKey   = session.NewKey[[]byte]("bytes")
	profileKey = session.NewKey[profile]("profile")
)

// cloakroom is ours, configured as its README advises: with a key that seals, and
// almost everything else by default.
type cloakroom struct {
	label    string
	m        *session.Manager
	store    store.Store
	release  func(context.Context) error // the store, and its database
	database string                      // its file, if there is one
}

// newManager returns a manager on a store. A nil clock is the real one.
func newManager(s store.Store, clock func() time.Time) (*session.Manager, error) {
	return session.New(session.Config{
		Store: s, Keys: [][]byte{bytes.Repeat([]byte("k"), 32)}, Now: clock,
		// A disk that others keep busy must not look like a broken promise.
		StoreTimeout: 10 * time.Second,
	})
}

// newCloakroomMemory keeps sessions in the memory of the process.
func newCloakroomMemory(clock func() time.Time) (*cloakroom, error) {
	s := memory.New()
	m, err := newManager(s, clock)
	if err != nil {
		return nil, err
	}
	return &cloakroom{label: "cloakroom", m: m, store: s, release: func(context.Context) error { return nil }}, nil
}

// newCloakroomSQLite keeps sessions in a database in the folder. A batch is how many
// changes share a transaction at most; zero means the store's own choice.
func newCloakroomSQLite(ctx context.Context, dir string, batch int) (*cloakroom, error) {
	label := "cloakroom SQLite"
	if batch > 0 {
		label = fmt.Sprintf("cloakroom, batches of %d", batch)
	}
	file := filepath.Join(dir, label+".db")
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return nil, err
	}
	s, err := sqlstore.Open(ctx, db, sqlstore.SQLite(), sqlstore.Options{MaxBatch: batch})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	release := func(ctx context.Context) error { return errors.Join(s.Close(ctx), db.Close()) }
	m, err := newManager(s, nil)
	if err != nil {
		return nil, errors.Join(err, release(ctx))
	}
	return &cloakroom{label: label, m: m, store: s, release: release, database: file}, nil
}

func (c *cloakroom) name() string                        { return c.label }
func (c *cloakroom) wrap(next http.Handler) http.Handler { return c.m.Handler(next) }

func (c *cloakroom) login(_ http.ResponseWriter, r *http.Request, user string) error {
	return c.m.Login(r.Context(), session.Identity{Subject: user, Role: "customer", Methods: []string{"pwd"}})
}

func (c *cloakroom) logout(_ http.ResponseWriter, r *http.Request) error {
	return c.m.Logout(r.Context())
}

func (c *cloakroom) formToken(r *http.Request) (string, error) { return c.m.CSRFToken(r.Context()) }

func (*cloakroom) user(r *http.Request) string { return session.From(r.Context()).Subject() }

func (*cloakroom) bytes(r *http.Request) []byte {
	v, _ := bytesKey.Get(session.From(r.Context()))
	return v
}

func (*cloakroom) setBytes(_ http.ResponseWriter, r *http.Request, value []byte) error {
	return bytesKey.Set(session.From(r.Context()), value)
}

func (*cloakroom) profile(r *http.Request) (profile, bool) {
	return profileKey.Get(session.From(r.Context()))
}

func (*cloakroom) setProfile(_ http.ResponseWriter, r *http.Request, p profile) error {
	return profileKey.Set(session.From(r.Context()), p)
}

func markKey(number int) session.Key[string] {
	return session.NewKey[string](fmt.Sprintf("mark-%d", number))
}

func (*cloakroom) mark(_ http.ResponseWriter, r *http.Request, number int) error {
	return markKey(number).Set(session.From(r.Context()), "here")
}

func (*cloakroom) marked(r *http.Request, number int) bool {
	v, _ := markKey(number).Get(session.From(r.Context()))
	return v == "here"
}

func (*cloakroom) onServer() bool { return true }

func (c *cloakroom) close(ctx context.Context) error {
	return errors.Join(c.m.Close(ctx), c.release(ctx))
}
