package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"github.com/alexedwards/scs/v2/memstore"
)

// footprint is what a child has found.
type footprint struct {
	Bytes    float64   `json:"bytes"`    // of heap for each session
	GC       []float64 `json:"gc"`       // milliseconds of forced collections
	Stall    stall     `json:"stall"`    // while a tenth expires
	Quiet    stall     `json:"quiet"`    // for as long, while nothing expires
	Expired  int       `json:"expired"`  // sessions
	Sessions int       `json:"sessions"` // in all
}

// sessionsRow asks what very many sessions take: memory, and time in which nobody
// is served, because the garbage collector looks at all of them or because a
// tenth of them has expired and is removed.
func sessionsRow() row {
	return row{
		id: "memory", about: "what a million sessions take: memory, collections, lookups while they expire",
		lines: []claim{
			{measure: "memory per session, 10⁶ sessions, all fields filled, 100 B payload", goal: "≤ 400 B heap"},
			{measure: "the same: a forced garbage collection", goal: "≤ 10 ms"},
			{measure: "the same: longest lookup while 10 % expire", goal: "≤ 2 ms"},
		},
		measure: func(ctx context.Context, b *bench) ([]outcome, error) {
			names := []string{"cloakroom", "scs"}
			found := make(map[string][]footprint)
			for repeat := range b.scale.footprints {
				for i, name := range inTurn(names, repeat) {
					step := repeat*len(names) + i
					part := func(done, all int) { b.progress(step*all+done, all*len(names)*b.scale.footprints) }
					f, err := askChild[footprint](ctx, part, "memory", name, strconv.Itoa(b.scale.sessions))
					if err != nil {
						return nil, fmt.Errorf("%s: %w", name, err)
					}
					found[name] = append(found[name], f)
				}
			}
			return footprintOutcomes(found), nil
		},
	}
}

func footprintOutcomes(found map[string][]footprint) []outcome {
	out := []outcome{
		footprintOutcome(found, "B", 400, func(f footprint) []float64 { return []float64{f.Bytes} }),
		footprintOutcome(found, "ms", 10, func(f footprint) []float64 { return f.GC }),
		footprintOutcome(found, "ms", 2, func(f footprint) []float64 { return []float64{f.Stall.Longest} }),
	}
	out[2].note = stallNote(found["cloakroom"])
	return out
}

// footprintOutcome compares one property of a footprint; ours is at most limit.
func footprintOutcome(found map[string][]footprint, unit string, limit float64, property func(footprint) []float64) outcome {
	entryOf := func(name string) entry {
		var values []float64
		for _, f := range found[name] {
			values = append(values, property(f)...)
		}
		e := count(name, values, unit)
		e.Text += " " + unit
		return e
	}
	out := outcome{ours: entryOf("cloakroom"), peers: []entry{entryOf("scs")}}
	out.ratio = single(out.ours.Median / max(out.peers[0].Median, 1e-9))
	out.shown, out.reached = fraction(out.ratio), out.ours.Median <= limit
	if n := found["cloakroom"][0].Sessions; n != 1_000_000 {
		out.note = fmt.Sprintf("measured with %d sessions", n)
	}
	return out
}

func stallNote(found []footprint) string {
	median := func(value func(footprint) float64) string {
		var values []float64
		for _, f := range found {
			values = append(values, value(f))
		}
		return digits(spreadOf(values).Median)
	}
	return fmt.Sprintf("longest of %s lookups, without what others took of the processor (with it, %s ms); "+
		"in a time as long in which nothing expired: %s ms",
		median(func(f footprint) float64 { return float64(f.Stall.Lookups) }),
		median(func(f footprint) float64 { return f.Stall.Raw }),
		median(func(f footprint) float64 { return f.Quiet.Longest }))
}

