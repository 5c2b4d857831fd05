package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// sessions is a store together with its database.
type sessions struct {
	store store.Store
	// database is a handle of its own on the same file. That of the store can be
	// busy to its last connection, and then stays so.
	database *sql.DB
	close    func() error
}

// openSessions opens the sessions in a folder, or makes them.
func openSessions(ctx context.Context, dir string) (sessions, error) {
	file := filepath.Join(dir, "sessions.db")
	fail := func(err error) (sessions, error) {
		return sessions{}, fmt.Errorf("opening sessions in %s: %w; name another folder with --data", dir, err)
	}
	// SQLite would make a file that others can read.
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fail(err)
	}
	if err := f.Close(); err != nil {
		return fail(err)
	}
	db, err := sql.Open("sqlite", fileURI(file))
	if err != nil {
		return fail(err)
	}
	second, err := sql.Open("sqlite", fileURI(file)) // connects when it is used
	if err != nil {
		db.Close()
		return fail(err)
	}
	s, err := sqlstore.Open(ctx, db, sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		second.Close()
		db.Close()
		return fail(err)
	}
	return sessions{store: s, database: second, close: func() error {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		if err := errors.Join(second.Close(), s.Close(ctx), db.Close()); err != nil {
			return fmt.Errorf("closing sessions: %w", err)
		}
		return nil
	}}, nil
}

// fileURI names a file in a way that no character of its name is mistaken for an
// option.
func fileURI(file string) string {
	u := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(file), "/")}
	return u.String()
}
