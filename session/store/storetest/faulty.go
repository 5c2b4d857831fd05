package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

// Op names an operation of a store.
type Op string

// The operations.
const (
	OpCreate Op = "Create"
	OpLoad   Op = "Load"
	OpSwap   Op = "Swap"
	OpTouch  Op = "Touch"
	OpRevoke Op = "Revoke"
	OpList   Op = "List"
	OpSweep  Op = "Sweep"
	OpCount  Op = "Count"
)

// writes reports whether an operation may leave its outcome unknown.
func (op Op) writes() bool { return op != OpLoad && op != OpList && op != OpCount }

// Fault is what goes wrong with one call. The fields combine, and take effect
// in their order; the zero Fault is a call that works.
type Fault struct {
	// Delay passes before anything else. A context that ends meanwhile makes
	// the call fail with [store.ErrUnavailable], and nothing is applied.
	Delay time.Duration
	// Before fails the call; nothing is applied.
	Before error
	// Cancel cancels the context that the wrapped store sees while it is at
	// work, as when a client hangs up. What becomes of the call is up to that
	// store.
	Cancel bool
	// Twice applies the operation twice, as a driver that retries on its own
	// does after losing an answer, and returns the second answer.
	Twice bool
	// After applies the operation, then loses the answer and fails.
	After error
}

// Faulty is a store that fails on command: the way to test what a program does
// when its store hangs, forgets to answer or goes away.
//
//	f := storetest.NewFaulty(memory.New())
//	m, err := session.New(session.Config{Store: f})
//	…
//	f.Fail(storetest.OpSwap, 1, nil)      // the next Swap fails, unapplied
//	f.FailAfter(storetest.OpCreate, 2, nil) // the Create after the next is applied, and fails
//	f.Down(nil)                           // from now on everything fails
//	f.Up()
//	f.Inject(func(op storetest.Op, n int) storetest.Fault {
//		if op == storetest.OpLoad && n%10 == 0 {
//			return storetest.Fault{Delay: time.Second}
//		}
//		return storetest.Fault{}
//	})
//
// Errors given as nil, or of a kind unknown to the contract, are made to wrap
// [store.ErrUnavailable], or [store.ErrUnknownOutcome] where a write was
// applied, as a store would. A given error of the contract stays what it is.
//
// Faulty implements the optional interfaces whether or not the wrapped store
// does, and then answers as if it did not: it sweeps nothing, counts by
// listing, and is not in process.
//
// All methods are safe for concurrent use.
type Faulty struct {
	inner store.Store

	// mu guards what follows, and is not held while the store works.
	mu      sync.Mutex
	calls   map[Op]int
	planned map[call]Fault // what On asked for, by call to come
	hook    func(op Op, n int) Fault
	down    error
}

type call struct {
	op Op
	n  int
}

// Faulty pins what it forwards.
var (
	_ store.Store   = (*Faulty)(nil)
	_ store.Sweeper = (*Faulty)(nil)
	_ store.Counter = (*Faulty)(nil)
	_ store.Local   = (*Faulty)(nil)
)

// NewFaulty wraps a store. Until told otherwise it works.
func NewFaulty(inner store.Store) *Faulty {
	return &Faulty{inner: inner, calls: map[Op]int{}, planned: map[call]Fault{}}
}

// Inner returns the wrapped store, to look at what really happened.
func (f *Faulty) Inner() store.Store { return f.inner }

// Calls returns how often an operation has been called, failures included.
func (f *Faulty) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

// On makes the n-th call of op from now have a fault; 1 is the next one.
func (f *Faulty) On(op Op, n int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.planned[call{op, f.calls[op] + n}] = fault
}

// Fail makes the n-th call of op from now fail without being applied; nil is
// [store.ErrUnavailable].
func (f *Faulty) Fail(op Op, n int, err error) {
	f.On(op, n, Fault{Before: contract(err, store.ErrUnavailable)})
}

// FailAfter makes the n-th call of op from now fail after it was applied; nil
// is [store.ErrUnknownOutcome], for reads [store.ErrUnavailable].
func (f *Faulty) FailAfter(op Op, n int, err error) {
	f.On(op, n, Fault{After: contract(err, op.lost())})
}

// Delay makes the n-th call of op from now take at least d, or until its
// context ends.
func (f *Faulty) Delay(op Op, n int, d time.Duration) { f.On(op, n, Fault{Delay: d}) }

