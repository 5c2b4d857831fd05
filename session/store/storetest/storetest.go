// Package storetest is the conformance suite of the store contract, and the
// only test that a new store must write:
//
//	func TestStore(t *testing.T) {
//		storetest.Run(t, storetest.Harness{
//			Open: func(t testing.TB) store.Store {
//				s, err := mystore.Open(t.TempDir())
//				if err != nil {
//					t.Fatal(err)
//				}
//				t.Cleanup(func() { s.Close() })
//				return s
//			},
//		})
//	}
//
// Run it with the race detector. A failure names the invariant of package
// [cloakroom.example/session/store] that is broken, as in
//
//	--- FAIL: TestStore/I1/swap_after_revoke
//
// # What is run
//
// Every statement of the contract is tried one operation after the other, and
// where it is about several callers, in races that are repeated. Beyond that a
// generator writes random programs and compares every answer, and everything
// that can be seen afterwards, with a model ("all/model"); a program that fails
// is cut down to the shortest one that still does, and printed with the seed.
// CLOAKROOM_SEED=<seed> in the environment repeats a run.
//
// Optional interfaces ([store.Sweeper], [store.Counter]) are found by type
// assertion; durability and several nodes are tested where the [Harness] can
// show them. What was left out for want of either is logged.
//
// The suite needs no clock: it passes times in 2031, 1998 and 2150, and a
// store that looks at the wall clock instead fails.
//
// # Faults
//
// [Faulty] wraps a store and lets it fail, hang or repeat itself on command. It
// is for the tests of the store's users too; package sessiontest hands it on to
// applications.
package storetest

import (
	"slices"
	"testing"

	"cloakroom.example/session/store"
)

// Harness tells the suite how to get at a store.
type Harness struct {
	// Open returns a new, empty store, which t.Cleanup closes.
	Open func(t testing.TB) store.Store

	// Reopen is for durable stores, and nil otherwise: it lets s go and opens
	// a new store on the same data. The harsher s goes, the more is proven:
	// killing the engine, or copying its files without closing it, shows what
	// an orderly Close may hide.
	Reopen func(t testing.TB, s store.Store) store.Store

	// Second opens another store on the same data while s stays open, as a
	// second node would; nil where that is impossible. The races then run
	// through both.
	Second func(t testing.TB, s store.Store) store.Store
}

// Case is one test of the suite.
type Case struct {
	// Invariant is "I1" to "I11", or "all" for tests that concern all of them.
	Invariant string
	// Name says what happens, in words joined by underscores.
	Name string
	// Run reports a violation through t.
	Run func(t testing.TB, h Harness)
}

// Run runs every case as a subtest named "invariant/name", and logs what the
// harness or the store gives no means to test.
func Run(t *testing.T, h Harness) {
	for _, what := range h.missing(t) {
		t.Logf("left out: %s", what)
	}
	cases := Cases()
	for _, invariant := range invariants() {
		t.Run(invariant, func(t *testing.T) {
			for _, c := range cases {
				if c.Invariant == invariant {
					t.Run(c.Name, func(t *testing.T) { c.Run(t, h) })
				}
			}
		})
	}
}

// Cases returns all cases, for those who want to run some of them.
func Cases() []Case {
	return slices.Concat(
		resurrectionCases(), conflictCases(), partCases(), stepwiseCases(), historyCases(), rotationCases(),
		monotonicCases(), tightenCases(), revokeCases(), sinceCases(), listCases(),
		limitCases(), durableCases(), blindCases(), namespaceCases(), cheapCases(),
		expiryCases(), sweepCases(), failClosedCases(), faultCases(), modelCases(),
	)
}

// missing says what cannot be tested.
func (h Harness) missing(t testing.TB) (what []string) {
	s := h.Open(t)
	if _, ok := s.(store.Sweeper); !ok {
		what = append(what, "sweeping, for the store does not implement store.Sweeper")
	}
	if _, ok := s.(store.Counter); !ok {
		what = append(what, "counting, for the store does not implement store.Counter")
	}
	if h.Reopen == nil {
		what = append(what, "durability (I7), for the harness has no Reopen")
	}
	if h.Second == nil {
		what = append(what, "several handles on the same data, for the harness has no Second")
	}
	return what
}

func invariants() []string {
	return []string{"I1", "I2", "I3", "I4", "I5", "I6", "I7", "I8", "I9", "I10", "I11", "all"}
}

// group makes cases of one invariant from functions on a world.
func group(invariant string, runs ...named) []Case {
	cases := make([]Case, len(runs))
	for i, r := range runs {
		cases[i] = Case{invariant, r.name, func(t testing.TB, h Harness) {
			t.Helper()
			r.run(newWorld(t, h))
		}}
	}
	return cases
}

type named struct {
	name string
	run  func(w *world)
}
