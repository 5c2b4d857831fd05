package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
)

//go:embed migrations/sqlite/*.sql
var sqliteMigrations embed.FS

// SQLite is the dialect for SQLite 3.37 or later, through any driver. Tested
// with modernc.org/sqlite, which needs no C compiler.
//
// The database must be a file on a local disk: databases in memory are refused.
// It is switched to write-ahead logging, so that reading and writing do not wait
// for each other. Every acknowledged write is on the disk (synchronous=FULL);
// waiting writes share a transaction. Some processes may use one file at the same
// time.
func SQLite() Dialect {
	migrations, err := fs.Sub(sqliteMigrations, "migrations/sqlite")
	if err != nil {
		panic("sqlstore: internal error: " + err.Error())
	}
	d := Dialect{
		name:       "SQLite",
		migrations: migrations,
		bind:       func(query string) string { return query },
		insert:     `INSERT`,
		orIgnore:   ` ON CONFLICT DO NOTHING`,
		upsertPart: `INSERT INTO session_parts (namespace, handle, name, generation, sealed) VALUES (?, ?, ?, ?, ?) ` +
			`ON CONFLICT DO UPDATE SET generation = excluded.generation, sealed = excluded.sealed`,
		upsertRevocation: `INSERT INTO session_revocations (namespace, kind, name, at, clock) VALUES (?, ?, ?, ?, ?) ` +
			`ON CONFLICT DO UPDATE SET at = MAX(at, excluded.at), clock = CASE ` + // as store.Mark.After
			`WHEN clock = excluded.clock OR excluded.at - at > 2000000000 THEN excluded.clock ` +
			`WHEN at - excluded.at > 2000000000 THEN clock ELSE -1 END`,
		due:     "expires_at",
		noting:  sqliteNoting(),
		failure: sqliteFailure,
		migrating: migrating{
			begin: []string{`BEGIN IMMEDIATE`}, end: `COMMIT`, undo: `ROLLBACK`,
			exists: `SELECT CASE WHEN NOT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'session_migrations') THEN 0 ` +
				`WHEN EXISTS (SELECT 1 FROM pragma_table_info('session_migrations') WHERE name = 'compatible') THEN 1 ELSE 2 END`,
		},
	}
	d.open = func(ctx context.Context, db *sql.DB, o Options) (engine, error) {
		return openSQLite(ctx, db, d, o)
	}
	return d
}

// sqliteFailure recognises errors by SQLite's code, where the driver has a method
// for it, or by SQLite's text.
func sqliteFailure(err error) failure {
	const (
		busy   = 5
		locked = 6
		full   = 13
	)
	var coded interface{ Code() int }
	code, text := 0, ""
	if errors.As(err, &coded) {
		code = coded.Code() & 0xff // without the extension
	} else if err != nil {
		text = err.Error()
	}
	switch {
	case code == busy, code == locked, strings.Contains(text, "database is locked"), strings.Contains(text, "table is locked"):
		return failureBusy
	case code == full, strings.Contains(text, "disk is full"):
		return failureFull
	}
	return failureOther
}

// sqliteWriter is the group writer together with its checkpointer.
type sqliteWriter struct {
	*groupWriter
	checkpoints *checkpointer
	once        sync.Once
}

func openSQLite(ctx context.Context, db *sql.DB, d Dialect, o Options) (engine, error) {
	// Whoever opens the file first, or closes it last, locks out everybody else
	// for a moment, at any step.
	patient := func(ctx context.Context, do func() error) error {
		return patiently(ctx, o.BusyTimeout, d.failure, do)
	}
	if err := patient(ctx, func() error { return prepareSQLite(ctx, db, d, o) }); err != nil {
		return engine{}, err
	}
	gate := new(sync.Mutex)
	connect := func(ctx context.Context) (conn *connection, err error) {
		err = patient(ctx, func() error {
			conn, err = connectSQLite(ctx, db, d, durable)
			return err
		})
		return conn, err
	}
	c := &checkpointer{gate: gate, connect: connect}
	w := &groupWriter{
		connect:   connect,
		failure:   d.failure,
		committed: c.committed,
		gate:      gate,
		begin: func(ctx context.Context, c *connection) error {
			return patient(ctx, func() error {
				_, err := c.exec(ctx, `BEGIN IMMEDIATE`)
				return err
			})
		},
	}
	var err error
	if w.conn, err = connect(ctx); err != nil {
		return engine{}, err
	}
	c.start()
	w.start(o)
	return engine{
		writer: &sqliteWriter{groupWriter: w, checkpoints: c},
		reader: newReaders(o.Readers, func(ctx context.Context) (*connection, error) {
			return connectSQLite(ctx, db, d, readOnly)
		}),
	}, nil
}

