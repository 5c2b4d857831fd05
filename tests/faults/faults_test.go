// Package faults_test breaks real servers while users are at work, records what
// the users were answered, and checks that sessions can be like that: nothing that
// was acknowledged is lost, nobody whose session has ended is let in, failures are
// told apart from refusals, and everything goes on by itself.
package faults_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/store"
)

// fault is something that goes wrong while users are at work.
type fault struct {
	name string
	// inflict makes it go wrong and right again.
	inflict func(t *testing.T, p *place, proxy *servers.Proxy)
	// proxied lets the nodes connect through a proxy.
	proxied bool
	// harmless says that no request need fail.
	harmless bool
	// asynchronous says that the engine may lose the last moments of what it
	// has acknowledged; how much is reported.
	asynchronous bool
}

const (
	frozenTime = 5 * time.Second
	// copyLag is how old the copies of a node may be.
	copyLag = time.Second
)

func TestFaults(t *testing.T) {
	for _, e := range engines() {
		t.Run(e.name, func(t *testing.T) {
			p := e.start(t)
			for i, f := range e.faults {
				t.Run(f.name, func(t *testing.T) { f.run(t, e, p, fmt.Sprint("fault-", i)) })
			}
		})
	}
}

// run lets users work on two nodes and inflicts the fault.
func (f fault) run(t *testing.T, e engine, p *place, namespace string) {
	url, proxy := p.url, (*servers.Proxy)(nil)
	if f.proxied {
		url, proxy = p.proxied(t)
	}
	var stores [2]store.Store
	var lags [2]time.Duration
	for i, option := range e.options {
		opened, closing := openURL(t, with(url, option))
		defer closing()
		stores[i] = opened
		if option != "" {
			lags[i] = copyLag
		}
	}
	f.atWork(t, stores, lags, namespace, func() { f.inflict(t, p, proxy) })
}

// atWork lets users work through a fault and checks what they were answered.
func (f fault) atWork(t *testing.T, stores [2]store.Store, lags [2]time.Duration, namespace string, inflict func()) {
	l := &load{t: t, clock: new(clock), began: time.Now()}
	transport := &http.Transport{MaxIdleConnsPerHost: 4 * users}
	l.client = &http.Client{Transport: transport, Timeout: time.Minute}
	for i, s := range stores {
		l.nodes[i] = startNode(t, s, l.clock, namespace, lags[i])
		defer l.nodes[i].close(t)
	}
	warmUp, cancel := context.WithTimeout(t.Context(), time.Second)
	l.run(warmUp)
	cancel()
	before := measure(transport)

	ctx, stop := context.WithCancel(t.Context())
	worked := make(chan struct{})
	go func() {
		defer close(worked)
		l.run(ctx)
	}()
	defer func() { // also if the fault cannot be inflicted
		stop()
		<-worked
	}()
	time.Sleep(500 * time.Millisecond)
	inflict()
	patience, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	recovery := l.recovered(patience)
	time.Sleep(500 * time.Millisecond)
	stop()
	<-worked
	time.Sleep(max(lags[0], lags[1]))
	l.last(patience)
	t.Logf("%d sessions, %d requests served, %d failed, the slowest took %v; recovered after %v",
		len(l.sessions), l.served.Load(), l.failed.Load(), time.Duration(l.slow.Load()).Round(time.Millisecond), recovery.Round(time.Millisecond))
	if l.failed.Load() == 0 && !f.harmless {
		t.Error("no request failed: the fault has not been felt")
	}
	l.judge(f.asynchronous)
	before.compare(t, transport)
}

// judge checks the histories. Of what an asynchronous failover has undone, it
// reports how much.
func (l *load) judge(asynchronous bool) {
	var total lost
	for _, s := range l.sessions {
		wrong := s.check()
		if wrong == "" {
			continue
		}
		if !asynchronous {
			l.errorf("%snode 0 reported%s, node 1%s", wrong, l.nodes[0].cause(s.handle), l.nodes[1].cause(s.handle))
			continue
		}
		n := s.losses()
		total.sessions, total.revoked, total.changes = total.sessions+n.sessions, total.revoked+n.revoked, total.changes+n.changes
	}
	if asynchronous {
		l.t.Logf("of %d sessions, the failover has undone %d logins, %d endings and changes of %d",
			len(l.sessions), total.sessions, total.revoked, total.changes)
	}
}

// footprint is what the process uses when nothing is going on.
type footprint struct {
	goroutines int
	heap       uint64
}

func measure(transport *http.Transport) footprint {
	transport.CloseIdleConnections()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return footprint{runtime.NumGoroutine(), m.HeapAlloc}
}

// compare waits until the process uses no more than before, but for what pools of
// connections may add.
func (before footprint) compare(t *testing.T, transport *http.Transport) {
	t.Helper()
	const goroutines, heap = 40, 32 << 20
	var now footprint
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		now = measure(transport)
		if now.goroutines <= before.goroutines+goroutines && now.heap <= before.heap+heap {
			return
		}
	}
	stacks := make([]byte, 1<<20)
	t.Errorf("got %d goroutines and %d KiB, had %d and %d before\n%s", now.goroutines, now.heap>>10,
		before.goroutines, before.heap>>10, stacks[:runtime.Stack(stacks, true)])
}

