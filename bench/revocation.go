package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session"
)

// revocationRow asks how long another node goes on believing in a session that was
// revoked on this one, although it answers from copies: from the moment at which
// the revocation was acknowledged, until a request there is refused.
func revocationRow(e engine) row {
	return row{
		id: e.id + "-revoke", about: fmt.Sprintf("how soon another node knows of a revocation, near-caches over %s", e.name), engine: true,
		lines: []claim{
			{measure: fmt.Sprintf("%s: revoked on one node until refused on another with a near-cache, 99th percentile", e.name), goal: "≤ 10 ms"},
			{measure: fmt.Sprintf("%s: the same, longest, while pushes are swallowed on the way", e.name), goal: "≤ 1 s", correctness: true},
		},
		measure: func(ctx context.Context, b *bench) ([]outcome, error) {
			open := func(p place) (library, error) { return e.open(true)(ctx, p) }
			ours, err := b.delays(ctx, e, open, b.scale.trials, nil)
			if err != nil {
				return nil, err
			}
			peer, err := b.delays(ctx, e, func(p place) (library, error) { return e.peers[0](ctx, p) }, b.scale.peerTrials, nil)
			if err != nil {
				return nil, err
			}
			var cutOff []float64
			for range max(1, b.scale.repeats/4) {
				one, err := b.delays(ctx, e, open, 1, func(p *servers.Proxy) { p.Swallow(servers.ToClient) })
				if err != nil {
					return nil, err
				}
				cutOff = append(cutOff, one...)
			}
			return []outcome{
				delayOutcome(ours, 0.99, 10, peer), delayOutcome(cutOff, 1, 1000, peer),
			}, nil
		},
	}
}

// delays lets one node revoke, and returns for how many milliseconds another one
// goes on. Before each revocation, spoil is done to the way that pushes take.
func (b *bench) delays(ctx context.Context, e engine, open func(place) (library, error), trials int, spoil func(*servers.Proxy)) (all []float64, err error) {
	p, err := b.place(ctx, e)
	if err != nil {
		return nil, err
	}
	here, err := open(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, here.close(ctx)) }()
	var proxy *servers.Proxy
	if spoil != nil {
		if proxy, err = servers.NewProxy(p.server.Addr()); err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, proxy.Close()) }()
		p.pushes = proxy.Addr()
	}
	p.joined = true
	there, err := open(p)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, there.close(ctx)) }()
	for i := range trials {
		b.progress(i, trials)
		one, err := delay(ctx, here, there, func() {
			if spoil != nil {
				spoil(proxy)
			}
		})
		if err != nil {
			return nil, err
		}
		all = append(all, float64(one.Nanoseconds())/1e6)
	}
	slices.Sort(all)
	return all, nil
}

// settling is how long a node reads before the revocation, so that it answers from
// a copy.
const settling = 50

// delay is one trial: for how long after the revocation requests came that were not
// refused.
func delay(ctx context.Context, here, there library, spoil func()) (took time.Duration, err error) {
	b := newBrowser()
	var h session.Handle
	if err := b.visit(page(here, func(lib library, w http.ResponseWriter, r *http.Request) error {
		err := lib.login(w, r, customer)
		h = session.From(r.Context()).Handle()
		return err
	}), http.MethodGet, "/login"); err != nil {
		return 0, err
	}
	known := false
	look := page(there, func(lib library, _ http.ResponseWriter, r *http.Request) error {
		known = lib.user(r) == customer
		return nil
	})
	for range settling {
		if err := b.visit(look, http.MethodGet, "/"); err != nil {
			return 0, err
		}
	}
	if !known {
		return 0, errAnswer
	}
	spoil()
	if c, ours := here.(*cloakroom); ours {
		_, err = c.m.Revoke(ctx, h, "bench")
	} else {
		err = b.copy().visit(page(here, func(lib library, w http.ResponseWriter, r *http.Request) error {
			return lib.logout(w, r)
		}), http.MethodGet, "/logout")
	}
	if err != nil {
		return 0, fmt.Errorf("revoking: %w", err)
	}
	for revoked := time.Now(); ; {
		asked := time.Since(revoked)
		if err := b.copy().visit(look, http.MethodGet, "/"); err != nil {
			return 0, err
		}
		if !known {
			return took, nil
		}
		if took = asked; took > 10*time.Second {
			return took, errors.New("the other node never refused")
		}
	}
}

// delayOutcome shows the given quantile of sorted delays, and their median beside.
func delayOutcome(ours []float64, quantile, limit float64, peer []float64) outcome {
	entryOf := func(name string, all []float64) entry {
		v := all[min(len(all)-1, int(quantile*float64(len(all))))]
		return entry{name, single(v), "ms", fmt.Sprintf("%s ms (median %s)", digits(v), digits(spreadOf(all).Median))}
	}
	out := outcome{ours: entryOf(nearLabel(true), ours), peers: []entry{entryOf("scs idle, which asks each time", peer)}}
	out.ratio = single(out.ours.Median / max(out.peers[0].Median, 1e-9))
	out.reached = out.ours.Median <= limit
	return out
}
