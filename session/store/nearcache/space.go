package nearcache

import (
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// space is a namespace that is watched.
type space struct {
	name   string
	number uint16
	// generation is odd while the watch is up. It moves on whenever all copies
	// are dropped: those of an earlier one are not served, and answers to Loads
	// sent in an earlier one are not kept.
	generation atomic.Uint64
	// confirmed is when the last confirmed heartbeat began; nil: none yet.
	confirmed atomic.Pointer[time.Time]
	asked     atomic.Bool // for copies, since the watcher has looked
	// revoking is how many own revocations of many sessions are under way:
	// meanwhile, Loads read through.
	revoking atomic.Int32

	lost, drops atomic.Uint64
}

func isUp(generation uint64) bool { return generation&1 == 1 }

// mostSpaces bounds how many namespaces are watched, each on a connection. Loads in
// others read through.
const mostSpaces = 64

// space returns the namespace, after beginning to watch it, or nil if it is not
// watched.
func (s *cache) space(name string) *space {
	if sp := (*s.spaces.Load())[name]; sp != nil {
		return sp
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known := *s.spaces.Load()
	if sp := known[name]; sp != nil || len(known) >= mostSpaces || s.ctx.Err() != nil {
		return sp
	}
	sp := &space{name: name, number: uint16(len(known))}
	all := maps.Clone(known)
	all[name] = sp
	s.spaces.Store(&all)
	s.work.Go(func() { s.watch(sp) })
	return sp
}

// known returns the namespace, or nil if there can be no copies in it.
func (s *cache) known(name string) *space { return (*s.spaces.Load())[name] }

// watch keeps a watch up until the store is closed.
func (s *cache) watch(sp *space) {
	pause, level := minPause, slog.LevelWarn
	for s.ctx.Err() == nil {
		began := s.now()
		err := s.watcher.Watch(s.ctx, sp.name, s.watching(sp))
		if isUp(sp.generation.Load()) {
			level = slog.LevelWarn
		}
		sp.down()
		if s.ctx.Err() != nil {
			return
		}
		sp.lost.Add(1)
		if errors.Is(err, errors.ErrUnsupported) { // which it will be for ever
			s.log.Error("nearcache: the store pushes nothing, reading through", "namespace", sp.name, "error", err)
			return
		}
		if s.now().Sub(began) > maxPause {
			pause = minPause
		}
		s.log.Log(s.ctx, level, "nearcache: watch lost, reading through", "namespace", sp.name, "error", err)
		level = slog.LevelDebug // until it is back, and lost again
		s.rest(pause/2 + rand.N(pause))
		pause = min(2*pause, maxPause)
	}
}

const (
	minPause = 10 * time.Millisecond
	maxPause = time.Second
)

func (s *cache) rest(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}

// watching is what the watch of a namespace reports to.
func (s *cache) watching(sp *space) store.Watching {
	return store.Watching{
		Ready: func() {
			if !isUp(sp.generation.Load()) {
				sp.generation.Add(1)
			}
			s.log.Info("nearcache: watching", "namespace", sp.name)
		},
		Changed: func(handles []store.Handle) {
			for _, h := range handles {
				s.forget(recordID{sp.number, h})
			}
		},
		ChangedAll: sp.dropAll,
		// Whoever reads this moment finds everything dropped that was reported
		// before.
		Confirmed: func(began time.Time) { sp.confirmed.Store(&began) },
		Wanted:    func() bool { return sp.asked.Swap(false) },
	}
}

// dropAll drops all copies, at the cost of one.
func (sp *space) dropAll() {
	sp.generation.Add(2)
	sp.drops.Add(1)
}

// down drops all copies until the watch is up again.
func (sp *space) down() {
	if isUp(sp.generation.Load()) {
		sp.generation.Add(1)
		sp.drops.Add(1)
	}
	sp.confirmed.Store(nil)
}

// reliable reports whether copies may be served at a moment. It must be asked
// before a copy is looked for, and the moment be read before that: what was
// confirmed by then is dropped by then.
func (sp *space) reliable(now time.Time, most time.Duration) bool {
	began := sp.confirmed.Load()
	if began == nil {
		return false
	}
	// By the monotonic clock, which nobody sets, and by the wall clock, which
	// goes on while the machine is suspended.
	return now.Sub(*began) <= most && now.Round(0).Sub(began.Round(0)) <= most
}

func (sp *space) wanted() {
	if !sp.asked.Load() {
		sp.asked.Store(true)
	}
}

func (sp *space) stats() SpaceStats {
	st := SpaceStats{Namespace: sp.name, Up: isUp(sp.generation.Load()), Lost: sp.lost.Load(), Drops: sp.drops.Load()}
	if began := sp.confirmed.Load(); began != nil {
		st.Confirmed = *began
	}
	return st
}

// forget drops the copy of a record, and keeps Loads under way from becoming one.
func (s *cache) forget(id recordID) {
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.forget(id)
}

// writing notes that an own write of a record begins, and returns what to call at
// its end, when the copy is dropped.
func (s *cache) writing(namespace string, h store.Handle) (written func()) {
	sp := s.known(namespace)
	if sp == nil {
		return func() {
			if sp := s.known(namespace); sp != nil { // since a moment ago
				s.forget(recordID{sp.number, h})
			}
		}
	}
	id := recordID{sp.number, h}
	sh := s.shard(id)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	sh.writes[id]++
	return func() {
		sh.mu.Lock()
		defer sh.mu.Unlock()
		sh.written(id)
		sh.forget(id)
	}
}

// forgetMarked drops the copies of the namespace that may carry a mark.
func (s *cache) forgetMarked(sp *space, mark uint64) {
	s.forgetIf(sp, func(e entry) bool { return e.marked(mark) })
}

// forgetIf drops the copies of a namespace that meet a condition. What is on its
// way is not looked at, and dropped.
func (s *cache) forgetIf(sp *space, condition func(entry) bool) {
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		for id, f := range sh.flights {
			if id.space == sp.number {
				f.dropped = true
				delete(sh.flights, id)
			}
		}
		sh.each(func(e entry) {
			if e.space() == sp.number && condition(e) {
				sh.drop(e)
				sh.drops++
			}
		})
		sh.mu.Unlock()
	}
}
