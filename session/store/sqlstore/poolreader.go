package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// poolReader runs reads on several connections at the same time. A caller that
// does not want to wait any longer leaves; the read goes on without it.
type poolReader struct {
	connect func(ctx context.Context) (*connection, error)
	// many returns a statement for several loads; nil: there is none.
	many func(loads []*loading) (query string, args []any)
	// timeout is how long loads may take. Other reads have their callers'.
	timeout time.Duration

	reads   chan *reading
	closing chan struct{}
	exited  chan struct{}
	once    sync.Once
}

// reading is one read on its way through the reader.
type reading struct {
	ctx   context.Context // the caller's
	read  func(ctx context.Context, c *connection) error
	alone bool        // not together with others
	load  *loading    // the same, where it may share a statement with others
	taken atomic.Bool // by a goroutine, or by the caller who gives up
	err   error
	done  chan struct{} // closed: err is set
}

func (r *poolReader) start(o Options) {
	r.reads = make(chan *reading, o.MaxQueue)
	r.closing, r.exited = make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range o.Readers {
		wg.Go(r.work)
	}
	go func() {
		wg.Wait()
		close(r.exited)
	}()
}

// use implements reader.
func (r *poolReader) use(ctx context.Context, read func(ctx context.Context, c *connection) error) error {
	return r.do(&reading{ctx: ctx, read: read, done: make(chan struct{})})
}

// load implements reader.
func (r *poolReader) load(ctx context.Context, l *loading) error {
	l.names = slices.Clone(l.names) // the caller may be gone while it is read
	d := &reading{ctx: ctx, read: l.read, load: l, done: make(chan struct{})}
	d.alone = slices.Contains(l.names, "") // which a list of names cannot hold
	return r.do(d)
}

func (r *poolReader) do(d *reading) error {
	if err := d.ctx.Err(); err != nil {
		return err
	}
	select {
	case <-r.closing:
		return errClosed
	default:
	}
	select {
	case r.reads <- d:
	case <-d.ctx.Done():
		return fmt.Errorf("waiting for a place in the queue: %w", d.ctx.Err())
	case <-r.closing:
		return errClosed
	}
	select {
	case <-d.done:
		return d.err
	case <-d.ctx.Done():
		d.taken.Store(true)
		return fmt.Errorf("waiting for the server: %w", d.ctx.Err())
	case <-r.exited:
	}
	if d.taken.CompareAndSwap(false, true) {
		return errClosed // it came too late
	}
	<-d.done
	return d.err
}

func (r *poolReader) work() {
	s := &slot{connect: r.connect}
	defer s.drop()
	for {
		var d *reading
		select {
		case d = <-r.reads:
		case <-r.closing:
			return
		}
		loads, other := r.gather(d)
		r.runLoads(s, loads)
		if other != nil {
			other.answer(r.run(other.ctx, s, other.read))
		}
	}
}

// mostLoads is how many loads share a statement at most.
const mostLoads = 32

// gather takes the read and, if it is a load, those waiting behind it, until one
// comes that is something else.
func (r *poolReader) gather(first *reading) (loads []*reading, other *reading) {
	for d := first; ; {
		switch taken := d.taken.CompareAndSwap(false, true); {
		case taken && d.load == nil:
			return loads, d
		case taken:
			loads = append(loads, d)
		}
		if r.many == nil || len(loads) == mostLoads {
			return loads, nil
		}
		select {
		case d = <-r.reads:
		default:
			return loads, nil
		}
	}
}

// runLoads runs loads and answers them: in one statement, and alone those that
// this leaves open.
func (r *poolReader) runLoads(s *slot, loads []*reading) {
	ctx, cancel := within(r.timeout)
	defer cancel()
	shared, rest := partition(loads)
	if len(shared) > 1 {
		shared = r.runTogether(ctx, s, shared)
	}
	rest = append(rest, shared...)
	for _, d := range rest {
		d.answer(r.run(ctx, s, d.read))
	}
}

func partition(loads []*reading) (shared, alone []*reading) {
	for _, d := range loads {
		if d.alone {
			alone = append(alone, d)
		} else {
			shared = append(shared, d)
		}
	}
	return shared, alone
}

// runTogether answers the loads whose sessions it finds alive in one statement,
// and returns the others.
func (r *poolReader) runTogether(ctx context.Context, s *slot, all []*reading) (rest []*reading) {
	loads := make([]*loading, len(all))
	for i, d := range all {
		loads[i] = d.load
	}
	query, args := r.many(loads)
	var answers []error
	err := r.run(ctx, s, func(ctx context.Context, c *connection) (err error) {
		answers, err = loadTogether(ctx, c, loads, query, args)
		return err
	})
	for i, d := range all {
		switch {
		case err != nil:
			d.answer(err)
		case answers[i] == errOpen:
			rest = append(rest, d)
		default:
			d.answer(answers[i])
		}
	}
	return rest
}

func (d *reading) answer(err error) {
	d.err = err
	close(d.done)
}

// run runs a read, and once more on a new connection if the old one fails.
func (r *poolReader) run(ctx context.Context, s *slot, read func(ctx context.Context, c *connection) error) error {
	err := once(ctx, s, read)
	if err == nil || contractual(err) || ctx.Err() != nil {
		return err
	}
	return once(ctx, s, read)
}

// once runs a read and gives up the connection if that fails.
func once(ctx context.Context, s *slot, read func(ctx context.Context, c *connection) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("panic in a read") // its text could hold values
		}
		if err != nil && !contractual(err) {
			s.drop()
		}
	}()
	return s.with(ctx, func(c *connection) error { return read(ctx, c) })
}

// close implements reader.
func (r *poolReader) close(ctx context.Context) error {
	r.once.Do(func() { close(r.closing) })
	select {
	case <-r.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sqlstore: closing: %w", ctx.Err())
	}
}
