package memory

import (
	"hash/maphash"
	"slices"
	"sync"

	"cloakroom.example/session/store"
)

const keyShardCount = 128

// key stands for a subject or a link. Both are chosen by others, who must not be
// able to choose which of them meet: the hash has a secret seed. Where two meet
// nevertheless, they share a list, and whoever walks it tells them apart.
type key uint64

func (sp *space) subjectKey(subject string) key { return key(maphash.String(sp.subjectSeed, subject)) }
func (sp *space) linkKey(l store.Link) key      { return key(maphash.Bytes(sp.linkSeed, l[:])) }

// keysOf returns the keys under which a record is indexed.
func (sp *space) keysOf(r *store.Record) []key {
	var keys []key
	if r.Subject != "" {
		keys = append(keys, sp.subjectKey(r.Subject))
	}
	for _, l := range r.Links {
		if k := sp.linkKey(l); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	return keys
}

// keyShard indexes sessions by subject and link. Tombstones are kept apart, so that
// somebody who signs in and out all day does not slow down his next login. Among
// the living there may still be some that have ended; whoever comes upon them moves
// them.
type keyShard struct {
	mu    sync.Mutex
	live  nodes
	ended nodes
	marks marks
	_     [64]byte
}

// nodes say which sessions belong to which keys.
type nodes struct {
	table[node]
	buckets
}

type node struct {
	record ref
	tag    uint32 // half of the key
	same   uint32 // the next node whose tag has the same bucket
}

func (ns *nodes) hash(i uint32) uint32   { return ns.at(i).tag }
func (ns *nodes) next(i uint32) uint32   { return ns.at(i).same }
func (ns *nodes) setNext(i, next uint32) { ns.at(i).same = next }
func (ns *nodes) crowd() int             { return 4 } // logins have the time to look at a few

func (k key) shard() int  { return int(k >> 32 % keyShardCount) }
func (k key) tag() uint32 { return uint32(k) }

func (sp *space) keyShardOf(k key) *keyShard { return &sp.keys[k.shard()] }

// lockKeys locks the shards of the keys in ascending order.
func (sp *space) lockKeys(keys []key) (unlock func()) {
	indexes := make([]int, 0, 4)
	for _, k := range keys {
		indexes = append(indexes, k.shard())
	}
	slices.Sort(indexes)
	indexes = slices.Compact(indexes)
	for _, i := range indexes {
		sp.keys[i].mu.Lock()
	}
	return func() {
		for _, i := range indexes {
			sp.keys[i].mu.Unlock()
		}
	}
}

// add makes a session one of the key's.
func (ns *nodes) add(k key, x ref) {
	i := ns.table.add()
	*ns.at(i) = node{record: x, tag: k.tag()}
	ns.link(ns, i)
}

// remove drops those of the key's sessions for which keep answers false, and
// returns them.
func (ns *nodes) remove(k key, keep func(ref) bool) (removed []ref) {
	for i, before := ns.first(k.tag()), uint32(0); i != 0; {
		n := ns.at(i)
		next := n.same
		if n.tag == k.tag() && !keep(n.record) {
			removed = append(removed, n.record)
			ns.cut(ns, before, i)
			ns.table.remove(i)
		} else {
			before = i
		}
		i = next
	}
	return removed
}

// addLocked makes a new session one of the key's.
func (ks *keyShard) addLocked(k key, x ref) { ks.live.add(k, x) }

// walkLocked visits a key's living sessions. Those for which visit answers false
// have ended and are kept apart from now on.
func (ks *keyShard) walkLocked(k key, visit func(ref) (alive bool)) {
	for _, x := range ks.live.remove(k, visit) {
		ks.ended.add(k, x)
	}
}

// records returns a key's sessions, tombstones too if wanted.
func (ks *keyShard) records(k key, ended bool) (all []ref) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	collect := func(x ref) bool {
		all = append(all, x)
		return true
	}
	ks.live.remove(k, collect)
	if ended {
		ks.ended.remove(k, collect)
	}
	return all
}

// retire takes a session that has ended from among the living. Nothing depends on
// it but how many there are to walk over.
func (sp *space) retire(r *store.Record) {
	x := sp.refTo(r.Handle)
	for _, k := range sp.keysOf(r) {
		ks := sp.keyShardOf(k)
		ks.mu.Lock()
		// It may have gone meanwhile, and another one have its number.
		ks.walkLocked(k, func(other ref) bool { return other != x || sp.living(x) })
		ks.mu.Unlock()
	}
}

// unindex forgets those of a key's sessions that are no longer stored.
func (sp *space) unindex(k key) {
	ks := sp.keyShardOf(k)
	ks.mu.Lock()
	defer ks.mu.Unlock()
	ks.live.remove(k, sp.stored)
	ks.ended.remove(k, sp.stored)
}
