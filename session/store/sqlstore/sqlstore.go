// Package sqlstore keeps sessions in an SQL database, through database/sql.
//
// The caller brings the driver and the handle; the package brings one [Dialect]
// for each database product:
//
//	db, err := sql.Open("sqlite", "/var/lib/shop/sessions.db")
//	…
//	s, err := sqlstore.Open(ctx, db, sqlstore.SQLite(), sqlstore.Options{})
//	…
//	defer s.Close(ctx) // then db.Close()
//
// [Open] creates the tables, or brings them up to date ([Migrate] and [Check] do
// and say it for those who deploy in steps). Several processes may
// use one database at the same time; what one of them changes, the others see
// with their next call.
//
// What is queried, updated without the session's token or shown to people lies
// in columns that an administrator can read and, to tighten, edit; the rest of
// the record is one encoded blob. Where both could say something, the column
// prevails. A row whose blob cannot be decoded is never taken for a missing
// session: Load answers an error wrapping [store.ErrFormat], and so does a Swap
// that has to read it; one by somebody who has loaded the same version before puts
// the blob right. List shows what the columns say, and every revocation still works
// on it.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

// Options adjusts a [Store]. The zero value is right for most programs.
type Options struct {
	// Readers is the number of connections for reading; writing takes two
	// more. Zero means twice GOMAXPROCS, at least 4.
	Readers int
	// Writers is the number of connections for writing, where the engine is
	// behind a network. Zero means as many as Readers.
	Writers int
	// BusyTimeout is how long an operation waits for a lock that another
	// process holds before it answers [store.ErrUnavailable], and how long one
	// transaction may take where the engine is behind a network. Zero means 5 s.
	BusyTimeout time.Duration
	// MaxBatch is the largest number of operations written in one transaction,
	// where the dialect groups them (SQLite does). One means a transaction for
	// each. Zero means 256.
	MaxBatch int
	// MaxQueue is how many operations may wait for the writer; those beyond
	// wait for a place until their context ends. Zero means 4096.
	MaxQueue int
	// KeepSchema makes Open refuse tables that are not up to date instead of
	// migrating them, and Watch add nothing to them. See [Migrate] and [Check].
	KeepSchema bool
}

func (o Options) withDefaults() (Options, error) {
	if o.Readers < 0 || o.Writers < 0 || o.BusyTimeout < 0 || o.MaxBatch < 0 || o.MaxQueue < 0 {
		return o, errors.New("sqlstore: an option is negative")
	}
	if o.Readers == 0 {
		o.Readers = max(4, 2*runtime.GOMAXPROCS(0))
	}
	if o.Writers == 0 {
		o.Writers = o.Readers
	}
	if o.BusyTimeout == 0 {
		o.BusyTimeout = 5 * time.Second
	}
	if o.MaxBatch == 0 {
		o.MaxBatch = 256
	}
	if o.MaxQueue == 0 {
		o.MaxQueue = 4096
	}
	return o, nil
}

// Store implements [store.Store], [store.Sweeper] and [store.Counter] on an SQL
// database. All methods are safe for concurrent use.
type Store struct {
	dialect Dialect
	keep    bool // the schema, as it is
	busy    time.Duration
	writer  writer
	reader  reader

	brief   [4]string // :: number of parts named → statement of Load
	closing sync.Once
	closed  error
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
	_ store.Counter = (*Store)(nil)

	_ store.Estimator = (*Store)(nil)
)

// Open returns a store on the database, after bringing its tables up to date;
// tables of a newer version of this package are refused, unless that version has
// said that this one can work with them. The handle
// should be the store's own: Open sets the size of its connection pool. It
// remains the caller's to close, after [Store.Close].
func Open(ctx context.Context, db *sql.DB, d Dialect, o Options) (*Store, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	if d.open == nil {
		return nil, errors.New("sqlstore: no dialect given")
	}
	db.SetMaxOpenConns(o.Readers + max(o.Writers, 2) + 1)
	e, err := d.open(ctx, db, o)
	if err != nil {
		return nil, fmt.Errorf("sqlstore: opening %s database: %w", d.name, err)
	}
	s := &Store{dialect: d, keep: o.KeepSchema, busy: o.BusyTimeout, writer: e.writer, reader: e.reader}
	for n := range s.brief {
		s.brief[n] = briefQuery(n)
	}
	return s, nil
}

// Close refuses further operations, finishes those that were accepted, and
// releases what the store holds; the database handle stays open. If ctx ends
// first, Close returns its error and the rest is finished in the background.
// Further calls return the first one's result.
func (s *Store) Close(ctx context.Context) error {
	s.closing.Do(func() {
		// Readers first: the last checkpoint waits for nobody.
		s.closed = errors.Join(s.reader.close(ctx), s.writer.close(ctx))
	})
	return s.closed
}

// write runs one operation, all or nothing, and words its error. After an error,
// the operation may still be running in the background: it must not have used
// memory of the caller, and what it noted must not be read.
func (s *Store) write(ctx context.Context, doing string, run func(context.Context, tx) error) error {
	return worded(doing, s.writer.write(ctx, run))
}
