package storetest

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session/store"
)

// world is an empty store with the words in which the cases are written. Its
// methods end the test on an answer that makes the rest of the case pointless.
type world struct {
	testing.TB
	h Harness
	// stores are handles on the same data: one, or two where the harness can.
	stores []store.Store
	ns     string
	serial atomic.Uint64 // numbers sessions, subjects and links
	turns  atomic.Uint64 // numbers races
}

func newWorld(t testing.TB, h Harness) *world {
	t.Helper()
	w := &world{TB: t, h: h, ns: "shop"}
	first := h.Open(t)
	w.stores = []store.Store{first}
	if h.Second != nil {
		w.stores = append(w.stores, h.Second(t, first))
	}
	return w
}

// s is the store that sequential steps go to.
func (w *world) s() store.Store { return w.stores[0] }

// other is a second handle on the same data if there is one, else the first:
// what was acknowledged by one must be seen through the other.
func (w *world) other() store.Store { return w.stores[len(w.stores)-1] }

// at is a moment of the suite's time, with nanoseconds, and far from the wall
// clock so that a store that looks at it is found out.
func at(d time.Duration) time.Time {
	return time.Date(2031, 5, 17, 8, 30, 0, 123456789, time.UTC).Add(d)
}

// digest makes distinct fixed bytes from a number.
func digest(kind string, n uint64) [32]byte {
	return sha256.Sum256(binary.BigEndian.AppendUint64([]byte(kind), n))
}

func handleOf(n uint64) (h store.Handle) {
	d := digest("handle", n)
	copy(h[:], d[:])
	return h
}

func linkOf(n uint64) (l store.Link) {
	d := digest("link", n)
	copy(l[:], d[:])
	return l
}

// session returns a record with a fresh handle that has not been created yet:
// active, of the subject, created at at(0), 30 minutes idle, 12 hours in all.
func (w *world) session(subject string, changes ...func(*store.Record)) store.Record {
	n := w.serial.Add(1)
	wrap := digest("wrap", n)
	r := store.Record{
		Namespace: w.ns, Handle: handleOf(n), Version: 1, Verifier: digest("verifier", n),
		State: store.Active, Subject: subject, Transport: store.Cookie,
		Assurance: store.Assurance{Methods: []string{"pwd"}, Level: 1, At: at(0)},
		Created:   at(0), Seen: at(0), Rotated: at(0),
		Idle: 30 * time.Minute, Deadline: at(12 * time.Hour),
		Wrap:  wrap[:],
		Parts: []store.Part{{Name: "app", Generation: 1, Sealed: fmt.Append(nil, "sealed ", n)}},
	}
	for _, change := range changes {
		change(&r)
	}
	return r
}

// creation wraps a record up for Create at its own time of creation.
func creation(r store.Record) store.Creation { return store.Creation{Record: r, Now: r.Created} }

// create creates a session and returns its record as stored.
func (w *world) create(subject string, changes ...func(*store.Record)) store.Record {
	w.Helper()
	r := w.session(subject, changes...)
	w.mustCreate(creation(r))
	return r
}

func (w *world) mustCreate(c store.Creation) store.Created {
	w.Helper()
	created, err := w.s().Create(w.Context(), c)
	if err != nil {
		w.Fatalf("Create: %v", err)
	}
	return created
}

// refused tries a creation that must fail with the error given, and leave no
// record behind.
func (w *world) refused(c store.Creation, want error) {
	w.Helper()
	_, err := w.s().Create(w.Context(), c)
	w.is("Create", err, want)
	if errors.Is(want, store.ErrExists) {
		return
	}
	if r, err := w.other().Load(w.Context(), c.Record.Key(), nil); !errors.Is(err, store.ErrNotFound) {
		w.Errorf("a refused Create left a record: Load gave version %d, error %v; want ErrNotFound", r.Version, err)
	}
}

// load returns the record, with the part "app" if no others are named.
func (w *world) load(h store.Handle, parts ...string) store.Record {
	w.Helper()
	if parts == nil {
		parts = []string{"app"}
	}
	r, err := w.other().Load(w.Context(), store.Key{Namespace: w.ns, Handle: h}, parts)
	if err != nil {
		w.Fatalf("Load: %v", err)
	}
	return r
}

func (w *world) swap(r store.Record, now time.Time) error {
	return w.s().Swap(w.Context(), r, now)
}

// mustSwap swaps and returns the record with its new version.
func (w *world) mustSwap(r store.Record, now time.Time) store.Record {
	w.Helper()
	if err := w.swap(r, now); err != nil {
		w.Fatalf("Swap at version %d: %v", r.Version, err)
	}
	r.Version++
	return r
}

