// Package sqltest holds what the tests of sqlstore on different database products
// share: a driver that fails on command, and operations to let fail.
package sqltest

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"sync"
	"testing"
)

// Faults decides which calls of a driver fail. Every call that reaches the driver
// counts: connecting, preparing, running, stepping through rows.
type Faults struct {
	// Rewrite, if not nil, may change the values of a row before they are
	// returned. It is set before the database is used.
	Rewrite func(query string, row []driver.Value)
	// Replace, if not nil, may change a statement that runs without being
	// prepared. It is set before the database is used.
	Replace func(query string) string

	mu    sync.Mutex
	armed bool
	calls int
	at    int // the call that fails, from 1
	kind  Fault
	fired bool
	hook  func() // what hangs up

	statements map[string][]any // that ran → with which arguments at last
}

// Fault is how a call fails.
type Fault struct {
	Name string
	// Err is what the driver returns. Where it is nil, nothing fails, but the
	// caller hangs up.
	Err error
	// After lets the call happen before it fails.
	After bool
	// Lasting lets all later calls fail too.
	Lasting bool
	// Refusal is for errors by which a server says that it has not done a
	// statement: it does not say so among the rows of one that it has done.
	Refusal bool
}

// ErrInjected is an error that no driver knows.
var ErrInjected = errors.New("injected")

// Kinds returns the ways in which a call of any driver can fail.
func Kinds() []Fault {
	return []Fault{
		{Name: "error", Err: ErrInjected},
		{Name: "error after the call", Err: ErrInjected, After: true},
		{Name: "connection lost", Err: driver.ErrBadConn},
		{Name: "connection lost after the call", Err: driver.ErrBadConn, After: true},
		{Name: "outage", Err: ErrInjected, Lasting: true},
		{Name: "hang-up"},
	}
}

// Arm lets the given call fail, counted from now on.
func (f *Faults) Arm(kind Fault, at int, hangUp func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed, f.calls, f.at, f.kind, f.fired, f.hook = true, 0, at, kind, false, hangUp
}

// Disarm reports whether the fault happened.
func (f *Faults) Disarm() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.armed = false
	return f.fired
}

// Statements returns the prepared statements that have run since it was last
// called, each with the arguments it had at last.
func (f *Faults) Statements() map[string][]any {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.statements
	f.statements = nil
	return all
}

func (f *Faults) note(query string, args []driver.NamedValue) {
	values := make([]any, len(args))
	for i, arg := range args {
		values[i] = arg.Value
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.statements == nil {
		f.statements = make(map[string][]any)
	}
	f.statements[query] = values
}

// call runs one call of the driver, or fails it.
func (f *Faults) call(do func() error) error {
	f.mu.Lock()
	f.calls++
	hit := f.armed && (f.calls == f.at || f.calls > f.at && f.kind.Lasting)
	f.fired = f.fired || hit
	kind, hook := f.kind, f.hook
	f.mu.Unlock()
	if !hit {
		return do()
	}
	if kind.Err == nil {
		hook()
		return do()
	}
	if kind.After {
		if err := do(); err != nil && err != io.EOF {
			return err
		}
	}
	return kind.Err
}

// FaultyDB returns a database handle whose driver fails as told.
func FaultyDB(t testing.TB, driverName, source string) (*sql.DB, *Faults) {
	t.Helper()
	db, f, err := OpenFaulty(driverName, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db, f
}

// OpenFaulty is FaultyDB for processes that are not tests.
func OpenFaulty(driverName, source string) (*sql.DB, *Faults, error) {
	real, err := sql.Open(driverName, source)
	if err != nil {
		return nil, nil, err
	}
	defer real.Close()
	f := new(Faults)
	return sql.OpenDB(faultyConnector{real.Driver(), source, f}), f, nil
}

type faultyConnector struct {
	driver driver.Driver
	source string
	f      *Faults
}

func (c faultyConnector) Driver() driver.Driver { return c.driver }

func (c faultyConnector) Connect(context.Context) (conn driver.Conn, err error) {
	err = c.f.call(func() error {
		conn, err = c.driver.Open(c.source)
		return err
	})
	if err != nil {
		if conn != nil {
			conn.Close()
		}
		return nil, err
	}
	if direct, ok := conn.(driver.ExecerContext); ok {
		return directConn{faultyConn{conn, c.f}, direct}, nil
	}
	return faultyConn{conn, c.f}, nil
}

type faultyConn struct {
	driver.Conn
	f *Faults
}

// directConn runs statements without preparing them.
type directConn struct {
	faultyConn
	direct driver.ExecerContext
}

func (c directConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (result driver.Result, err error) {
	if c.f.Replace != nil {
		query = c.f.Replace(query)
	}
	err = c.f.call(func() error {
		result, err = c.direct.ExecContext(ctx, query, args)
		return err
	})
	return result, err
}

func (c faultyConn) Prepare(query string) (driver.Stmt, error) {
	return c.PrepareContext(context.Background(), query)
}

func (c faultyConn) PrepareContext(ctx context.Context, query string) (stmt driver.Stmt, err error) {
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
	return faultyStmt{stmt, query, c.f}, nil
}

type faultyStmt struct {
	driver.Stmt
	query string
	f     *Faults
}

func (s faultyStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (result driver.Result, err error) {
	s.f.note(s.query, args)
	err = s.f.call(func() error {
		result, err = s.Stmt.(driver.StmtExecContext).ExecContext(ctx, args)
		return err
	})
	return result, err
}

func (s faultyStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (rows driver.Rows, err error) {
	s.f.note(s.query, args)
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
	return faultyRows{rows, s.query, s.f}, nil
}

type faultyRows struct {
	driver.Rows
	query string
	f     *Faults
}

func (r faultyRows) Next(dest []driver.Value) error {
	err := r.next(dest)
	if err == nil && r.f.Rewrite != nil {
		r.f.Rewrite(r.query, dest)
	}
	return err
}

func (r faultyRows) next(dest []driver.Value) error {
	if r.f.refusing() {
		return r.Rows.Next(dest)
	}
	return r.f.call(func() error { return r.Rows.Next(dest) })
}

func (f *Faults) refusing() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.armed && f.kind.Refusal
}
