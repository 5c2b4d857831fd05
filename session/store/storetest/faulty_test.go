package storetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

var start = time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)

func record1() store.Record {
	return store.Record{Namespace: "shop", Handle: store.Handle{1}, Version: 1, State: store.Active, Subject: "alice", Created: start, Seen: start}
}

// stored returns a Faulty around a store with one record.
func stored(t *testing.T) (*storetest.Faulty, store.Record) {
	t.Helper()
	f, r := storetest.NewFaulty(newSimple("")), record1()
	if _, err := f.Create(t.Context(), store.Creation{Record: r, Now: start}); err != nil {
		t.Fatal(err)
	}
	return f, r
}

// version is what the wrapped store holds.
func version(t *testing.T, f *storetest.Faulty) uint64 {
	t.Helper()
	r, err := f.Inner().Load(t.Context(), store.Key{Namespace: "shop", Handle: store.Handle{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return r.Version
}

func TestFaults(t *testing.T) {
	broken := errors.New("cable cut")
	for _, c := range []struct {
		name    string
		plan    func(f *storetest.Faulty)
		want    []error // all of them
		version uint64
	}{
		{"none", func(f *storetest.Faulty) {}, nil, 2},
		{"fail", func(f *storetest.Faulty) { f.Fail(storetest.OpSwap, 1, nil) }, []error{store.ErrUnavailable}, 1},
		{"fail of another kind", func(f *storetest.Faulty) { f.Fail(storetest.OpSwap, 1, store.ErrConflict) }, []error{store.ErrConflict}, 1},
		{"fail with a cause", func(f *storetest.Faulty) { f.Fail(storetest.OpSwap, 1, broken) }, []error{store.ErrUnavailable, broken}, 1},
		{"fail after", func(f *storetest.Faulty) { f.FailAfter(storetest.OpSwap, 1, nil) }, []error{store.ErrUnknownOutcome}, 2},
		{"fail after with a cause", func(f *storetest.Faulty) { f.FailAfter(storetest.OpSwap, 1, broken) }, []error{store.ErrUnknownOutcome, broken}, 2},
		{"twice", func(f *storetest.Faulty) { f.On(storetest.OpSwap, 1, storetest.Fault{Twice: true}) }, []error{store.ErrConflict}, 2},
		{"down", func(f *storetest.Faulty) { f.Down(broken) }, []error{store.ErrUnavailable, broken}, 1},
		{"down and up", func(f *storetest.Faulty) { f.Down(nil); f.Up() }, nil, 2},
		{"the call after", func(f *storetest.Faulty) { f.Fail(storetest.OpSwap, 2, nil) }, nil, 2},
		{"another operation", func(f *storetest.Faulty) { f.Fail(storetest.OpTouch, 1, nil) }, nil, 2},
		{"hook", func(f *storetest.Faulty) {
			f.Inject(func(op storetest.Op, n int) storetest.Fault {
				return storetest.Fault{After: fmt.Errorf("%s %d: %w", op, n, broken)}
			})
		}, []error{store.ErrUnknownOutcome, broken}, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			f, r := stored(t)
			c.plan(f)
			err := f.Swap(t.Context(), r, start)
			if (err == nil) != (c.want == nil) {
				t.Errorf("got error %v, want %v", err, c.want)
			}
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("got error %v, want %v", err, want)
				}
			}
			if got := version(t, f); got != c.version {
				t.Errorf("got version %d, want %d", got, c.version)
			}
			if got := f.Calls(storetest.OpSwap); got != 1 {
				t.Errorf("got %d calls, want 1", got)
			}
		})
	}
}

// TestFaultsOfReads: a read cannot leave its outcome unknown.
func TestFaultsOfReads(t *testing.T) {
	f, r := stored(t)
	f.FailAfter(storetest.OpLoad, 1, nil)
	if got, err := f.Load(t.Context(), r.Key(), nil); !errors.Is(err, store.ErrUnavailable) || got.Version != 0 {
		t.Errorf("Load: got version %d, error %v; want none, ErrUnavailable", got.Version, err)
	}
	if _, err := f.Load(t.Context(), r.Key(), nil); err != nil {
		t.Errorf("the Load after the one planned to fail: %v", err)
	}
}

func TestFaultDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, r := stored(t)
		began := time.Now()
		f.Delay(storetest.OpSwap, 1, time.Minute)
		if err := f.Swap(t.Context(), r, start); err != nil || time.Since(began) != time.Minute {
			t.Errorf("Swap: error %v after %v, want none after a minute", err, time.Since(began))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		f.Delay(storetest.OpSwap, 1, time.Minute)
		err := f.Swap(ctx, r, start)
		if !errors.Is(err, store.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Swap with an impatient caller: got error %v, want ErrUnavailable and DeadlineExceeded", err)
		}
		if got := version(t, f); got != 2 {
			t.Errorf("got version %d, want 2", got)
		}
	})
}

// TestFaultCancel: the wrapped store, not the caller, sees its context end.
func TestFaultCancel(t *testing.T) {
	f := storetest.NewFaulty(waits{})
	f.On(storetest.OpLoad, 1, storetest.Fault{Cancel: true})
	if _, err := f.Load(t.Context(), store.Key{}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got error %v, want Canceled", err)
	}
	if t.Context().Err() != nil {
		t.Error("the caller's context was cancelled")
	}
}

// waits is a store whose Load lasts as long as its context. Everything else it
// does not have.
type waits struct{ store.Store }

func (waits) Load(ctx context.Context, _ store.Key, _ []string) (store.Record, error) {
	<-ctx.Done()
	return store.Record{}, ctx.Err()
}

// TestFaultyForwards: what the wrapped store has is used, and what it has not
// is made up for.
func TestFaultyForwards(t *testing.T) {
	f, _ := stored(t)
	bare := storetest.NewFaulty(struct{ store.Store }{f.Inner()})
	for name, f := range map[string]*storetest.Faulty{"full": f, "bare": bare} {
		if n, err := f.Count(t.Context(), store.Query{Namespace: "shop", Now: start}); n != 1 || err != nil {
			t.Errorf("%s: Count gave %d, error %v; want 1", name, n, err)
		}
		if f.InProcess() {
			t.Errorf("%s: InProcess, want not, as in the wrapped store", name)
		}
	}
	sweeping := store.Sweeping{Namespace: "shop", Now: start.Add(time.Hour)}
	r := record1()
	r.Handle, r.Idle = store.Handle{2}, time.Minute
	if _, err := f.Create(t.Context(), store.Creation{Record: r, Now: start}); err != nil {
		t.Fatal(err)
	}
	if swept, err := bare.Sweep(t.Context(), sweeping); err != nil || len(swept.Expired) != 0 {
		t.Errorf("bare: Sweep ended %d, error %v; want none", len(swept.Expired), err)
	}
	if swept, err := f.Sweep(t.Context(), sweeping); err != nil || len(swept.Expired) != 1 {
		t.Errorf("full: Sweep ended %d, error %v; want 1", len(swept.Expired), err)
	}
}

// TestFaultyPasses: without faults, Faulty is as good as what it wraps.
func TestFaultyPasses(t *testing.T) {
	caseNamed(t, "all", "model").Run(t, storetest.Harness{
		Open: func(testing.TB) store.Store { return storetest.NewFaulty(newSimple("")) },
	})
}

func TestFaultyIsSafeForConcurrentUse(t *testing.T) {
	f, r := stored(t)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 50 {
				f.Fail(storetest.OpLoad, n, nil)
				_, _ = f.Load(t.Context(), r.Key(), nil)
				f.Inject(func(op storetest.Op, n int) storetest.Fault { return storetest.Fault{Twice: true} })
				if f.Calls(storetest.OpLoad); i == 0 {
					f.Down(nil)
					f.Up()
				}
			}
		})
	}
	all.Wait()
	if got := f.Calls(storetest.OpLoad); got != 400 {
		t.Errorf("got %d calls, want 400", got)
	}
}

func ExampleFaulty() {
	ctx := context.Background()
	f := storetest.NewFaulty(newSimple(""))
	f.FailAfter(storetest.OpCreate, 1, nil)

	_, err := f.Create(ctx, store.Creation{Record: record1(), Now: start})
	fmt.Println(errors.Is(err, store.ErrUnknownOutcome))

	_, err = f.Load(ctx, store.Key{Namespace: "shop", Handle: store.Handle{1}}, nil)
	fmt.Println(err) // it was created all the same
	// Output:
	// true
	// <nil>
}
