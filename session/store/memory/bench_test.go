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

// The cost of each operation, and of existing, at the numbers of sessions given by
// the flag. The default is quick; what docs/design.md says of this store is
// measured with
//
//	go test -run '^$' -bench . ./store/memory -sessions 10000,1000000,10000000
//
// which takes some minutes and 8 GB. Single operations are measured one at a time:
// add -cpu 1, and compare runs that alternate, because machines are noisy.
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

// benchMix returns a number that looks random and costs next to nothing.
func benchMix(seed uint64) uint64 {
	z := (seed ^ seed>>30) * 0xBF58476D1CE4E5B9
	z = (z ^ z>>27) * 0x94D049BB133111EB
	return z ^ z>>31
}

// benchRandom appends such bytes.
func benchRandom(seed uint64, n int) []byte {
	out := make([]byte, 0, n+8)
	for len(out) < n {
		seed += 0x9E3779B97F4A7C15
		out = binary.BigEndian.AppendUint64(out, benchMix(seed))
	}
	return out[:n:n]
}

func benchHandle(i int) store.Handle {
	var h store.Handle
	binary.BigEndian.PutUint64(h[:], benchMix(uint64(2*i+1)*0x9E3779B97F4A7C15))
	binary.BigEndian.PutUint64(h[8:], benchMix(uint64(2*i+2)*0x9E3779B97F4A7C15))
	return h
}

// benchAgents are what the browsers of most people say.
func benchAgents() []string {
	const chrome = "(KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"
	return []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 " + chrome,
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 " + chrome + " Edg/142.0.0.0",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 " + chrome,
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 " + chrome,
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/142.0.7444.77 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (iPad; CPU OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
		"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
	}
}

// benchAddr is one IPv4 address of three, two IPv6 ones.
func benchAddr(x uint64) netip.Addr {
	if x%3 == 0 {
		return netip.AddrFrom16([16]byte(append([]byte{0x20, 1, 0x0d, 0xb8}, benchRandom(x, 12)...)))
	}
	return netip.AddrFrom4([4]byte(benchRandom(x, 4)))
}

// benchSite makes sessions as a site has them.
type benchSite struct{ agents []string }

// record is a session after a login, with all that the manager fills in and 100
// bytes of values. One in four has moved to another address since.
func (site benchSite) record(i int) store.Record {
	x := benchMix(uint64(i))
	seen := benchStart.Add(time.Duration(i%1800)*time.Second + time.Duration(x%1e9))
	random := benchRandom(x, 32+61+129)
	assurance := store.Assurance{Methods: []string{"pwd"}, Level: 1, At: seen, Role: "customer"}
	switch i % 10 {
	case 0:
		assurance = store.Assurance{Methods: []string{"pwd", "otp"}, Level: 2, At: seen, Role: "editor"}
	case 1:
		assurance = store.Assurance{Methods: []string{"hwk", "user"}, Level: 2, At: seen, Role: "customer"}
	}
	first := store.Client{Addr: benchAddr(x), Agent: site.agents[x>>8%uint64(len(site.agents))]}
	last := first
	if i%4 == 0 {
		last.Addr = benchAddr(x + 1)
	}
	return store.Record{
		Handle: benchHandle(i), Verifier: store.Verifier(random[:32]),
		State: store.Active, Subject: fmt.Sprintf("user-%d", i), Assurance: assurance, Transport: store.Cookie,
		Created: seen, Seen: seen, Rotated: seen, Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Deadline: seen.Add(12 * time.Hour),
		Wrap: random[32:93:93], First: first, Last: last,
		Parts: []store.Part{{Name: "app", Generation: 1, Sealed: random[93:]}},
	}
}

func (site benchSite) create(b *testing.B, s *memory.Store, i int) {
	r := site.record(i)
	if _, err := s.Create(context.Background(), store.Creation{Record: r, Now: r.Created}); err != nil {
		b.Fatal(err)
	}
}

// benchStore returns a store with n sessions.
func benchStore(b *testing.B, n int) *memory.Store {
	b.Helper()
	s, site := memory.New(), benchSite{benchAgents()}
	for i := range n {
		site.create(b, s, i)
	}
	return s
}

// benchTurn picks one of n sessions, in an order that no cache likes.
func benchTurn(turn, n int) store.Handle {
	return benchHandle(int(benchMix(uint64(turn)) % uint64(n)))
}

