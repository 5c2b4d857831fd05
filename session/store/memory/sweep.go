package memory

import (
	"container/heap"
	"context"
	"time"

	"cloakroom.example/session/store"
)

// agenda files records by second: when they may expire, or when they ended. A
// touch does not refile: the record is found at its old place, once per idle
// timeout, and moved then.
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

// lookAgain bounds how long a living record is left alone: revoking everything
// changes no record, and what it has ended must go in time.
const lookAgain = 12 * time.Hour

// file puts record i where it belongs; if it is filed already, it moves.
func (sh *shard) file(i uint32, r *store.Record) {
	if r.Ended() {
		sh.fileAt(&sh.graves, i, r.End.At.Unix())
		return
	}
	sh.fileAt(&sh.expiries, i, dueAfter(r, r.Seen))
}

// dueAfter returns the second in which a living record has to be looked at.
func dueAfter(r *store.Record, now time.Time) int64 {
	due, latest := r.Expiry(), now.Add(lookAgain)
	if due.IsZero() || due.After(latest) {
		return latest.Unix()
	}
	return due.Unix()
}

func (sh *shard) fileAt(a *agenda, i uint32, second int64) {
	sh.unfile(i)
	if a.heads == nil {
		a.heads = make(map[int64]uint32)
	}
	head, found := a.heads[second]
	if !found {
		heap.Push(&a.seconds, second)
	}
	m := sh.metas.at(i)
	m.prev, m.next, m.second, m.ended = 0, head, second, a == &sh.graves
	if head != 0 {
		sh.metas.at(head).prev = i
	}
	a.heads[second] = i
}

// unfile takes record i off its list. Seconds whose list is empty go when they
// are due.
func (sh *shard) unfile(i uint32) {
	m := sh.metas.at(i)
	a := &sh.expiries
	if m.ended {
		a = &sh.graves
	}
	switch {
	case m.prev != 0:
		sh.metas.at(m.prev).next = m.next
	case a.heads[m.second] == i:
		a.heads[m.second] = m.next
	}
	if m.next != 0 {
		sh.metas.at(m.next).prev = m.prev
	}
	m.prev, m.next = 0, 0
}

// take removes the first record that is due from an agenda.
func (sh *shard) take(a *agenda, now int64) (i uint32) {
	for len(a.seconds) > 0 && a.seconds[0] <= now {
		i = a.heads[a.seconds[0]]
		if i != 0 {
			sh.unfile(i)
			return i
		}
		delete(a.heads, a.seconds[0])
		heap.Pop(&a.seconds)
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
		sh := &sp.shards[i]
		for w.hold(sh, &sh.expiries, sw.Now, w.expire) {
		}
		for w.hold(sh, &sh.graves, before, w.bury) {
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
	carried     int          // records that a revocation of everything had ended
	gone        map[key]bool // of the records removed
}

func (w *sweeper) full() bool {
	return len(w.swept.Expired)+w.carried >= w.most || w.swept.Removed >= w.most
}

// hold works on one agenda for a bounded number of records, under one hold of
// the lock, and reports whether more are due.
func (w *sweeper) hold(sh *shard, a *agenda, now time.Time, settle func(*shard, uint32, *store.Record) bool) (again bool) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	// What stays for another time goes back at the end.
	var later []uint32
	defer func() {
		for _, i := range later {
			sh.fileAt(a, i, sh.metas.at(i).second)
		}
	}()
	for range sweepHold {
		i := sh.take(a, now.Unix())
		if i == 0 {
			return false
		}
		r := sh.peek(i, w.space)
		if w.full() {
			w.swept.More = true
			later = append(later, i)
			return false
		}
		if !settle(sh, i, &r) {
			later = append(later, i)
		}
	}
	return len(later) < sweepHold
}

// expire ends or refiles a living record; false means that it is due in this
// second, but not yet.
func (w *sweeper) expire(sh *shard, i uint32, r *store.Record) bool {
	switch {
	case r.Revoke(store.Revocation{OnlyExpired: true, Now: w.now}):
		sh.rewrite(i, r)
		w.swept.Expired = append(w.swept.Expired, *r)
	case r.Ended(): // because everything was revoked
		sh.rewrite(i, r)
		w.carried++
	default:
		due := dueAfter(r, w.now)
		if due <= w.now.Unix() {
			return false
		}
		sh.fileAt(&sh.expiries, i, due)
	}
	return true
}

// bury removes a tombstone; false means that it is due in this second, but not
// yet.
func (w *sweeper) bury(sh *shard, i uint32, r *store.Record) bool {
	if !r.End.At.Before(w.before) {
		return false
	}
	sh.delete(i)
	w.swept.Removed++
	for _, k := range keysOf(r) {
		w.gone[k] = true
	}
	return true
}
