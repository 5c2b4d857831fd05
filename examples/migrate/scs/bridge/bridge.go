// Package bridge keeps those signed in who come with a session of alexedwards/scs.
//
// It takes the old session's row out of the table in one statement, so that one
// request gets it, however many come at a time, and a session that was logged out
// or has expired cannot be had. It notes the token, too: scs writes rows as
// upserts, so that a late request in the old application can put a row back.
package bridge

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"

	"github.com/alexedwards/scs/v2"

	"cloakroom.example/examples/migrate/crossing"
	"cloakroom.example/session"
)

// Bridge knows the old sessions. All fields must be set.
type Bridge struct {
	// Manager is configured as it was in the old application. Only its cookie,
	// its codec and HashTokenInStore matter; it serves nobody any more.
	Manager *scs.SessionManager
	// DB has the table "sessions" of scs's sqlite3store. The statements work
	// with postgresstore, too, when julianday('now') is replaced by
	// current_timestamp.
	DB *sql.DB
	// Subject finds out who was signed in; empty means nobody.
	Subject func(values map[string]any) string
	// Move puts the old values into the new session.
	Move func(s *session.Session, values map[string]any) error
}

// Prepare makes the table of tokens that were used. It goes with the old one.
func (b *Bridge) Prepare(ctx context.Context) error {
	if _, err := b.DB.ExecContext(ctx, `CREATE TABLE IF NOT EXISTS bridged (hash BLOB PRIMARY KEY)`); err != nil {
		return fmt.Errorf("preparing the bridge: %w", err)
	}
	return nil
}

// Take ends an old session and returns it, see [crossing.Crossing].
func (b *Bridge) Take(r *http.Request, token string) (crossing.Old, bool, error) {
	data, found, err := b.take(r.Context(), token)
	if err != nil || !found {
		return crossing.Old{}, false, err
	}
	ends, values, err := b.Manager.Codec.Decode(data)
	if err != nil {
		return crossing.Old{}, false, fmt.Errorf("decoding: %w", err)
	}
	return crossing.Old{
		Subject: b.Subject(values),
		Ends:    ends,
		Move:    func(s *session.Session) error { return b.Move(s, values) },
	}, true, nil
}

// take returns the data of a live session to the first who asks.
func (b *Bridge) take(ctx context.Context, token string) (data []byte, found bool, err error) {
	tx, err := b.DB.BeginTx(ctx, nil)
	if err != nil {
		return nil, false, fmt.Errorf("beginning: %w", err)
	}
	defer tx.Rollback()
	row := tx.QueryRowContext(ctx,
		`DELETE FROM sessions WHERE token = $1 AND julianday('now') < expiry RETURNING data`, b.key(token))
	switch err := row.Scan(&data); {
	case errors.Is(err, sql.ErrNoRows):
		return nil, false, nil
	case err != nil:
		return nil, false, fmt.Errorf("deleting: %w", err)
	}
	hash := sha256.Sum256([]byte(token))
	done, err := tx.ExecContext(ctx, `INSERT INTO bridged (hash) VALUES ($1) ON CONFLICT DO NOTHING`, hash[:])
	if err != nil {
		return nil, false, fmt.Errorf("noting: %w", err)
	}
	n, err := done.RowsAffected()
	if err == nil {
		err = tx.Commit()
	}
	if err != nil {
		return nil, false, fmt.Errorf("committing: %w", err)
	}
	return data, n == 1, nil
}

// key is what scs calls the token in its table.
func (b *Bridge) key(token string) string {
	if !b.Manager.HashTokenInStore {
		return token
	}
	hash := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(hash[:])
}

// Clear makes the browser drop the old cookie.
func (b *Bridge) Clear(w http.ResponseWriter) {
	c := b.Manager.Cookie
	http.SetCookie(w, &http.Cookie{
		Name: c.Name, Path: c.Path, Domain: c.Domain, Secure: c.Secure, HttpOnly: c.HttpOnly, SameSite: c.SameSite, MaxAge: -1,
	})
}
