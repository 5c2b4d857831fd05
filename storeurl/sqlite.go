package storeurl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"cloakroom.example/session/store/sqlstore"
)

func (a *address) sqlite(o Options) (d database, err error) {
	file, err := databaseFile(a.path, o.Existing)
	return database{
		dialect: sqlstore.SQLite(), inspect: inspectSQLite,
		connect: func() (*sql.DB, error) { return sql.Open("sqlite", fileURI(file)) },
	}, err
}

// File returns the URL of an SQLite database in a file.
func File(name string) string {
	return SQLite + ":" + strings.NewReplacer("%", "%25", "?", "%3F").Replace(name)
}

// databaseFile returns the absolute name of the file, after making it: SQLite would
// make one that others can read.
func databaseFile(name string, existing bool) (string, error) {
	file, err := filepath.Abs(name)
	if err != nil {
		return "", err
	}
	mode := os.O_RDWR
	if !existing {
		mode |= os.O_CREATE
	}
	f, err := os.OpenFile(file, mode, 0o600)
	if errors.Is(err, fs.ErrNotExist) && existing {
		return "", fmt.Errorf("%w; the first program that keeps sessions there makes it, or \"cloakroom store migrate\"", err)
	}
	if err != nil {
		return "", err
	}
	return file, f.Close()
}

// fileURI names a file in a way that no character of its name is mistaken for an
// option. Connections wait for locks, unless the store says otherwise.
func fileURI(file string) string {
	u := url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(filepath.ToSlash(file), "/"), RawQuery: "_pragma=busy_timeout(5000)"}
	return u.String()
}

func inspectSQLite(ctx context.Context, db *sql.DB, r *Report) error {
	r.Product, r.Durability = "SQLite", "an acknowledged write is on the disk"
	var journal string
	if err := ask(ctx, db, question{&r.Version, `SELECT sqlite_version()`}, question{&journal, `PRAGMA journal_mode`}); err != nil {
		return err
	}
	r.set("journal_mode", journal, journal != "wal", "somebody has changed it; the store sets it to wal when it opens the file")
	return r.askSize(ctx, db, `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`)
}
