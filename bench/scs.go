package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/alexedwards/scs/sqlite3store"
	"github.com/alexedwards/scs/v2"
)

// scsIdle is the idle timeout of the variants that have one; it is cloakroom's
// default, too.
const scsIdle = 30 * time.Minute

// scsLibrary is github.com/alexedwards/scs.
type scsLibrary struct {
	label    string
	m        *scs.SessionManager
	release  func() error
	database string // its file, if there is one
	db       *sql.DB
}

// newSCS returns scs as its README begins: scs.New, with sessions in memory.
// Without an idle timeout a request that only reads stores nothing.
func newSCS(idle time.Duration) *scsLibrary {
	registerProfile()
	m := scs.New()
	m.Lifetime = 12 * time.Hour
	m.IdleTimeout = idle
	m.Cookie.Secure = true // "it's recommended that you set this to true"
	label := "scs"
	if idle > 0 {
		label = "scs idle"
	}
	return &scsLibrary{label: label, m: m, release: func() error { return nil }}
}

// newSCSSQLite returns scs on SQLite, with the schema of its README. The pragmas
// are a favour: by default SQLite locks readers out while somebody writes, and
// fails instead of waiting; and with synchronous=NORMAL, writes do not wait for
// the disk, and the last ones may be lost with the power.
func newSCSSQLite(ctx context.Context, dir string, idle time.Duration) (*scsLibrary, error) {
	l := newSCS(idle)
	l.label += " SQLite"
	file := filepath.Join(dir, fmt.Sprintf("scs-%s.db", idle))
	db, err := sql.Open("sqlite", "file:"+file+
		"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(10000)&_pragma=synchronous(NORMAL)")
	if err != nil {
		return nil, err
	}
	_, err = db.ExecContext(ctx, `CREATE TABLE sessions (token TEXT PRIMARY KEY, data BLOB NOT NULL, expiry REAL NOT NULL);
		CREATE INDEX sessions_expiry_idx ON sessions(expiry)`)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	// SQLite has one writer at a time. Waiting for a connection is quicker than
	// SQLite's own way, which is to sleep.
	db.SetMaxOpenConns(1)
	// The clean-up, every five minutes by default, would outlive the row.
	l.m.Store = sqlite3store.NewWithCleanupInterval(db, 0)
	l.release, l.database, l.db = db.Close, file, db
	return l, nil
}

// durable makes every write wait for the disk from now on.
func (l *scsLibrary) durable(ctx context.Context) error {
	_, err := l.db.ExecContext(ctx, `PRAGMA synchronous = FULL`) // there is one connection
	return err
}

func (l *scsLibrary) name() string                        { return l.label }
func (l *scsLibrary) wrap(next http.Handler) http.Handler { return l.m.LoadAndSave(next) }

func (l *scsLibrary) login(_ http.ResponseWriter, r *http.Request, user string) error {
	if err := l.m.RenewToken(r.Context()); err != nil { // "first renew the session token"
		return err
	}
	l.m.Put(r.Context(), "userID", user)
	return nil
}

func (l *scsLibrary) logout(_ http.ResponseWriter, r *http.Request) error {
	return l.m.Destroy(r.Context())
}

func (*scsLibrary) formToken(*http.Request) (string, error) { return "", nil }

func (l *scsLibrary) user(r *http.Request) string { return l.m.GetString(r.Context(), "userID") }

func (l *scsLibrary) bytes(r *http.Request) []byte { return l.m.GetBytes(r.Context(), "bytes") }

func (l *scsLibrary) setBytes(_ http.ResponseWriter, r *http.Request, value []byte) error {
	l.m.Put(r.Context(), "bytes", value)
	return nil
}

func (l *scsLibrary) profile(r *http.Request) (profile, bool) {
	p, ok := l.m.Get(r.Context(), "profile").(profile)
	return p, ok
}

func (l *scsLibrary) setProfile(_ http.ResponseWriter, r *http.Request, p profile) error {
	l.m.Put(r.Context(), "profile", p)
	return nil
}

func (l *scsLibrary) mark(_ http.ResponseWriter, r *http.Request, number int) error {
	l.m.Put(r.Context(), fmt.Sprintf("mark-%d", number), "here")
	return nil
}

func (l *scsLibrary) marked(r *http.Request, number int) bool {
	return l.m.GetString(r.Context(), fmt.Sprintf("mark-%d", number)) == "here"
}

func (*scsLibrary) onServer() bool { return true }

func (l *scsLibrary) close(context.Context) error { return l.release() }
