package postgres_test

import (
	"database/sql/driver"
	"strings"
	"testing"

	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestStandbyIsRefused: a server that replays another one's log shows sessions that
// were revoked there. The server's answer is changed on the way.
func TestStandbyIsRefused(t *testing.T) {
	db, f := sqltest.FaultyDB(t, "pgx", database(t))
	f.Rewrite = func(query string, row []driver.Value) {
		if strings.Contains(query, "pg_is_in_recovery") {
			row[0] = true
		}
	}
	const want = "the server is a standby: name the primary"
	_, err := sqlstore.Open(t.Context(), db, sqlstore.PostgreSQL(), sqlstore.Options{})
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}
