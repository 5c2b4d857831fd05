package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
)

// groupWriter runs all writing operations on one connection, from one
// goroutine. It takes whatever is waiting and commits it in one transaction,
// because the cost of a durable write is the disk's flush, and one flush serves
// them all. An operation that fails leaves nothing behind: if it has written
// before, the transaction is undone and everything run anew, each operation under
// a savepoint. Callers are answered after COMMIT has returned.
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

	queue
	maxBatch int

	conn *connection // of the goroutine; nil: has to be connected
}

func (w *groupWriter) start(o Options) {
	w.maxBatch = o.MaxBatch
	w.queue.start(o.MaxQueue, 1, w.work)
}

func (w *groupWriter) work() {
	defer func() {
		if w.conn != nil {
			w.conn.close()
		}
	}()
	for {
		j := w.next()
		if j == nil {
			return
		}
		w.runBatch(j)
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
	batch := gather(w.jobs, first, w.maxBatch, jobCommitted)
	if err != nil {
		answerAll(batch, unavailable(err))
		return
	}
	if results, sound := w.runPlainly(ctx, batch); sound {
		w.commit(ctx, batch, results)
		return
	}
	if _, err := w.conn.exec(ctx, `ROLLBACK`); err != nil {
		w.drop()
	}
	if err := w.beginAnew(ctx); err != nil {
		answerAll(batch, unavailable(err))
		return
	}
	w.runCarefully(ctx, batch)
}

// runPlainly runs the jobs without savepoints, which cost as much as a small
// write. They must be run again if one has left something behind.
func (w *groupWriter) runPlainly(ctx context.Context, batch []*job) (results []error, sound bool) {
	results = make([]error, len(batch))
	for i, j := range batch {
		w.conn.written = false
		results[i] = guarded(ctx, w.conn, j.run)
		if results[i] != nil && (w.conn.written || !contractual(results[i])) {
			return nil, false
		}
	}
	return results, true
}

// runCarefully runs each job under a savepoint, and commits.
func (w *groupWriter) runCarefully(ctx context.Context, batch []*job) {
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
