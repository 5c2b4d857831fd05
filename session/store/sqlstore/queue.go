package sqlstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
)

// queue is where operations wait for a writer's goroutines, which take several
// at a time. It is the half of a writer that callers see.
type queue struct {
	jobs    chan *job
	closing chan struct{} // closed: no further operations
	exited  chan struct{} // closed: everything that was taken has been answered
	once    sync.Once
}

// job is one operation on its way through a writer. It may be run several times,
// if what it did before was undone.
type job struct {
	run func(context.Context, tx) error
	// swap is the same, where it is a Swap that may share a statement with
	// others.
	swap *swapping
	// single says that run is one statement, which commits by itself.
	single bool

	fate atomic.Int32
	err  error
	done chan struct{} // closed: err is set
}

const (
	jobWaiting int32 = iota
	// jobTaken: it is being run, in a transaction that can still be undone for
	// this job alone.
	jobTaken
	// jobCommitted: its outcome is that of a COMMIT.
	jobCommitted
	jobAbandoned
)

// claim moves the job out of the queue, for running it or for giving it up, and
// reports whether the caller was first.
func (j *job) claim(fate int32) bool { return j.fate.CompareAndSwap(jobWaiting, fate) }

// commit says that COMMIT comes next. If it returns false, the caller has given
// the job up and been told that nothing was changed.
func (j *job) commit() bool {
	return j.fate.CompareAndSwap(jobTaken, jobCommitted) || j.fate.Load() == jobCommitted
}

// abandon gives the job up, and reports whether it is certain that nothing will
// come of it.
func (j *job) abandon() bool {
	return j.claim(jobAbandoned) || j.fate.CompareAndSwap(jobTaken, jobAbandoned)
}

func (j *job) answer(err error) {
	j.err = err
	close(j.done)
}

func answerAll(batch []*job, err error) {
	for _, j := range batch {
		j.answer(err)
	}
}

// start lets so many goroutines work. Each calls next until it says that there is
// nothing more to come.
func (q *queue) start(size, workers int, work func()) {
	q.jobs = make(chan *job, size)
	q.closing, q.exited = make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(work)
	}
	go func() {
		wg.Wait()
		close(q.exited)
	}()
}

// write implements writer.
func (q *queue) write(ctx context.Context, run func(context.Context, tx) error) error {
	return q.do(ctx, &job{run: run, done: make(chan struct{})})
}

// single implements writer.
func (q *queue) single(ctx context.Context, run func(context.Context, tx) error) error {
	return q.do(ctx, &job{run: run, single: true, done: make(chan struct{})})
}

// swap implements writer.
func (q *queue) swap(ctx context.Context, _ *swapping, run func(context.Context, tx) error) error {
	return q.write(ctx, run)
}

func (q *queue) do(ctx context.Context, j *job) error { return q.doIn(ctx, q.jobs, j) }

// doIn puts the job into one of the writer's channels and waits for its answer.
func (q *queue) doIn(ctx context.Context, jobs chan<- *job, j *job) error {
	if err := ctx.Err(); err != nil {
		return unavailable(err)
	}
	select {
	case <-q.closing: // a select chooses at random, so ask this alone first
		return unavailable(errClosed)
	default:
	}
	select {
	case jobs <- j:
	case <-ctx.Done():
		return unavailable(fmt.Errorf("waiting for a place in the queue: %w", ctx.Err()))
	case <-q.closing:
		return unavailable(errClosed)
	}
	return q.await(ctx, j)
}

func (q *queue) await(ctx context.Context, j *job) error {
	select {
	case <-j.done:
		return j.err
	case <-q.exited:
		if j.claim(jobAbandoned) {
			return unavailable(errClosed) // it came too late to be drained
		}
		<-j.done
		return j.err
	case <-ctx.Done():
	}
	if j.abandon() {
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
func (q *queue) close(ctx context.Context) error {
	q.once.Do(func() { close(q.closing) })
	select {
	case <-q.exited:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("sqlstore: closing: %w", ctx.Err())
	}
}

// next waits for a job. After close it returns those that are left, then nil.
func (q *queue) next() *job {
	select {
	case j := <-q.jobs:
		return j
	case <-q.closing:
	}
	select {
	case j := <-q.jobs:
		return j
	default:
		return nil
	}
}

// gather takes what is waiting behind the first job, at most so many, without
// waiting for more.
func gather(jobs <-chan *job, first *job, most int, fate int32) (batch []*job) {
	for j := first; ; {
		if j.claim(fate) {
			batch = append(batch, j)
		}
		if len(batch) >= most {
			return batch
		}
		select {
		case j = <-jobs:
		default:
			return batch
		}
	}
}

// guarded turns a panic into an error: in a writer's goroutine it would end the
// process, whereas in the caller's a server would have stopped it at the one
// request.
func guarded(ctx context.Context, tx tx, run func(context.Context, tx) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = errors.New("panic in an operation") // its text could hold values
		}
	}()
	return run(ctx, tx)
}
