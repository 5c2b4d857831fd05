package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"slices"
)

// connection is one connection with its prepared statements. It is used by one
// goroutine at a time.
//
// It speaks to the driver itself, inside [sql.Conn.Raw]. When a driver reports a
// broken connection, database/sql closes it without closing the statements that
// were prepared on it; SQLite then keeps the connection, its open transaction
// and the write lock for as long as the process lives. Here the statements go
// first. Besides, it is a third faster.
type connection struct {
	conn      *sql.Conn
	bind      func(string) string
	utf8      bool              // see Dialect
	translate func(error) error // see Dialect; may be nil
	stmts     map[string]statement

	written bool // an exec has changed something
}

// statement is what a driver's statement must be able to do.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func newConnection(ctx context.Context, db *sql.DB, d Dialect) (*connection, error) {
	conn, err := db.Conn(ctx)
	if err != nil {
		return nil, err
	}
	return &connection{conn: conn, bind: d.bind, utf8: d.utf8, translate: d.translate, stmts: make(map[string]statement)}, nil
}

// raw runs do with the driver's connection. Its error does not reach
// database/sql, which would draw conclusions.
func (c *connection) raw(do func(driver.Conn) error) (err error) {
	failed := c.conn.Raw(func(conn any) error {
		d, ok := conn.(driver.Conn)
		if !ok {
			err = fmt.Errorf("got a driver connection of type %T, want a driver.Conn", conn)
			return nil
		}
		err = do(d)
		return nil
	})
	if failed != nil {
		return failed
	}
	if err != nil && c.translate != nil {
		return c.translate(err)
	}
	return err
}

// good asks the driver whether the connection can still be used. Drivers that
// cannot tell are believed.
func (c *connection) good(ctx context.Context) bool {
	return c.raw(func(d driver.Conn) error {
		if p, ok := d.(driver.Pinger); ok {
			return p.Ping(ctx)
		}
		return nil
	}) == nil
}

func (c *connection) prepared(ctx context.Context, d driver.Conn, query string) (statement, error) {
	if stmt, found := c.stmts[query]; found {
		return stmt, nil
	}
	stmt, err := prepare(ctx, d, c.bind(query))
	if err != nil {
		return nil, err
	}
	c.stmts[query] = stmt
	return stmt, nil
}

func prepare(ctx context.Context, d driver.Conn, query string) (statement, error) {
	var stmt driver.Stmt
	var err error
	if p, ok := d.(driver.ConnPrepareContext); ok {
		stmt, err = p.PrepareContext(ctx, query)
	} else {
		stmt, err = d.Prepare(query)
	}
	if err != nil {
		return nil, err
	}
	if s, ok := stmt.(statement); ok {
		return s, nil
	}
	stmt.Close()
	return nil, errors.New("the driver's statements lack ExecContext or QueryContext")
}

// exec implements tx.
func (c *connection) exec(ctx context.Context, query string, args ...any) (changed int64, err error) {
	err = c.raw(func(d driver.Conn) error {
		stmt, err := c.prepared(ctx, d, query)
		if err != nil {
			return err
		}
		result, err := stmt.ExecContext(ctx, c.named(args))
		if err != nil {
			return err
		}
		changed, err = result.RowsAffected()
		return err
	})
	c.written = c.written || changed != 0 || err != nil
	return changed, err
}

// run runs a statement without arguments that is not worth preparing, or that
// some products cannot prepare.
func (c *connection) run(ctx context.Context, query string) error {
	return c.raw(func(d driver.Conn) error {
		if direct, ok := d.(driver.ExecerContext); ok {
			_, err := direct.ExecContext(ctx, query, nil)
			return err
		}
		stmt, err := prepare(ctx, d, query)
		if err != nil {
			return err
		}
		defer stmt.Close()
		_, err = stmt.ExecContext(ctx, nil)
		return err
	})
}

// query implements tx.
func (c *connection) query(ctx context.Context, query string, args []any, each func(scan) error) error {
	return c.raw(func(d driver.Conn) error {
		stmt, err := c.prepared(ctx, d, query)
		if err != nil {
			return err
		}
		rows, err := stmt.QueryContext(ctx, c.named(args))
		if err != nil {
			return err
		}
		err = c.eachRow(rows, each)
		return errors.Join(err, rows.Close())
	})
}

// readOne reads the only row of a query.
func readOne(ctx context.Context, tx tx, query string, args []any, dest ...any) error {
	there := false
	err := tx.query(ctx, query, args, func(scan scan) error {
		there = true
		return scan(dest...)
	})
	if err == nil && !there {
		err = sql.ErrNoRows
	}
	return err
}

func (c *connection) eachRow(rows driver.Rows, each func(scan) error) error {
	values := make([]driver.Value, len(rows.Columns()))
	for {
		switch err := rows.Next(values); err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
		if c.utf8 {
			unescapeAll(values)
		}
		err := each(func(dest ...any) error { return assignAll(dest, values) })
		if err != nil {
			return err
		}
	}
}

// close closes the connection for good, which rolls back what it had begun. It
// is never given back to the pool, where its settings would surprise.
func (c *connection) close() {
	c.conn.Raw(func(any) error {
		for _, stmt := range c.stmts {
			stmt.Close()
		}
		return driver.ErrBadConn // this is how database/sql is told
	})
	c.conn.Close()
}

// named turns arguments into what drivers take.
func (c *connection) named(args []any) []driver.NamedValue {
	values := make([]driver.NamedValue, len(args))
	for i, arg := range args {
		switch a := arg.(type) {
		case int:
			arg = int64(a)
		case string:
			if c.utf8 {
				arg = escape(a)
			}
		case []string:
			if c.utf8 {
				arg = escapeAll(a)
			}
		case escaped:
			arg = []string(a)
		}
		values[i] = driver.NamedValue{Ordinal: i + 1, Value: arg}
	}
	return values
}

func assignAll(dest []any, values []driver.Value) error {
	if len(dest) != len(values) {
		return fmt.Errorf("got %d columns, want %d", len(values), len(dest))
	}
	misfit := false
	for i := range dest {
		misfit = !assign(dest[i], values[i]) || misfit
	}
	if misfit {
		return errMisfit
	}
	return nil
}

// assign stores the value, and reports whether it is of the right kind.
func assign(dest any, value driver.Value) (ok bool) {
	switch d := dest.(type) {
	case *int64:
		*d, ok = value.(int64)
	case *int:
		var n int64
		n, ok = value.(int64)
		*d = int(n)
	case *bool:
		if *d, ok = value.(bool); !ok {
			var n int64
			n, ok = value.(int64) // products without a type of truth values
			*d = n != 0
		}
	case *string:
		if *d, ok = value.(string); !ok {
			var b []byte
			b, ok = value.([]byte) // some drivers return texts so
			*d = string(b)
		}
	case *[]byte:
		var b []byte
		b, ok = value.([]byte)
		*d = slices.Clone(b) // the driver may use its memory again
	case *any:
		*d, ok = value, true
	case sql.Scanner:
		ok = d.Scan(value) == nil
	}
	return ok
}
