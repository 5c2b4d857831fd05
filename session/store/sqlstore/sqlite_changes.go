package sqlstore

import "fmt"

// sqliteNoting are the statements that make SQLite note what changes, see watch.go.
// They can be run again, and side by side with programs that know nothing of them:
// triggers are the database's own. Sessions that come into being are not noted,
// because nobody can have a copy of them.
func sqliteNoting() []string {
	const changed = `version, state, subject, role, tenant, created, idle, idle_locks, auth_at, deadline, ` +
		`locked, limit_at, ended_at, cause, ended_by, head` // all but seen and epoch
	note := func(handle string) string {
		return fmt.Sprintf(` BEGIN UPDATE session_change_count SET number = number + 1; `+
			`INSERT OR REPLACE INTO session_changes (slot, number, namespace, handle) `+
			`SELECT number %% %d, number, %s FROM session_change_count; END`, changesKept, handle)
	}
	return []string{
		`CREATE TABLE IF NOT EXISTS session_changes (slot INTEGER PRIMARY KEY, number INTEGER NOT NULL, ` +
			`namespace TEXT NOT NULL, handle TEXT NOT NULL) STRICT`,
		`CREATE TABLE IF NOT EXISTS session_change_count (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL) STRICT`,
		`INSERT OR IGNORE INTO session_change_count (one, number) VALUES (1, 0)`,
		`CREATE TRIGGER IF NOT EXISTS session_changed AFTER UPDATE OF ` + changed + ` ON sessions` + note(`NEW.namespace, NEW.handle`),
		`CREATE TRIGGER IF NOT EXISTS session_removed AFTER DELETE ON sessions` + note(`OLD.namespace, OLD.handle`),
		`CREATE TRIGGER IF NOT EXISTS session_all_revoked AFTER INSERT ON session_epochs` + note(`NEW.namespace, '`+pushAll+`'`),
		`CREATE TRIGGER IF NOT EXISTS session_revocation_edited AFTER UPDATE ON session_epochs` + note(`NEW.namespace, '`+pushAll+`'`),
	}
}
