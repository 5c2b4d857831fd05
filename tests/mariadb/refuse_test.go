package mariadb_test

import (
	"database/sql/driver"
	"strings"
	"testing"

	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestOpenRefuses asserts the text, which somebody will have to act upon. The
// server's answers are changed on the way.
func TestOpenRefuses(t *testing.T) {
	name := database(t)
	for _, c := range []struct {
		name string
		says map[string]string
		want string // empty: it is accepted
	}{
		{"old MySQL", map[string]string{"version": "5.7.44-log"}, `the server has version "5.7.44-log", MySQL must be 8.0 or later`},
		{"old MariaDB", map[string]string{"version": "10.5.23-MariaDB"}, `MariaDB must be 10.6 or later`},
		{"oldest MariaDB", map[string]string{"version": "10.6.0-MariaDB"}, ""},
		{"new MariaDB", map[string]string{"version": "12.1.2-MariaDB-ubu2404"}, ""},
		{"no version", map[string]string{"version": "unknown"}, `the server has version "unknown"`},
		{"replica", map[string]string{"read_only": "ON"}, "the server is read-only, as replicas are"},
		{"replica of Aurora", map[string]string{"innodb_read_only": "ON"}, "the server is read-only, as replicas are"},
		{"log not written", map[string]string{"innodb_flush_log_at_trx_commit": "0"}, "innodb_flush_log_at_trx_commit = 0"},
		{"log not synced", map[string]string{"innodb_flush_log_at_trx_commit": "2"}, ""},
		{"statement-based", map[string]string{"log_bin": "ON", "binlog_format": "STATEMENT"}, "binlog_format = STATEMENT"},
		{"statement-based without log", map[string]string{"log_bin": "OFF", "binlog_format": "STATEMENT"}, ""},
		{"Galera", map[string]string{"wsrep_on": "ON"}, "the server belongs to a Galera cluster"},
	} {
		t.Run(c.name, func(t *testing.T) {
			db, f := sqltest.FaultyDB(t, "mysql", name)
			f.Rewrite = func(query string, row []driver.Value) {
				if !strings.HasPrefix(query, "SHOW GLOBAL VARIABLES") {
					return
				}
				if says, found := c.says[string(row[0].([]byte))]; found {
					row[1] = []byte(says)
				}
			}
			s, err := sqlstore.Open(t.Context(), db, sqlstore.MySQL(), sqlstore.Options{})
			if err == nil {
				s.Close(t.Context())
			}
			if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}
