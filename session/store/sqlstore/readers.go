package sqlstore

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// readers are the connections for reading. They are kept apart from the pool of
// database/sql for two reasons: the last one used is used next, so that its page
// cache is warm; and short reads can run under a context that cannot end, which
// saves the two goroutines that database/sql and a driver start otherwise, while
// waiting for a connection still can be given up.
type readers struct {
	connect func(ctx context.Context) (*connection, error)
	slots   chan struct{} // one token for each connection that may be in use
	closing chan struct{}

	mu   sync.Mutex
	idle []*connection // a stack
}

func newReaders(n int, connect func(ctx context.Context) (*connection, error)) *readers {
	r := &readers{connect: connect, slots: make(chan struct{}, n), closing: make(chan struct{})}
	for range n {
		r.slots <- struct{}{}
	}
	return r
}

// use implements reader: it runs read on a connection. A connection that fails is replaced, and
// the read repeated once on the new one.
func (r *readers) use(ctx context.Context, read func(ctx context.Context, c *connection) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-r.closing:
		return errClosed
	default:
	}
	select {
	case <-r.slots:
	case <-r.closing:
		return errClosed
	case <-ctx.Done():
		return fmt.Errorf("waiting for a connection: %w", ctx.Err())
	}
	defer func() { r.slots <- struct{}{} }()
	err := r.once(ctx, read)
	if err == nil || contractual(err) || ctx.Err() != nil {
		return err
	}
	return r.once(ctx, read)
}

// load implements reader. Reading by key takes microseconds, and where the disk
// hangs, the end of a context would not help.
func (r *readers) load(ctx context.Context, l *loading) error {
	return r.use(ctx, func(_ context.Context, c *connection) error { return l.read(context.Background(), c) })
}

// once runs read on the connection used last, or on a new one, and keeps it if
// nothing went wrong.
func (r *readers) once(ctx context.Context, read func(ctx context.Context, c *connection) error) error {
	c := r.pop()
	if c == nil {
		var err error
		if c, err = r.connect(ctx); err != nil {
			return err
		}
	}
	err := read(ctx, c)
	if err != nil && !contractual(err) {
		c.close()
		return err
	}
	r.mu.Lock()
	r.idle = append(r.idle, c)
	r.mu.Unlock()
	return err
}

func (r *readers) pop() *connection {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.idle) == 0 {
		return nil
	}
	c := r.idle[len(r.idle)-1]
	r.idle = r.idle[:len(r.idle)-1]
	return c
}

// close implements reader: it waits for reads under way and releases the
// connections.
func (r *readers) close(ctx context.Context) error {
	close(r.closing)
	for range cap(r.slots) {
		select {
		case <-r.slots:
		case <-ctx.Done():
			return fmt.Errorf("sqlstore: closing: %w", ctx.Err())
		}
		if c := r.pop(); c != nil {
			c.close()
		}
	}
	return nil
}

// read runs a read, and repeats it while another process holds a lock that
// stops even readers, which lasts for moments: recovery after a crash, the last
// checkpoint of the last one to leave.
func (s *Store) read(ctx context.Context, read func(ctx context.Context, c *connection) error) error {
	return patiently(ctx, s.busy, s.dialect.failure, func() error { return s.reader.use(ctx, read) })
}

// patiently repeats do while it fails because somebody else holds a lock, until
// the time is over or the context ends. It asks often, because SQLite's own busy
// handler sleeps so long that a process is starved by one that writes all the
// time.
func patiently(ctx context.Context, timeout time.Duration, meaning func(error) failure, do func() error) error {
	err := do()
	if err == nil || meaning(err) != failureBusy {
		return err
	}
	deadline := time.Now().Add(timeout)
	for pause := 250 * time.Microsecond; time.Now().Before(deadline); pause = min(2*pause, 4*time.Millisecond) {
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w, waiting for a lock: %w", ctx.Err(), err)
		case <-timer.C:
		}
		if err = do(); err == nil || meaning(err) != failureBusy {
			return err
		}
	}
	return err
}
