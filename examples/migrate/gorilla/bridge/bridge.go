// Package bridge keeps those signed in who come with a session of gorilla/sessions
// in its CookieStore.
//
// Such a session lies in the cookie alone: nothing on the server can end, and every
// response that has saved it has made one more cookie that stays valid until its
// age. The bridge adds what can be added on this side:
//
//   - a cookie that was brought over is noted, and is worthless from then on;
//   - a logout here is noted, and makes all cookies worthless that the old
//     application gave to that user before;
//   - so does every revocation here, see [crossing.Crossing];
//   - old cookies keep their age, and from a given day on none is accepted.
//
// What remains: who has copied an old cookie of somebody who has never signed out
// here comes in with it, once, as he does in the old application.
package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"

	"cloakroom.example/examples/migrate/crossing"
	"cloakroom.example/session"
)

// Bridge knows the old sessions. All fields must be set.
type Bridge struct {
	// Store has the keys, the options and the maximum age of the old
	// application.
	Store *sessions.CookieStore
	Name  string // of the old session and its cookie
	// DB is where the bridge notes what it has seen, for all nodes.
	DB *sql.DB
	// Subject finds out who was signed in; empty means nobody.
	Subject func(values map[any]any) string
	// Move puts the old values into the new session.
	Move func(s *session.Session, values map[any]any) error
}

// Prepare makes the tables.
func (b *Bridge) Prepare(ctx context.Context) error {
	_, err := b.DB.ExecContext(ctx, `
		CREATE TABLE IF NOT EXISTS bridged (hash BLOB PRIMARY KEY);
		CREATE TABLE IF NOT EXISTS signed_out (subject TEXT PRIMARY KEY, at INTEGER NOT NULL);`)
	if err != nil {
		return fmt.Errorf("preparing the bridge: %w", err)
	}
	return nil
}

// Take accepts an old cookie and notes it, see [crossing.Crossing].
func (b *Bridge) Take(r *http.Request, cookie string) (crossing.Old, bool, error) {
	values := make(map[any]any)
	if securecookie.DecodeMulti(b.Name, cookie, &values, b.Store.Codecs...) != nil {
		return crossing.Old{}, false, nil // forged, too old, or of a key that is gone
	}
	made, hash, ok := parse(cookie)
	if !ok {
		return crossing.Old{}, false, nil
	}
	subject := b.Subject(values)
	first, err := b.note(r.Context(), hash, subject, made)
	if err != nil || !first {
		return crossing.Old{}, false, err
	}
	old := crossing.Old{Subject: subject, Move: func(s *session.Session) error { return b.Move(s, values) }}
	if age := b.Store.Options.MaxAge; age > 0 {
		old.Ends = made.Add(time.Duration(age) * time.Second)
	}
	return old, true, nil
}

// parse returns when a valid cookie was made, and what names it. That is not its
// text: base64 lets one cookie be spelt in several ways, each of which would be a
// new one.
func parse(cookie string) (made time.Time, hash [sha256.Size]byte, ok bool) {
	content, err := base64.URLEncoding.DecodeString(cookie) // date|value|mac
	if err != nil {
		return time.Time{}, hash, false
	}
	date, _, _ := bytes.Cut(content, []byte("|"))
	seconds, err := strconv.ParseInt(string(date), 10, 64)
	return time.Unix(seconds, 0), sha256.Sum256(content), err == nil
}

// note reports whether a cookie is used for the first time, and its user has not
// signed out since it was made.
func (b *Bridge) note(ctx context.Context, hash [sha256.Size]byte, subject string, made time.Time) (first bool, err error) {
	tx, err := b.DB.BeginTx(ctx, nil)
	if err != nil {
		return false, fmt.Errorf("beginning: %w", err)
	}
	defer tx.Rollback()
	var left int64
	err = tx.QueryRowContext(ctx, `SELECT at FROM signed_out WHERE subject = $1`, subject).Scan(&left)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("looking up: %w", err)
	}
	done, err := tx.ExecContext(ctx, `INSERT INTO bridged (hash) VALUES ($1) ON CONFLICT DO NOTHING`, hash[:])
	if err != nil {
		return false, fmt.Errorf("noting: %w", err)
	}
	n, err := done.RowsAffected()
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return false, fmt.Errorf("committing: %w", err)
	}
	return n == 1 && made.Unix() > left, nil // they count in seconds
}

// SignedOut makes the user's old cookies worthless, those in his other browsers
// included: they cannot be told apart. Call it before [session.Manager.Logout], and
// do not sign out if it fails.
func (b *Bridge) SignedOut(ctx context.Context, subject string) error {
	_, err := b.DB.ExecContext(context.WithoutCancel(ctx), `INSERT INTO signed_out (subject, at) VALUES ($1, $2)
		ON CONFLICT (subject) DO UPDATE SET at = max(at, excluded.at)`, subject, time.Now().Unix())
	if err != nil {
		return fmt.Errorf("noting the logout: %w", err)
	}
	return nil
}

// Clear makes the browser drop the old cookie.
func (b *Bridge) Clear(w http.ResponseWriter) {
	o := *b.Store.Options
	o.MaxAge = -1
	http.SetCookie(w, sessions.NewCookie(b.Name, "", &o))
}
