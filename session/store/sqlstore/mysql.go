package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

//go:embed migrations/mysql/*.sql
var mysqlMigrations embed.FS

// MySQL is the dialect for MySQL 8.0 and MariaDB 10.6, or later. Tested with
// github.com/go-sql-driver/mysql.
//
// The data source name needs no parameters, and none of them changes what the
// store does: each connection sets the modes it relies upon. A readTimeout there
// bounds the work of one statement. The account needs SELECT, INSERT, UPDATE and
// DELETE on the store's tables and, to migrate, CREATE, ALTER and INDEX.
//
// Every acknowledged write survives the death of the server's process; that it
// survives a power failure too takes innodb_flush_log_at_trx_commit = 1, the
// default, instead of 2 (0 is refused), and sync_binlog = 1 where replicas take
// over. The server must be the primary: what it writes reaches replicas later,
// and after a failover those that were behind have lost it. Connections to a
// server that is made a replica have to be cut, as failover tools do: whether it
// is one is asked when a connection is made.
func MySQL() Dialect {
	migrations, err := fs.Sub(mysqlMigrations, "migrations/mysql")
	if err != nil {
		panic("sqlstore: internal error: " + err.Error())
	}
	d := Dialect{
		name:       "MySQL",
		migrations: migrations,
		bind:       func(query string) string { return query },
		// Not INSERT IGNORE, which also cuts values to fit. VALUES() is what
		// both products understand.
		insert: `INSERT`,
		upsertPart: `INSERT INTO session_parts (namespace, handle, name, generation, sealed) VALUES (?, ?, ?, ?, ?) ` +
			mysqlPutPart,
		// As store.Mark.After; assignments see those before them, so clock is
		// the first.
		upsertRevocation: `INSERT INTO session_revocations (namespace, kind, name, at, clock) VALUES (?, ?, ?, ?, ?) ` +
			`ON DUPLICATE KEY UPDATE clock = CASE ` +
			`WHEN clock = VALUES(clock) OR VALUES(at) - at > 2000000000 THEN VALUES(clock) ` +
			`WHEN at - VALUES(at) > 2000000000 THEN clock ELSE -1 END, ` +
			`at = GREATEST(at, VALUES(at))`,
		forUpdate: ` FOR UPDATE`,
		keyFirst:  true,
		// Not SKIP LOCKED: it would also pass over a locked revocation of
		// everything, and take the sessions it has ended for living ones.
		// MariaDB cannot be told to lock sessions alone.
		skipLocked: ` FOR UPDATE`,
		due:        "expires_at",
		lock:       mysqlLock,
		begin:      `START TRANSACTION`,
		configure:  mysqlConfigure,
		touch:      touchMySQL,
		loadMany:   loadManyMySQL,
		swapSteps:  swapStepsMySQL,
		translate:  mysqlTranslate,
		failure:    mysqlFailure,
		duplicate:  mysqlDuplicate,
		migrating: migrating{
			begin:  mysqlMigrationLock(),
			end:    `DO RELEASE_LOCK(` + mysqlLockName + `)`,
			undo:   `DO RELEASE_LOCK(` + mysqlLockName + `)`,
			exists: `SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = 'session_migrations'`,
		},
	}
	d.open = func(ctx context.Context, db *sql.DB, o Options) (engine, error) {
		return openNetwork(ctx, db, d, o)
	}
	return d
}

const mysqlPutPart = `ON DUPLICATE KEY UPDATE generation = VALUES(generation), sealed = VALUES(sealed)`

// mysqlLockName is the server-wide name of a lock for this database. Such a lock
// belongs to a connection and outlives the implicit COMMIT after each statement
// that changes a table; the server gives it up when the connection dies.
const mysqlLockName = `CONCAT('cloakroom ', SHA1(DATABASE()))`

// mysqlMigrationLock returns the statements that wait for the lock. The last one
// fails, for having two rows where one is due, unless the lock is ours. Those who
// change tables wait for statements under way longer than others may.
func mysqlMigrationLock() []string {
	return []string{
		`SET SESSION lock_wait_timeout = 60, SESSION default_storage_engine = InnoDB`,
		`DO GET_LOCK(` + mysqlLockName + `, 600)`,
		// Not DO, which never fails.
		`SELECT (SELECT 1 FROM (SELECT 1 AS n UNION ALL SELECT 2) two ` +
			`WHERE n = 1 OR COALESCE(IS_USED_LOCK(` + mysqlLockName + `), 0) <> CONNECTION_ID())`,
	}
}

