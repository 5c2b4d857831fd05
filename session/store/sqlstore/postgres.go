package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"slices"
	"strconv"
	"strings"
)

//go:embed migrations/postgres/*.sql
var postgresMigrations embed.FS

// PostgreSQL is the dialect for PostgreSQL 13 or later, through pgx's driver for
// database/sql (github.com/jackc/pgx/v5/stdlib, "pgx").
//
// Every connection keeps prepared statements and settings of its own; a pooler in
// between must pool sessions, not transactions. An acknowledged write survives a
// crash of the server as far as the server's fsync and full_page_writes are on;
// where synchronous_commit is off, it is turned on for the store's connections.
func PostgreSQL() Dialect {
	migrations, err := fs.Sub(postgresMigrations, "migrations/postgres")
	if err != nil {
		panic("sqlstore: internal error: " + err.Error())
	}
	d := Dialect{
		name:       "PostgreSQL",
		migrations: migrations,
		migrating: migrating{
			begin: []string{`BEGIN`, fmt.Sprintf(`SELECT pg_advisory_xact_lock(%d)`, postgresLock("", name{kind: "schema"}))},
			end:   `COMMIT`, undo: `ROLLBACK`,
			exists: `SELECT CASE WHEN to_regclass('session_migrations') IS NULL THEN 0 ELSE 1 END`,
		},
		bind:     dollars,
		utf8:     true,
		insert:   `INSERT`,
		orIgnore: ` ON CONFLICT DO NOTHING`,
		upsertPart: `INSERT INTO session_parts (namespace, handle, name, generation, sealed) VALUES (?, ?, ?, ?, ?) ` +
			`ON CONFLICT (namespace, handle, name) DO UPDATE SET generation = excluded.generation, sealed = excluded.sealed`,
		upsertRevocation: `INSERT INTO session_revocations AS r (namespace, kind, name, at, clock) VALUES (?, ?, ?, ?, ?) ` +
			`ON CONFLICT (namespace, kind, name) DO UPDATE SET at = GREATEST(r.at, excluded.at), clock = CASE ` + // as store.Mark.After
			`WHEN r.clock = excluded.clock OR excluded.at - r.at > 2000000000 THEN excluded.clock ` +
			`WHEN r.at - excluded.at > 2000000000 THEN r.clock ELSE -1 END`,
		forUpdate:    ` FOR UPDATE OF s`,
		forUpdateAll: ` ORDER BY s.handle FOR UPDATE OF s`,
		skipLocked:   ` FOR UPDATE OF s SKIP LOCKED`,
		due:          "due_at",
		requeue:      `UPDATE sessions SET due_at = expires_at WHERE namespace = ? AND handle = ?`,
		lock:         lockPostgres,
		begin:        `BEGIN`,
		configure:    configurePostgres,
		unwatch:      unwatchPostgres,
		touch:        touchPostgres,
		loadMany:     loadManyPostgres,
		swapMany:     swapManyPostgres,
		failure:      postgresFailure,
	}
	d.open = func(ctx context.Context, db *sql.DB, o Options) (engine, error) {
		return openNetwork(ctx, db, d, o)
	}
	return d
}

// dollars turns each ? into $1, $2 and so on. There are none in literals.
func dollars(query string) string {
	var b strings.Builder
	for n := 1; ; n++ {
		before, after, found := strings.Cut(query, "?")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		b.WriteString("$" + strconv.Itoa(n))
		query = after
	}
}

// configurePostgres sets what the store relies on, whatever the server's or the
// role's defaults are. All statements find their rows by key; the planner is kept
// from thinking otherwise while tables are empty or statistics old, and is asked
// once per statement.
func configurePostgres(ctx context.Context, c *connection, o Options, reading bool) error {
	limit := strconv.FormatInt(o.BusyTimeout.Milliseconds(), 10)
	statement, access := limit, "off"
	if reading {
		statement, access = "0", "on" // counting may take long, and is ended with its connection
	}
	settings := []string{
		"default_transaction_isolation", "read committed",
		"default_transaction_read_only", access,
		"statement_timeout", statement,
		"lock_timeout", limit,
		// A node that stands still must not hold its locks for ever.
		"idle_in_transaction_session_timeout", limit,
		"plan_cache_mode", "force_generic_plan",
		"enable_seqscan", "off", "enable_hashjoin", "off", "enable_mergejoin", "off",
		"jit", "off",
		"bytea_output", "hex",
	}
	var b strings.Builder
	b.WriteString(`SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit') ` +
		`WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, false)`)
	for i := 0; i < len(settings); i += 2 {
		fmt.Fprintf(&b, `, set_config('%s', '%s', false)`, settings[i], settings[i+1])
	}
	if err := c.run(ctx, b.String()); err != nil {
		return err
	}
	var standby bool
	if err := readOne(ctx, c, `SELECT pg_is_in_recovery()`, nil, &standby); err != nil {
		return err
	}
	if standby {
		return errors.New("the server is a standby: name the primary, for a session that is revoked there would live on here")
	}
	return nil
}

// lockPostgres takes advisory locks, which last until the transaction ends: all
// names in one order, so that two operations cannot wait for each other. Without
// names it waits for all creations of the namespace, and they for it.
func lockPostgres(ctx context.Context, tx tx, namespace string, names []name) error {
	all := postgresLock(namespace, name{kind: "all"})
	if names == nil {
		_, err := tx.exec(ctx, `SELECT pg_advisory_xact_lock(?)`, all)
		return err
	}
	keys := make([]int64, len(names))
	for i, n := range names {
		keys[i] = postgresLock(namespace, n)
	}
	slices.Sort(keys)
	args := []any{all}
	for _, key := range keys {
		args = append(args, key)
	}
	_, err := tx.exec(ctx, `SELECT pg_advisory_xact_lock_shared(?)`+
		strings.Repeat(`, pg_advisory_xact_lock(?)`, len(keys)), args...)
	return err
}

// postgresLock returns the number of a lock. Names that share one wait for each
// other without need.
func postgresLock(namespace string, n name) int64 {
	h := fnv.New64a()
	fmt.Fprintf(h, "cloakroom %d %s %s ", len(namespace), namespace, n.kind)
	h.Write(n.value)
	return int64(h.Sum64())
}

// postgresFailure recognises errors by their SQLSTATE. Errors without one are
// those of the connection, and so are those of a server that is going down: what
// became of a COMMIT is then unknown.
func postgresFailure(err error) failure {
	var coded interface{ SQLState() string }
	if !errors.As(err, &coded) {
		return failureOther
	}
	switch state := coded.SQLState(); {
	case state == "40001", state == "40P01": // serialization failure, deadlock
		return failureRetry
	case state == "53100": // disk full
		return failureFull
	case len(state) != 5:
		return failureOther
	case state == "57014", state == "55P03": // statement_timeout, lock_timeout
		return failureRefused
	default:
		switch state[:2] {
		case "08", "57", "58", "F0", "XX": // connection, shutdown, system, internal
			return failureOther
		}
		return failureRefused
	}
}
