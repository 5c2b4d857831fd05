package memory

import (
	"container/heap"
	"context"
	"time"

	"cloakroom.example/session/store"
)

// agenda files records by the second in which they are due: to expire, or to be
// forgotten. A touch does not refile: the record is found at its old place,
// once per idle timeout, and moved then.
type agenda struct {
	heads   map[int64]uint32 // :: second → first record of its list
	seconds seconds          // the keys of heads, earliest first
}

type seconds []int64

func (s seconds) Len() int           { return len(s) }
func (s seconds) Less(i, j int) bool { return s[i] < s[j] }
func (s seconds) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *seconds) Push(x any)        { *s = append(*s, x.(int64)) }
func (s *seconds) Pop() any {
	last := len(*s) - 1
	x := (*s)[last]
	*s = (*s)[:last]
	return x
}

// file puts record i on the agenda.
func (sh *shard) file(i uint32, r *store.Record) {
	due := r.Expiry()
	if r.Ended() {
		due = r.End.At.Add(store.TombstoneTime)
	}
	if !due.IsZero() {
		sh.fileAt(i, due.Unix())
	}
}

func (sh *shard) fileAt(i uint32, second int64) {
	a := &sh.agenda
	if a.heads == nil {
		a.heads = make(map[int64]uint32)
	}
	head, found := a.heads[second]
	if !found {
		heap.Push(&a.seconds, second)
	}
	m := sh.metas.at(i)
	m.next, m.filed = head, true
	a.heads[second] = i
}

// take removes the first record that is due from the agenda.
func (sh *shard) take(now int64) (i uint32) {
	a := &sh.agenda
	for len(a.seconds) > 0 && a.seconds[0] <= now {
		second := a.seconds[0]
		i = a.heads[second]
		if i == 0 {
			delete(a.heads, second)
			heap.Pop(&a.seconds)
			continue
		}
		m := sh.metas.at(i)
		a.heads[second] = m.next
		m.next, m.filed = 0, false
		return i
	}
	return 0
}

// sweepHold is how many records are looked at under one hold of a shard's lock.
const sweepHold = 64

// Sweep implements [store.Sweeper].
func (s *Store) Sweep(ctx context.Context, sw store.Sweeping) (store.Swept, error) {
	if err := unavailable(ctx); err != nil {
		return store.Swept{}, err
	}
	sp := s.existing(sw.Namespace)
	if sp == nil {
		return store.Swept{}, nil
	}
	before, most := sw.Limits()
	w := sweeper{space: sp, now: sw.Now, before: before, most: most, gone: make(map[key]bool)}
	for i := range sp.shards {
		for w.hold(&sp.shards[i]) {
		}
	}
	for i := range sp.keys {
		sp.keys[i].forget(before)
	}
	for i := range w.swept.Expired {
		sp.retire(&w.swept.Expired[i])
	}
	for k := range w.gone {
		sp.unindex(k)
	}
	return w.swept, nil
}

// sweeper is one run of Sweep.
type sweeper struct {
	space       *space
	now, before time.Time
	most        int
	swept       store.Swept
	gone        map[key]bool // of the records removed
}

func (w *sweeper) full() bool {
	return len(w.swept.Expired) >= w.most || w.swept.Removed >= w.most
}

// hold works on one shard for a bounded number of records and reports whether
// more are due.
func (w *sweeper) hold(sh *shard) (again bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	// Records due later within the current second go back at the end.
	var later []uint32
	defer func() {
		for _, i := range later {
			sh.fileAt(i, w.now.Unix())
		}
	}()
	for range sweepHold {
		i := sh.take(w.now.Unix())
		if i == 0 {
			return false
		}
		if w.full() {
			w.swept.More = true
			sh.fileAt(i, w.now.Unix())
			return false
		}
		if !w.settle(sh, i) {
			later = append(later, i)
		}
	}
	return len(later) == 0
}

// settle expires, removes or refiles one record; false means that it is due in
// this second, but not yet.
func (w *sweeper) settle(sh *shard, i uint32) bool {
	r := sh.record(i, w.space)
	if r.Revoke(store.Revocation{OnlyExpired: true, Now: w.now}) {
		sh.rewrite(i, &r) // files it for its removal
		w.swept.Expired = append(w.swept.Expired, r)
		return true
	}
	due := r.Expiry()
	if r.Ended() {
		if r.End.At.Before(w.before) {
			sh.delete(i)
			w.swept.Removed++
			for _, k := range keysOf(&r) {
				w.gone[k] = true
			}
			return true
		}
		due = r.End.At.Add(w.now.Sub(w.before))
	}
	if due.IsZero() {
		return true
	}
	if due.Unix() <= w.now.Unix() {
		return false
	}
	sh.fileAt(i, due.Unix())
	return true
}