// Inject asks hook about every call for which nothing was planned, giving it
// the number of that call, from 1, among all calls of op. It is called by one
// goroutine at a time and must not call back into f. Nil ends the injection.
func (f *Faulty) Inject(hook func(op Op, n int) Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// Down makes every call fail without being applied, until Up; nil is
// [store.ErrUnavailable].
func (f *Faulty) Down(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = contract(err, store.ErrUnavailable)
}

// Up ends Down.
func (f *Faulty) Up() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.down = nil
}

// next counts a call and returns its fault.
func (f *Faulty) next(op Op) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	n := f.calls[op]
	fault, planned := f.planned[call{op, n}]
	delete(f.planned, call{op, n})
	switch {
	case f.down != nil:
		return Fault{Before: f.down}
	case !planned && f.hook != nil:
		return f.hook(op, n)
	}
	return fault
}

// lost is the error of a call whose answer was lost.
func (op Op) lost() error {
	if op.writes() {
		return store.ErrUnknownOutcome
	}
	return store.ErrUnavailable
}

// contract makes err an error that a store may return.
func contract(err, kind error) error {
	switch {
	case err == nil:
		return fmt.Errorf("injected fault: %w", kind)
	case len(kindsOf(err)) == 0:
		return fmt.Errorf("injected fault: %w: %w", kind, err)
	}
	return err
}

// do makes a call with its fault.
func do[T any](ctx context.Context, f *Faulty, op Op, work func(ctx context.Context) (T, error)) (T, error) {
	var none T
	fault := f.next(op)
	if err := wait(ctx, fault.Delay); err != nil {
		return none, contract(err, store.ErrUnavailable)
	}
	if fault.Before != nil {
		return none, contract(fault.Before, store.ErrUnavailable)
	}
	if fault.Cancel {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		go cancel()
	}
	answer, err := work(ctx)
	if fault.Twice {
		answer, err = work(ctx)
	}
	if fault.After != nil {
		return none, contract(fault.After, op.lost())
	}
	return answer, err
}

func wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Create implements [store.Store].
func (f *Faulty) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	return do(ctx, f, OpCreate, func(ctx context.Context) (store.Created, error) { return f.inner.Create(ctx, c) })
}

// Load implements [store.Store].
func (f *Faulty) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	return do(ctx, f, OpLoad, func(ctx context.Context) (store.Record, error) { return f.inner.Load(ctx, k, parts) })
}

// Swap implements [store.Store].
func (f *Faulty) Swap(ctx context.Context, r store.Record, now time.Time) error {
	_, err := do(ctx, f, OpSwap, func(ctx context.Context) (struct{}, error) { return struct{}{}, f.inner.Swap(ctx, r, now) })
	return err
}

// Touch implements [store.Store].
func (f *Faulty) Touch(ctx context.Context, namespace string, touches []store.Touch) error {
	_, err := do(ctx, f, OpTouch, func(ctx context.Context) (struct{}, error) {
		return struct{}{}, f.inner.Touch(ctx, namespace, touches)
	})
	return err
}

// Revoke implements [store.Store].
func (f *Faulty) Revoke(ctx context.Context, r store.Revocation) (store.Revoked, error) {
	return do(ctx, f, OpRevoke, func(ctx context.Context) (store.Revoked, error) { return f.inner.Revoke(ctx, r) })
}

// List implements [store.Store].
func (f *Faulty) List(ctx context.Context, q store.Query) (store.Page, error) {
	return do(ctx, f, OpList, func(ctx context.Context) (store.Page, error) { return f.inner.List(ctx, q) })
}

// Sweep implements [store.Sweeper]. If the wrapped store does not, it ends
// and removes nothing.
func (f *Faulty) Sweep(ctx context.Context, s store.Sweeping) (store.Swept, error) {
	return do(ctx, f, OpSweep, func(ctx context.Context) (store.Swept, error) {
		if inner, ok := f.inner.(store.Sweeper); ok {
			return inner.Sweep(ctx, s)
		}
		return store.Swept{}, nil
	})
}

// Count implements [store.Counter]. If the wrapped store does not, it counts
// what that lists.
func (f *Faulty) Count(ctx context.Context, q store.Query) (int, error) {
	return do(ctx, f, OpCount, func(ctx context.Context) (int, error) {
		if inner, ok := f.inner.(store.Counter); ok {
			return inner.Count(ctx, q)
		}
		q.Cursor, q.Max = "", 0
		for n := 0; ; {
			page, err := f.inner.List(ctx, q)
			if err != nil {
				return 0, err
			}
			if n += len(page.Records); page.Next == "" {
				return n, nil
			}
			q.Cursor = page.Next
		}
	})
}

// InProcess implements [store.Local]; no fault concerns it.
func (f *Faulty) InProcess() bool {
	inner, ok := f.inner.(store.Local)
	return ok && inner.InProcess()
}
