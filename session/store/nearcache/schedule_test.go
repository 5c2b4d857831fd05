package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/nearcache"
)

// TestSchedules runs random schedules of Loads, changes here and elsewhere, pushes,
// heartbeats and lost connections, in which everything can happen between any two
// steps: a Load is sent, then reads, then is answered; a heartbeat begins, then is
// answered, then delivered. Every answer is compared with the oldest state that it
// may show. A schedule that fails is printed, and comes again with its seed.
func TestSchedules(t *testing.T) {
	served := 0
	for seed := range uint64(3000) {
		synctest.Test(t, func(t *testing.T) {
			s := newSchedule(t, seed)
			s.begin()
			for range 60 {
				s.step()
			}
			s.finish()
			served += s.hits
			if t.Failed() {
				t.Fatalf("seed %d: %s", seed, strings.Join(s.steps, "; "))
			}
		})
		if t.Failed() {
			return
		}
	}
	t.Logf("%d answers from copies", served)
	if served < 1000 {
		t.Errorf("got %d answers from copies in all schedules, want more: they test something else", served)
	}
}

// schedule is one run. There is one session, whose state is its version.
type schedule struct {
	*testing.T
	*memory.Store // nothing in it: for what is not tested here

	random *rand.Rand
	mu     sync.Mutex // guards what follows
	steps  []string
	c      nearcache.Store
	hits   int

	version uint64
	changes []change // of other nodes
	own     uint64   // the version of the last change acknowledged here
	pushed  uint64   // the version of the last change whose push was delivered

	loads   []*underWay
	running int

	watching  *store.Watching // nil while there is no connection
	lost      chan error
	refused   bool
	queue     []func()    // pushes and heartbeats on their way
	beats     []time.Time // begun, and not answered
	confirmed time.Time
}

type change struct {
	version uint64
	at      time.Time
}

// underWay is a Load that has reached the engine.
type underWay struct {
	hasRead      bool
	read, answer chan struct{}
}

