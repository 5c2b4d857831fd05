package memory

import (
	"encoding/binary"
	"math/bits"
)

// slab stores byte strings of many sizes in large pieces without pointers. Each
// chunk holds slots of one size; a slot that is free holds the number of the next
// one. A chunk whose slots are all free is cut anew for whatever size is wanted:
// when all sessions grow, what they leave must not lie idle. It is used under its
// shard's lock.
type slab struct {
	arena   *arena[byte]
	chunks  []chunk // chunk 0 is not used, so that no place is 0
	vacant  []uint32
	spare   [][]byte // the memory of chunks that became empty
	classes [classCount]class
}

// place says where a byte string lies: the number of a chunk, and of a slot in
// it. 0 is nowhere.
type place uint32

const slotBits = 12

func placeOf(chunk, slot uint32) place { return place(chunk<<slotBits | slot) }

func (p place) chunk() uint32 { return uint32(p) >> slotBits }
func (p place) slot() uint32  { return uint32(p) & (1<<slotBits - 1) }

// chunk is a piece of memory for strings of one class.
type chunk struct {
	bytes      []byte
	class      uint8
	used       uint16 // how many slots hold a string
	free       uint16 // the first slot to be used again, counted from 1
	prev, next uint32 // in the list of those chunks of a class that have such slots
}

// class hands out slots of one size.
type class struct {
	slots uint32 // of all its chunks
	open  uint32 // the chunk that has slots never used …
	used  uint32 // … and how many of them are
	free  uint32 // the first chunk that has slots to be used again
}

// Slots grow by eight bytes, and from half a KiB on in sixteen steps for every
// doubling, which wastes two or three hundredths of what is stored.
const (
	fineStep   = 8
	fineMost   = 512
	fineCount  = fineMost / fineStep
	steps      = 16
	classCount = fineCount + 6*steps // the largest is 32 KiB; what is larger has a chunk of its own
	largeClass = 255
)

// A chunk is a thirty-second of what there is of a class, so that little of it is
// unused on average.
const (
	chunkLeast = 1 << 10
	chunkMost  = 32 << 10
)

// classOf returns the smallest class that holds n bytes.
func classOf(n int) uint8 {
	if n <= fineMost {
		return uint8((max(n, 1) - 1) / fineStep)
	}
	power := bits.Len(uint(n-1)) - 1 // 2^power < n ≤ 2^(power+1)
	c := fineCount + (power-9)*steps + (n-1)>>(power-4)&(steps-1)
	if c >= classCount {
		return largeClass
	}
	return uint8(c)
}

// sizeOf returns the slot size of a class.
func sizeOf(c uint8) int {
	if c < fineCount {
		return (int(c) + 1) * fineStep
	}
	above := int(c) - fineCount
	return (steps + above%steps + 1) << (above/steps + 5)
}

// put stores a copy of b.
func (s *slab) put(b []byte) place {
	number := classOf(len(b))
	if number == largeClass {
		return s.putLarge(b)
	}
	c := &s.classes[number]
	var p place
	if c.free != 0 {
		p = s.again(c)
	} else {
		p = s.fresh(c, number)
	}
	s.chunks[p.chunk()].used++
	s.overwrite(p, b)
	return p
}

// again returns a slot that has become free.
func (s *slab) again(c *class) place {
	number := c.free
	k := &s.chunks[number]
	p := placeOf(number, uint32(k.free-1))
	if k.free = binary.LittleEndian.Uint16(s.bytes(p)); k.free == 0 {
		s.unlist(c, number)
	}
	return p
}

// fresh returns a slot that was never used.
func (s *slab) fresh(c *class, number uint8) place {
	size := sizeOf(number)
	if c.open == 0 || int(c.used+1)*size > len(s.chunks[c.open].bytes) {
		slots := max(min(max(int(c.slots)*size/32, chunkLeast), chunkMost)/size, 1)
		b := s.room(size, slots)
		c.slots += uint32(len(b) / size)
		c.open, c.used = s.add(chunk{bytes: b, class: number}), 0
	}
	c.used++
	return placeOf(c.open, c.used-1)
}

// spareTries is how many spare pieces are looked at for one that is large enough.
const spareTries = 8

// room returns memory for a new chunk.
func (s *slab) room(size, slots int) []byte {
	last := len(s.spare) - 1
	for i := last; i >= 0 && i > last-spareTries; i-- {
		if b := s.spare[i]; len(b) >= size {
			s.spare[i], s.spare[last] = s.spare[last], nil
			s.spare = s.spare[:last]
			return b
		}
	}
	return s.arena.take(size, slots)
}

func (s *slab) putLarge(b []byte) place {
	return placeOf(s.add(chunk{bytes: append([]byte(nil), b...), class: largeClass}), 0)
}

func (s *slab) add(c chunk) (number uint32) {
	if n := len(s.vacant); n > 0 {
		number, s.vacant = s.vacant[n-1], s.vacant[:n-1]
		s.chunks[number] = c
		return number
	}
	if len(s.chunks) == 0 {
		s.chunks = make([]chunk, 1, 8)
	}
	s.chunks = append(s.chunks, c)
	return uint32(len(s.chunks) - 1)
}

// bytes returns the slot itself, valid while the lock is held. It can be longer
// than what was put there.
func (s *slab) bytes(p place) []byte {
	c := &s.chunks[p.chunk()]
	if c.class == largeClass {
		return c.bytes
	}
	size := uint32(sizeOf(c.class))
	at := p.slot() * size
	return c.bytes[at : at+size : at+size]
}

// fits reports whether b can be put over what is at p.
func (s *slab) fits(p place, b []byte) bool {
	c := s.chunks[p.chunk()].class
	return c != largeClass && c == classOf(len(b))
}

// overwrite puts a copy of b over what is at p. Nothing of that stays: sealed or
// not, what has ended is not left lying around.
func (s *slab) overwrite(p place, b []byte) {
	slot := s.bytes(p)
	clear(slot[copy(slot, b):])
}

// drop frees the string.
func (s *slab) drop(p place) {
	slot := s.bytes(p)
	clear(slot)
	number := p.chunk()
	k := &s.chunks[number]
	if k.class == largeClass {
		s.vacate(number)
		return
	}
	c := &s.classes[k.class]
	if k.free == 0 {
		s.list(c, number)
	}
	binary.LittleEndian.PutUint16(slot, k.free)
	k.free = uint16(p.slot() + 1)
	if k.used--; k.used == 0 && number != c.open {
		s.unlist(c, number)
		c.slots -= uint32(len(k.bytes) / sizeOf(k.class))
		s.spare = append(s.spare, k.bytes)
		s.vacate(number)
	}
}

// vacate makes the number of a chunk one for another.
func (s *slab) vacate(number uint32) {
	s.chunks[number] = chunk{}
	s.vacant = append(s.vacant, number)
}

// list notes that a chunk has slots to be used again.
func (s *slab) list(c *class, number uint32) {
	s.chunks[number].next = c.free
	if c.free != 0 {
		s.chunks[c.free].prev = number
	}
	c.free = number
}

// unlist notes that it has none any more.
func (s *slab) unlist(c *class, number uint32) {
	k := &s.chunks[number]
	if k.prev != 0 {
		s.chunks[k.prev].next = k.next
	} else {
		c.free = k.next
	}
	if k.next != 0 {
		s.chunks[k.next].prev = k.prev
	}
	k.prev, k.next = 0, 0
}
