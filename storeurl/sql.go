package storeurl

import (
	"context"
	"database/sql"
	"fmt"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// database is an SQL database that a URL names.
type database struct {
	dialect sqlstore.Dialect
	// connect makes a handle, which connects when it is used.
	connect func() (*sql.DB, error)
	inspect func(ctx context.Context, db *sql.DB, r *Report) error
	// watcher reports changes, where the store does not do that itself.
	watcher store.Watcher
}

// database returns what the URL names, and false if it is no SQL database.
func (a *address) database(o Options) (d database, ok bool, err error) {
	switch a.engine {
	case PostgreSQL:
		d, err = a.postgreSQL()
	case MySQL:
		d, err = a.mySQL()
	case SQLite:
		d, err = a.sqlite(o)
	default:
		return d, false, nil
	}
	return d, true, err
}

// sqlOptions reads what is the same for all SQL databases.
func (a *address) sqlOptions(o Options) (tuning sqlstore.Options, err error) {
	tuning.KeepSchema = o.Existing
	if tuning.Readers, err = a.options.count("pool", 1, 0); err != nil {
		return tuning, err
	}
	tuning.BusyTimeout, err = a.options.duration("busy-timeout")
	return tuning, err
}

// openSQL opens a store on a database.
func (s *Opened) openSQL(ctx context.Context, a address, d database, o Options) (err error) {
	tuning, err := a.sqlOptions(o)
	if err != nil {
		return err
	}
	if s.DB, err = s.handle(d); err != nil {
		return err
	}
	s.inspect = func(ctx context.Context, r *Report) error { return inspectSQL(ctx, d, s.DB, r) }
	if o.Existing {
		if err := upToDate(ctx, d, s.DB); err != nil {
			return err
		}
	}
	own, err := s.handle(d)
	if err != nil {
		return err
	}
	opened, err := sqlstore.Open(ctx, own, d.dialect, tuning)
	if err != nil {
		return err
	}
	s.onClose(opened.Close)
	s.Store = opened
	s.Watcher = d.watcher
	return nil
}

// handle makes a handle that is closed with the rest.
func (s *Opened) handle(d database) (*sql.DB, error) {
	db, err := d.connect()
	if err != nil {
		return nil, err
	}
	s.onClose(func(context.Context) error { return db.Close() })
	return db, nil
}

// upToDate refuses tables that have to be made or migrated first.
func upToDate(ctx context.Context, d database, db *sql.DB) error {
	schema, err := sqlstore.Check(ctx, db, d.dialect)
	if err != nil {
		return err
	}
	if !schema.Current() {
		return fmt.Errorf("%w with \"cloakroom store migrate\"", schema.Usable())
	}
	return nil
}

// Migrated is what [Migrate] has found and done.
type Migrated struct {
	URL string // redacted
	// From and To are the versions of the tables before and after; From is zero
	// if there were none, and both are where the engine has no tables.
	From, To int
}

// Migrate creates the tables for sessions, or brings them up to date. Several
// programs can do so at once.
func Migrate(ctx context.Context, text string, o Options) (m Migrated, err error) {
	o = o.withDefaults()
	o.Existing = false
	a, secrets, err := prepare(text, o)
	if err != nil {
		return m, err
	}
	m.URL = Redacted(text)
	d, ok, err := a.database(o)
	if err != nil || !ok {
		return m, err
	}
	db, err := d.connect()
	if err == nil {
		defer db.Close()
		var from, to sqlstore.Schema
		from, to, err = sqlstore.Migrate(ctx, db, d.dialect)
		m.From, m.To = from.Version, to.Version
	}
	if err != nil {
		return m, secrets.clean(fmt.Errorf("migrating %s: %w", m.URL, err))
	}
	return m, nil
}
