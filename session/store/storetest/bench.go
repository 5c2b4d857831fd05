package storetest

import (
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session/store"
)

// RunBenchmarks measures the operations that requests cause, each from parallel
// callers and over a thousand sessions, as subbenchmarks of b.
func RunBenchmarks(b *testing.B, h Harness) {
	b.Run("Load", func(b *testing.B) { benchmark(b, h, benchLoad) })
	b.Run("Touch64", func(b *testing.B) { benchmark(b, h, benchTouch) })
	b.Run("Swap", func(b *testing.B) { benchmark(b, h, benchSwap) })
	b.Run("CreateRevoke", func(b *testing.B) { benchmark(b, h, benchCreateRevoke) })
}

// sessionsInBench is more than fit into any processor cache line by accident,
// and few enough to be made in no time.
const sessionsInBench = 1024

// benchmark makes sessions and calls one of the functions below in parallel,
// each time with a number of its own.
func benchmark(b *testing.B, h Harness, run func(w *world, rs []store.Record, n uint64)) {
	w := newWorld(b, h)
	rs := make([]store.Record, sessionsInBench)
	for i := range rs {
		rs[i] = w.create("user", func(r *store.Record) {
			r.Subject += r.Handle.String()
			r.Parts[0].Sealed = make([]byte, 1024)
		})
	}
	b.ReportAllocs()
	b.ResetTimer()
	var calls atomic.Uint64
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			run(w, rs, calls.Add(1))
		}
	})
}

func benchLoad(w *world, rs []store.Record, n uint64) {
	if _, err := w.s().Load(w.Context(), rs[n%sessionsInBench].Key(), []string{"app"}); err != nil {
		w.Errorf("Load: %v", err)
	}
}

func benchTouch(w *world, rs []store.Record, n uint64) {
	touches := make([]store.Touch, 64)
	for i := range touches {
		// Time passes slowly enough for the sessions not to expire.
		touches[i] = store.Touch{Handle: rs[(n*64+uint64(i))%sessionsInBench].Handle, Seen: at(time.Duration(n))}
	}
	if err := w.s().Touch(w.Context(), w.ns, touches); err != nil {
		w.Errorf("Touch: %v", err)
	}
}

// benchSwap loads too, for there is no Swap without a version.
func benchSwap(w *world, rs []store.Record, n uint64) {
	r, err := w.s().Load(w.Context(), rs[n%sessionsInBench].Key(), nil)
	if err != nil {
		w.Errorf("Load: %v", err)
	}
	r.Parts = []store.Part{{Name: "app", Generation: n, Sealed: rs[0].Parts[0].Sealed}}
	if err := w.s().Swap(w.Context(), r, at(0)); err != nil {
		w.is("Swap", err, store.ErrConflict)
	}
}

func benchCreateRevoke(w *world, _ []store.Record, _ uint64) {
	r := w.session("guest")
	r.Subject += r.Handle.String()
	if _, err := w.s().Create(w.Context(), creation(r)); err != nil {
		w.Errorf("Create: %v", err)
	}
	if _, err := w.s().Revoke(w.Context(), w.revocation(store.Revocation{Handle: r.Handle})); err != nil {
		w.Errorf("Revoke: %v", err)
	}
}
