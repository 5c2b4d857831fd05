package faults_test

import (
	"context"
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// TestDiskFull leaves a SQLite database no room for a while: something else fills
// the file up to the largest size that it may have, and goes away again.
func TestDiskFull(t *testing.T) {
	name := "file:" + filepath.Join(t.TempDir(), "sessions.db") + "?_pragma=max_page_count(300)&_pragma=busy_timeout(5000)"
	var stores [2]store.Store
	for i := range stores {
		stores[i] = openSQLite(t, name)
	}
	other := openDatabase(t, name)
	other.SetMaxOpenConns(1)
	if _, err := other.ExecContext(t.Context(), "CREATE TABLE ballast (b BLOB)"); err != nil {
		t.Fatal(err)
	}
	fault{name: "full"}.atWork(t, stores, [2]time.Duration{}, "full", func() {
		for deadline := time.Now().Add(time.Minute); !fill(t, other); {
			if time.Now().After(deadline) {
				t.Fatal("the file is not full after a minute")
			}
		}
		for began := time.Now(); time.Since(began) < 2*time.Second; time.Sleep(5 * time.Millisecond) {
			fill(t, other) // what sessions that end have left
		}
		for { // it may take turns with the users
			if _, err := other.ExecContext(t.Context(), "DELETE FROM ballast"); err == nil {
				return
			}
		}
	})
}

// fill takes some room and reports whether there was none.
func fill(t *testing.T, db *sql.DB) (full bool) {
	for _, size := range []int{100_000, 10_000, 100} {
		_, err := db.ExecContext(t.Context(), "INSERT INTO ballast VALUES (zeroblob(?))", size)
		full = err != nil && strings.Contains(err.Error(), "full")
	}
	return full
}

// TestLocked lets another process hold the lock of a SQLite database, which is
// how a file comes to be frozen.
func TestLocked(t *testing.T) {
	name := filepath.Join(t.TempDir(), "sessions.db")
	var stores [2]store.Store
	for i := range stores {
		stores[i] = openSQLite(t, name)
	}
	other := openDatabase(t, name)
	fault{name: "locked"}.atWork(t, stores, [2]time.Duration{}, "locked", func() {
		c, err := other.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, statement := range []string{"PRAGMA busy_timeout=5000", "BEGIN IMMEDIATE"} {
			if _, err := c.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(frozenTime)
		if _, err := c.ExecContext(t.Context(), "ROLLBACK"); err != nil {
			t.Fatal(err)
		}
	})
}

func openDatabase(t *testing.T, name string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func openSQLite(t *testing.T, name string) store.Store {
	t.Helper()
	s, err := sqlstore.Open(t.Context(), openDatabase(t, name), sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	})
	return s
}