func benchLoad(b *testing.B, s *memory.Store, h store.Handle, parts ...string) store.Record {
	r, err := s.Load(context.Background(), store.Key{Handle: h}, parts)
	if err != nil {
		b.Fatal(err)
	}
	return r
}

// BenchmarkOperation measures what requests cause. "Load" is the one of every
// request, "LoadHead" one that asks for no values; "Swap" is measured with the Load
// that it needs.
func BenchmarkOperation(b *testing.B) {
	ctx, site := context.Background(), benchSite{benchAgents()}
	for _, n := range benchSizes(b) {
		s := benchStore(b, n)
		turn, now := 0, benchStart.Add(29*time.Minute)
		for _, c := range []struct {
			name string
			op   func()
		}{
			{"Load", func() { benchLoad(b, s, benchTurn(turn, n), "app") }},
			{"LoadHead", func() { benchLoad(b, s, benchTurn(turn, n)) }},
			{"Touch", func() {
				if err := s.Touch(ctx, "", []store.Touch{{Handle: benchTurn(turn, n), Seen: now.Add(time.Duration(turn) * time.Microsecond)}}); err != nil {
					b.Fatal(err)
				}
			}},
			{"LoadSwap", func() {
				r := benchLoad(b, s, benchTurn(turn, n), "app")
				r.Parts[0].Generation++
				if err := s.Swap(ctx, r, r.Seen); err != nil {
					b.Fatal(err)
				}
			}},
			{"Create", func() { site.create(b, s, 1<<30+turn) }},
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

// BenchmarkSize measures what a session takes of the heap, and what the garbage
// collector takes for having them around: the median of several collections.
func BenchmarkSize(b *testing.B) {
	for _, n := range benchSizes(b) {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			for range b.N {
				before := benchHeap()
				s := benchStore(b, n)
				b.ReportMetric((benchHeap()-before)/float64(n), "B/session")
				took := make([]time.Duration, 7)
				for i := range took {
					began := time.Now()
					runtime.GC()
					took[i] = time.Since(began)
				}
				slices.Sort(took)
				b.ReportMetric(benchMilliseconds(took[len(took)/2]), "gc-ms")
				runtime.KeepAlive(s)
			}
		})
	}
}

func benchHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

func benchMilliseconds(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e6 }

// BenchmarkStall measures how long lookups take while a tenth of the sessions
// expires and is swept. "quiet" is the same without a sweep, for as long: what the
// machine and the collector do by themselves.
func BenchmarkStall(b *testing.B) {
	for _, n := range benchSizes(b) {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			for range b.N {
				s := benchStore(b, n)
				runtime.GC()
				began, swept := time.Now(), make(chan struct{})
				go func() {
					b.ReportMetric(float64(benchSweep(b, s, time.Millisecond)), "expired")
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

// BenchmarkSweep measures what a sweep takes for each session that has expired. As
// it lets go of a lock after eight of them, eight times this is how long a lookup
// waits, where the machine has a processor for it.
func BenchmarkSweep(b *testing.B) {
	for _, n := range benchSizes(b) {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			for range b.N {
				s := benchStore(b, n)
				began := time.Now()
				expired := benchSweep(b, s, 0)
				b.ReportMetric(float64(time.Since(began).Nanoseconds())/float64(expired), "ns/expired")
			}
		})
	}
}

// benchLongest loads, at least once, until it is told to stop, and returns the
// longest time and the 99.9th percentile, in milliseconds.
func benchLongest(b *testing.B, s *memory.Store, n int, stop <-chan struct{}) (longest, usual float64) {
	took := make([]time.Duration, 0, 1<<22)
	for stopped := false; !stopped; {
		h, began := benchTurn(len(took), n), time.Now()
		benchLoad(b, s, h, "app")
		took = append(took, time.Since(began))
		select {
		case <-stop:
			stopped = true
		default:
		}
	}
	slices.Sort(took)
	return benchMilliseconds(took[len(took)-1]), benchMilliseconds(took[len(took)*999/1000])
}

// benchSweep sweeps as the manager does, in batches with pauses, at a time when a
// tenth has expired.
func benchSweep(b *testing.B, s *memory.Store, pause time.Duration) (expired int) {
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
		time.Sleep(pause)
	}
}
