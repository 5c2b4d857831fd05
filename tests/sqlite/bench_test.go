package sqlite_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// BenchmarkLoad reads one of many records with its part, under a context that
// can end, as every request's can. To compare with: the same driver reading one
// column through database/sql, prepared.
func BenchmarkLoad(b *testing.B) {
	const sessions = 10_000
	s, db := openWith(b, file(b), sqlstore.Options{})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			for n := w; n < sessions; n += 16 {
				create(b, s, record(n, fmt.Sprint("user ", n)))
			}
		})
	}
	wg.Wait()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	for _, parts := range [][]string{nil, {"values"}} {
		b.Run(fmt.Sprintf("parts=%d", len(parts)), func(b *testing.B) {
			b.ReportAllocs()
			for n := 0; b.Loop(); n++ {
				if _, err := s.Load(ctx, key(n*7919%sessions), parts); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	b.Run("bare-select", func(b *testing.B) {
		stmt, err := db.PrepareContext(ctx, `SELECT version FROM sessions WHERE namespace = ? AND handle = ?`)
		if err != nil {
			b.Fatal(err)
		}
		defer stmt.Close()
		b.ReportAllocs()
		for n := 0; b.Loop(); n++ {
			var version int64
			if err := stmt.QueryRowContext(ctx, "shop", handle(n*7919%sessions).String()).Scan(&version); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkDurableWrites swaps one part, from 64 goroutines, each write
// acknowledged only when it is on the disk.
func BenchmarkDurableWrites(b *testing.B) {
	for _, mode := range []struct {
		name  string
		batch int
	}{{"grouped", 0}, {"one-transaction-each", 1}} {
		b.Run(mode.name, func(b *testing.B) {
			const writers = 64
			s := open(b, file(b), sqlstore.Options{MaxBatch: mode.batch})
			for n := range writers {
				create(b, s, record(n, fmt.Sprint("user ", n)))
			}
			times := make([][]time.Duration, writers)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ResetTimer()
			var wg sync.WaitGroup
			for n := range writers {
				wg.Go(func() { times[n] = swapUntilNone(b, s, n, &left) })
			}
			wg.Wait()
			b.StopTimer()
			all := slices.Sorted(slices.Values(slices.Concat(times...)))
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
			b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
			b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
		})
	}
}

func swapUntilNone(b *testing.B, s store.Store, n int, left *atomic.Int64) (times []time.Duration) {
	r := record(n, fmt.Sprint("user ", n))
	r.Version = 1
	for left.Add(-1) >= 0 {
		r.Parts[0].Generation++
		began := time.Now()
		if err := s.Swap(b.Context(), r, start()); err != nil {
			b.Error(err)
			return times
		}
		times = append(times, time.Since(began))
		r.Version++
	}
	return times
}
