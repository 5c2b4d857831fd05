// Package mariadb_test runs sqlstore on a MariaDB server of its own, through
// github.com/go-sql-driver/mysql.
package mariadb_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"cloakroom.example/servers"
	"cloakroom.example/session/store/sqlstore"
)

// server is the one server of all tests but those that kill theirs.
var server *servers.Server

func TestMain(m *testing.M) {
	if name := os.Getenv(childSource); name != "" {
		child(name, os.Getenv(childStep), os.Getenv(childDuring) != "")
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	var err error
	if server, err = servers.StartMariaDB(ctx, servers.Options{Unsynced: true}); err != nil {
		fmt.Fprintln(os.Stderr, "starting MariaDB:", err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping MariaDB:", err)
		code = 1
	}
	os.Exit(code)
}

var databases atomic.Int64

// database makes a new database on the common server and returns its data source
// name.
func database(t testing.TB) string {
	t.Helper()
	return databaseOn(t, server)
}

func databaseOn(t testing.TB, s *servers.Server) string {
	t.Helper()
	url, err := s.NewDatabase(t.Context(), fmt.Sprint("test_", databases.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	return dsn(t, url)
}

// dsn turns a URL into what the driver takes.
func dsn(t testing.TB, address string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	c := mysql.NewConfig()
	c.Net, c.Addr, c.DBName = "tcp", u.Host, strings.TrimPrefix(u.Path, "/")
	c.User = u.User.Username()
	c.Passwd, _ = u.User.Password()
	return c.FormatDSN()
}

// open opens a store on the database and closes it with the test.
func open(t testing.TB, name string, o sqlstore.Options) *sqlstore.Store {
	t.Helper()
	s, _ := openWith(t, name, o)
	return s
}

// openWith returns the database handle too.
func openWith(t testing.TB, name string, o sqlstore.Options) (*sqlstore.Store, *sql.DB) {
	t.Helper()
	db, err := sql.Open("mysql", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := sqlstore.Open(t.Context(), db, sqlstore.MySQL(), o)
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
