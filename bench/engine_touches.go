package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"github.com/alexedwards/scs/v2"
)

// touchRate is how many requests a second the row about touches sends.
const touchRate = 10_000

// touchesRow asks how often a node with much traffic writes down that sessions are
// used: requests to random sessions of very many, at a steady rate, as the clock of
// that traffic has it. Every session owes that about once a minute.
func touchesRow(e engine) row {
	return row{
		id: e.id + "-touches", about: fmt.Sprintf("how often last-seen times are written to %s at %d requests/s", e.name, touchRate), engine: true,
		lines: []claim{{
			measure: fmt.Sprintf("%s: requests that cause a statement besides their load, %d/s over %s sessions", e.name, touchRate, "100 000"),
			goal:    "≤ 1 %",
		}},
		measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
			p, err := b.place(ctx, e)
			if err != nil {
				return nil, err
			}
			c, err := e.ours(ctx, p, e.near)
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, c.close(ctx)) }()
			o, err := b.touches(ctx, c)
			if err != nil {
				return nil, err
			}
			peer, err := b.peerWrites(ctx, e)
			if err != nil {
				return nil, err
			}
			o.peers = []entry{peer}
			o.ratio = single(o.ours.Median / peer.Median)
			return []outcome{o}, nil
		},
	}
}

// touchCounter counts what is asked of a store besides loads.
type touchCounter struct {
	store.Store
	statements, touched atomic.Int64
}

// Touch implements [store.Store].
func (c *touchCounter) Touch(ctx context.Context, namespace string, touches []store.Touch) error {
	c.statements.Add(1)
	c.touched.Add(int64(len(touches)))
	return c.Store.Touch(ctx, namespace, touches)
}

// Swap implements [store.Store].
func (c *touchCounter) Swap(ctx context.Context, r store.Record, now time.Time) error {
	c.statements.Add(1)
	return c.Store.Swap(ctx, r, now)
}

// touches signs everybody in within a minute and then sends requests for some
// seconds.
func (b *bench) touches(ctx context.Context, c *cloakroom) (out outcome, err error) {
	counter, n, start := &touchCounter{Store: c.store}, b.scale.touchSessions, time.Now()
	if err := c.m.Close(ctx); err != nil {
		return out, err
	}
	clock := newFillClock(start)
	if c.m, err = newManager(counter, clock.Now); err != nil {
		return out, err
	}
	cookies := newTickets(n, len("__Host-id=")+64)
	if err := logins(c, n, writers, b.progress, func(i int) {
		clock.set(start.Add(time.Minute * time.Duration(i) / time.Duration(n)))
	}, func(i int, _ *session.Session, cookie string) error { return cookies.set(i, cookie) }); err != nil {
		return out, err
	}
	counter.statements.Store(0)
	counter.touched.Store(0)
	clock.set(start.Add(time.Minute))
	// The time of the traffic passes as fast as the requests are served: a slow
	// machine takes longer for the same.
	requests, began := int(b.scale.touchTime.Seconds()*touchRate), time.Now()
	err = inWorkers(writers, requests, b.progress, func(next func() (int, bool)) error {
		h, w := page(c, func(lib library, _ http.ResponseWriter, r *http.Request) error {
			if lib.user(r) == "" {
				return errAnswer
			}
			return nil
		}), newAnswer()
		base, err := newBrowser().request(http.MethodGet, "/")
		if err != nil {
			return err
		}
		for i, ok := next(); ok; i, ok = next() {
			clock.set(start.Add(time.Minute + time.Duration(i)*time.Second/touchRate))
			who, r := rand.N(n), base.Clone(ctx)
			r.RemoteAddr = addressOf(who) // one who has moved is written down by himself
			r.Header["User-Agent"], r.Header["Cookie"] = []string{agents()[who%len(agents())]}, []string{cookies.get(who)}
			w.reset()
			h.ServeHTTP(w, r)
			if w.status >= 400 {
				return fmt.Errorf("got status %d: %s", w.status, w.body)
			}
		}
		return nil
	})
	if err != nil {
		return out, err
	}
	took := time.Since(began)
	if err := c.m.Close(ctx); err != nil { // what waits is written now
		return out, err
	}
	share := float64(counter.statements.Load()) / float64(requests) * 100
	out.ours, out.reached = entry{c.label, single(share), "%", digits(share) + " %"}, share <= 1
	out.note = fmt.Sprintf("%d sessions, %s of that traffic served within %s; %d last-seen times went out in %d statements",
		n, b.scale.touchTime, took.Round(100*time.Millisecond), counter.touched.Load(), counter.statements.Load())
	return out, nil
}

// peerWrites counts how many of the first peer's reading requests write.
func (b *bench) peerWrites(ctx context.Context, e engine) (out entry, err error) {
	lib, _, err := b.openOne(ctx, e, e.peers[0])
	if err != nil {
		return out, err
	}
	defer func() { err = errors.Join(err, lib.close(ctx)) }()
	l := lib.(*scsLibrary)
	commits := &commitCounter{Store: l.m.Store}
	l.m.Store = commits
	all, err := signIn(lib)
	if err != nil {
		return out, err
	}
	commits.count.Store(0)
	const requests = 200
	if err := readAll(lib, all, requests, func() error { return nil }); err != nil {
		return out, err
	}
	share := float64(commits.count.Load()) / requests * 100
	return entry{lib.name(), single(share), "%", digits(share) + " %"}, nil
}

// commitCounter counts what scs stores.
type commitCounter struct {
	scs.Store
	count atomic.Int64
}

var _ scs.CtxStore = (*commitCounter)(nil)

// FindCtx implements [scs.CtxStore].
func (c *commitCounter) FindCtx(ctx context.Context, token string) ([]byte, bool, error) {
	if s, ok := c.Store.(scs.CtxStore); ok {
		return s.FindCtx(ctx, token)
	}
	return c.Store.Find(token)
}

// CommitCtx implements [scs.CtxStore].
func (c *commitCounter) CommitCtx(ctx context.Context, token string, b []byte, expiry time.Time) error {
	c.count.Add(1)
	if s, ok := c.Store.(scs.CtxStore); ok {
		return s.CommitCtx(ctx, token, b, expiry)
	}
	return c.Store.Commit(token, b, expiry)
}

// DeleteCtx implements [scs.CtxStore].
func (c *commitCounter) DeleteCtx(ctx context.Context, token string) error {
	if s, ok := c.Store.(scs.CtxStore); ok {
		return s.DeleteCtx(ctx, token)
	}
	return c.Store.Delete(token)
}
