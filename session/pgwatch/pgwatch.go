// Package pgwatch reports what any node changes in a PostgreSQL database that
// package sqlstore keeps sessions in, so that copies of them can be dropped:
//
//	config, err := pgx.ParseConfig("postgres://…")
//	…
//	near, err := nearcache.New(shared, nearcache.Options{Watcher: pgwatch.New(config)})
//
// It is a module of its own because notifications cannot be received through
// database/sql.
//
// # Why a heartbeat proves that nothing is missing
//
// The store's changes are notified in their own transactions. A committing backend
// first makes its changes visible, then signals the backends that listen, and only
// then tells its client that it is ready for another query, which is what the
// client waits for. So when a change has been acknowledged, our backend has been
// signalled. If we send a query after that, our backend finds the signal before it
// is done with the query, and sends what is in the queue, in the order of commits,
// before it says itself that it is ready (PostgreSQL 13 and later: PostgresMain
// calls ProcessNotifyInterrupt before ReadyForQuery). Notifications that came
// before that answer are therefore all there were, and any cheap query will do: it
// need not go through the queue itself, which would wake all other nodes.
//
// Nodes notify only where a namespace is marked as watched, which costs the others
// nothing and needs no setting: see sqlstore's push.go. Heartbeats look whether the
// mark is still there.
//
// A pooler in between must pool sessions, not transactions: LISTEN belongs to one
// backend. The account needs what the store's own account needs.
package pgwatch

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	// beat is the time between two heartbeats. Copies may be used for a second
	// after one has begun.
	beat = 200 * time.Millisecond
	// patience is how long the server may take for an answer. Copies are not
	// used all that time, but need not be dropped because it is busy.
	patience = 3 * time.Second
)

// Watcher implements [store.Watcher] with LISTEN. Each watch has a connection of
// its own.
type Watcher struct{ config *pgconn.Config }

var _ store.Watcher = (*Watcher)(nil)

// New returns a watcher of the database that the configuration names. Its
// search_path must be that of the store's connections.
func New(c *pgx.ConnConfig) *Watcher { return &Watcher{config: &c.Copy().Config} }

// Watch implements [store.Watcher].
func (w *Watcher) Watch(ctx context.Context, namespace string, to store.Watching) error {
	config := w.config.Copy()
	ready := false
	config.OnNotification = func(_ *pgconn.PgConn, n *pgconn.Notification) {
		if ready { // what came before is there for whoever loads from now on
			report(n.Payload, to)
		}
	}
	conn, channel, err := connect(ctx, config, namespace)
	if err != nil {
		return err
	}
	defer hangUp(conn)
	if err := drain(ctx, conn); err != nil {
		return fmt.Errorf("pgwatch: waiting for transactions of before: %w", err)
	}
	ready = true
	to.Ready()
	for {
		began := time.Now()
		if err := confirm(ctx, conn, channel); err != nil {
			return fmt.Errorf("pgwatch: asking for a sign of life: %w", err)
		}
		to.Confirmed(began)
		if err := receive(ctx, conn, began.Add(beat)); err != nil {
			return fmt.Errorf("pgwatch: receiving notifications: %w", err)
		}
	}
}

// connect returns a connection that listens to the channel of a namespace, after
// marking the namespace as watched: sqlstore's push.go says in which order, and why.
func connect(ctx context.Context, config *pgconn.Config, namespace string) (conn *pgconn.PgConn, channel string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err = pgconn.ConnectConfig(ctx, config)
	if err != nil {
		return nil, "", fmt.Errorf("pgwatch: connecting: %w", err)
	}
	schema, err := ask(ctx, conn, `SELECT n.nspname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace `+
		`WHERE c.oid = 'sessions'::regclass`)
	if err == nil {
		channel = sqlstore.PushChannel(schema, namespace)
		err = mark(ctx, conn, channel, namespace)
	}
	if err != nil {
		hangUp(conn)
		return nil, "", fmt.Errorf("pgwatch: listening: %w", err)
	}
	return conn, channel, nil
}

