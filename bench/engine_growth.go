package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom.example/session"
)

// smallStore has so many live sessions.
const smallStore = 10_000

// engineGrowthRow compares requests to a database with very many live sessions with
// those to a small one. Both are on one server, which does not flush each commit
// here: filling it takes long enough.
func engineGrowthRow(e engine) row {
	limit := 1.5
	if e.id == "redis" {
		limit = 1.3
	}
	e.id, e.options.Unsynced = e.id+"-large", true
	return row{
		id: e.id, about: fmt.Sprintf("a request at a million live sessions in %s, compared with ten thousand", e.name), engine: true,
		lines: []claim{{measure: fmt.Sprintf("%s: request at 10⁶ live sessions against 10⁴", e.name), goal: fmt.Sprintf("≤ %v×", limit)}},
		measure: func(ctx context.Context, b *bench) ([]outcome, error) {
			var out outcome
			for i, fill := range []func(context.Context, place, int) (site, error){b.oursWith(e), b.peerWith(e)} {
				small, large, name, err := b.growthOf(ctx, e, fill)
				if err != nil {
					return nil, err
				}
				s := spreadOf(ratios(large, small))
				n := entry{name, s, "×", digits(s.Median) + "×"}
				if i > 0 {
					out.peers = append(out.peers, n)
					continue
				}
				out.ours, out.ratio, out.shown, out.reached = n, s, times(s), s.Median <= limit
				out.note = fmt.Sprintf("median request %s µs at %d sessions, %s µs at %d", digits(spreadOf(small).Median/1e3),
					min(smallStore, b.scale.largeStore), digits(spreadOf(large).Median/1e3), b.scale.largeStore)
			}
			return []outcome{out}, nil
		},
	}
}

// site is a library with sessions, and browsers that have some of them.
type site struct {
	lib     library
	holders contender
}

// growthOf measures one library with few sessions and with many.
func (b *bench) growthOf(ctx context.Context, e engine, fill func(context.Context, place, int) (site, error)) (small, large []float64, name string, err error) {
	var cs []contender
	for i, n := range []int{min(smallStore, b.scale.largeStore), b.scale.largeStore} {
		p, err := b.place(ctx, e)
		if err != nil {
			return nil, nil, "", err
		}
		s, err := fill(ctx, p, n)
		if err != nil {
			return nil, nil, "", err
		}
		defer func() { err = errors.Join(err, s.lib.close(ctx)) }()
		name, s.holders.name = s.lib.name(), fmt.Sprint("site ", i)
		cs = append(cs, s.holders)
	}
	// By the clock, not by processor time: what is compared waits for a server.
	measured, err := alternate(ctx, schedule{rounds: b.scale.rounds, batch: b.scale.batch, clock: wallClock(), littered: true}, b.progress, cs...)
	if err != nil {
		return nil, nil, "", err
	}
	return measured[cs[0].name].nanoseconds, measured[cs[1].name].nanoseconds, name, nil
}

// oursWith fills ours by real logins. The clock stands still: no request owes a
// touch.
func (b *bench) oursWith(e engine) func(context.Context, place, int) (site, error) {
	return func(ctx context.Context, p place, n int) (s site, err error) {
		c, err := e.ours(ctx, p, false)
		if err != nil {
			return s, err
		}
		if err := c.m.Close(ctx); err != nil {
			return s, errors.Join(err, c.release(ctx))
		}
		if c.m, err = newManager(c.store, newFillClock(time.Now()).Now); err != nil {
			return s, errors.Join(err, c.release(ctx))
		}
		all := newTickets(min(n, sampled), len("__Host-id=")+64)
		order := shuffled(all.count())
		err = logins(c, n, writers, b.progress, func(int) {}, func(i int, _ *session.Session, cookie string) error {
			if i >= all.count() {
				return nil
			}
			return all.set(order[i], cookie)
		})
		if err != nil {
			return s, errors.Join(err, c.close(ctx))
		}
		return site{c, ticketHolders(c, all)}, nil
	}
}

// peerWith does the same for the second peer, scs without an idle timeout: the
// first one would write with each request.
func (b *bench) peerWith(e engine) func(context.Context, place, int) (site, error) {
	return func(ctx context.Context, p place, n int) (s site, err error) {
		lib, err := e.peers[1](ctx, p)
		if err != nil {
			return s, err
		}
		l := lib.(*scsLibrary)
		all := newTickets(min(n, sampled), len("session=")+43)
		order, later := shuffled(all.count()), time.Now().Add(12*time.Hour)
		err = scsSessions(l.m, n, writers, b.progress, func(int) time.Time { return later }, func(i int, token string) error {
			if i >= all.count() {
				return nil
			}
			return all.set(order[i], "session="+token)
		})
		if err != nil {
			return s, errors.Join(err, l.close(ctx))
		}
		return site{l, ticketHolders(l, all)}, nil
	}
}
