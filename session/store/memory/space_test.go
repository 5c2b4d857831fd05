package memory_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// User agents are kept once, as long as there are few, and come back whatever they
// are.
func TestAgents(t *testing.T) {
	s := memory.New()
	agent := func(n, times int) string { return strings.Repeat(fmt.Sprint("agent ", n), times) }
	var all []store.Record
	for i := range 2000 { // more than a shard keeps
		r := active(i, "alice")
		r.Assurance.Tenant = fmt.Sprint("tenant ", i%1000)
		r.First.Agent, r.Last.Agent = agent(i, 10), agent(i%700, 1)
		create(t, s, r)
		all = append(all, r)
	}
	for i := range all {
		same(t, s, all[i])
		r := all[i]
		r.Last.Agent = agent(i+1, 5)
		if err := s.Swap(t.Context(), r, start); err != nil {
			t.Fatal(err)
		}
		r.Version++
		all[i] = r
	}
	for _, r := range all {
		same(t, s, r)
	}
	for _, after := range []time.Duration{time.Hour, 48 * time.Hour} {
		if _, err := s.Sweep(t.Context(), store.Sweeping{Now: start.Add(after), Max: 2 * len(all)}); err != nil {
			t.Fatal(err)
		}
	}
	for _, r := range all {
		r.Version, r.Seen = 1, start.Add(72*time.Hour)
		create(t, s, r) // the handles are free, and the words
		same(t, s, r)
	}
}

// space returns how much the heap grows by for each of n sessions.
func space(t *testing.T, s *memory.Store, n int, session func(i int) store.Record) float64 {
	before := benchHeap()
	for i := range n {
		create(t, s, session(i))
	}
	after := benchHeap()
	runtime.KeepAlive(s)
	return (after - before) / float64(n)
}

// The number is that of BenchmarkSize, and what an empty store takes.
func TestSpace(t *testing.T) {
	site := benchSite{benchAgents()}
	if got := space(t, memory.New(), 30000, site.record); got > 430 {
		t.Errorf("a session takes %.0f bytes, want at most 430", got)
	}
}

// Who sends a new user agent each time takes the space for it, and nothing more;
// and when that has gone, the others are kept once again.
func TestSpaceOfAgents(t *testing.T) {
	const n, size = 20000, 180 // each is a tenant too
	from := func(first, agents int) func(int) store.Record {
		return func(i int) store.Record {
			r := active(first+i, "")
			r.First.Agent = fmt.Sprintf("%0*d", size, first+i%agents)
			r.Last, r.Assurance.Tenant = r.First, r.First.Agent
			return r
		}
	}
	few, many := space(t, memory.New(), n, from(0, 10)), space(t, memory.New(), n, from(0, n))
	if many-few > 2*size+80 || few > size {
		t.Errorf("a session takes %.0f bytes where there are few user agents, and %.0f with one of %d bytes of its own", few, many, size)
	}
	s := memory.New()
	space(t, s, 1000, from(n, 1000))
	sweep(t, s, start.Add(time.Hour))
	sweep(t, s, start.Add(26*time.Hour))
	if again := space(t, s, n, from(0, 10)); again > few*1.1 {
		t.Errorf("a session takes %.0f bytes where there were many user agents, and %.0f where there were not", again, few)
	}
}

// What sessions leave behind when they have gone is room for others.
func TestSpaceIsUsedAgain(t *testing.T) {
	s, now, n := memory.New(), start, 0
	after := func(rounds int) float64 {
		for range rounds {
			now = now.Add(25 * time.Hour)
			for i := range 200 {
				r := active(n, fmt.Sprint("user ", n%7))
				n++
				r.Created, r.Seen, r.Links = now, now, []store.Link{{byte(n)}, {byte(n), byte(n >> 8)}}
				r.First.Agent, r.Label, r.State = fmt.Sprint("browser ", n), "phone", store.State(1+i%3)
				create(t, s, r)
			}
			revoke(t, s, store.Revocation{Subject: "user 1", Now: now})
			revoke(t, s, store.Revocation{Subject: "user 2", Effect: store.EffectShorten, Limit: now.Add(time.Minute), Now: now})
			revoke(t, s, store.Revocation{Link: store.Link{byte(n)}, Now: now})
			revoke(t, s, store.Revocation{Handle: handle(n - 1), Now: now})
			for i := range 100 {
				revoke(t, s, store.Revocation{Subject: fmt.Sprint("nobody ", n+i), Now: now})
			}
			if n%1400 == 0 {
				revoke(t, s, store.Revocation{All: true, Now: now})
			}
			sweep(t, s, now.Add(time.Hour))
		}
		return benchHeap()
	}
	first := after(20)
	if later := after(120); later > first*1.1 {
		t.Errorf("the heap grew from %.0f to %.0f bytes with as many sessions as before", first, later)
	}
	if n, err := s.EstimateAnonymous(t.Context(), ""); n != 0 || err != nil {
		t.Errorf("got %d visitors, error %v, where all have gone", n, err)
	}
}

// What all sessions have grown out of is room for what they grow into.
func TestSpaceOfTheGrowing(t *testing.T) {
	s := memory.New()
	const n, size = 2000, 100 // all in one shard
	before := benchHeap()
	for round := range 40 {
		for i := range n {
			r := active(i, "")
			r.Parts = []store.Part{{Name: "app", Sealed: make([]byte, size+8*round)}}
			if round == 0 {
				create(t, s, r)
				continue
			}
			r.Version = uint64(round)
			if err := s.Swap(t.Context(), r, start); err != nil {
				t.Fatal(err)
			}
		}
	}
	got := (benchHeap() - before) / n
	runtime.KeepAlive(s)
	if got > 4*(size+8*40) {
		t.Errorf("a session with %d bytes that has grown with the others takes %.0f", size+8*40, got)
	}
}

// Nothing of a session's secrets is left in a slab after its end, sealed as they
// are.
func TestNothingIsLeft(t *testing.T) {
	s := memory.New()
	for i, size := range []int{10, 100, 1000, 20000, 70000} {
		r := active(i, "alice")
		r.Wrap, r.Parts = benchRandom(7, 61), []store.Part{{Name: "app", Sealed: benchRandom(8, size)}}
		create(t, s, r)
		if !s.TestOnlyHolds(r.Wrap) {
			t.Fatal("did not find the wrap of a living session")
		}
		to := r
		to.Parts = []store.Part{{Name: "app", Sealed: benchRandom(9, size-7)}}
		if err := s.Swap(t.Context(), to, start); err != nil {
			t.Fatal(err)
		}
		if s.TestOnlyHolds(r.Parts[0].Sealed[size-7:]) {
			t.Errorf("the end of a part of %d bytes is left after another was put in its place", size)
		}
		revoke(t, s, store.Revocation{Handle: r.Handle, Now: start})
		if s.TestOnlyHolds(r.Wrap) || s.TestOnlyHolds(to.Parts[0].Sealed) {
			t.Errorf("the wrap or the part of a session with %d bytes is left after its end", size)
		}
	}
}
