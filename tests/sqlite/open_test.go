// Package sqlite_test runs sqlstore on SQLite files, through modernc.org/sqlite.
package sqlite_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// file returns the name of a database that does not exist yet.
func file(t testing.TB) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "sessions.db")
}

// open opens a store on the file and closes it with the test.
func open(t testing.TB, name string, o sqlstore.Options) *sqlstore.Store {
	t.Helper()
	s, _ := openWith(t, name, o)
	return s
}

// openWith returns the database handle too.
func openWith(t testing.TB, name string, o sqlstore.Options) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("closing store: %v", err)
		}
	})
	return s, db
}

// start is the time of the tests' clock; stores read none of their own.
func start() time.Time { return time.Date(2031, 4, 5, 6, 7, 8, 9, time.UTC) }

// handle returns the n-th handle.
func handle(n int) (h store.Handle) {
	copy(h[:], "handle "+strconv.Itoa(n))
	return h
}

// record returns a living record of the given subject with one sealed part.
func record(n int, subject string) store.Record {
	now := start()
	r := store.Record{
		Namespace: "shop", Handle: handle(n), State: store.Active, Transport: store.Cookie,
		Subject: subject, Assurance: store.Assurance{Methods: []string{"pwd"}, Level: 1, At: now},
		Created: now, Seen: now, Rotated: now, Idle: 30 * time.Minute, Deadline: now.Add(12 * time.Hour),
		Wrap:  []byte("wrapped data key, which is about sixty bytes long in real life"),
		First: store.Client{Agent: "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36"},
		Parts: []store.Part{{Name: "values", Generation: 1, Sealed: make([]byte, 200)}},
	}
	r.Last = r.First
	r.Verifier[0] = byte(n)
	return r
}

func key(n int) store.Key { return store.Key{Namespace: "shop", Handle: handle(n)} }

func create(t testing.TB, s store.Store, r store.Record) {
	t.Helper()
	if _, err := s.Create(context.Background(), store.Creation{Record: r, Now: start()}); err != nil {
		t.Errorf("creating session: %v", err) // may run in any goroutine
	}
}
