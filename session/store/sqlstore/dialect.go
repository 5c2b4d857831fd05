package sqlstore

import (
	"context"
	"database/sql"
	"io/fs"
)

// Dialect says how one database product differs from the others. Get one from
// [SQLite].
//
// A new product is one more file like sqlite.go, which fills this struct, a
// folder of migrations, and a run of storetest.
type Dialect struct {
	name       string
	migrations fs.FS // numbered files, see migrate.go

	// bind rewrites the ? of a statement into the product's placeholders.
	bind func(query string) string
	// insert and orIgnore begin and end an INSERT that does nothing where the
	// key exists already.
	insert, orIgnore string
	// upsertPart and upsertRevocation insert a row or overwrite the one with
	// the same key; a revocation's time moves forward only.
	upsertPart, upsertRevocation string
	// forUpdate ends a SELECT whose rows are written in the same operation.
	forUpdate string
	// lock makes operations on one subject or link, or a revocation of a whole
	// namespace and its creations, wait for each other until they are
	// committed. Nil where writing operations never overlap.
	lock func(ctx context.Context, tx tx, namespace string, names []name) error
	// failure classifies an error of the driver.
	failure func(error) failure
	// open checks and configures the database and migrates it.
	open func(ctx context.Context, db *sql.DB, o Options) (engine, error)
}

// engine is an open database: what runs the writes, and what makes connections
// for reading.
type engine struct {
	writer writer
	reader func(ctx context.Context) (*connection, error)
}

// writer runs writing operations, each all or nothing. Its errors wrap those of
// package store.
type writer interface {
	write(ctx context.Context, run func(context.Context, tx) error) error
	close(ctx context.Context) error
}

// tx is what an operation sees of the transaction it runs in. Queries are
// written with ? and are prepared once.
type tx interface {
	exec(ctx context.Context, query string, args ...any) (changed int64, err error)
	// query calls each for every row. The error of each comes back.
	query(ctx context.Context, query string, args []any, each func(scan) error) error
}

// scan reads the columns of a row: integers into *int64, *int or *bool, texts
// into *string, blobs into *[]byte, anything into a [sql.Scanner]. A value of
// another kind is errMisfit; the others are read all the same.
type scan func(dest ...any) error

// failure is what an error of the driver means.
type failure uint8

const (
	failureOther failure = iota
	// failureBusy: somebody else holds a lock; trying again helps.
	failureBusy
	// failureFull: no space is left. A COMMIT that says so has certainly not
	// happened.
	failureFull
)
