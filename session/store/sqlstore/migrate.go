package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// migrations are SQL files called NNNN_what.sql, numbered from 0001 without
// gaps, applied in this order and never changed after a release. There is no way
// back. Statements end with a semicolon at the end of a line.
//
// The first line of a file may be "-- compatible: N": programs that know no more
// than migration N still work on tables that have this one, as they must while a
// deployment is rolling. Without it, programs that do not know the migration
// refuse the tables. What is compatible: new tables, indexes, and columns with a
// default that old programs need not write.

// Schema says which tables a database has and which ones this program knows.
type Schema struct {
	// Version is the number of the last migration applied; 0 means that there
	// are no tables.
	Version int
	// Compatible is the lowest number of migrations that a program must know in
	// order to use the tables.
	Compatible int
	// Known is how many migrations this program knows.
	Known int
}

// Current reports whether no migration is missing.
func (s Schema) Current() bool { return s.Version >= s.Known }

// Usable returns nil if this program can work with the tables as they are, and
// otherwise what is to be done.
func (s Schema) Usable() error {
	switch {
	case s.Version == 0:
		return errors.New("there are no tables: they have to be created by migrating")
	case s.Version < s.Known:
		return fmt.Errorf("its tables have version %d, this program needs version %d: they have to be migrated",
			s.Version, s.Known)
	case s.Known < s.Compatible:
		return fmt.Errorf("its tables have version %d, this program knows version %d and older: "+
			"use the program that wrote them, or a newer one", s.Version, s.Known)
	}
	return nil
}

// Check says which tables the database has. It changes nothing.
func Check(ctx context.Context, db *sql.DB, d Dialect) (Schema, error) {
	var s Schema
	err := withConnection(ctx, db, d, func(c *connection) (err error) {
		s, err = schemaOf(ctx, c, d)
		return err
	})
	if err != nil {
		return Schema{}, fmt.Errorf("sqlstore: checking %s database: %w", d.name, err)
	}
	return s, nil
}

// Migrate brings the tables up to date, as [Open] does unless it is told
// otherwise, and returns what they were and what they are. Several nodes may do
// it at the same time, and while others use the tables.
func Migrate(ctx context.Context, db *sql.DB, d Dialect) (from, to Schema, err error) {
	err = withConnection(ctx, db, d, func(c *connection) (err error) {
		if from, err = schemaOf(ctx, c, d); err != nil {
			return err
		}
		if err = migrate(ctx, c, d); err != nil {
			return err
		}
		to, err = schemaOf(ctx, c, d)
		return err
	})
	if err != nil {
		return from, from, fmt.Errorf("sqlstore: migrating %s database: %w", d.name, err)
	}
	return from, to, nil
}

func withConnection(ctx context.Context, db *sql.DB, d Dialect, do func(c *connection) error) error {
	if d.open == nil {
		return errors.New("no dialect given")
	}
	c, err := newConnection(ctx, db, d)
	if err != nil {
		return err
	}
	defer c.close()
	return do(c)
}

// ready returns nil once the tables can be used. They are looked at first,
// because the account of a program need not be allowed to create any.
func ready(ctx context.Context, c *connection, d Dialect, o Options) error {
	s, err := schemaOf(ctx, c, d)
	if err != nil {
		return err
	}
	if s.Current() || o.KeepSchema {
		return s.Usable()
	}
	return migrate(ctx, c, d)
}

func schemaOf(ctx context.Context, c *connection, d Dialect) (Schema, error) {
	files, err := fs.Glob(d.migrations, "*.sql")
	if err != nil {
		return Schema{}, err
	}
	s := Schema{Known: len(files)}
	var tables int
	if err := readOne(ctx, c, d.migrating.exists, nil, &tables); err != nil || tables == 0 {
		return s, err
	}
	if tables == 2 {
		s.Version, s.Compatible = 1, 1 // there was no other
		return s, nil
	}
	err = readOne(ctx, c, `SELECT COALESCE(MAX(version), 0), COALESCE(MAX(compatible), 0) FROM session_migrations`,
		nil, &s.Version, &s.Compatible)
	return s, err
}

// migrate brings the database up to date, waiting for other processes that do
// the same.
func migrate(ctx context.Context, c *connection, d Dialect) error {
	files, err := fs.Glob(d.migrations, "*.sql") // sorted
	if err != nil {
		return err
	}
	for _, statement := range d.migrating.begin {
		if err := c.run(ctx, statement); err != nil {
			return err
		}
	}
	if err := migrateLocked(ctx, c, d, files); err != nil {
		c.run(ctx, d.migrating.undo) // the first error is the one that counts
		return err
	}
	if err := c.run(ctx, d.migrating.end); err != nil {
		c.run(ctx, d.migrating.undo)
		return err
	}
	return nil
}

func migrateLocked(ctx context.Context, c *connection, d Dialect, files []string) error {
	if err := c.run(ctx, `CREATE TABLE IF NOT EXISTS session_migrations (`+
		`version INTEGER NOT NULL PRIMARY KEY, compatible INTEGER NOT NULL)`); err != nil {
		return err
	}
	s, err := schemaOf(ctx, c, d)
	if err != nil {
		return err
	}
	if s.Current() {
		return s.Usable()
	}
	if s.Version > 0 {
		if err := d.addCompatible(ctx, c); err != nil {
			return err
		}
	}
	for i, file := range files[s.Version:] {
		if err := apply(ctx, c, d, file, s.Version+i+1); err != nil {
			return fmt.Errorf("migrating with %s: %w", file, err)
		}
	}
	return nil
}

// addCompatible gives the table of migrations its second column, where it dates
// from before that.
func (d Dialect) addCompatible(ctx context.Context, c *connection) error {
	var tables int
	if err := readOne(ctx, c, d.migrating.exists, nil, &tables); err != nil || tables != 2 {
		return err
	}
	return c.run(ctx, `ALTER TABLE session_migrations ADD COLUMN compatible INTEGER NOT NULL DEFAULT 1`)
}

// apply runs one file, which must have the given number.
func apply(ctx context.Context, c *connection, d Dialect, file string, number int) error {
	prefix, _, _ := strings.Cut(file, "_")
	if n, err := strconv.Atoi(prefix); err != nil || n != number {
		return fmt.Errorf("got number %q, want %04d", prefix, number)
	}
	text, err := fs.ReadFile(d.migrations, file)
	if err != nil {
		return err
	}
	compatible, err := compatibleWith(string(text), number)
	if err != nil {
		return err
	}
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := c.run(ctx, statement); err != nil {
			return err
		}
	}
	_, err = c.exec(ctx, `INSERT INTO session_migrations (version, compatible) VALUES (?, ?)`, number, compatible)
	return err
}

// compatibleWith reads the first line of a migration.
func compatibleWith(text string, number int) (int, error) {
	first, _, _ := strings.Cut(text, "\n")
	stated, found := strings.CutPrefix(first, "-- compatible: ")
	if !found {
		return number, nil
	}
	n, err := strconv.Atoi(strings.TrimSpace(stated))
	if err != nil || n < 1 || n > number {
		return 0, fmt.Errorf("got %q, want the number of an earlier migration", first)
	}
	return n, nil
}
