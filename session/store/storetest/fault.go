package storetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// faultCases run workloads through [Faulty] and then look at the store behind
// it: whatever the callers were told must be true there.
func faultCases() []Case {
	cases := append(group("I2",
		named{"acknowledged_changes_survive_faults", changesUnderFaults},
		named{"repeated_create_creates_once", repeatedCreate},
		named{"repeated_swap_applies_once", repeatedSwap},
	), group("I1", named{"no_resurrection_under_faults", revokeUnderFaults})...)
	cases = append(cases, group("I5", named{"revoke_means_all_under_faults", loginsUnderFaults})...)
	return append(cases, group("I6", named{"limits_hold_under_faults", limitUnderFaults})...)
}

// faulty wraps the world's stores and lets about a third of the calls fail in
// ways drawn from the seed.
func (w *world) faulty() {
	w.Helper()
	seed := w.seed()
	for i, s := range w.stores {
		random := rand.New(rand.NewPCG(seed, uint64(i)))
		f := NewFaulty(s)
		f.Inject(func(op Op, n int) Fault { return randomFault(random, op) })
		w.stores[i] = f
	}
}

func randomFault(random *rand.Rand, op Op) Fault {
	switch random.IntN(18) {
	case 0:
		return Fault{Before: store.ErrUnavailable}
	case 1:
		return Fault{Before: op.lost()} // not applied, but who knows
	case 2:
		return Fault{After: op.lost()}
	case 3:
		return Fault{Delay: time.Duration(random.IntN(200)) * time.Microsecond}
	case 4:
		return Fault{Cancel: true}
	case 5:
		return Fault{Twice: true}
	}
	return Fault{}
}

// calm ends the faults, so that the case can look at what is stored.
func (w *world) calm() {
	for i, s := range w.stores {
		w.stores[i] = s.(*Faulty).Inner()
	}
}

// insist repeats a call until it is acknowledged. Callers must not do so with
// a write of unknown outcome unless, as here, a second time does no harm.
func insist(w *world, what string, do func() error) {
	for {
		err := do()
		if err == nil {
			return
		}
		if checkKind(w, what, err, store.ErrUnavailable, store.ErrUnknownOutcome); w.Failed() {
			return
		}
	}
}

func changesUnderFaults(w *world) {
	w.rounds(func() {
		r := w.create("alice")
		w.faulty()
		var mu sync.Mutex
		var kept, lost []string
		w.race(4, func(i int, s store.Store) {
			for j := range 5 {
				mark := fmt.Sprintf("<%d.%d>", i, j)
				loaded := store.Record{}
				insist(w, "Load", func() (err error) {
					loaded, err = s.Load(w.Context(), r.Key(), []string{"app"})
					return err
				})
				loaded.Parts = []store.Part{part("app", 1, string(loaded.Parts[0].Sealed)+mark)}
				err := s.Swap(w.Context(), loaded, at(time.Minute))
				mu.Lock()
				switch {
				case err == nil:
					kept = append(kept, mark)
				case errors.Is(err, store.ErrUnavailable):
					lost = append(lost, mark)
				default: // unknown, or a conflict that Twice may have had with itself
					checkKind(w, "Swap", err, store.ErrConflict, store.ErrUnknownOutcome)
				}
				mu.Unlock()
			}
		})
		w.calm()
		stored := string(w.load(r.Handle).Parts[0].Sealed)
		for _, mark := range kept {
			if n := strings.Count(stored, mark); n != 1 {
				w.Errorf("acknowledged change %s is stored %d times, want once", mark, n)
			}
		}
		for _, mark := range lost {
			if strings.Contains(stored, mark) {
				w.Errorf("change %s is stored, and its Swap said ErrUnavailable", mark)
			}
		}
	})
}

