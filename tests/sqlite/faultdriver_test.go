package sqlite_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"testing"
)

// faults decides which calls of a driver fail. Every call that reaches the
// driver counts: preparing, running, stepping through rows.
type faults struct {
	mu    sync.Mutex
	armed bool
	calls int
	at    int // the call that fails, from 1
	kind  fault
	fired bool
	hook  func() // what hangs up

	prepared []string // every statement
}

// fault is how a call fails.
type fault struct {
	name string
	err  error
	// after lets the call happen before it fails.
	after bool
	// lasting lets all later calls fail too.
	lasting bool
}

// codedError is an error with SQLite's code, as drivers return it.
type codedError int

func (e codedError) Error() string { return "injected" }
func (e codedError) Code() int     { return int(e) }

var errInjected = errors.New("injected")

// kinds returns the ways in which a call can fail. In the last one, nothing
// fails, but the caller hangs up.
func kinds() []fault {
	return []fault{
		{name: "error", err: errInjected},
		{name: "error after the call", err: errInjected, after: true},
		{name: "connection lost", err: driver.ErrBadConn},
		{name: "connection lost after the call", err: driver.ErrBadConn, after: true},
		{name: "outage", err: errInjected, lasting: true},
		{name: "disk full", err: codedError(13)},
		{name: "busy", err: codedError(5)},
		{name: "hang-up"},
	}
}

func (f *faults) arm(kind fault, at int, hangUp func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.calls, f.at, f.kind, f.fired, f.hook = true, 0, at, kind, false, hangUp
}

// disarm reports whether the fault happened.
func (f *faults) disarm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	return f.fired
}

// call runs one call of the driver, or fails it.
func (f *faults) call(do func() error) error {
	f.mu.Lock()
	f.calls++
	hit := f.armed && (f.calls == f.at || f.calls > f.at && f.kind.lasting)
	f.fired = f.fired || hit
	kind, hook := f.kind, f.hook
	f.mu.Unlock()
	if !hit {
		return do()
	}
	if kind.err == nil {
		hook()
		return do()
	}
	if kind.after {
		if err := do(); err != nil && err != io.EOF {
			return err
		}
	}
	return kind.err
}

// faultyDB returns a database handle whose driver fails as told.
func faultyDB(t testing.TB, name string) (*sql.DB, *faults) {
	t.Helper()
	real, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer real.Close()
	f := new(faults)
	db := sql.OpenDB(faultyConnector{real.Driver(), name, f})
	t.Cleanup(func() { db.Close() })
	return db, f
}

type faultyConnector struct {
	driver driver.Driver
	name   string
	f      *faults
}

func (c faultyConnector) Driver() driver.Driver { return c.driver }

func (c faultyConnector) Connect(context.Context) (conn driver.Conn, err error) {
	err = c.f.call(func() error {
		conn, err = c.driver.Open(c.name)
		return err
	})
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, err
	}
	return faultyConn{conn, c.f}, nil
}

type faultyConn struct {
	driver.Conn
	f *faults
}

func (c faultyConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c faultyConn) PrepareContext(ctx context.Context, query string) (stmt driver.Stmt, err error) {
	c.f.mu.Lock()
	c.f.prepared = append(c.f.prepared, query)
	c.f.mu.Unlock()
	err = c.f.call(func() error {
		stmt, err = c.Conn.(driver.ConnPrepareContext).PrepareContext(ctx, query)
		return err
	})
	if err != nil {
		if stmt != nil {
			stmt.Close()
		}
		return nil, err
	}
	return faultyStmt{stmt, c.f}, nil
}

type faultyStmt struct {
	driver.Stmt
	f *faults
}

func (s faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (result driver.Result, err error) {
	err = s.f.call(func() error {
		result, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	return result, err
}

func (s faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (rows driver.Rows, err error) {
	err = s.f.call(func() error {
		rows, err = s.Stmt.(driver.StmtQueryContext).QueryContext(ctx, args)
		return err
	})
	if err != nil {
		if rows != nil {
			rows.Close()
		}
		return nil, err
	}
	return faultyRows{rows, s.f}, nil
}

type faultyRows struct {
	driver.Rows
	f *faults
}

func (r faultyRows) Next(dest []driver.Value) error {
	return r.f.call(func() error { return r.Rows.Next(dest) })
}
