package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"cloakroom.example/session/store"
)

// modelCases compare the store with the model under random programs.
func modelCases() []Case {
	return group("all", named{"model", randomPrograms})
}

// seed returns CLOAKROOM_SEED, or a new one, and logs it.
func (w *world) seed() uint64 {
	w.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("CLOAKROOM_SEED"); s != "" {
		given, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			w.Fatalf("CLOAKROOM_SEED: %v", err)
		}
		seed = given
	}
	w.Logf("CLOAKROOM_SEED=%d", seed)
	return seed
}

// How much a run of the model tries. Slow stores run out of time before they
// have run all programs, and that is logged.
const (
	programs       = 400
	stepsPerOne    = 60
	timeForAll     = 3 * time.Second
	timeToShrinkIn = 5 * time.Second
	runsPerStore   = 25 // few, to keep stores small, and many, because opening may be slow
)

func randomPrograms(w *world) {
	seed, began, runs := w.seed(), time.Now(), 0
	run := func(p program) (int, error) {
		if runs++; runs%runsPerStore == 0 {
			w.stores = newWorld(w.TB, w.h).stores
		}
		x := newExecution(w.Context(), w.s(), fmt.Sprintf("model %d ", runs))
		x.peer = w.other()
		return p.run(x)
	}
	for i := range programs {
		if time.Since(began) > timeForAll {
			w.Logf("%d of %d programs were run in %v", i, programs, timeForAll)
			return
		}
		g := newGenerator(w.Context(), seed, uint64(i))
		p := g.program(stepsPerOne)
		failed, err := run(p)
		if err == nil {
			continue
		}
		until := time.Now().Add(timeToShrinkIn)
		small := p[:min(len(p), failed+1)].shrink(func(p program) bool {
			if time.Now().After(until) {
				return false
			}
			_, err := run(p)
			return err != nil
		})
		if _, again := run(small); again != nil {
			err = again
		}
		w.Errorf("program %d with CLOAKROOM_SEED=%d differs from the model; the shortest that does:%v\n%v", i, seed, small, err)
		return
	}
}

// generator draws one program. It runs each step on a model of its own, because
// most of what is drawn without looking hits sessions that are not there.
type generator struct {
	*rand.Rand
	*execution
	clock   time.Duration
	created int // handles used by create so far
}

func newGenerator(ctx context.Context, seed, number uint64) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, number)), execution: newExecution(ctx, nil, "")}
}

// pick draws one of several; repeat one to make it likelier.
func pick[T any](g *generator, of ...T) T { return of[g.IntN(len(of))] }

// now lets time pass, mostly forward, and sometimes asks a node whose clock is
// up to two seconds behind.
func (g *generator) now() time.Duration {
	g.clock += pick(g, 0, 0, time.Second, time.Second, 30*time.Second, 30*time.Second, time.Minute, 5*time.Minute)
	if g.IntN(60) == 0 {
		g.clock += pick(g, 20*time.Minute, 20*time.Minute, 2*time.Hour, 25*time.Hour)
	}
	return g.clock - pick(g, 0, 0, 0, time.Nanosecond, time.Second, 2*time.Second)
}

// place draws a record, mostly one that has not ended.
func (g *generator) place() place {
	var open []place
	for ns := range namesInPlay {
		for h := range handlesInPlay {
			p := place{ns, h}
			if e := g.m.records[g.key(p)]; e != nil && !e.Ended() {
				open = append(open, p)
			}
		}
	}
	if len(open) > 0 && g.IntN(4) > 0 {
		return pick(g, open...)
	}
	return place{g.IntN(6) / 5, g.IntN(handlesInPlay)}
}

// fresh draws a record that mostly does not exist yet.
func (g *generator) fresh() place {
	if g.created == handlesInPlay || g.IntN(5) == 0 {
		return g.place()
	}
	g.created++
	return place{g.IntN(6) / 5, g.created - 1}
}

func (g *generator) subject() string { return pick(g, "alice", "alice", "alice", "bob", "carol") }

func (g *generator) handle() store.Handle { return handleInPlay(g.place().h) }

func (g *generator) program(n int) (p program) {
	for len(p) < n {
		if len(p) > 0 && g.IntN(30) == 0 {
			p = append(p, p[len(p)-1]) // as a driver that retries
			continue
		}
		s := g.step()
		switch s.op() {
		case OpSwap, OpTouch, OpRevoke:
			if g.IntN(20) == 0 {
				s = faultStep{s, g.IntN(2) == 0}
			}
		}
		_ = s.send(g.execution, g.m)
		p = append(p, s)
	}
	return p
}

