package storeurl

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"cloakroom.example/session/store/sqlstore"
)

// inspectSQL asks a database about itself and about its tables.
func inspectSQL(ctx context.Context, d database, db *sql.DB, r *Report) error {
	schema, err := sqlstore.Check(ctx, db, d.dialect)
	if err != nil {
		return err
	}
	r.Schema, r.Known = schema.Version, schema.Known
	return d.inspect(ctx, db, r)
}

// question is a query for one value, and where the value goes, as text.
type question struct {
	into  *string
	query string
}

func ask(ctx context.Context, db *sql.DB, questions ...question) error {
	for _, q := range questions {
		var value sql.NullString
		if err := db.QueryRowContext(ctx, q.query).Scan(&value); err != nil {
			return fmt.Errorf("%s: %w", q.query, err)
		}
		*q.into = value.String
	}
	return nil
}

// askSize asks how many bytes there are.
func (r *Report) askSize(ctx context.Context, db *sql.DB, query string) error {
	if err := db.QueryRowContext(ctx, query).Scan(&r.Bytes); err != nil {
		return fmt.Errorf("asking for the size: %w", err)
	}
	return nil
}

// askClock compares clocks, given a query for the seconds since 1970.
func (r *Report) askClock(ctx context.Context, db *sql.DB, query string) error {
	return r.clock(ctx, func(ctx context.Context) (t time.Time, err error) {
		var seconds float64
		err = db.QueryRowContext(ctx, query).Scan(&seconds)
		return time.UnixMicro(int64(seconds * 1e6)), err
	})
}