func killed() fault {
	return fault{name: "killed", inflict: func(t *testing.T, p *place, _ *servers.Proxy) {
		p.server.Kill()
		time.Sleep(time.Second)
		if err := p.server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}}
}

func restarted() fault {
	return fault{name: "restarted", inflict: func(t *testing.T, p *place, _ *servers.Proxy) {
		if err := p.server.Stop(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := p.server.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}}
}

func frozen() fault {
	return fault{name: "frozen", inflict: func(t *testing.T, p *place, _ *servers.Proxy) { freeze(t, p.server) }}
}

func freeze(t *testing.T, s *servers.Server) {
	t.Helper()
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(frozenTime)
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
}

// connectionsCut cuts connections in the middle of commands and of answers.
func connectionsCut() fault {
	return fault{name: "connections_cut", proxied: true, inflict: func(_ *testing.T, _ *place, proxy *servers.Proxy) {
		for range 12 {
			for _, d := range []servers.Direction{servers.ToServer, servers.ToClient} {
				proxy.CutAfter(d, 1+rand.IntN(1500))
				time.Sleep(100 * time.Millisecond)
				proxy.Heal()
				time.Sleep(50 * time.Millisecond)
			}
			proxy.Cut()
		}
	}}
}

// swallowed lets connections stay open while nothing arrives.
func swallowed() fault {
	return fault{name: "swallowed", proxied: true, inflict: func(_ *testing.T, _ *place, proxy *servers.Proxy) {
		for _, d := range []servers.Direction{servers.ToServer, servers.ToClient} {
			proxy.Swallow(d)
			time.Sleep(1500 * time.Millisecond)
			proxy.Heal()
			time.Sleep(500 * time.Millisecond)
		}
	}}
}

// slotsMoved moves slots that are in use from one primary to another.
func slotsMoved() fault {
	return fault{name: "slots_moved", harmless: true, inflict: func(t *testing.T, p *place, _ *servers.Proxy) {
		ctx := t.Context()
		moved := 0
		for i, node := range p.cluster.Nodes[:3] {
			to := p.cluster.Nodes[(i+1)%3]
			for _, slot := range slotsInUse(t, node) {
				if err := p.cluster.MoveSlot(ctx, slot, to); err != nil {
					t.Fatal(err)
				}
				moved++
			}
		}
		if moved == 0 {
			t.Error("found no slot in use")
		}
	}}
}

// slotsInUse returns some slots of which the node has keys.
func slotsInUse(t *testing.T, node *servers.Server) (slots []int) {
	t.Helper()
	keys, err := node.Run(t.Context(), "KEYS", "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range strings.Split(keys, "\n") {
		text, err := node.Run(t.Context(), "CLUSTER", "KEYSLOT", key)
		if err != nil {
			t.Fatal(err)
		}
		slot, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if key != "" && !slices.Contains(slots, slot) {
			slots = append(slots, slot)
		}
		if len(slots) == 10 {
			break
		}
	}
	return slots
}

// anySlot is one of those that primaryKilled and primaryFrozen are about.
const anySlot = 100

// primaryFrozen freezes a primary until a replica has taken its place, and longer.
func primaryFrozen() fault {
	return fault{name: "primary_frozen", asynchronous: true, inflict: func(t *testing.T, p *place, _ *servers.Proxy) {
		s, err := p.cluster.Primary(t.Context(), anySlot)
		if err != nil {
			t.Fatal(err)
		}
		freeze(t, s)
		if err := p.cluster.Await(t.Context()); err != nil {
			t.Fatal(err)
		}
	}}
}

func primaryKilled() fault {
	return fault{name: "primary_killed", asynchronous: true, inflict: func(t *testing.T, p *place, _ *servers.Proxy) {
		s, err := p.cluster.Primary(t.Context(), anySlot)
		if err != nil {
			t.Fatal(err)
		}
		s.Kill()
		awaitPrimary(t, s, func() (*servers.Server, error) { return p.cluster.Primary(t.Context(), anySlot) })
		time.Sleep(time.Second)
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}}
}

func watchedPrimaryKilled() fault {
	return fault{name: "primary_killed", asynchronous: true, inflict: func(t *testing.T, p *place, _ *servers.Proxy) {
		s, err := p.sentinel.Primary(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		s.Kill()
		awaitPrimary(t, s, func() (*servers.Server, error) { return p.sentinel.Primary(t.Context()) })
	}}
}

// awaitPrimary waits until another server is the primary.
func awaitPrimary(t *testing.T, killed *servers.Server, primary func() (*servers.Server, error)) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		s, err := primary()
		if err == nil && s != killed {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("no other primary after a minute: %v", err)
		}
	}
}
