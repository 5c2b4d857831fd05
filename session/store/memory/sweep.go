package memory

import (
	"context"
	"runtime"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// sweepHold is how many records are looked at under one hold of a shard's lock.
const sweepHold = 8

// Sweep implements [store.Sweeper].
func (s *Store) Sweep(ctx context.Context, sw store.Sweeping) (store.Swept, error) {
	if err := unavailable(ctx); err != nil {
		return store.Swept{}, err
	}
	sp := s.existing(sw.Namespace)
	if sp == nil {
		return store.Swept{}, nil
	}
	sp.sweeping.Lock()
	defer sp.sweeping.Unlock()
	before, most := sw.Limits()
	w := sweeper{space: sp, now: sw.Now, before: before, most: most, gone: make(map[key]bool)}
	for i := range sp.shards {
		w.sweep(i)
	}
	for i := range sp.keys {
		sp.keys[i].forget(before)
	}
	for i := range w.swept.Expired {
		sp.retire(&w.swept.Expired[i])
		w.pause()
	}
	for k := range w.gone {
		sp.unindex(k)
		w.pause()
	}
	for _, x := range w.free {
		sh, i := sp.at(x)
		sh.mu.Lock()
		sh.numbers.remove(i)
		sh.mu.Unlock()
		w.pause()
	}
	return w.swept, nil
}

// sweeper is one run of Sweep. There is one at a time in a space, so that what it
// has taken off an agenda is missed by nobody.
type sweeper struct {
	space       *space
	now, before time.Time
	most        int
	swept       store.Swept
	carried     int          // records that a revocation of everything had ended
	gone        map[key]bool // what the records removed were found by
	free        []ref        // numbers of records that are gone, and on no agenda
	steps       int          // since the last pause
}

// pause lets others run now and then. Who was waiting for one of our locks would
// otherwise be woken up, and have to wait for the processor that is busy with us.
func (w *sweeper) pause() {
	if w.steps++; w.steps >= sweepHold {
		w.steps = 0
		runtime.Gosched()
	}
}

// errand is one of the things that a sweep does in a shard.
type errand struct {
	sh *shard
	// take returns the next record that is due and the date it was filed under,
	// or 0.
	take func() (i uint32, second int64)
	// settle does what is to be done, and answers false if the record is due in
	// this second, but not yet.
	settle func(i uint32) bool
	// put takes back what is for another time.
	put func(i uint32, second int64)
}

func (w *sweeper) sweep(shard int) {
	sh := &w.space.shards[shard]
	w.run(errand{
		sh,
		func() (uint32, int64) { return sh.takeEarly(w.now.Unix()) },
		func(i uint32) bool { return w.settleEarly(sh, i) },
		sh.hasten,
	})
	w.run(errand{
		sh,
		func() (uint32, int64) { return sh.take(&sh.expiries, w.now.Unix()) },
		func(i uint32) bool { return w.settleExpiry(shard, i) },
		func(i uint32, second int64) { sh.file(&sh.expiries, i, second, second) },
	})
	w.run(errand{
		sh,
		func() (uint32, int64) { return sh.take(&sh.graves, w.before.Unix()) },
		func(i uint32) bool { return w.settleGrave(shard, i) },
		func(i uint32, second int64) { sh.file(&sh.graves, i, second, second) },
	})
}

// full reports whether this run has done as much as it may.
func (w *sweeper) full() bool {
	return len(w.swept.Expired)+w.carried >= w.most || w.swept.Removed >= w.most
}

// run does an errand, a few records under each hold of the lock.
func (w *sweeper) run(e errand) {
	var later []date
	for again := true; again; {
		w.swept.Expired = slices.Grow(w.swept.Expired, sweepHold) // not under the lock
		e.sh.mu.Lock()
		again = w.hold(e, &later)
		e.sh.mu.Unlock()
		w.pause()
	}
	for few := range slices.Chunk(later, sweepHold) {
		e.sh.mu.Lock()
		for _, d := range few {
			e.put(d.first, d.second)
		}
		e.sh.mu.Unlock()
	}
}

// hold does a bounded part of an errand, and reports whether there is more to do.
func (w *sweeper) hold(e errand, later *[]date) (again bool) {
	for range sweepHold {
		i, second := e.take()
		if i == 0 {
			return false
		}
		w.steps++
		if w.full() {
			w.swept.More = true
			e.put(i, second)
			return false
		}
		if !e.settle(i) {
			*later = append(*later, date{second, i})
		}
	}
	return true
}

// settleExpiry ends a living record that has expired, and files any other anew.
func (w *sweeper) settleExpiry(shard int, i uint32) bool {
	sh := &w.space.shards[shard]
	p := sh.place(i)
	if p == 0 {
		w.free = append(w.free, refOf(shard, i))
		return true
	}
	var r store.Record
	sh.glance(p, w.space, &r)
	if r.Alive(w.now) {
		due := dueAfter(&r, w.now)
		if due > w.now.Unix() {
			sh.file(&sh.expiries, i, due, w.now.Unix())
		}
		return due > w.now.Unix()
	}
	if !sh.buried(p) {
		w.end(sh, p, &r)
	}
	sh.file(&sh.graves, i, r.End.At.Unix(), r.End.At.Add(-store.TombstoneTime).Unix())
	return true
}

// settleGrave removes a tombstone.
func (w *sweeper) settleGrave(shard int, i uint32) bool {
	sh := &w.space.shards[shard]
	p := sh.place(i)
	if p == 0 {
		w.free = append(w.free, refOf(shard, i))
		return true
	}
	var r store.Record
	sh.glance(p, w.space, &r)
	if r.End.At.Before(w.before) {
		w.remove(sh, p)
		w.free = append(w.free, refOf(shard, i))
		return true
	}
	ended := r.End.At.Unix()
	if ended > w.before.Unix() {
		sh.file(&sh.graves, i, ended, w.before.Unix())
	}
	return ended > w.before.Unix()
}

// settleEarly does for a record that was hastened what is due, and leaves it where
// it is filed. It may have gone meanwhile, and another one have its number.
func (w *sweeper) settleEarly(sh *shard, i uint32) bool {
	p := sh.place(i)
	if p == 0 {
		return true
	}
	var r store.Record
	sh.glance(p, w.space, &r)
	switch {
	case !sh.buried(p) && !r.Alive(w.now):
		w.end(sh, p, &r)
	case !sh.buried(p):
		return r.Limit.Unix() != w.now.Unix()
	case r.End.At.Before(w.before):
		w.remove(sh, p)
	default:
		// It was hastened while it lived, or will be old enough in a moment.
		return w.now.Unix() < r.End.At.Add(store.TombstoneTime).Unix()
	}
	return true
}

// end makes a tombstone of a record that has expired, or that a revocation of
// everything has ended.
func (w *sweeper) end(sh *shard, p place, r *store.Record) {
	*r = store.Record{}
	sh.peek(p, w.space, r)
	if r.Revoke(store.Revocation{OnlyExpired: true, Now: w.now}) {
		w.swept.Expired = append(w.swept.Expired, *r)
	} else {
		w.carried++
	}
	sh.rewrite(p, r)
}

// remove removes a tombstone.
func (w *sweeper) remove(sh *shard, p place) {
	var r store.Record
	sh.copyLocked(p, w.space, &r)
	sh.delete(p)
	w.swept.Removed++
	for _, k := range w.space.keysOf(&r) {
		w.gone[k] = true
	}
}
