package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// groupWriter runs all writing operations on one connection, from one
// goroutine. It takes whatever is waiting and commits it in one transaction,
// because the cost of a durable write is the disk's flush, and one flush serves
// them all. Each operation runs under a savepoint of its own, so that one that
// fails leaves nothing behind; callers are answered after COMMIT has returned.
type groupWriter struct {
	// connect returns a configured connection.
	connect func(ctx context.Context) (*connection, error)
	// begin starts a transaction that may write; it waits for the lock.
	begin   func(ctx context.Context, c *connection) error
	failure func(error) failure
	// committed is told how many operations a COMMIT has written.
	committed func(operations int)
	// gate is held while a transaction is open.
	gate *sync.Mutex

	maxBatch int
	queue    chan *job
	closing  chan struct{} // closed: no further operations
	exited   chan struct{} // closed: the goroutine has answered everything it took
	once     sync.Once

	conn *connection // of the goroutine; nil: has to be connected
}

// job is one operation on its way through the writer.
type job struct {
	run  func(context.Context, tx) error
	fate atomic.Int32
	err  error
	done chan struct{} // closed: err is set
}

const (
	jobWaiting int32 = iota
	jobTaken
	jobAbandoned
)

// claim moves the job out of the queue, for running it or for giving it up, and
// reports whether the caller was first.
func (j *job) claim(fate int32) bool { return j.fate.CompareAndSwap(jobWaiting, fate) }

func (j *job) answer(err error) {
	j.err = err
	close(j.done)
}

func (w *groupWriter) start(o Options) {
	w.maxBatch = o.MaxBatch
	w.queue = make(chan *job, o.MaxQueue)
	w.closing, w.exited = make(chan struct{}), make(chan struct{})
	go w.loop()
}

// write implements writer.
func (w *groupWriter) write(ctx context.Context, run func(context.Context, tx) error) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	j := &job{run: run, done: make(chan struct{})}
	select {
	case <-w.closing: // a select chooses at random, so ask this alone first
		return unavailable(errClosed)
	default:
	}
	select {
	case w.queue <- j:
	case <-ctx.Done():
		return unavailable(fmt.Errorf("waiting for a place in the queue: %w", ctx.Err()))
	case <-w.closing:
		return unavailable(errClosed)
	}
	return w.await(ctx, j)
}

func (w *groupWriter) await(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return j.err
	case <-w.exited:
		if j.claim(jobAbandoned) {
			return unavailable(errClosed) // it came too late to be drained
		}
		<-j.done
		return j.err
	case <-ctx.Done():
	}
	if j.claim(jobAbandoned) {
		return unavailable(fmt.Errorf("waiting for the writer: %w", ctx.Err()))
	}
	select {
	case <-j.done:
		return j.err
	default:
		return unknown(fmt.Errorf("%w: %w", errTooLate, ctx.Err()))
	}
}

// close implements writer.
func (w *groupWriter) close(ctx context.Context) error {
	w.once.Do(func() { close(w.closing) })
	select {
	case <-w.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sqlstore: closing: %w", ctx.Err())
	}
}

func (w *groupWriter) loop() {
	defer close(w.exited)
	defer func() {
		if w.conn != nil {
			w.conn.close()
		}
	}()
	for {
		select {
		case j := <-w.queue:
			w.runBatch(j)
			continue
		case <-w.closing:
		}
		select {
		case j := <-w.queue:
			w.runBatch(j)
		default:
			return
		}
	}
}

// gather takes what is waiting behind the first job, without waiting for more.
func (w *groupWriter) gather(first *job) (batch []*job) {
	for j := first; ; {
		if j.claim(jobTaken) {
			batch = append(batch, j)
		}
		if len(batch) >= w.maxBatch {
			return batch
		}
		select {
		case j = <-w.queue:
		default:
			return batch
		}
	}
}

// runBatch runs the first job, and those waiting behind it, in one transaction
// and answers each.
func (w *groupWriter) runBatch(first *job) {
	w.gate.Lock()
	defer w.gate.Unlock()
	// Not the context of any caller: one that hangs up must not break the
	// transaction of the others.
	ctx := context.Background()
	// Jobs are taken only now that the lock is ours: until then, a caller that
	// gives up knows that nothing has happened.
	err := w.beginAnew(ctx)
	batch := w.gather(first)
	if err != nil {
		answerAll(batch, unavailable(err))
		return
	}
	results := make([]error, len(batch))
	for i, j := range batch {
		var lost error
		if results[i], lost = w.runJob(ctx, j); lost != nil {
			// What the jobs before have seen is undone too, so that even their
			// errors may be wrong.
			w.drop()
			answerAll(batch, unavailable(lost))
			return
		}
	}
	w.commit(ctx, batch, results)
}

func answerAll(batch []*job, err error) {
	for _, j := range batch {
		j.answer(err)
	}
}

// beginAnew begins a transaction, on a new connection if the old one fails.
func (w *groupWriter) beginAnew(ctx context.Context) (err error) {
	for range 2 {
		if w.conn == nil {
			if w.conn, err = w.connect(ctx); err != nil {
				continue
			}
		}
		err = w.begin(ctx, w.conn)
		if err == nil || w.failure(err) == failureBusy {
			return err
		}
		w.drop()
	}
	return err
}

// runJob runs one job under a savepoint. The second error says that the
// transaction is lost.
func (w *groupWriter) runJob(ctx context.Context, j *job) (err, lost error) {
	if _, err := w.conn.exec(ctx, `SAVEPOINT operation`); err != nil {
		return nil, err
	}
	if err = guarded(ctx, w.conn, j.run); err != nil {
		// Some errors make SQLite roll the whole transaction back by itself;
		// then this fails.
		if _, failed := w.conn.exec(ctx, `ROLLBACK TO operation`); failed != nil {
			return nil, errors.Join(err, failed)
		}
	}
	_, lost = w.conn.exec(ctx, `RELEASE operation`)
	return err, lost
}

// guarded turns a panic into an error: here it would end the process, whereas in
// the caller's goroutine a server would have stopped it at the one request.
func guarded(ctx context.Context, c *connection, run func(context.Context, tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("panic in an operation") // its text could hold values
		}
	}()
	return run(ctx, c)
}

// commit ends the transaction and answers the jobs.
func (w *groupWriter) commit(ctx context.Context, batch []*job, results []error) {
	_, err := w.conn.exec(ctx, `COMMIT`)
	if err == nil {
		for i, j := range batch {
			j.answer(results[i])
		}
		w.committed(len(batch))
		return
	}
	// If a transaction is still open, it was not committed.
	_, open := w.conn.exec(ctx, `ROLLBACK`)
	certain := open == nil || w.failure(err) == failureFull
	w.drop()
	for i, j := range batch {
		// A job that failed has changed nothing in any case.
		if certain || results[i] != nil {
			j.answer(unavailable(fmt.Errorf("committing: %w", err)))
		} else {
			j.answer(unknown(fmt.Errorf("committing: %w", err)))
		}
	}
}

func (w *groupWriter) drop() {
	w.conn.close()
	w.conn = nil
}