// mark listens, and makes writers notify.
func mark(ctx context.Context, conn *pgconn.PgConn, channel, namespace string) error {
	// The name of a channel is letters, digits and underscores.
	for _, statement := range []string{
		`SET default_transaction_read_only = off`,
		`LISTEN ` + channel,
		`SELECT pg_advisory_lock_shared(hashtextextended('` + channel + `', 0))`,
	} {
		if _, err := conn.Exec(ctx, statement).ReadAll(); err != nil {
			return err
		}
	}
	_, err := conn.ExecParams(ctx, `INSERT INTO session_watched (namespace, channel) VALUES ($1, $2) ON CONFLICT DO NOTHING`,
		[][]byte{[]byte(sqlstore.PushNamespace(namespace)), []byte(channel)}, nil, nil, nil).Close()
	return err
}

// drainPause is the time between two looks at transactions that are waited for.
const drainPause = 5 * time.Millisecond

// drain waits for the transactions that may not have seen the mark when they wrote.
// It waits for as long as these take, which is for the server to limit.
func drain(ctx context.Context, conn *pgconn.PgConn) error {
	const writers = `SELECT COALESCE(string_agg(DISTINCT virtualtransaction, ' '), '') FROM pg_locks ` +
		`WHERE locktype = 'relation' AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ` +
		`AND relation IN ('sessions'::regclass, 'session_epochs'::regclass) AND mode = 'RowExclusiveLock' AND granted`
	before, err := ask(ctx, conn, writers)
	for err == nil && before != "" {
		// Numbers, slashes and spaces.
		before, err = ask(ctx, conn, writers+` AND virtualtransaction = ANY (string_to_array('`+before+`', ' '))`)
		if err == nil {
			err = receive(ctx, conn, time.Now().Add(drainPause))
		}
	}
	return err
}

func hangUp(conn *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = conn.Close(ctx)
}

// confirm returns nil if what is committed is still notified here. On a server that
// has become a standby, what is acknowledged elsewhere would arrive late.
func confirm(ctx context.Context, conn *pgconn.PgConn, channel string) error {
	wrong, err := ask(ctx, conn, `SELECT CASE WHEN pg_is_in_recovery() THEN 'the server has become a standby' `+
		`WHEN NOT EXISTS (SELECT 1 FROM session_watched WHERE channel = '`+channel+`') THEN 'our row of session_watched is gone' `+
		`ELSE '' END`)
	if err == nil && wrong != "" {
		err = errors.New(wrong)
	}
	return err
}

// ask returns the only value that a query answers. Notifications that arrive
// before the answer are reported first.
func ask(ctx context.Context, conn *pgconn.PgConn, query string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	results, err := conn.Exec(ctx, query).ReadAll()
	if err != nil {
		return "", err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return "", errors.New("got no answer")
	}
	return string(results[0].Rows[0][0]), nil
}

// receive lets notifications be reported until then.
func receive(ctx context.Context, conn *pgconn.PgConn, then time.Time) error {
	until, cancel := context.WithDeadline(ctx, then)
	defer cancel()
	for {
		err := conn.WaitForNotification(until)
		if err != nil && ctx.Err() == nil && until.Err() != nil && !conn.IsClosed() {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// handleText is the length of a handle in a payload.
const handleText = 22

// report says what a notification says. One that cannot be read may be about any
// session.
func report(payload string, to store.Watching) {
	if len(payload)%handleText != 0 || payload == "" {
		to.ChangedAll() // "*", and whatever a later version may say
		return
	}
	handles := make([]store.Handle, 0, len(payload)/handleText)
	for ; payload != ""; payload = payload[handleText:] {
		h, err := store.ParseHandle(payload[:handleText])
		if err != nil {
			to.ChangedAll()
			return
		}
		handles = append(handles, h)
	}
	to.Changed(handles)
}
