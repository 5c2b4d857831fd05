package sqlstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// poolWriter runs writing operations on several connections at the same time. An
// operation has a transaction of its own; Swaps that wait at the same time share
// one statement, if the product has one for that.
type poolWriter struct {
	queue
	dialect Dialect
	connect func(ctx context.Context) (*connection, error)
	// timeout is how long one transaction may take.
	timeout time.Duration
	// swaps are the jobs that may share a statement, at most mostSwaps.
	swaps     chan *job
	mostSwaps int
}

// mostSwapped is how many bytes may share a statement: servers bound its length.
const mostSwapped = 1 << 20

// retries is how often a transaction is begun anew that the server has undone
// because of what others did at the same time.
const retries = 8

func (w *poolWriter) start(o Options) {
	w.mostSwaps = min(o.MaxBatch, 64) // more gain nothing, and wait longer
	w.swaps = make(chan *job, o.MaxQueue)
	w.queue.start(o.MaxQueue, o.Writers, w.work)
}

// swap implements writer.
func (w *poolWriter) swap(ctx context.Context, sw *swapping, run func(context.Context, tx) error) error {
	if w.dialect.swapMany == nil && w.dialect.swapSteps == nil {
		return w.write(ctx, run)
	}
	return w.doIn(ctx, w.swaps, &job{run: run, swap: sw, done: make(chan struct{})})
}

func (w *poolWriter) work() {
	s := &slot{connect: w.connect}
	defer s.drop()
	for {
		select {
		case j := <-w.jobs:
			w.runOne(s, j)
			continue
		case j := <-w.swaps:
			w.runSwaps(s, gather(w.swaps, j, w.mostSwaps, jobCommitted))
			continue
		case <-w.closing:
		}
		select {
		case j := <-w.jobs:
			w.runOne(s, j)
		case j := <-w.swaps:
			w.runSwaps(s, gather(w.swaps, j, w.mostSwaps, jobCommitted))
		default:
			return
		}
	}
}

func (w *poolWriter) runOne(s *slot, j *job) {
	switch {
	case j.single && j.claim(jobCommitted):
		j.answer(w.alone(s, j.run))
	case !j.single && j.claim(jobTaken):
		j.answer(w.transact(s, j))
	}
}

// again repeats do, within the time of a transaction, while the server undoes it
// because of others.
func (w *poolWriter) again(do func(ctx context.Context) error) (err error) {
	ctx, cancel := within(w.timeout)
	defer cancel()
	for i := range retries {
		err = do(ctx)
		if err == nil || w.dialect.failure(err) != failureRetry {
			return err
		}
		select { // so that not all of them begin anew at the same moment
		case <-time.After(rand.N(time.Millisecond << i)):
		case <-ctx.Done():
			return err
		}
	}
	return err
}

// transact runs the job in a transaction.
func (w *poolWriter) transact(s *slot, j *job) error {
	return w.again(func(ctx context.Context) error { return w.attempt(ctx, s, j) })
}

func (w *poolWriter) attempt(ctx context.Context, s *slot, j *job) error {
	if err := w.begin(ctx, s); err != nil {
		return unavailable(err)
	}
	err := guarded(ctx, s.conn, j.run)
	if err == nil && !j.commit() {
		err = errTooLate
	}
	if err != nil {
		if s.conn.run(ctx, `ROLLBACK`) != nil {
			s.drop()
		}
		return err
	}
	if _, err := s.conn.exec(ctx, `COMMIT`); err != nil {
		s.drop()
		return w.uncommitted(fmt.Errorf("committing: %w", err))
	}
	return nil
}

// begin begins a transaction, on a new connection if the old one fails: the
// server may have been restarted since.
func (w *poolWriter) begin(ctx context.Context, s *slot) (err error) {
	for range 2 {
		err = s.with(ctx, func(c *connection) error { return c.run(ctx, w.dialect.begin) })
		if err == nil {
			return nil
		}
		s.drop()
	}
	return err
}

// uncommitted says what the failure of a statement that commits means.
func (w *poolWriter) uncommitted(err error) error {
	switch w.dialect.failure(err) {
	case failureRetry, failureFull, failureRefused, failureBusy:
		return unavailable(err)
	}
	return unknown(err)
}

// alone runs an operation of one statement, which commits by itself.
func (w *poolWriter) alone(s *slot, run func(context.Context, tx) error) error {
	return w.again(func(ctx context.Context) error { return w.statement(ctx, s, run) })
}

func (w *poolWriter) statement(ctx context.Context, s *slot, run func(context.Context, tx) error) error {
	sent := false
	err := s.with(ctx, func(c *connection) error {
		sent = true
		return guarded(ctx, c, run)
	})
	switch {
	case err == nil:
		return nil
	case !sent:
		return unavailable(err)
	case w.dialect.failure(err) == failureOther:
		s.drop()
	}
	return w.uncommitted(err)
}

// runSwaps does Swaps in as few statements as possible, and answers them.
func (w *poolWriter) runSwaps(s *slot, batch []*job) {
	// The order in which all nodes lock rows.
	slices.SortStableFunc(batch, func(a, b *job) int {
		if d := strings.Compare(a.swap.record.Namespace, b.swap.record.Namespace); d != 0 {
			return d
		}
		return byText(a.swap.record.Handle, b.swap.record.Handle)
	})
	var rest []*job
	for len(batch) > 0 {
		group, size := batch[:1], batch[0].swap.size()
		for _, j := range batch[1:] {
			last := group[len(group)-1].swap.record
			size += j.swap.size()
			if j.swap.record.Namespace != last.Namespace || j.swap.record.Handle == last.Handle || size > mostSwapped {
				break
			}
			group = batch[:len(group)+1]
		}
		batch = batch[len(group):]
		rest = append(rest, w.swapGroup(s, group)...)
	}
	for _, j := range rest {
		j.answer(w.transact(s, j))
	}
}

// swapGroup does Swaps of different sessions of one namespace in one statement,
// answers those that were done, or may have been, and returns the others: they
// conflict with something, or change more than the statement does.
func (w *poolWriter) swapGroup(s *slot, group []*job) (rest []*job) {
	swaps := make([]*swapping, len(group))
	for i, j := range group {
		swaps[i] = j.swap
	}
	done := make([]bool, len(group))
	err := w.swapTogether(s, swaps, done)
	for i, j := range group {
		switch {
		case err == nil && done[i]:
			j.answer(nil)
		case err == nil || len(group) > 1 && w.dialect.failure(err) == failureRefused:
			rest = append(rest, j)
		default:
			j.answer(err)
		}
	}
	return rest
}

// swapTogether does Swaps in one statement or, where the product needs several, in
// one transaction, and notes which were done.
func (w *poolWriter) swapTogether(s *slot, swaps []*swapping, done []bool) error {
	if w.dialect.swapMany == nil {
		if len(swaps) == 1 {
			return nil // alone, it takes fewer
		}
		j := &job{run: func(ctx context.Context, tx tx) error {
			clear(done)
			return w.dialect.swapSteps(ctx, tx, swaps, done)
		}}
		j.claim(jobCommitted)
		return w.transact(s, j)
	}
	query, args := w.dialect.swapMany(swaps)
	return w.alone(s, func(ctx context.Context, tx tx) error {
		clear(done)
		return tx.query(ctx, query, args, func(scan scan) error {
			var n int
			err := scan(&n)
			done[n] = err == nil
			return err
		})
	})
}
