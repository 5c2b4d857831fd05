package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"time"
)

// contender is one of those that are compared.
type contender struct {
	name string
	// serve handles n requests.
	serve func(n int) error
	// least is the smallest batch that is like a large one. Zero means one.
	least int
}

// schedule says how long is measured.
type schedule struct {
	rounds int
	batch  time.Duration // of one contender in one round
	// clock is read before and after each batch.
	clock func() time.Duration
	// littered leaves the garbage of one batch to the next: with very many
	// sessions about, collecting takes longer than measuring.
	littered bool
	// procs is GOMAXPROCS meanwhile; zero leaves it alone.
	procs int
}

// samples are what one contender took in each round, per request.
type samples struct {
	nanoseconds []float64
	allocations []float64
}

// alternate lets the contenders take turns: in each round each of them has one
// short batch, in a new random order. What slows the machine for a while slows
// all of them, and cancels in the comparison within the round.
func alternate(ctx context.Context, s schedule, progress func(done, all int), cs ...contender) (map[string]samples, error) {
	if s.procs > 0 {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(s.procs))
	}
	sizes, out := make([]int, len(cs)), make(map[string]samples)
	for i, c := range cs {
		n, err := calibrate(s, c)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", c.name, err)
		}
		sizes[i] = n
	}
	for round := range s.rounds {
		progress(round, s.rounds)
		for _, i := range rand.Perm(len(cs)) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			took, allocations, err := timed(s, cs[i], sizes[i])
			if err != nil {
				return nil, fmt.Errorf("%s: %w", cs[i].name, err)
			}
			c := out[cs[i].name]
			c.nanoseconds = append(c.nanoseconds, float64(took.Nanoseconds())/float64(sizes[i]))
			c.allocations = append(c.allocations, float64(allocations)/float64(sizes[i]))
			out[cs[i].name] = c
		}
	}
	return out, nil
}

// timed runs one batch. Usually it begins without garbage of others, so that each
// pays for its own.
func timed(s schedule, c contender, n int) (took time.Duration, allocations uint64, err error) {
	if !s.littered {
		runtime.GC()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := s.clock()
	err = c.serve(n)
	took = s.clock() - began
	runtime.ReadMemStats(&after)
	return took, after.Mallocs - before.Mallocs, err
}

// calibrate returns how many requests make a batch, and warms up.
func calibrate(s schedule, c contender) (n int, err error) {
	for n = max(1, c.least); ; n *= 2 {
		began := time.Now()
		if err := c.serve(n); err != nil {
			return 0, err
		}
		if took := time.Since(began); took >= s.batch/4 {
			return max(1, c.least, int(float64(n)*float64(s.batch)/float64(took))), nil
		}
	}
}

// spread is a median with its quartiles.
type spread struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func spreadOf(values []float64) spread {
	sorted := slices.Sorted(slices.Values(values))
	at := func(q float64) float64 {
		if len(sorted) == 0 {
			return 0
		}
		place := q * float64(len(sorted)-1)
		low, part := int(place), place-math.Floor(place)
		high := min(low+1, len(sorted)-1)
		return sorted[low] + part*(sorted[high]-sorted[low])
	}
	return spread{Median: at(0.5), Low: at(0.25), High: at(0.75)}
}

// single is the spread of one number.
func single(v float64) spread { return spread{v, v, v} }

// above returns what each round took more than the same round of another. A
// round that took less shows noise, not a profit.
func above(values, base []float64) []float64 {
	out := make([]float64, len(values))
	for i := range values {
		out[i] = max(0, values[i]-base[i])
	}
	return out
}

// ratios divides round by round.
func ratios(values, by []float64) []float64 {
	out := make([]float64, len(values))
	for i := range values {
		out[i] = values[i] / max(by[i], 1e-9)
	}
	return out
}
