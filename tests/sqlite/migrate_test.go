package sqlite_test

import (
	"database/sql"
	"strings"
	"sync"
	"testing"

	"cloakroom.example/session/store/sqlstore"
)

// TestOpenAtOnce: several stores find one new file and all want to create the
// tables.
func TestOpenAtOnce(t *testing.T) {
	name := file(t)
	var wg sync.WaitGroup
	for n := range 8 {
		db, err := sql.Open("sqlite", name)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		wg.Go(func() {
			s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), sqlstore.Options{})
			if err != nil {
				t.Errorf("store %d: %v", n, err)
				return
			}
			create(t, s, record(n, "alice"))
			if err := s.Close(t.Context()); err != nil {
				t.Errorf("store %d: closing: %v", n, err)
			}
		})
	}
	wg.Wait()
	s := open(t, name, sqlstore.Options{})
	for n := range 8 {
		if _, err := s.Load(t.Context(), key(n), nil); err != nil {
			t.Errorf("session %d: %v", n, err)
		}
	}
}

// TestOpenRefuses asserts the text, which somebody will have to act upon.
func TestOpenRefuses(t *testing.T) {
	newer := file(t)
	_, db := openWith(t, newer, sqlstore.Options{})
	edit(t, db, `INSERT INTO session_migrations (version, compatible) VALUES (7, 6)`)
	for _, c := range []struct {
		name, file string
		dialect    sqlstore.Dialect
		o          sqlstore.Options
		want       string
	}{
		{"newer tables", newer, sqlstore.SQLite(), sqlstore.Options{},
			"sqlstore: opening SQLite database: its tables have version 7, this program knows version 2 and older: use the program that wrote them, or a newer one"},
		{"no tables", file(t), sqlstore.SQLite(), sqlstore.Options{KeepSchema: true},
			"sqlstore: opening SQLite database: there are no tables: they have to be created by migrating"},
		{"memory", ":memory:", sqlstore.SQLite(), sqlstore.Options{}, "the database is in memory"},
		{"shared memory", "file:x?mode=memory&cache=shared", sqlstore.SQLite(), sqlstore.Options{}, "the database is in memory"},
		{"temporary", "", sqlstore.SQLite(), sqlstore.Options{}, "the database is in memory"},
		{"memory file system", "file:/x?vfs=memdb", sqlstore.SQLite(), sqlstore.Options{}, "the database is in memory"},
		{"no such folder", file(t) + "/none/sessions.db", sqlstore.SQLite(), sqlstore.Options{}, "sqlstore: opening SQLite database: "},
		{"no dialect", file(t), sqlstore.Dialect{}, sqlstore.Options{}, "sqlstore: no dialect given"},
		{"negative option", file(t), sqlstore.SQLite(), sqlstore.Options{MaxBatch: -1}, "sqlstore: an option is negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, err := sql.Open("sqlite", c.file)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			_, err = sqlstore.Open(t.Context(), db, c.dialect, c.o)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

// TestOpenFirstTables: a database of the first version, whose table of migrations
// had one column, is brought up to date and keeps its sessions; programs of then
// may go on using it.
func TestOpenFirstTables(t *testing.T) {
	name := file(t)
	s, db := openWith(t, name, sqlstore.Options{})
	create(t, s, record(1, "alice"))
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, statement := range []string{
		`ALTER TABLE sessions DROP COLUMN facts`,
		`DROP TABLE session_migrations`,
		`CREATE TABLE session_migrations (version INTEGER NOT NULL PRIMARY KEY)`,
		`INSERT INTO session_migrations (version) VALUES (1)`,
	} {
		edit(t, db, statement)
	}
	schema, err := sqlstore.Check(t.Context(), db, sqlstore.SQLite())
	if want := (sqlstore.Schema{Version: 1, Compatible: 1, Known: 2}); err != nil || schema != want {
		t.Errorf("before: got %+v, %v, want %+v", schema, err, want)
	}
	s = open(t, name, sqlstore.Options{})
	r, err := s.Load(t.Context(), key(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Label = "changed"
	if err := s.Swap(t.Context(), r, r.Created); err != nil {
		t.Errorf("changing a session of the first version: %v", err)
	}
	schema, err = sqlstore.Check(t.Context(), db, sqlstore.SQLite())
	if want := (sqlstore.Schema{Version: 2, Compatible: 1, Known: 2}); err != nil || schema != want {
		t.Errorf("after: got %+v, %v, want %+v", schema, err, want)
	}
}
