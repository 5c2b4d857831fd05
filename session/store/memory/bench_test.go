package memory_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// The cost of each operation, and of existing, at the number of sessions given
// by the flag. The default is quick; the numbers of PERFORMANCE.md are for
//
//	go test -run '^$' -bench . ./store/memory -sessions 1000000
var benchSessions = flag.String("sessions", "10000", "numbers of sessions for the benchmarks, separated by commas")

var benchStart = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func benchSizes(b *testing.B) (sizes []int) {
	b.Helper()
	for _, s := range strings.Split(*benchSessions, ",") {
		var n int
		if _, err := fmt.Sscan(s, &n); err != nil || n < 1 {
			b.Fatalf("-sessions %q: %q is not a number of sessions", *benchSessions, s)
		}
		sizes = append(sizes, n)
	}
	return sizes
}

// benchRandom returns bytes that look random and cost next to nothing.
func benchRandom(seed, n int) []byte {
	out, x := make([]byte, 0, n+8), uint64(seed)
	for len(out) < n {
		x += 0x9E3779B97F4A7C15
		z := (x ^ x>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		out = binary.BigEndian.AppendUint64(out, z^z>>31)
	}
	return out[:n]
}

func benchHandle(i int) store.Handle { return store.Handle(benchRandom(i, 16)) }

// benchRecord is a signed-in session as the manager makes it, with 100 bytes of
// values.
func benchRecord(i int, agent string) store.Record {
	seen := benchStart.Add(time.Duration(i%1800) * time.Second)
	from := store.Client{Addr: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), Agent: agent}
	return store.Record{
		Handle: benchHandle(i), Verifier: store.Verifier(benchRandom(i, 32)), State: store.Active, Subject: fmt.Sprintf("user-%d", i), Transport: store.Cookie,
		Assurance: store.Assurance{Methods: []string{"pwd"}, At: seen},
		Created:   seen, Seen: seen, Rotated: seen, Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Deadline: seen.Add(12 * time.Hour),
		Wrap: benchRandom(i, 61), First: from, Last: from,
		Parts: []store.Part{{Name: "app", Generation: 1, Sealed: benchRandom(i, 129)}},
	}
}

func benchStore(b *testing.B, n int, agent string) *memory.Store {
	b.Helper()
	s := memory.New()
	for i := range n {
		benchCreate(b, s, i, agent)
	}
	return s
}

func benchCreate(b *testing.B, s *memory.Store, i int, agent string) {
	r := benchRecord(i, agent)
	if _, err := s.Create(context.Background(), store.Creation{Record: r, Now: r.Created}); err != nil {
		b.Fatal(err)
	}
}

// benchLoad loads one of n sessions, in an order that no cache likes.
func benchLoad(b *testing.B, s *memory.Store, n, turn int) store.Record {
	i := int(uint64(turn) * 0x9E3779B97F4A7C15 >> 11 % uint64(n))
	r, err := s.Load(context.Background(), store.Key{Handle: benchHandle(i)}, []string{"app"})
	if err != nil {
		b.Fatal(err)
	}
	return r
}

func BenchmarkStore(b *testing.B) {
	ctx := context.Background()
	for _, n := range benchSizes(b) {
		s := benchStore(b, n, "")
		turn, now := 0, benchStart.Add(29*time.Minute)
		for _, c := range []struct {
			name string
			op   func()
		}{
			{"Load", func() { benchLoad(b, s, n, turn) }},
			{"Touch", func() {
				h := benchHandle(turn % n)
				if err := s.Touch(ctx, "", []store.Touch{{Handle: h, Seen: now.Add(time.Duration(turn) * time.Microsecond)}}); err != nil {
					b.Fatal(err)
				}
			}},
			{"LoadSwap", func() {
				r := benchLoad(b, s, n, turn)
				r.Parts[0].Generation++
				if err := s.Swap(ctx, r, r.Seen); err != nil {
					b.Fatal(err)
				}
			}},
			{"Create", func() { benchCreate(b, s, 1<<40+turn, "") }},
		} {
			b.Run(fmt.Sprintf("%s/sessions=%d", c.name, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					turn++
					c.op()
				}
			})
		}
	}
}

// BenchmarkSize measures what a session takes, and what the garbage collector
// takes for having them around. "agent" adds the user agent of a browser, which
// every record of a real site has.
func BenchmarkSize(b *testing.B) {
	for _, n := range benchSizes(b) {
		for _, c := range []struct{ name, agent string }{
			{"plain", ""}, {"agent", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"},
		} {
			b.Run(fmt.Sprintf("%s/sessions=%d", c.name, n), func(b *testing.B) {
				for range b.N {
					before := benchHeap()
					s := benchStore(b, n, c.agent)
					b.ReportMetric((benchHeap()-before)/float64(n), "B/session")
					began := time.Now()
					runtime.GC()
					b.ReportMetric(float64(time.Since(began).Microseconds())/1000, "gc-ms")
					runtime.KeepAlive(s)
				}
			})
		}
	}
}

func benchHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkStall measures how long lookups take while a tenth of the sessions
// expires and is swept. "quiet" is the same without a sweep, for as long: what
// the machine and the collector do by themselves.
func BenchmarkStall(b *testing.B) {
	for _, n := range benchSizes(b) {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			for range b.N {
				s := benchStore(b, n, "")
				runtime.GC()
				began, swept := time.Now(), make(chan struct{})
				go func() {
					b.ReportMetric(float64(benchSweep(b, s)), "expired")
					close(swept)
				}()
				longest, usual := benchLongest(b, s, n, swept)
				quiet := make(chan struct{})
				time.AfterFunc(time.Since(began), func() { close(quiet) })
				quietLongest, quietUsual := benchLongest(b, s, n, quiet)
				b.ReportMetric(longest, "stall-ms")
				b.ReportMetric(usual, "p99.9-ms")
				b.ReportMetric(quietLongest, "quiet-stall-ms")
				b.ReportMetric(quietUsual, "quiet-p99.9-ms")
			}
		})
	}
}

// benchLongest loads, at least once, until it is told to stop, and returns the
// longest time and the 99.9th percentile, in milliseconds.
func benchLongest(b *testing.B, s *memory.Store, n int, stop <-chan struct{}) (longest, usual float64) {
	took := make([]time.Duration, 0, 1<<22)
	for stopped := false; !stopped; {
		began := time.Now()
		benchLoad(b, s, n, len(took))
		took = append(took, time.Since(began))
		select {
		case <-stop:
			stopped = true
		default:
		}
	}
	slices.Sort(took)
	ms := func(i int) float64 { return float64(took[i].Nanoseconds()) / 1e6 }
	return ms(len(took) - 1), ms(len(took) * 999 / 1000)
}

// benchSweep sweeps as the manager does, at a time when a tenth has expired.
func benchSweep(b *testing.B, s *memory.Store) (expired int) {
	for {
		done, err := s.Sweep(context.Background(), store.Sweeping{Now: benchStart.Add(33 * time.Minute), Max: 1000})
		if err != nil {
			b.Error(err)
			return expired
		}
		expired += len(done.Expired)
		if !done.More {
			return expired
		}
		time.Sleep(time.Millisecond)
	}
}
