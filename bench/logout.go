package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
)

// logoutRow counts logouts that a request undoes which was under way when the
// user signed out, and ends after it: a slow page, a script that polls.
func logoutRow() row {
	return row{
		id: "logout", about: "whether a request in flight undoes a logout",
		lines: []claim{
			{measure: "logouts undone by a writing request in flight, memory", goal: "0 of 1000", correctness: true},
			{measure: "logouts undone by a read-only one, memory", goal: "0 of 1000", correctness: true},
			{measure: "logouts undone by a writing request in flight, SQLite", goal: "0 of 1000", correctness: true},
			{measure: "logouts undone by a read-only one, SQLite", goal: "0 of 1000", correctness: true},
		},
		measure: func(ctx context.Context, b *bench) ([]outcome, error) {
			done := 0
			return bothStores(ctx, func(libs []library) (out []outcome, err error) {
				for _, writes := range []bool{true, false} {
					o, err := undoneLogouts(ctx, b, libs, writes)
					if err != nil {
						return nil, err
					}
					done++
					b.progress(done, 4)
					out = append(out, o)
				}
				return out, nil
			})
		},
	}
}

// undoneLogouts tries each library, ours more often.
func undoneLogouts(ctx context.Context, b *bench, libs []library, writes bool) (outcome, error) {
	var out outcome
	for i, lib := range libs {
		trials := b.scale.trials
		if i > 0 {
			trials = b.scale.peerTrials
		}
		undone, err := countUndone(ctx, lib, writes, trials)
		if err != nil {
			return out, fmt.Errorf("%s: %w", lib.name(), err)
		}
		e := entry{lib.name(), single(float64(undone)), "logouts", fmt.Sprintf("%d of %d", undone, trials)}
		if i > 0 {
			out.peers = append(out.peers, e)
			continue
		}
		out.ours, out.reached = e, undone == 0
	}
	return out, nil
}

// countUndone runs the trials, several at a time.
func countUndone(ctx context.Context, lib library, writes bool, trials int) (int, error) {
	const workers = 16
	var left, undone atomic.Int64
	left.Store(int64(trials))
	errs, all := make([]error, workers), sync.WaitGroup{}
	for w := range workers {
		all.Go(func() {
			for left.Add(-1) >= 0 && errs[w] == nil && ctx.Err() == nil {
				back, err := undoneLogout(lib, writes)
				if back {
					undone.Add(1)
				}
				errs[w] = err
			}
		})
	}
	all.Wait()
	return int(undone.Load()), errors.Join(errors.Join(errs...), ctx.Err())
}

// undoneLogout makes one trial: a request begins, the user signs out, and when
// the answer to that is there, the request goes on and ends. It reports whether
// somebody is signed in afterwards: the browser, with the cookies that both
// answers have left it, or, where sessions live on the server, whoever has a copy
// of the cookie from before.
func undoneLogout(lib library, writes bool) (bool, error) {
	b := newBrowser()
	if err := b.visit(page(lib, loginStep(fillBytes)), http.MethodGet, "/login"); err != nil {
		return false, fmt.Errorf("signing in: %w", err)
	}
	if err := b.visit(page(lib, func(lib library, _ http.ResponseWriter, r *http.Request) error {
		token, err := lib.formToken(r)
		b.setToken(token)
		return err
	}), http.MethodGet, "/form"); err != nil {
		return false, fmt.Errorf("opening the form: %w", err)
	}
	before := b.copy()

	entered, goOn, ended := make(chan error, 1), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		err := b.visit(page(lib, func(lib library, w http.ResponseWriter, r *http.Request) error {
			entered <- readUser(lib, w, r)
			<-goOn
			if writes {
				return lib.setBytes(w, r, sampleBytes()[1])
			}
			return nil
		}), http.MethodGet, "/slow")
		select {
		case entered <- err: // it has not come to the handler
		default:
		}
	}()
	err := <-entered
	if err == nil {
		err = b.visit(page(lib, func(lib library, w http.ResponseWriter, r *http.Request) error {
			return lib.logout(w, r)
		}), http.MethodPost, "/logout")
	}
	close(goOn)
	<-ended
	if err != nil {
		return false, fmt.Errorf("signing out: %w", err)
	}
	signedIn := func(b *browser) bool { return b.visit(page(lib, readUser), http.MethodGet, "/") == nil }
	return signedIn(b) || lib.onServer() && signedIn(before), nil
}
