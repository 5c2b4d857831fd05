package sqlstore

import (
	"context"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// migrations are SQL files called NNNN_what.sql, numbered from 0001 without
// gaps, applied in this order and never changed after a release. There is no way
// back: an older program refuses a newer database. Statements end with a
// semicolon at the end of a line.

// migrate brings the database up to date in one transaction, begun by the given
// statement, which must wait for other processes doing the same.
func migrate(ctx context.Context, c *connection, d Dialect, begin string) error {
	files, err := fs.Glob(d.migrations, "*.sql") // sorted
	if err != nil {
		return err
	}
	if _, err := c.exec(ctx, begin); err != nil {
		return err
	}
	if err := migrateLocked(ctx, c, d, files); err != nil {
		c.run(ctx, `ROLLBACK`) // the first error is the one that counts
		return err
	}
	if _, err := c.exec(ctx, `COMMIT`); err != nil {
		c.run(ctx, `ROLLBACK`)
		return err
	}
	return nil
}

func migrateLocked(ctx context.Context, c *connection, d Dialect, files []string) error {
	if _, err := c.exec(ctx, `CREATE TABLE IF NOT EXISTS session_migrations (version INTEGER NOT NULL PRIMARY KEY)`); err != nil {
		return err
	}
	var version int
	if err := readOne(ctx, c, `SELECT COALESCE(MAX(version), 0) FROM session_migrations`, nil, &version); err != nil {
		return err
	}
	if version > len(files) {
		return fmt.Errorf("its tables have version %d, this program knows version %d and older: "+
			"use the program that wrote them, or a newer one", version, len(files))
	}
	for i, file := range files[version:] {
		if err := apply(ctx, c, d, file, version+i+1); err != nil {
			return fmt.Errorf("migrating with %s: %w", file, err)
		}
	}
	return nil
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
	for statement := range strings.SplitSeq(string(text), ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if err := c.run(ctx, statement); err != nil {
			return err
		}
	}
	_, err = c.exec(ctx, `INSERT INTO session_migrations (version) VALUES (?)`, number)
	return err
}
