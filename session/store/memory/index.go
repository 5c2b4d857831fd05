package memory

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

const keyShardCount = 128

// key is the hash of a subject or of a link; the index holds no pointers.
type key [16]byte

func subjectKey(subject string) key {
	sum := sha256.Sum256([]byte("s" + subject))
	return key(sum[:16])
}

func linkKey(l store.Link) key {
	sum := sha256.Sum256(append([]byte("l"), l[:]...))
	return key(sum[:16])
}

// keysOf returns the keys under which a record is indexed.
func keysOf(r *store.Record) []key {
	var keys []key
	if r.Subject != "" {
		keys = append(keys, subjectKey(r.Subject))
	}
	for _, l := range r.Links {
		keys = append(keys, linkKey(l))
	}
	return keys
}

// keyShard indexes sessions by subject and link.
type keyShard struct {
	mu      sync.Mutex
	entries map[key]entry
	nodes   []node // node 0 is not used, it ends lists
	free    uint32 // head of the list of free nodes
	marks   []mark // in the order of their times, for sweeping
	_       [64]byte
}

// entry is what is known of one subject or link. Tombstones have a list of their
// own, so that somebody who signs in and out all day does not slow down his next
// login. The list of the living may still name some that have ended; whoever
// walks it moves them.
type entry struct {
	live    uint32
	ended   uint32
	revoked int64 // when it was last revoked, nanoseconds …
	clock   int64 // … by which clock
}

type node struct {
	handle store.Handle
	next   uint32
}

type mark struct {
	at  int64
	key key
}

func keyIndex(k key) int { return int(binary.BigEndian.Uint16(k[:2]) % keyShardCount) }

func (sp *space) keyShardOf(k key) *keyShard { return &sp.keys[keyIndex(k)] }

// lockKeys locks the shards of the keys in ascending order.
func (sp *space) lockKeys(keys []key) (unlock func()) {
	indexes := make([]int, 0, 4)
	for _, k := range keys {
		indexes = append(indexes, keyIndex(k))
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

// pushLocked puts a handle in front of the list that begins at head.
func (ks *keyShard) pushLocked(head uint32, h store.Handle) uint32 {
	if len(ks.nodes) == 0 {
		ks.nodes = make([]node, 1, 8)
	}
	i := ks.free
	if i != 0 {
		ks.free = ks.nodes[i].next
	} else {
		i = uint32(len(ks.nodes))
		ks.nodes = append(ks.nodes, node{})
	}
	ks.nodes[i] = node{handle: h, next: head}
	return i
}

// filterLocked visits a list, drops the handles for which keep answers false and
// returns the new head.
func (ks *keyShard) filterLocked(head uint32, keep func(store.Handle) bool) uint32 {
	previous := uint32(0)
	for i := head; i != 0; {
		next := ks.nodes[i].next
		switch {
		case keep(ks.nodes[i].handle):
			previous = i
		default:
			if previous == 0 {
				head = next
			} else {
				ks.nodes[previous].next = next
			}
			ks.nodes[i] = node{next: ks.free}
			ks.free = i
		}
		i = next
	}
	return head
}

func (ks *keyShard) setLocked(k key, e entry) {
	if e == (entry{}) {
		delete(ks.entries, k)
		return
	}
	ks.entries[k] = e
}

// addLocked puts a new session on the list of a key.
func (ks *keyShard) addLocked(k key, h store.Handle) {
	e := ks.entries[k]
	e.live = ks.pushLocked(e.live, h)
	ks.entries[k] = e
}

// walkLocked visits the handles of a key's living sessions. Those for which
// visit answers false have ended and move to the other list.
func (ks *keyShard) walkLocked(k key, visit func(store.Handle) (alive bool)) {
	e, found := ks.entries[k]
	if !found {
		return
	}
	var ended []store.Handle
	e.live = ks.filterLocked(e.live, func(h store.Handle) bool {
		alive := visit(h)
		if !alive {
			ended = append(ended, h)
		}
		return alive
	})
	for _, h := range ended {
		e.ended = ks.pushLocked(e.ended, h)
	}
	ks.setLocked(k, e)
}

// handles returns the handles of a key's sessions, those of tombstones too if
// wanted.
func (ks *keyShard) handles(k key, ended bool) (all []store.Handle) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	collect := func(h store.Handle) bool {
		all = append(all, h)
		return true
	}
	e := ks.entries[k]
	ks.filterLocked(e.live, collect)
	if ended {
		ks.filterLocked(e.ended, collect)
	}
	return all
}

// mark returns when the key was revoked last.
func (e entry) mark() store.Mark {
	if e.revoked == 0 {
		return store.Mark{}
	}
	return store.Mark{At: time.Unix(0, e.revoked).UTC(), Clock: e.clock}
}

// markLocked remembers when a key was revoked.
func (ks *keyShard) markLocked(k key, v store.Revocation) {
	e := ks.entries[k]
	last := e.mark().After(v)
	if at := nanos(last.At); at != e.revoked {
		ks.marks = append(ks.marks, mark{at, k})
		e.revoked = at
	}
	e.clock = last.Clock
	ks.entries[k] = e
}

// overtookLocked reports whether the key was revoked after the authentication
// behind the creation began.
func (ks *keyShard) overtookLocked(k key, c store.Creation) bool {
	return c.Overtook(ks.entries[k].mark())
}

// forget drops revocation times that are older than tombstones live.
func (ks *keyShard) forget(before time.Time) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	n := 0
	for ; n < len(ks.marks) && ks.marks[n].at < nanos(before); n++ {
		k := ks.marks[n].key
		if e := ks.entries[k]; e.revoked == ks.marks[n].at {
			e.revoked, e.clock = 0, 0
			ks.setLocked(k, e)
		}
	}
	if n > 0 {
		ks.marks = slices.Clone(ks.marks[n:])
	}
}

// retire moves a session that has ended to the list of tombstones. Nothing
// depends on it but the length of the other one.
func (sp *space) retire(r *store.Record) {
	for _, k := range keysOf(r) {
		ks := sp.keyShardOf(k)
		ks.mu.Lock()
		ks.walkLocked(k, func(h store.Handle) bool { return h != r.Handle })
		ks.mu.Unlock()
	}
}

// unindex takes sessions that are no longer stored off the lists of a key.
func (sp *space) unindex(k key) {
	ks := sp.keyShardOf(k)
	ks.mu.Lock()
	defer ks.mu.Unlock()
	e, found := ks.entries[k]
	if !found {
		return
	}
	e.live = ks.filterLocked(e.live, sp.stored)
	e.ended = ks.filterLocked(e.ended, sp.stored)
	ks.setLocked(k, e)
}
