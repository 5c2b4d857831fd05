package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"time"
)

// openNetwork opens an engine behind a network: several connections write and
// several read, each worked by a goroutine of its own. Callers wait for these
// goroutines under their own contexts, so that a server that stands still holds
// nobody longer than he wants to wait, and a caller that hangs up costs no
// connection.
func openNetwork(ctx context.Context, db *sql.DB, d Dialect, o Options) (engine, error) {
	connect := func(reading bool) func(context.Context) (*connection, error) {
		return func(ctx context.Context) (*connection, error) {
			c, err := newConnection(ctx, db, d)
			if err != nil {
				return nil, err
			}
			if err := d.configure(ctx, c, o, reading); err != nil {
				c.close()
				return nil, err
			}
			return c, nil
		}
	}
	if err := prepareNetwork(ctx, connect(false), d, o); err != nil {
		return engine{}, err
	}
	w := &poolWriter{dialect: d, connect: connect(false), timeout: o.BusyTimeout}
	w.start(o)
	r := &poolReader{connect: connect(true), many: d.loadMany, timeout: o.BusyTimeout}
	r.start(o)
	return engine{writer: w, reader: r}, nil
}

// prepareNetwork makes sure that the tables can be used.
func prepareNetwork(ctx context.Context, connect func(context.Context) (*connection, error), d Dialect, o Options) error {
	c, err := connect(ctx)
	if err != nil {
		return err
	}
	defer c.close()
	return ready(ctx, c, d, o)
}

// slot is the connection of one goroutine: made when it is needed, and made anew
// when it has failed.
type slot struct {
	connect func(context.Context) (*connection, error)
	conn    *connection
	used    time.Time
}

// idleCheck is after how long without use a connection is asked whether it is
// still good: its server may have been restarted since, and a write that is lost
// on the way has an unknown outcome.
const idleCheck = time.Second

// with runs do on the connection.
func (s *slot) with(ctx context.Context, do func(c *connection) error) (err error) {
	if s.conn != nil && time.Since(s.used) > idleCheck && !s.conn.good(ctx) {
		s.drop()
	}
	defer func() { s.used = time.Now() }()
	if s.conn == nil {
		if s.conn, err = s.connect(ctx); err != nil {
			s.conn = nil
			return fmt.Errorf("connecting: %w", err)
		}
	}
	return do(s.conn)
}

// drop gives up the connection, and whatever was open on it.
func (s *slot) drop() {
	if s.conn != nil {
		s.conn.close()
		s.conn = nil
	}
}

// within returns a context of a writer or reader itself: no caller ends it.
func within(timeout time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), timeout)
}
