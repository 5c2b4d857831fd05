package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom.example/session/store"
)

// # How changes are noted
//
// From the first Watch on, triggers note each change of a session in a ring of rows
// and count them, in the transaction of the change: whoever makes it, another process
// or somebody with an SQL shell. Last-seen times are not noted. Whoever watches reads
// the count, again and again, and the rows that are new.
//
// A read sees everything that was committed before it began. So each one that finds
// nothing new is a heartbeat.

const (
	// changesKept is how many changes can be told one by one; whoever is further
	// behind is told that everything has changed.
	changesKept = 1024
	// While copies are used, their changes are looked for often …
	watchPause = time.Millisecond
	// … and less often when nobody has wanted one for some time: whoever wants the
	// next one may get what was true a rest ago.
	watchRest      = 8 * time.Millisecond
	watchRestAfter = 500 * time.Millisecond
)

var _ store.Watcher = (*Store)(nil)

// ErrNotNoted says that nobody has watched a database yet, so that it notes no
// changes, and that [Options.KeepSchema] forbids to begin with that.
var ErrNotNoted = errors.New("sqlstore: the database notes no changes, because nobody keeps copies")

// Watch implements [store.Watcher] on SQLite. On other databases its error wraps
// [errors.ErrUnsupported]: PostgreSQL has package pgwatch, MySQL and MariaDB have
// nothing to offer.
func (s *Store) Watch(ctx context.Context, namespace string, w store.Watching) error {
	if len(s.dialect.noting) == 0 {
		return fmt.Errorf("sqlstore: watching a %s database: %w", s.dialect.name, errors.ErrUnsupported)
	}
	l := &changeLog{s: s, namespace: namespace}
	if err := l.begin(ctx); err != nil {
		return fmt.Errorf("sqlstore: beginning to watch: %w", err)
	}
	w.Ready()
	timer := time.NewTimer(0)
	defer timer.Stop()
	wanted := time.Now()
	for {
		began := time.Now()
		if err := l.follow(ctx, w); err != nil {
			return fmt.Errorf("sqlstore: watching: %w", err)
		}
		w.Confirmed(began)
		if w.Wanted == nil || w.Wanted() {
			wanted = began
		}
		pause := watchPause
		if began.Sub(wanted) > watchRestAfter {
			pause = watchRest
		}
		timer.Reset(pause)
		select {
		case <-timer.C:
		case <-ctx.Done():
			return fmt.Errorf("sqlstore: watching: %w", ctx.Err())
		}
	}
}

// changeLog reads the changes noted of a namespace.
type changeLog struct {
	s         *Store
	namespace string
	seen      int64 // the number of the last change reported
}

// begin makes sure that changes are noted, and passes over those of the past.
func (l *changeLog) begin(ctx context.Context) (err error) {
	if l.seen, err = l.count(ctx); err == nil {
		return nil
	}
	if l.s.keep {
		return errors.Join(ErrNotNoted, err)
	}
	err = l.s.writer.write(ctx, func(ctx context.Context, tx tx) error {
		for _, statement := range l.s.dialect.noting {
			if _, err := tx.exec(ctx, statement); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		l.seen, err = l.count(ctx)
	}
	return err
}

// count returns how many changes have been noted, ever.
func (l *changeLog) count(ctx context.Context) (n int64, err error) {
	err = l.s.read(ctx, func(ctx context.Context, c *connection) error {
		return readOne(ctx, c, `SELECT number FROM session_change_count`, nil, &n)
	})
	return n, err
}

// follow reports what is new.
func (l *changeLog) follow(ctx context.Context, w store.Watching) error {
	last, err := l.count(ctx)
	if err != nil || last == l.seen {
		return err
	}
	handles, all, err := l.changes(ctx, last)
	if err != nil {
		return err
	}
	if all {
		w.ChangedAll()
	} else if len(handles) > 0 {
		w.Changed(handles)
	}
	l.seen = last
	return nil
}

// changes returns the sessions that changed up to a number; all says that it may
// have been any.
func (l *changeLog) changes(ctx context.Context, last int64) (handles []store.Handle, all bool, err error) {
	if last < l.seen || last-l.seen > changesKept {
		return nil, true, nil // the count never goes back, unless somebody has put an old file there
	}
	err = l.s.read(ctx, func(ctx context.Context, c *connection) error {
		handles, all = nil, false
		for n := l.seen + 1; n <= last && !all; n++ {
			var number int64
			var namespace, handle string
			err := readOne(ctx, c, `SELECT number, namespace, handle FROM session_changes WHERE slot = ?`,
				[]any{n % changesKept}, &number, &namespace, &handle)
			if err != nil {
				return err
			}
			h, err := store.ParseHandle(handle)
			switch {
			case number != n: // written over meanwhile
				all = true
			case namespace != l.namespace:
			case err != nil: // "*": everything was revoked
				all = true
			default:
				handles = append(handles, h)
			}
		}
		return nil
	})
	return handles, all, err
}