// memoryChild measures one library and prints a footprint.
func memoryChild(ctx context.Context, name string, n int, tell *teller) (err error) {
	var f footprint
	switch name {
	case "cloakroom":
		f, err = cloakroomFootprint(ctx, n, tell)
	case "scs":
		f, err = scsFootprint(n, tell)
	default:
		err = fmt.Errorf("no library is called %q", name)
	}
	if err != nil {
		return err
	}
	f.Sessions = n
	return tell.answer(f)
}

// cloakroomFootprint signs users in over half an hour, which is the idle timeout,
// and looks three minutes later, when a tenth of them has expired.
func cloakroomFootprint(ctx context.Context, n int, tell *teller) (f footprint, err error) {
	const window = 30 * time.Minute
	start := time.Now()
	clock := newFillClock(start)
	handles := make([]store.Handle, n)
	before := heap()
	c, err := newCloakroomMemory(clock.Now)
	if err != nil {
		return f, err
	}
	err = logins(c, n, runtime.GOMAXPROCS(0), tell.progress, func(i int) {
		clock.set(start.Add(window * time.Duration(i) / time.Duration(n)))
	}, func(i int, s *session.Session, _ string) error {
		handles[i] = s.Handle()
		return nil
	})
	if err != nil {
		return f, errors.Join(err, c.close(ctx))
	}
	f.Bytes, f.GC = (heap()-before)/float64(n), collections()
	// From here on nobody but us sweeps.
	if err := c.m.Close(ctx); err != nil {
		return f, err
	}
	lookup := func() error {
		_, err := c.store.Load(ctx, store.Key{Handle: handles[rand.N(n)]}, []string{"app"})
		return err
	}
	now := start.Add(window + window/10)
	err = f.stalls(lookup, func() (int, error) { return sweep(ctx, c.store.(store.Sweeper), now) })
	runtime.KeepAlive(c)
	return f, err
}

// sweep ends what has expired as the manager does, in bounded batches with pauses
// between them.
func sweep(ctx context.Context, s store.Sweeper, now time.Time) (expired int, err error) {
	for {
		done, err := s.Sweep(ctx, store.Sweeping{Now: now, Max: 1000})
		if err != nil {
			return expired, err
		}
		expired += len(done.Expired)
		if !done.More {
			return expired, nil
		}
		time.Sleep(time.Millisecond)
	}
}

// scsFootprint stores the same sessions, and lets the last tenth expire. How often
// the store cleans up makes no difference to how long it takes.
func scsFootprint(n int, tell *teller) (f footprint, err error) {
	every, soon := 2*time.Second, time.Second
	if n < 100_000 {
		every, soon = every/10, soon/10 // there is less to clean up
	}
	all := newTickets(n, 43)
	before := heap()
	l := newSCS(scsIdle)
	l.m.Store = memstore.NewWithCleanupInterval(every)
	later := time.Now().Add(scsIdle)
	if err := scsSessions(l.m, n, runtime.GOMAXPROCS(0), tell.progress, func(int) time.Time { return later }, all.set); err != nil {
		return f, err
	}
	f.Bytes, f.GC = (heap()-before)/float64(n), collections()
	lookup := func() error {
		_, _, err := l.m.Store.Find(all.get(rand.N(n)))
		return err
	}
	err = f.stalls(lookup, func() (int, error) {
		due := time.Now().Add(soon)
		for i := n - n/10; i < n; i++ {
			encoded, _, err := l.m.Store.Find(all.get(i))
			if err == nil {
				err = l.m.Store.Commit(all.get(i), encoded, due)
			}
			if err != nil {
				return 0, err
			}
		}
		time.Sleep(time.Until(due) + every + every/4) // within this the store cleans up once
		return n / 10, nil
	})
	runtime.KeepAlive(l)
	return f, err
}

// heap returns the bytes that are in use.
func heap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// collections returns how long forced collections take, in milliseconds.
func collections() (all []float64) {
	for range 7 {
		began := time.Now()
		runtime.GC()
		all = append(all, float64(time.Since(began).Nanoseconds())/1e6)
	}
	slices.Sort(all)
	return all
}
