package memory

import "math/bits"

// slab stores byte strings of many sizes in large pieces without pointers.
// It is used under its shard's lock.
type slab struct {
	classes [classCount]class
	large   map[uint32][]byte // :: number → a string too large for any class
	last    uint32            // the last number given out in large
}

// ref names a byte string in a slab.
type ref struct {
	slot  uint32
	size  uint32
	class uint8
}

// class holds the strings of one size.
type class struct {
	chunks [][]byte
	free   []uint32
	used   uint32 // slots ever handed out
}

const (
	firstSlots = 8        // of a class: small stores stay small …
	chunkBytes = 32 << 10 // … and large ones waste little of each chunk
	fineStep   = 32       // sizes up to fineMost grow by this much …
	fineMost   = 1024     // … and beyond by an eighth of a power of two
	coarse     = 8
	classCount = fineMost/fineStep + 7*coarse // the largest is 128 KiB
	largeClass = 255
)

// classOf returns the smallest class that holds n bytes.
func classOf(n uint32) uint8 {
	if n <= fineMost {
		return uint8((max(n, 1) - 1) / fineStep)
	}
	power := uint32(bits.Len32(n-1)) - 1 // 2^power < n ≤ 2^(power+1)
	step := uint32(1) << power / coarse
	c := fineMost/fineStep + (power-10)*coarse + (n-1-1<<power)/step
	if c >= classCount {
		return largeClass
	}
	return uint8(c)
}

// sizeOf returns the slot size of a class.
func sizeOf(c uint8) uint32 {
	if c < fineMost/fineStep {
		return (uint32(c) + 1) * fineStep
	}
	above := uint32(c) - fineMost/fineStep
	power := 10 + above/coarse
	return 1<<power + (above%coarse+1)*(1<<power/coarse)
}

// put stores a copy of b.
func (s *slab) put(b []byte) ref {
	r := ref{size: uint32(len(b)), class: classOf(uint32(len(b)))}
	if r.class == largeClass {
		return s.putLarge(b, r)
	}
	c := &s.classes[r.class]
	if n := len(c.free); n > 0 {
		r.slot, c.free = c.free[n-1], c.free[:n-1]
	} else {
		r.slot = c.used
		c.used++
		if chunk, _ := place(r); chunk == len(c.chunks) {
			slots := uint32(firstSlots)
			if chunk > 0 {
				slots = slotsOf(sizeOf(r.class))
			}
			c.chunks = append(c.chunks, make([]byte, slots*sizeOf(r.class)))
		}
	}
	copy(s.bytes(r), b)
	return r
}

func (s *slab) putLarge(b []byte, r ref) ref {
	if s.large == nil {
		s.large = make(map[uint32][]byte)
	}
	for s.last++; s.large[s.last] != nil; s.last++ {
	}
	r.slot = s.last
	s.large[r.slot] = append([]byte(nil), b...)
	return r
}

// bytes returns the stored string itself, valid while the lock is held.
func (s *slab) bytes(r ref) []byte {
	if r.class == largeClass {
		return s.large[r.slot]
	}
	chunk, at := place(r)
	return s.classes[r.class].chunks[chunk][at : at+r.size]
}

// place returns the chunk of a slot and the offset in it.
func place(r ref) (chunk int, at uint32) {
	size := sizeOf(r.class)
	if r.slot < firstSlots {
		return 0, r.slot * size
	}
	slots := slotsOf(size)
	return int(1 + (r.slot-firstSlots)/slots), (r.slot - firstSlots) % slots * size
}

// slotsOf returns how many slots a full chunk has.
func slotsOf(size uint32) uint32 { return max(chunkBytes/size, 4) }

// drop frees the string.
func (s *slab) drop(r ref) {
	if r.class == largeClass {
		delete(s.large, r.slot)
		return
	}
	clear(s.bytes(r)) // sealed or not, what has ended is not left lying around
	c := &s.classes[r.class]
	c.free = append(c.free, r.slot)
}