func repeatedCreate(w *world) {
	f := NewFaulty(w.s())
	c := w.limited("alice", 0, 2, true)
	f.On(OpCreate, 1, Fault{Twice: true})
	_, err := f.Create(w.Context(), c)
	w.is("repeated Create", err, store.ErrExists)
	w.same("after a repeated Create", c.Record)
	old := c.Record
	c = w.replacing(old, "alice")
	c.Max = 1
	f.On(OpCreate, 1, Fault{Twice: true})
	_, err = f.Create(w.Context(), c)
	checkKind(w, "repeated Create that replaces", err, store.ErrExists, store.ErrNotFound, store.ErrConflict, store.ErrLimit)
	w.same("after a repeated Create that replaces", c.Record)
	w.ended("replaced session", old.Handle, store.CauseRenewed)
}

func repeatedSwap(w *world) {
	r := w.create("alice")
	r.Parts = []store.Part{part("app", 2, "once")}
	f := NewFaulty(w.s())
	f.On(OpSwap, 1, Fault{Twice: true})
	w.is("repeated Swap", f.Swap(w.Context(), r, at(time.Minute)), store.ErrConflict)
	r.Version = 2
	w.same("after a repeated Swap", r)
}

func revokeUnderFaults(w *world) {
	for _, way := range []string{"handle", "subject", "link", "all"} {
		w.rounds(func() {
			r := w.create("alice", linked(1))
			w.faulty()
			late := func(s store.Store) {
				for i := range 6 {
					loaded, err := s.Load(w.Context(), r.Key(), nil)
					if err == nil {
						err = s.Swap(w.Context(), loaded, at(time.Minute))
					}
					if err != nil {
						checkKind(w, "late write", err, store.ErrNotFound, store.ErrConflict, store.ErrUnavailable, store.ErrUnknownOutcome)
					}
					err = s.Touch(w.Context(), w.ns, []store.Touch{{Handle: r.Handle, Seen: at(time.Duration(i))}})
					if err != nil {
						checkKind(w, "late Touch", err, store.ErrUnavailable, store.ErrUnknownOutcome)
					}
				}
			}
			w.together(late, func(s store.Store) {
				insist(w, "Revoke", func() error {
					_, err := s.Revoke(w.Context(), w.revocation(waysToEnd(r)[way]))
					return err
				})
				if loaded, err := s.Load(w.Context(), r.Key(), nil); err == nil && !loaded.Ended() {
					w.Errorf("after an acknowledged Revoke by %s the session is alive", way)
				}
			}, late)
			w.calm()
			w.ended("after Revoke under faults", r.Handle, "admin")
		})
	}
}

func loginsUnderFaults(w *world) {
	w.rounds(func() {
		subject := fmt.Sprint("user ", w.serial.Add(1))
		w.faulty()
		login := func(s store.Store) {
			for range 5 {
				if _, err := s.Create(w.Context(), w.login(subject, at(4*time.Minute))); err != nil {
					checkKind(w, "Create", err, store.ErrRevoked, store.ErrExists, store.ErrUnavailable, store.ErrUnknownOutcome)
				}
			}
		}
		w.together(login, login, func(s store.Store) {
			insist(w, "Revoke", func() error {
				_, err := s.Revoke(w.Context(), w.revocation(store.Revocation{Subject: subject, Now: at(5 * time.Minute)}))
				return err
			})
		}, login)
		w.calm()
		if n := len(w.list(store.Query{Subject: subject, Now: at(10 * time.Minute)})); n != 0 {
			w.Errorf("%d sessions of a revoked subject are alive after faults", n)
		}
	})
}

func limitUnderFaults(w *world) {
	const most = 2
	w.rounds(func() {
		subject := fmt.Sprint("user ", w.serial.Add(1))
		w.faulty()
		var acknowledged atomic.Int32
		w.race(6, func(i int, s store.Store) {
			for j := range 3 {
				_, err := s.Create(w.Context(), w.limited(subject, i, most, j%2 == 0))
				if err == nil {
					acknowledged.Add(1)
					continue
				}
				checkKind(w, "Create", err, store.ErrLimit, store.ErrExists, store.ErrUnavailable, store.ErrUnknownOutcome)
			}
		})
		w.calm()
		alive := len(w.list(store.Query{Subject: subject}))
		if alive > most || alive < min(most, int(acknowledged.Load())) {
			w.Errorf("%d Creates were acknowledged under faults and %d sessions are alive, want at most %d", acknowledged.Load(), alive, most)
		}
	})
}