// Names of subjects and links are hashed to the first rows of session_locks,
// namespaces to those after them. All versions of this package must agree.
const (
	mysqlNameSlots      = 512
	mysqlNamespaceSlots = 256
)

// mysqlLock locks the rows of session_locks that stand for the names, in ascending
// order, and before them the namespace's, which creations share. Rows are better
// here than GET_LOCK: they are held exactly as long as the transaction, and a
// connection that is lost with its COMMIT under way cannot leave one without the
// other.
func mysqlLock(ctx context.Context, tx tx, namespace string, names []name) error {
	all := mysqlNameSlots + mysqlSlot(namespace, name{kind: "all"})%mysqlNamespaceSlots
	if names == nil {
		return mysqlLockRows(ctx, tx, []int64{all}, `FOR UPDATE`)
	}
	if err := mysqlLockRows(ctx, tx, []int64{all}, `LOCK IN SHARE MODE`); err != nil || len(names) == 0 {
		return err
	}
	slots := make([]int64, len(names))
	for i, n := range names {
		slots[i] = mysqlSlot(namespace, n) % mysqlNameSlots
	}
	slices.Sort(slots)
	return mysqlLockRows(ctx, tx, slices.Compact(slots), `FOR UPDATE`)
}

// mysqlLockRows locks rows of session_locks. One that is not there cannot be
// locked, which must not pass for a lock.
func mysqlLockRows(ctx context.Context, tx tx, slots []int64, how string) error {
	args := make([]any, len(slots))
	for i, slot := range slots {
		args[i] = slot
	}
	locked := 0
	err := tx.query(ctx, `SELECT 1 FROM session_locks WHERE slot IN (?`+strings.Repeat(`, ?`, len(slots)-1)+
		`) ORDER BY slot `+how, args, func(scan) error {
		locked++
		return nil
	})
	if err == nil && locked != len(slots) {
		return fmt.Errorf("got %d rows of session_locks, want %d: somebody has deleted some", locked, len(slots))
	}
	return err
}

func mysqlSlot(namespace string, n name) int64 {
	h := fnv.New32a()
	fmt.Fprintf(h, "%d %s %s ", len(namespace), namespace, n.kind)
	h.Write(n.value)
	return int64(h.Sum32())
}

// mysqlConfigure makes the connection independent of the server's settings and
// of those in the data source name, and refuses servers on which it must not
// work.
func mysqlConfigure(ctx context.Context, c *connection, _ Options, reading bool) error {
	access := `READ WRITE`
	if reading {
		access = `READ ONLY`
	}
	for _, statement := range []string{
		// Bytes in, bytes out: nothing is converted or refused on the way.
		`SET NAMES binary`,
		// Strict, lest what is too long be cut; rows are found by an index, and
		// all of them; a transaction waits for a row two seconds at most.
		`SET SESSION sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION', ` +
			`SESSION autocommit = 1, SESSION completion_type = 0, SESSION sql_safe_updates = 0, ` +
			`SESSION sql_select_limit = 18446744073709551615, SESSION unique_checks = 1, ` +
			`SESSION innodb_lock_wait_timeout = 2, SESSION lock_wait_timeout = 5`,
		// What a transaction reads after it has got its locks must be what is
		// committed by then. And nothing but rows is locked: gaps would block
		// strangers.
		`SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, ` + access,
	} {
		if err := c.run(ctx, statement); err != nil {
			return fmt.Errorf("configuring the connection: %w", err)
		}
	}
	server, err := mysqlServer(ctx, c)
	if err != nil {
		return fmt.Errorf("asking for the server's settings: %w", err)
	}
	if err := server.usable(); err != nil {
		return err
	}
	return c.run(ctx, server.abandoned())
}

// mysqlVariables are those of a server's global variables that matter here. Not
// every server has every one.
type mysqlVariables map[string]string

func mysqlServer(ctx context.Context, c *connection) (mysqlVariables, error) {
	v := mysqlVariables{}
	err := c.query(ctx, `SHOW GLOBAL VARIABLES WHERE variable_name IN ('version', 'read_only', 'innodb_read_only', `+
		`'innodb_flush_log_at_trx_commit', 'log_bin', 'binlog_format', 'wsrep_on')`, nil, func(scan scan) error {
		var name, value string
		err := scan(&name, &value)
		v[strings.ToLower(name)] = value
		return err
	})
	return v, err
}