// close implements writer.
func (w *sqliteWriter) close(ctx context.Context) error {
	if err := w.groupWriter.close(ctx); err != nil {
		// The writer goes on; leave the log to it.
		go func() {
			<-w.groupWriter.exited
			w.once.Do(func() { close(w.checkpoints.stop) })
		}()
		return err
	}
	w.once.Do(func() { close(w.checkpoints.stop) })
	select {
	case <-w.checkpoints.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sqlstore: closing: %w", ctx.Err())
	}
}

// prepareSQLite makes the file ready: checked, with a write-ahead log, its tables
// up to date.
func prepareSQLite(ctx context.Context, db *sql.DB, d Dialect, o Options) error {
	c, err := newConnection(ctx, db, d)
	if err != nil {
		return err
	}
	defer c.close()
	if err := onDisk(ctx, c); err != nil {
		return err
	}
	mode, err := pragma(ctx, c, `journal_mode = WAL`)
	if err != nil {
		return err
	}
	if mode != "wal" {
		return fmt.Errorf("got journal mode %q, want wal: the database must be a file on a local disk", mode)
	}
	if _, err := pragma(ctx, c, `synchronous = FULL`); err != nil {
		return err
	}
	return ready(ctx, c, d, o)
}

// onDisk refuses databases that end with the process, or with a connection.
func onDisk(ctx context.Context, c *connection) error {
	var file string
	err := readOne(ctx, c, `SELECT COALESCE(file, '') FROM pragma_database_list WHERE name = 'main'`, nil, &file)
	if err != nil {
		return err
	}
	if file == "" {
		return errors.New("the database is in memory, where every connection has its own " +
			"and nothing survives: name a file, or use store/memory")
	}
	return nil
}

// connectSQLite returns a connection configured by the given function.
func connectSQLite(ctx context.Context, db *sql.DB, d Dialect, configure func(context.Context, *connection) error) (*connection, error) {
	c, err := newConnection(ctx, db, d)
	if err != nil {
		return nil, err
	}
	if err := configure(ctx, c); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// durable configures a connection for writing, and makes sure of it.
func durable(ctx context.Context, c *connection) error {
	err := pragmas(ctx, c,
		`synchronous = FULL`,
		fmt.Sprintf(`wal_autocheckpoint = %d`, checkpointBackstop),
		`cache_size = -16384`, // 16 MiB
		`busy_timeout = 0`,    // patiently waits instead
	)
	if err != nil {
		return err
	}
	for _, want := range []struct{ name, value string }{{"synchronous", "2"}, {"journal_mode", "wal"}} {
		got, err := pragma(ctx, c, want.name)
		if err != nil {
			return err
		}
		if got != want.value {
			return fmt.Errorf("got %s %s, want %s: writes would not survive a crash", want.name, got, want.value)
		}
	}
	return nil
}

// readOnly configures a connection for reading.
func readOnly(ctx context.Context, c *connection) error {
	return pragmas(ctx, c, `query_only = ON`, `cache_size = -8192`, `busy_timeout = 0`)
}

func pragmas(ctx context.Context, c *connection, settings ...string) error {
	for _, setting := range settings {
		if _, err := pragma(ctx, c, setting); err != nil {
			return err
		}
	}
	return nil
}

// pragma runs a PRAGMA and returns what it answers, which may be nothing.
func pragma(ctx context.Context, c *connection, text string) (answer string, err error) {
	var value sql.NullString
	err = readOne(ctx, c, `PRAGMA `+text, nil, &value)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", err
	}
	return value.String, nil
}
