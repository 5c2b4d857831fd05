package nearcache

import (
	"encoding/binary"
	"math/bits"
	"sync"
)

// shard holds the entries of some of the handles.
type shard struct {
	mu      sync.Mutex
	ring    ring
	buckets []uint32 // :: hash of the handle → first entry, as in entry.next
	flights map[recordID]*flight
	writes  map[recordID]int // own writes under way: meanwhile, Loads read through

	hits, misses, drops, evictions uint64
}

// flight is a Load on its way to the store, whose answer may become an entry: it
// does if nothing has happened to the record meanwhile. There is one at most for
// each record, so that an answer never overwrites a newer one.
type flight struct {
	generation uint64
	dropped    bool          // an invalidation has overtaken it
	landed     chan struct{} // closed at its end; nil while nobody waits
}

// spared is how many entries in use are kept, at most, to make room for one.
const spared = 4

// averageEntry is what the number of buckets goes by.
const averageEntry = 512

func newShard(bytes int) shard {
	const chunks = 8
	n := 1 << bits.Len(uint(bytes/averageEntry)) / 2
	size := (bytes - 4*n) / chunks / align * align
	return shard{ring: newRing(chunks, size), buckets: make([]uint32, max(n, 1)), flights: make(map[recordID]*flight), writes: make(map[recordID]int)}
}

// hash spreads records over shards (its upper half) and buckets (its lower half).
func (id recordID) hash() uint64 {
	h := binary.LittleEndian.Uint64(id.handle[:8]) ^ bits.RotateLeft64(binary.LittleEndian.Uint64(id.handle[8:]), 31)
	h = (h ^ uint64(id.space)) * 0x9e3779b97f4a7c15
	return h ^ h>>29
}

func (s *shard) bucket(id recordID) *uint32 { return &s.buckets[id.hash()&uint64(len(s.buckets)-1)] }

// at returns the entry behind a link of a bucket.
func (s *shard) at(link uint32) entry { return entry(s.ring.at(int(link-1) * align)) }

func linkTo(place int) uint32 { return uint32(place/align) + 1 }

// find returns the entry of a record, or nil.
func (s *shard) find(id recordID) entry {
	for link := *s.bucket(id); link != 0; {
		e := s.at(link)
		if e.of(id) {
			return e
		}
		link = e.next()
	}
	return nil
}

// drop makes an entry one that nobody finds. What it holds does not stay in
// memory.
func (s *shard) drop(e entry) {
	s.unlink(e)
	e.set(flagDropped)
	clear(e.body())
}

// unlink takes an entry out of its bucket.
func (s *shard) unlink(e entry) {
	id := recordID{space: e.space(), handle: [16]byte(e.handle())}
	first := s.bucket(id)
	if s.at(*first).of(id) {
		*first = e.next()
		return
	}
	for before := s.at(*first); ; before = s.at(before.next()) {
		if s.at(before.next()).of(id) {
			before.setNext(e.next())
			return
		}
	}
}

// overtake keeps a Load under way from becoming an entry.
func (s *shard) overtake(id recordID) {
	if f := s.flights[id]; f != nil {
		f.dropped = true
		delete(s.flights, id)
	}
}

// isWritten reports whether an own write of the record is under way.
func (s *shard) isWritten(id recordID) bool { return len(s.writes) > 0 && s.writes[id] > 0 }

// written ends an own write of the record.
func (s *shard) written(id recordID) {
	if s.writes[id]--; s.writes[id] <= 0 {
		delete(s.writes, id)
	}
}

// forget drops the entry of a record, and keeps a Load under way from becoming
// one.
func (s *shard) forget(id recordID) {
	s.overtake(id)
	if e := s.find(id); e != nil {
		s.drop(e)
		s.drops++
	}
}

// put stores an entry in place of the one there is.
func (s *shard) put(m image) {
	if e := s.find(m.id); e != nil {
		s.drop(e)
	}
	n := (entryHead + len(m.body) + align - 1) / align * align
	if n > s.ring.size {
		return
	}
	for chances := spared; !s.ring.fits(n); {
		s.reclaim(&chances)
	}
	place := s.ring.take(n)
	e := entry(s.ring.at(place)[:n])
	clear(e[:entryHead])
	binary.LittleEndian.PutUint32(e, uint32(n))
	binary.LittleEndian.PutUint16(e[10:], m.id.space)
	binary.LittleEndian.PutUint32(e[12:], uint32(len(m.body)))
	binary.LittleEndian.PutUint64(e[16:], m.generation)
	binary.LittleEndian.PutUint64(e[24:], m.marks)
	copy(e.handle(), m.id.handle[:])
	copy(e[entryHead:], m.body)
	if m.ended {
		e.set(flagEnded)
	}
	s.link(m.id, place)
}

func (s *shard) link(id recordID, place int) {
	first := s.bucket(id)
	s.at(linkTo(place)).setNext(*first)
	*first = linkTo(place)
}

// reclaim gives up the oldest entry. One that was served lately goes to the head
// instead, as often as there are chances.
func (s *shard) reclaim(chances *int) {
	place, n, ok := s.ring.oldest()
	if !ok {
		return
	}
	e := entry(s.ring.at(place)[:n])
	if e.is(flagDropped) {
		s.ring.release(n)
		return
	}
	s.unlink(e)
	s.ring.release(n)
	if !e.is(flagAsked) || *chances == 0 || !s.ring.fits(n) {
		s.evictions++
		return
	}
	*chances--
	e.clear(flagAsked)
	id := recordID{space: e.space(), handle: [16]byte(e.handle())}
	to := s.ring.take(n)
	copy(s.ring.at(to)[:n], e)
	s.link(id, to)
}

// each calls do for every entry that can be found.
func (s *shard) each(do func(entry)) {
	for i := range s.buckets {
		for link := s.buckets[i]; link != 0; {
			e := s.at(link)
			link = e.next() // before do may drop it
			do(e)
		}
	}
}

// bytes returns how much memory the shard holds.
func (s *shard) bytes() int { return s.ring.bytes() + 4*len(s.buckets) }

// close gives the memory back.
func (s *shard) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.buckets, s.flights = make([]uint32, 1), make(map[recordID]*flight)
	s.ring = newRing(len(s.ring.chunks), s.ring.size)
}