func (v mysqlVariables) on(name string) bool {
	return v[name] != "" && v[name] != "0" && !strings.EqualFold(v[name], "OFF")
}

func (v mysqlVariables) mariadb() bool { return strings.Contains(v["version"], "MariaDB") }

// abandoned returns the statement that ends a transaction whose client has vanished
// without a word, and with it the locks it holds.
func (v mysqlVariables) abandoned() string {
	if v.mariadb() {
		return `SET SESSION idle_transaction_timeout = 10`
	}
	return `SET SESSION wait_timeout = 300`
}

// usable returns nil if sessions can be kept here.
func (v mysqlVariables) usable() error {
	product, major, minor := "MySQL", 8, 0
	if v.mariadb() {
		product, major, minor = "MariaDB", 10, 6
	}
	switch {
	case !v.atLeast(major, minor):
		return fmt.Errorf("the server has version %q, %s must be %d.%d or later", v["version"], product, major, minor)
	case v.on("read_only"), v.on("innodb_read_only"):
		return errors.New("the server is read-only, as replicas are: name the primary, for a session that " +
			"is revoked there would live on here")
	case v["innodb_flush_log_at_trx_commit"] == "0":
		return errors.New("the server has innodb_flush_log_at_trx_commit = 0: what it has acknowledged would " +
			"not survive its death; set it to 1, or to 2 if it need not survive a power failure")
	case v.on("log_bin") && strings.EqualFold(v["binlog_format"], "STATEMENT"):
		return errors.New("the server has binlog_format = STATEMENT, which cannot be used together with the " +
			"isolation level READ COMMITTED: set it to ROW or MIXED")
	case v.on("wsrep_on"):
		return errors.New("the server belongs to a Galera cluster, where a session that is revoked on one node " +
			"can still be read on another")
	}
	return nil
}

func (v mysqlVariables) atLeast(major, minor int) bool {
	var a, b int
	n, err := fmt.Sscanf(v["version"], "%d.%d", &a, &b)
	return err == nil && n == 2 && (a > major || a == major && b >= minor)
}

// mysqlError is an error of the server. Its text is the server's own, unless that
// may hold values of a row or of a statement.
type mysqlError struct {
	number int
	text   string
}

func (e *mysqlError) Error() string { return e.text }

var mysqlErrorText = regexp.MustCompile(`^Error (\d+)(?: \((\w{5})\))?: `)

// mysqlTranslate recognises an error of the server by its text. The driver's type
// cannot be named here, as this package links no driver.
func mysqlTranslate(err error) error {
	text := err.Error()
	parts := mysqlErrorText.FindStringSubmatch(text)
	if parts == nil {
		return err
	}
	number, _ := strconv.Atoi(parts[1])
	if mysqlTells(number, parts[2]) {
		text = "Error " + parts[1] + " (" + parts[2] + ")"
	}
	return &mysqlError{number, text}
}

// mysqlTells reports whether the text of an error may hold values: those of class
// 22 and 23 are about data, and so are two others; but those about a value's size
// name its column only.
func mysqlTells(number int, state string) bool {
	switch number {
	case 1406, 1264:
		return false
	case 1265, 1366:
		return true
	}
	return strings.HasPrefix(state, "22") || strings.HasPrefix(state, "23")
}

// mysqlFailure says what the server's error numbers mean. Everything else, a lost
// connection above all, leaves open what has happened to a COMMIT.
func mysqlFailure(err error) failure {
	var e *mysqlError
	if !errors.As(err, &e) {
		return failureOther
	}
	switch e.number {
	case 1205, // lock wait timeout
		1213,       // deadlock, or refused by the other nodes of a cluster
		1020,       // record has changed since last read
		1062,       // duplicate entry: two have inserted it at the same time
		1412,       // table definition has changed
		1615, 1243, // prepared statement has to be prepared again
		3101, 3100: // rolled back by group replication
		return failureRetry
	case 1114, 1021: // table or disk full
		return failureFull
	case 1290, 1792, 1836, // the server has become read-only
		1153, 1406, 1264: // too large
		return failureRefused
	}
	return failureOther
}

// mysqlDuplicate reports whether a row with this key is there already.
func mysqlDuplicate(err error) bool {
	var e *mysqlError
	return errors.As(err, &e) && e.number == 1062
}
