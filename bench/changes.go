package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// parallelChanges is how many requests change one session at the same time, as
// those of a page that loads in parts, or of several tabs.
const parallelChanges = 50

// changesRow counts which of many parallel changes to one session are there
// afterwards. Each request sets a value of its own, so that all of them have a
// right to survive.
func changesRow() row {
	return row{
		id: "changes", about: "whether parallel changes to one session are all kept",
		lines: []claim{
			{measure: "50 parallel changes to one session that survive, memory", goal: "50 of 50", correctness: true},
			{measure: "the same, SQLite", goal: "50 of 50", correctness: true},
		},
		measure: func(ctx context.Context, b *bench) ([]outcome, error) {
			half := 0
			return bothStores(ctx, func(libs []library) ([]outcome, error) {
				out, err := survivors(libs, b.scale.repeats, func(done, all int) { b.progress(half*all+done, 2*all) })
				half++
				return []outcome{out}, err
			})
		},
	}
}

// survivors repeats the experiment with each library.
func survivors(libs []library, repeats int, progress func(done, all int)) (outcome, error) {
	var entries []entry
	least := parallelChanges
	for i, lib := range libs {
		var kept []float64
		for repeat := range repeats {
			progress(i*repeats+repeat, len(libs)*repeats)
			n, err := survived(lib)
			if err != nil {
				return outcome{}, fmt.Errorf("%s: %w", lib.name(), err)
			}
			kept = append(kept, float64(n))
			if i == 0 {
				least = min(least, n)
			}
		}
		e := count(lib.name(), kept, "changes")
		e.Text = fmt.Sprintf("%s of %d", digits(mean(kept)), parallelChanges)
		entries = append(entries, e)
	}
	return outcome{
		ours: entries[0], peers: entries[1:], reached: least == parallelChanges,
		ratio: single(entries[0].Median / max(entries[1].Median, 1)),
	}, nil
}

// survived lets the requests of one browser change its session, all of them
// having looked at it before the first has stored anything.
func survived(lib library) (kept int, err error) {
	b := newBrowser()
	if err := b.visit(page(lib, loginStep(fillBytes)), http.MethodGet, "/login"); err != nil {
		return 0, fmt.Errorf("signing in: %w", err)
	}
	var together sync.WaitGroup
	arrived, all := atomic.Int32{}, make(chan struct{})
	for number := range parallelChanges {
		h := page(lib, func(lib library, w http.ResponseWriter, r *http.Request) error {
			if err := readUser(lib, w, r); err != nil {
				return err
			}
			if arrived.Add(1) == parallelChanges {
				close(all)
			}
			select {
			case <-all:
			case <-time.After(10 * time.Second):
				return errors.New("the others did not come")
			}
			return lib.mark(w, r, number)
		})
		// A change that is refused has not survived; there is no need to say more.
		together.Go(func() { _ = b.visit(h, http.MethodGet, "/change") })
	}
	together.Wait()
	err = b.visit(page(lib, func(lib library, _ http.ResponseWriter, r *http.Request) error {
		for number := range parallelChanges {
			if lib.marked(r, number) {
				kept++
			}
		}
		return nil
	}), http.MethodGet, "/")
	return kept, err
}

// bothStores runs an experiment with the libraries that keep sessions in memory,
// and then with those that have a database. The first of each is ours.
func bothStores(ctx context.Context, do func([]library) ([]outcome, error)) (out []outcome, err error) {
	dir, done, err := scratch()
	if err != nil {
		return nil, err
	}
	defer done()
	for _, open := range []func() ([]library, error){
		func() ([]library, error) { return memoryLibraries(dir) },
		func() ([]library, error) { return sqliteLibraries(ctx, dir) },
	} {
		libs, err := open()
		if err != nil {
			return nil, err
		}
		outcomes, err := do(libs)
		if err = errors.Join(err, closeAll(ctx, libs)); err != nil {
			return nil, err
		}
		out = append(out, outcomes...)
	}
	return out, nil
}

func mean(values []float64) (m float64) {
	for _, v := range values {
		m += v / float64(len(values))
	}
	return m
}