func (w *world) touch(h store.Handle, seen time.Time) {
	w.Helper()
	if err := w.s().Touch(w.Context(), w.ns, []store.Touch{{Handle: h, Seen: seen}}); err != nil {
		w.Fatalf("Touch: %v", err)
	}
}

// revoke fills in the namespace, and a cause and an initiator where there are
// none, and returns the handles changed.
func (w *world) revoke(v store.Revocation) []store.Handle {
	w.Helper()
	v = w.revocation(v)
	revoked, err := w.s().Revoke(w.Context(), v)
	if err != nil {
		w.Fatalf("Revoke: %v", err)
	}
	return revoked.Changed
}

func (w *world) revocation(v store.Revocation) store.Revocation {
	if v.Namespace == "" {
		v.Namespace = w.ns
	}
	if v.Cause == "" && !v.OnlyExpired {
		v.Cause, v.By = "admin", "root"
	}
	if v.Now.IsZero() {
		v.Now = at(time.Minute)
	}
	return v
}

// is reports an error that is not of the kind wanted, or of two kinds at once.
func (w *world) is(what string, err, want error) {
	w.Helper()
	if !errors.Is(err, want) {
		w.Errorf("%s: got error %v, want %v", what, err, want)
		return
	}
	if kinds := kindsOf(err); len(kinds) != 1 {
		w.Errorf("%s: error %v is of %d kinds, callers can branch on one only: %v", what, err, len(kinds), kinds)
	}
}

func kindsOf(err error) (kinds []error) {
	for _, kind := range []error{store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrLimit,
		store.ErrRevoked, store.ErrUnavailable, store.ErrUnknownOutcome} {
		if errors.Is(err, kind) {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

// same reports fields in which the stored record differs from the one wanted.
func (w *world) same(what string, want store.Record, parts ...string) {
	w.Helper()
	if d := diff(w.load(want.Handle, parts...), want); d != "" {
		w.Errorf("%s: stored record differs:%s", what, d)
	}
}

func (w *world) hasEnded(h store.Handle) bool {
	w.Helper()
	r := w.load(h)
	return r.Ended()
}

// ended reports a session that has not ended with the cause given, or can be
// brought back.
func (w *world) ended(what string, h store.Handle, cause string) {
	w.Helper()
	r := w.load(h)
	if !r.Ended() || r.End.Cause != cause {
		w.Errorf("%s: session %v has end %+v, want cause %q", what, h, r.End, cause)
	}
}

// alive reports a session that has ended.
func (w *world) alive(what string, h store.Handle) {
	w.Helper()
	if w.hasEnded(h) {
		w.Errorf("%s: session %v has ended, want alive", what, h)
	}
}

// absent reports a record that should not exist at all.
func (w *world) absent(what string, k store.Key) {
	w.Helper()
	if _, err := w.other().Load(w.Context(), k, nil); !errors.Is(err, store.ErrNotFound) {
		w.Errorf("%s: Load gave error %v, want ErrNotFound", what, err)
	}
}

// rounds repeats a race, because one that is lost once in ten is lost: at
// least 8 times, and up to 50 times within a quarter of a second.
func (w *world) rounds(race func()) {
	w.Helper()
	began := time.Now()
	for i := range 50 {
		if w.Failed() || i >= 8 && time.Since(began) > 250*time.Millisecond {
			return
		}
		race()
	}
}

// race runs f n times at once, spread over the handles on the data.
func (w *world) race(n int, f func(i int, s store.Store)) {
	runs := make([]func(store.Store), n)
	for i := range runs {
		runs[i] = func(s store.Store) { f(i, s) }
	}
	w.together(runs...)
}

// together runs the functions at once and waits for all of them. The scheduler
// favours whoever was started last, so that each time it is another one.
func (w *world) together(runs ...func(s store.Store)) {
	var all sync.WaitGroup
	start := make(chan struct{})
	turn := int(w.turns.Add(1))
	for i := range runs {
		n := (i + turn) % len(runs)
		all.Go(func() {
			<-start
			runs[n](w.stores[n%len(w.stores)])
		})
	}
	close(start)
	all.Wait()
}

// work is what a request does between loading and storing. Without it, on few
// cores, one racer is often through before the next has begun.
func work(n int) {
	if n%2 == 0 {
		time.Sleep(20 * time.Microsecond)
	}
}

// background returns a context that outlives a cancelled one in a case.
func (w *world) background() context.Context { return context.WithoutCancel(w.Context()) }
