// Package postgres_test runs sqlstore on a PostgreSQL server of its own, through
// pgx's driver for database/sql.
package postgres_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"

	"cloakroom.example/servers"
	"cloakroom.example/session/store/sqlstore"
)

// server is the one server of all tests.
var server *servers.Server

func TestMain(m *testing.M) {
	if url := os.Getenv(childURL); url != "" {
		child(url)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err error
	if server, err = servers.StartPostgreSQL(ctx, servers.Options{Unsynced: true}); err != nil {
		fmt.Fprintln(os.Stderr, "starting PostgreSQL:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping PostgreSQL:", err)
		code = 1
	}
	os.Exit(code)
}

var databases atomic.Int64

// database makes a new database and returns its URL.
func database(t testing.TB) string {
	t.Helper()
	url, err := server.NewDatabase(t.Context(), fmt.Sprint("test_", databases.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return url
}

// connect opens a database handle and closes it with the test.
func connect(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// open opens a store on the database and closes it with the test.
func open(t testing.TB, url string, o sqlstore.Options) *sqlstore.Store {
	t.Helper()
	s, _ := openWith(t, url, o)
	return s
}

// openWith returns the database handle too.
func openWith(t testing.TB, url string, o sqlstore.Options) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db := connect(t, url)
	return openOn(t, db, o), db
}

func openOn(t testing.TB, db *sql.DB, o sqlstore.Options) *sqlstore.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), db, sqlstore.PostgreSQL(), o)
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
	return s
}

// edit runs a statement as an administrator would.
func edit(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
