package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// failClosedCases prove I11: "I could not look" is never "not found".
func failClosedCases() []Case {
	return group("I11",
		named{"cancelled_before_reading", cancelledReads},
		named{"cancelled_before_writing", cancelledWrites},
		named{"cancelled_while_writing", cancelledMidway},
		named{"cancelled_while_creating", cancelledCreates},
	)
}

// dead returns contexts with which nothing should be done any more.
func (w *world) dead() map[string]context.Context {
	cancelled, cancel := context.WithCancel(w.Context())
	cancel()
	late, stop := context.WithDeadline(w.Context(), time.Now().Add(-time.Second))
	w.Cleanup(stop)
	return map[string]context.Context{"cancelled": cancelled, "too late": late}
}

// reading allows the right answer, because a store in memory may not look at
// the context at all, and ErrUnavailable.
func (w *world) reading(what string, err error) {
	w.Helper()
	if err != nil {
		w.is(what, err, store.ErrUnavailable)
	}
}

func cancelledReads(w *world) {
	r := w.create("alice", linked(1))
	for why, ctx := range w.dead() {
		got, err := w.s().Load(ctx, r.Key(), []string{"app"})
		w.reading("Load, "+why, err)
		if err == nil && diff(got, r) != "" {
			w.Errorf("Load, %s: no error, and another record:%s", why, diff(got, r))
		}
		unknown := w.session("x")
		if _, err = w.s().Load(ctx, unknown.Key(), nil); !errors.Is(err, store.ErrNotFound) {
			w.reading("Load of unknown, "+why, err)
		}
		for _, q := range []store.Query{{}, {Subject: "alice"}, {Link: linkOf(1)}} {
			q.Namespace, q.Now = w.ns, at(0)
			page, err := w.s().List(ctx, q)
			w.reading("List, "+why, err)
			if err == nil && len(page.Records) != 1 {
				w.Errorf("List, %s: no error, and %d records, want 1", why, len(page.Records))
			}
			if c, ok := w.s().(store.Counter); ok {
				n, err := c.Count(ctx, q)
				w.reading("Count, "+why, err)
				if err == nil && n != 1 {
					w.Errorf("Count, %s: no error, and %d, want 1", why, n)
				}
			}
		}
	}
	w.same("after reading with dead contexts", r)
}

// writing judges a write by its error and by whether it can be seen.
func (w *world) writing(what string, err error, applied bool) {
	w.Helper()
	switch {
	case err == nil && !applied:
		w.Errorf("%s: acknowledged, and not applied", what)
	case errors.Is(err, store.ErrUnknownOutcome):
		w.is(what, err, store.ErrUnknownOutcome)
	case err != nil:
		w.is(what, err, store.ErrUnavailable)
		if applied {
			w.Errorf("%s: applied, and yet %v", what, err)
		}
	}
}

func cancelledWrites(w *world) {
	for why, ctx := range w.dead() {
		fresh := w.session("alice")
		_, err := w.s().Create(ctx, creation(fresh))
		_, missing := w.other().Load(w.Context(), fresh.Key(), nil)
		w.writing("Create, "+why, err, missing == nil)

		r := w.create("alice", linked(1))
		changed := clone(r)
		changed.Label = "changed"
		err = w.s().Swap(ctx, changed, at(0))
		w.writing("Swap, "+why, err, w.load(r.Handle).Label == "changed")

		err = w.s().Touch(ctx, w.ns, []store.Touch{{Handle: r.Handle, Seen: at(1)}})
		w.writing("Touch, "+why, err, w.load(r.Handle).Seen.Equal(at(1)))

		for way, v := range waysToEnd(r) {
			r := w.create("alice", linked(1))
			_, err = w.s().Revoke(ctx, w.revocation(v))
			if v.Handle.IsZero() {
				w.writing(fmt.Sprintf("Revoke by %s, %s", way, why), err, w.hasEnded(r.Handle))
			}
		}

		expired := w.create("carol", func(r *store.Record) { r.Idle = 1 })
		if sweeper, ok := w.s().(store.Sweeper); ok {
			_, err = sweeper.Sweep(ctx, store.Sweeping{Namespace: w.ns, Now: at(time.Second)})
			w.writing("Sweep, "+why, err, w.hasEnded(expired.Handle))
		}
	}
}

// cancelledMidway: clients hang up while their requests are being written.
// Whatever was answered must be true.
func cancelledMidway(w *world) {
	seed := w.seed()
	var writers atomic.Uint64
	w.rounds(func() {
		r := w.create("alice", func(r *store.Record) { r.Parts = nil })
		var acknowledged, unknown atomic.Uint64
		w.race(4, func(i int, s store.Store) {
			random := rand.New(rand.NewPCG(seed, writers.Add(1)))
			for range 6 {
				loaded, err := s.Load(w.Context(), r.Key(), nil)
				if err != nil {
					w.Errorf("Load: %v", err)
					return
				}
				ctx, cancel := hangUp(w.background(), random)
				switch err := s.Swap(ctx, loaded, at(time.Minute)); {
				case err == nil:
					acknowledged.Add(1)
				case errors.Is(err, store.ErrUnknownOutcome):
					unknown.Add(1)
				default:
					checkKind(w, "Swap while the client hangs up", err, store.ErrConflict, store.ErrUnavailable)
				}
				cancel()
			}
		})
		least := 1 + acknowledged.Load()
		if v := w.load(r.Handle).Version; v < least || v > least+unknown.Load() {
			w.Errorf("after %d acknowledged and %d unknown Swaps the version is %d", acknowledged.Load(), unknown.Load(), v)
		}
	})
}

// hangUp returns a context that ends at a random moment soon.
func hangUp(ctx context.Context, random *rand.Rand) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, time.Duration(random.IntN(300))*time.Microsecond)
}

func cancelledCreates(w *world) {
	seed := w.seed()
	var logins atomic.Uint64
	w.rounds(func() {
		const most = 2
		subject := fmt.Sprint("user ", w.serial.Add(1))
		var mu sync.Mutex
		answers := map[store.Key]error{}
		w.race(6, func(i int, s store.Store) {
			random := rand.New(rand.NewPCG(seed, logins.Add(1)))
			c := w.limited(subject, i, most, i%2 == 0)
			ctx, cancel := hangUp(w.background(), random)
			defer cancel()
			_, err := s.Create(ctx, c)
			mu.Lock()
			defer mu.Unlock()
			answers[c.Record.Key()] = err
		})
		// What had to be given up may still be under way. A write about the same
		// subject that has gone through both handles is behind it.
		for _, s := range []store.Store{w.s(), w.other()} {
			v := w.revocation(store.Revocation{Subject: subject, AuthenticatedBefore: at(-time.Hour)})
			if _, err := s.Revoke(w.Context(), v); err != nil {
				w.Errorf("Revoke: %v", err)
			}
		}
		for k, err := range answers {
			_, missing := w.other().Load(w.Context(), k, nil)
			if !errors.Is(err, store.ErrLimit) {
				w.writing("Create while the client hangs up", err, missing == nil)
			} else if missing == nil {
				w.Errorf("a Create refused for the limit left a record")
			}
		}
		if n := len(w.list(store.Query{Subject: subject})); n > most {
			w.Errorf("%d sessions are alive, want at most %d", n, most)
		}
	})
}