func (g *generator) step() step {
	switch n := g.IntN(100); {
	case n < 25:
		return g.create()
	case n < 50:
		return g.swap()
	case n < 67:
		return g.touch()
	case n < 83:
		return g.revoke()
	case n < 94:
		return listStep{ns: g.place().ns, subject: pick(g, "", "", g.subject()), link: pick(g, 0, 0, 1, 2),
			state: pick(g, 0, 0, 0, store.Active, store.Anonymous), ended: g.IntN(2) == 0, now: g.now(), size: pick(g, 1, 2, 5)}
	}
	return sweepStep{g.IntN(6) / 5, store.Sweeping{Now: at(g.now()), Keep: pick(g, 0, 0, 48*time.Hour), Max: pick(g, 0, 0, 1, 2)}}
}

func (g *generator) create() step {
	now := g.now()
	r := store.Record{
		State: pick(g, store.Active, store.Active, store.Active, store.Pending, store.Anonymous),
		Idle:  pick(g, 0, 0, 10*time.Minute, time.Hour), IdleLocks: g.IntN(5) == 0,
		Created: at(now), Seen: at(now), Wrap: []byte("wrap"), Verifier: digest("v", g.Uint64()),
		Label: fmt.Sprint("made at ", now),
	}
	if r.State != store.Anonymous {
		r.Subject = g.subject()
		r.Assurance.At = pick(g, time.Time{}, at(now), at(now), at(now-time.Hour))
	}
	r.Deadline = pick(g, time.Time{}, at(now+time.Hour), at(now+12*time.Hour))
	for l := range uint64(3) {
		if g.IntN(4) == 0 {
			r.Links = append(r.Links, linkOf(l))
		}
	}
	r.Parts = g.parts()
	if len(r.Parts) > 0 && r.Parts[0].Sealed == nil {
		r.Parts = nil // to be removed means nothing here
	}
	to := g.fresh()
	s := createStep{place: to, replace: g.predecessor(to.ns), behind: pick[uint64](g, 0, 0, 0, 1), knows: pick(g, true, true, false)}
	s.c = store.Creation{Record: r, Now: at(now), Max: pick(g, 0, 1, 1, 2, 2, 3), EvictOldest: g.IntN(2) == 0}
	s.c.Since = pick(g, time.Time{}, time.Time{}, at(now), at(now-10*time.Second), at(now-time.Hour))
	return s
}

// predecessor draws whom to replace in a namespace, mostly nobody.
func (g *generator) predecessor(ns int) int {
	if old := g.place(); old.ns == ns && g.IntN(4) == 0 {
		return old.h
	}
	return -1
}

// parts draws zero or one part, sometimes one to be removed.
func (g *generator) parts() []store.Part {
	p := store.Part{Name: pick(g, "app", "app", "jar"), Generation: uint64(g.IntN(9)), Sealed: fmt.Append(nil, g.IntN(100))}
	if g.IntN(5) == 0 {
		p.Sealed = nil
	}
	return pick(g, nil, []store.Part{p}, []store.Part{p})
}

func (g *generator) swap() step {
	now := g.now()
	return swapStep{place: g.place(), now: now, behind: pick[uint64](g, 0, 0, 0, 0, 1, 2), label: fmt.Sprint("swapped at ", now),
		lock: g.IntN(12) == 0, limit: pick(g, time.Time{}, time.Time{}, time.Time{}, time.Time{}, at(now+time.Hour)),
		seen: now - pick(g, 0, time.Minute), parts: g.parts()}
}

func (g *generator) touch() step {
	s := touchStep{ns: g.place().ns}
	for _, h := range g.Perm(handlesInPlay)[:1+g.IntN(5)] {
		s.touches = append(s.touches, store.Touch{Handle: handleInPlay(h), Seen: at(g.now())})
	}
	return s
}

func (g *generator) revoke() step {
	now := g.now()
	v := store.Revocation{Cause: pick(g, "logout", "admin"), By: pick(g, "", "root"), Now: at(now)}
	switch g.IntN(24) {
	case 0, 1, 2, 3:
		v.Subject = g.subject()
	case 4, 5, 6:
		v.Link = linkOf(uint64(g.IntN(3)))
	case 7:
		v.All = true
	default:
		v.Handle = g.handle()
		v.OnlyExpired = g.IntN(3) == 0
	}
	if v.Handle.IsZero() && g.IntN(3) == 0 {
		v.AuthenticatedBefore = at(now - pick(g, 0, 30*time.Minute))
	}
	if v.Handle.IsZero() && !v.All && g.IntN(4) == 0 {
		v.Except = g.handle()
	}
	if !v.All && g.IntN(5) < 2 {
		v.Effect = pick(g, store.EffectLock, store.EffectShorten)
		v.Limit = at(now + pick(g, 0, 5*time.Minute, 2*time.Hour))
	}
	return revokeStep{g.place().ns, v}
}