func newSchedule(t *testing.T, seed uint64) *schedule {
	s := &schedule{T: t, Store: memory.New(), random: rand.New(rand.NewPCG(seed, 1)), version: 1}
	c, err := nearcache.New(external{s}, nearcache.Options{Watcher: s, MaxBytes: 64 << 10, Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	s.c = c
	return s
}

func scheduledKey() store.Key { return store.Key{Namespace: "shop", Handle: store.Handle{1}} }

// Load implements store.Store.
func (s *schedule) Load(_ context.Context, _ store.Key, parts []string) (store.Record, error) {
	u := &underWay{read: make(chan struct{}), answer: make(chan struct{})}
	s.mu.Lock()
	s.loads = append(s.loads, u)
	s.mu.Unlock()
	<-u.read
	s.mu.Lock()
	version := s.version
	s.mu.Unlock()
	r := store.Record{Namespace: "shop", Handle: store.Handle{1}, Version: version, State: store.Active, Deadline: time.Now().Add(time.Hour)}
	if slices.Contains(parts, "app") {
		r.Parts = []store.Part{{Name: "app", Sealed: fmt.Append(nil, version)}}
	}
	<-u.answer
	return r, nil
}

// Swap implements store.Store.
func (s *schedule) Swap(context.Context, store.Record, time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.change()
	return nil
}

func (s *schedule) change() {
	s.version++
	version := s.version
	if s.watching != nil {
		w := *s.watching
		s.queue = append(s.queue, func() {
			if version%5 == 0 {
				w.ChangedAll()
			} else {
				w.Changed([]store.Handle{{2}, {1}})
			}
			s.pushed = version
		})
	}
}

// Watch implements store.Watcher.
func (s *schedule) Watch(ctx context.Context, _ string, w store.Watching) error {
	s.mu.Lock()
	if s.refused {
		s.mu.Unlock()
		return errors.New("refused")
	}
	lost := make(chan error, 1)
	s.watching, s.lost = &w, lost
	w.Ready()
	s.mu.Unlock()
	select {
	case err := <-lost:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin makes a copy that can be served.
func (s *schedule) begin() {
	s.load(context.Background(), "Load")
	s.locked(func() { s.beats = append(s.beats, time.Now()) })
	for _, do := range []func(){s.answerBeat, s.deliver, s.engine, s.engine} {
		s.locked(do)
		synctest.Wait()
	}
}

// step does one thing at random, and lets everybody go on as far as he can.
func (s *schedule) step() {
	kinds := []struct {
		weight int
		name   string
		do     func()
	}{
		{10, "Load", func() { s.load(context.Background(), "Load") }},
		{1, "fresh Load", func() { s.load(store.Fresh(context.Background()), "fresh Load") }},
		{8, "engine", func() { s.locked(s.engine) }},
		{2, "change elsewhere", func() {
			s.locked(func() {
				s.change()
				s.changes = append(s.changes, change{s.version, time.Now()})
			})
		}},
		{1, "own Swap", func() {
			if err := s.c.Swap(context.Background(), store.Record{Namespace: "shop", Handle: store.Handle{1}}, time.Now()); err != nil {
				s.Error(err)
			}
			s.locked(func() { s.own = s.version })
		}},
		{10, "deliver", func() { s.locked(s.deliver) }},
		{5, "heartbeat begins", func() {
			s.locked(func() {
				if s.watching != nil {
					s.beats = append(s.beats, time.Now())
				}
			})
		}},
		{6, "heartbeat answered", func() { s.locked(s.answerBeat) }},
		{3, "time passes", func() { time.Sleep(time.Duration(1+s.random.IntN(400)) * time.Millisecond) }},
		{1, "connection lost", func() { s.locked(s.lose) }},
		{2, "connections possible", func() { s.locked(func() { s.refused = false }) }},
	}
	total := 0
	for _, k := range kinds {
		total += k.weight
	}
	at := s.random.IntN(total)
	for _, k := range kinds {
		if at -= k.weight; at < 0 {
			s.locked(func() { s.steps = append(s.steps, k.name) })
			k.do()
			break
		}
	}
	synctest.Wait()
}

// oldest returns the oldest version that a Load which begins now may return.
func (s *schedule) oldest() uint64 {
	now := time.Now()
	if s.watching == nil || now.Sub(s.confirmed) > time.Second {
		return s.version // it has to read through
	}
	oldest := max(s.own, s.pushed)
	for _, c := range s.changes {
		if now.Sub(c.at) > time.Second {
			oldest = max(oldest, c.version)
		}
	}
	return oldest
}

func (s *schedule) load(ctx context.Context, name string) {
	s.mu.Lock()
	oldest := s.oldest()
	if store.IsFresh(ctx) {
		oldest = s.version
	}
	s.running++
	n := len(s.steps)
	s.mu.Unlock()
	var parts []string
	if s.random.IntN(2) == 0 {
		parts = []string{"app"}
	}
	before := s.c.Stats().Hits
	go func() {
		r, err := s.c.Load(ctx, scheduledKey(), parts)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.running--
		s.steps = append(s.steps, fmt.Sprintf("(%s of step %d returns version %d, want at least %d)", name, n, r.Version, oldest))
		switch {
		case err != nil:
			s.Error(err)
		case r.Version < oldest:
			s.Errorf("got version %d, want at least %d", r.Version, oldest)
		case len(r.Parts) != len(parts) || len(parts) > 0 && string(r.Parts[0].Sealed) != fmt.Sprint(r.Version):
			s.Errorf("got parts %v with version %d, want its own", r.Parts, r.Version)
		}
	}()
	synctest.Wait()
	s.hits += int(s.c.Stats().Hits - before)
}

// engine lets one of the Loads under way go a step further.
func (s *schedule) engine() {
	if len(s.loads) == 0 {
		return
	}
	i := s.random.IntN(len(s.loads))
	if u := s.loads[i]; !u.hasRead {
		u.hasRead = true
		close(u.read)
	} else {
		s.loads = slices.Delete(s.loads, i, i+1)
		close(u.answer)
	}
}

func (s *schedule) deliver() {
	if s.watching != nil && len(s.queue) > 0 {
		next := s.queue[0]
		s.queue = s.queue[1:]
		next()
	}
}

func (s *schedule) answerBeat() {
	if s.watching == nil || len(s.beats) == 0 {
		return
	}
	began, w := s.beats[0], *s.watching
	s.beats = s.beats[1:]
	s.queue = append(s.queue, func() {
		w.Confirmed(began)
		s.confirmed = began
	})
}

func (s *schedule) lose() {
	if s.watching == nil {
		return
	}
	s.lost <- errors.New("lost")
	s.watching, s.queue, s.beats, s.refused = nil, nil, nil, s.random.IntN(2) == 0
	s.confirmed = time.Time{}
}

// patience is longer than a Load waits for another.
const patience = 100 * time.Millisecond

func (s *schedule) underWay() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running > 0
}

// locked does something while nobody else does.
func (s *schedule) locked(do func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	do()
}

// finish answers what is under way, and closes the cache.
func (s *schedule) finish() {
	for s.underWay() {
		s.locked(s.engine)
		synctest.Wait()
		time.Sleep(patience) // somebody may wait for somebody else
	}
	if err := s.c.Close(context.Background()); err != nil {
		s.Error(err)
	}
}
