package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"cloakroom.example/session"
	"github.com/alexedwards/scs/v2/memstore"
)

const (
	// smallSite has so many live sessions.
	smallSite = 10_000
	// sampled is among how many of the sessions the requests of a large site
	// are spread: far more than a processor's caches hold.
	sampled = 1_000_000
	// growthBytes is what a process needs for each session at most, with what
	// the collector has not collected yet.
	growthBytes = 1250
)

// growthRow compares requests to a site with very many live sessions with those
// to a small one: both are in one process and take turns.
func growthRow() row {
	return row{
		id: "growth", about: "a request at ten million live sessions, compared with ten thousand",
		lines: []claim{{measure: "whole request at 10⁷ live sessions against 10⁴", goal: "≤ 1.5×"}},
		measure: func(ctx context.Context, b *bench) ([]outcome, error) {
			var out outcome
			large, note := fitting(b.scale.largeSite, systemMemory("MemAvailable"))
			for i, name := range []string{"cloakroom", "scs"} {
				part := func(done, all int) { b.progress(i*all+done, 2*all) }
				g, err := askChild[growth](ctx, part, "growth", name, strconv.Itoa(large), b.scale.Name)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", name, err)
				}
				s := spreadOf(ratios(g.Large, g.Small))
				e := entry{name, s, "×", digits(s.Median) + "×"}
				if i > 0 {
					out.peers = append(out.peers, e)
					continue
				}
				out.ours, out.ratio, out.shown, out.reached = e, s, times(s), s.Median <= 1.5
				out.note = fmt.Sprintf("median request %s µs at %d sessions, %s µs at %d%s",
					digits(spreadOf(g.Small).Median/1e3), g.SmallSite, digits(spreadOf(g.Large).Median/1e3), large, note)
			}
			return []outcome{out}, nil
		},
	}
}

// fitting returns how many sessions there is memory for, and a remark if that is
// fewer than wanted.
func fitting(wanted int, available uint64) (n int, note string) {
	if available == 0 { // nobody tells: be careful
		if n = min(wanted, 1_000_000); n < wanted {
			note = ", because this system does not tell how much memory there is"
		}
		return n, note
	}
	for n = wanted; n > smallSite && uint64(n)*growthBytes > available/10*9; {
		n /= 10
	}
	if n < wanted {
		note = fmt.Sprintf(", the most that %d GB of free memory hold", available>>30)
	}
	return n, note
}

// growth is what a child has found: nanoseconds for a request, in each round.
type growth struct {
	Small     []float64 `json:"small"`
	Large     []float64 `json:"large"`
	SmallSite int       `json:"smallSite"`
}

// growthChild fills two sites, measures, and prints what came out.
func growthChild(ctx context.Context, name string, large int, scaleName string, tell *teller) error {
	if available := systemMemory("MemAvailable"); available > 0 {
		debug.SetMemoryLimit(int64(available * 8 / 10)) // rather collect more often than be killed
	}
	site, found := map[string]func(context.Context, int, *teller) (contender, func() error, error){
		"cloakroom": cloakroomSite,
		"scs":       scsSite,
	}[name]
	if !found {
		return fmt.Errorf("no library is called %q", name)
	}
	small := min(smallSite, large)
	var cs []contender
	for _, n := range []int{small, large} {
		c, done, err := site(ctx, n, tell)
		if err != nil {
			return err
		}
		defer func() { _ = done() }() // the process ends anyway
		c.name = fmt.Sprintf("%d sessions, site %d", n, len(cs))
		cs = append(cs, c)
	}
	b := bench{scale: scaleNamed(scaleName)}
	s := b.requests()
	s.littered = true
	measured, err := alternate(ctx, s, tell.progress, cs...)
	if err != nil {
		return err
	}
	return tell.answer(growth{
		Small: measured[cs[0].name].nanoseconds, Large: measured[cs[1].name].nanoseconds, SmallSite: small,
	})
}

// cloakroomSite signs n users in. Its clock starts when all are there: a request
// to a session that was used within the last minute owes no touch.
func cloakroomSite(ctx context.Context, n int, tell *teller) (contender, func() error, error) {
	clock := newFillClock(time.Now())
	c, err := newCloakroomMemory(clock.Now)
	if err != nil {
		return contender{}, nil, err
	}
	done := func() error { return c.close(ctx) }
	all := newTickets(min(n, sampled), len("__Host-id=")+64)
	step := n / all.count()
	place := shuffled(all.count())
	err = logins(c, n, runtime.GOMAXPROCS(0), tell.progress, func(int) {}, func(i int, _ *session.Session, cookie string) error {
		if i%step == 0 && i/step < all.count() {
			return all.set(place[i/step], cookie)
		}
		return nil
	})
	if err != nil {
		return contender{}, nil, errors.Join(err, done())
	}
	return ticketHolders(c, all), done, nil
}

// scsSite does the same for scs.
func scsSite(_ context.Context, n int, tell *teller) (contender, func() error, error) {
	l := newSCS(0)
	l.m.Store = memstore.NewWithCleanupInterval(0) // it would stop everything once a minute
	all := newTickets(min(n, sampled), len("session=")+43)
	step := n / all.count()
	place := shuffled(all.count())
	later := time.Now().Add(12 * time.Hour)
	err := scsSessions(l.m, n, runtime.GOMAXPROCS(0), tell.progress, func(int) time.Time { return later }, func(i int, token string) error {
		if i%step == 0 && i/step < all.count() {
			return all.set(place[i/step], "session="+token)
		}
		return nil
	})
	return ticketHolders(l, all), l.release, err
}

// shuffled returns the numbers below n in a random order, so that neighbours in
// the requests are none in the store.
func shuffled(n int) []int { return rand.Perm(n) }

// ticketHolders is a contender: each request comes with the next ticket.
func ticketHolders(lib library, all *tickets) contender {
	h, w, turn := page(lib, func(lib library, _ http.ResponseWriter, r *http.Request) error {
		if !strings.HasPrefix(lib.user(r), "user-") {
			return errAnswer
		}
		return nil
	}), newAnswer(), 0
	return contender{serve: func(n int) error {
		base, err := newBrowser().request(http.MethodGet, "/")
		if err != nil {
			return err
		}
		for range n {
			base.Header["Cookie"] = []string{all.get(turn % all.count())}
			turn++
			w.reset()
			h.ServeHTTP(w, base.WithContext(base.Context()))
			if w.status >= 400 {
				return fmt.Errorf("got status %d: %s", w.status, w.body)
			}
		}
		return nil
	}}
}
