package sqlstore

import (
	"context"
	"database/sql"
	"io/fs"

	"cloakroom.example/session/store"
)

// Dialect says how one database product differs from the others. Get one from
// [SQLite], [PostgreSQL] and so on.
//
// A new product is one more file like sqlite.go, which fills this struct, a
// folder of migrations, and a run of storetest.
type Dialect struct {
	name       string
	migrations fs.FS // numbered files, see migrate.go
	// migrating are the statements around them.
	migrating migrating

	// bind rewrites the ? of a statement into the product's placeholders.
	bind func(query string) string
	// insert and orIgnore begin and end an INSERT that does nothing where the
	// key exists already.
	insert, orIgnore string
	// upsertPart and upsertRevocation insert a row or overwrite the one with
	// the same key; a revocation's time moves forward only.
	upsertPart, upsertRevocation string
	// forUpdate ends a SELECT of a session s whose row is written in the same
	// operation. forUpdateAll does the same for all those of a subject, in the order
	// of their handles, and skipLocked where rows that somebody else holds may be left
	// out.
	forUpdate, forUpdateAll, skipLocked string
	// due is the column by which a sweep finds what may have expired: never
	// later than the expiry, 0 for sessions that never do. Where it may be
	// earlier, requeue is the statement that brings it up to date for one
	// session (namespace, handle).
	due, requeue string
	// utf8 says that texts must be UTF-8 without NUL; others are escaped.
	utf8 bool
	// keyFirst says that rows which were found by another index are locked by
	// their key. Otherwise who reads them so waits for the row and holds the
	// index's entry, which who writes the row waits for.
	keyFirst bool
	// lock makes operations on one subject or link, or a revocation of a whole
	// namespace (names is nil) and its creations, wait for each other until
	// they are committed. Nil where writing operations never overlap.
	lock func(ctx context.Context, tx tx, namespace string, names []name) error
	// begin starts the transaction of one operation, where the engine is behind
	// a network; configure prepares a new connection there. A connection for
	// reading is never written through.
	begin     string
	configure func(ctx context.Context, c *connection, o Options, reading bool) error
	// unwatch is the statement that lets a namespace be watched no longer if
	// nobody watches it. Empty where there is no such thing.
	unwatch string
	// noting are statements that make the database note what changes, so that
	// Watch can read it. Empty where there is no such thing.
	noting []string
	// touch returns a statement that does many touches at once; nil where they
	// are done one by one.
	touch func(namespace string, touches []store.Touch) (query string, args []any)
	// loadMany returns a statement that does many loads at once: rows of the
	// load's place among them, what briefQuery reads, and a part. Nil where they
	// are done one by one.
	loadMany func(loads []*loading) (query string, args []any)
	// swapMany returns a statement that does many Swaps of one namespace at once,
	// of different sessions, as swapping.unread does one: rows of the places of
	// those done. Nil where they are done one by one.
	swapMany func(swaps []*swapping) (query string, args []any)
	// swapSteps does the same in several statements of one transaction, and notes
	// the places of those done.
	swapSteps func(ctx context.Context, tx tx, swaps []*swapping, done []bool) error
	// translate turns an error of the driver into one that failure understands
	// and whose text holds no values. Nil where drivers' errors are like that.
	translate func(error) error
	// failure classifies an error of the driver.
	failure func(error) failure
	// duplicate reports whether an error says that the key exists already. Nil
	// where orIgnore prevents such errors.
	duplicate func(error) bool
	// open checks and configures the database and migrates it.
	open func(ctx context.Context, db *sql.DB, o Options) (engine, error)
}

// migrating are the statements around migrations. begin waits until nobody else
// is migrating; end keeps what was done and undo, as far as the product can, does
// not.
type migrating struct {
	begin     []string
	end, undo string
	// exists asks for 1 if there is a table session_migrations, 0 if not, and 2
	// if it is of the time before it had the column compatible.
	exists string
}

// engine is an open database: what runs the writes, and what runs the reads.
type engine struct {
	writer writer
	reader reader
}

// reader runs reads, each on a connection that nobody else uses meanwhile. Where
// the engine is behind a network, a caller whose context ends does not wait for
// the read, which must therefore write to no memory that the caller looks at
// after an error. The context given to read is the one to use.
type reader interface {
	use(ctx context.Context, read func(ctx context.Context, c *connection) error) error
	// load does one Load. After an error, it may go on in the background.
	load(ctx context.Context, l *loading) error
	close(ctx context.Context) error
}

// writer runs writing operations, each all or nothing. Its errors wrap those of
// package store.
type writer interface {
	write(ctx context.Context, run func(context.Context, tx) error) error
	// single does the same for an operation of one statement.
	single(ctx context.Context, run func(context.Context, tx) error) error
	// swap does the same for a Swap, which may share a statement with others.
	swap(ctx context.Context, w *swapping, run func(context.Context, tx) error) error
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
	// failureRetry: the server has undone the transaction because of what others
	// did at the same time; the same again may succeed.
	failureRetry
	// failureRefused: the server has refused the statement. A COMMIT that says
	// so has certainly not happened.
	failureRefused
)
