package nearcache

import "encoding/binary"

// ring is the memory of a shard: entries stand in it one behind the other, in the
// order in which they were put, and the oldest are overwritten. It consists of
// chunks without pointers, each taken when it is first reached, so that a cache
// that is hardly used stays small and the garbage collector finds nothing to
// follow.
type ring struct {
	chunks [][]byte
	size   int // of a chunk; a multiple of align

	head, tail int // where the next entry goes, and where the oldest one is
	used       int // from tail to head, with what is left unused at the end of chunks
}

// align is what every place in the ring is a multiple of.
const align = 8

func newRing(chunks, size int) ring { return ring{chunks: make([][]byte, chunks), size: size} }

func (r *ring) capacity() int { return len(r.chunks) * r.size }

// at returns the memory from a place to the end of its chunk.
func (r *ring) at(place int) []byte {
	return r.chunks[place/r.size][place%r.size:]
}

// fits reports whether n bytes can be put without overwriting anything.
func (r *ring) fits(n int) bool { return r.used+r.skip(n)+n <= r.capacity() }

// skip returns how much is left unused so that n bytes lie in one chunk.
func (r *ring) skip(n int) int {
	if left := r.size - r.head%r.size; left < n {
		return left
	}
	return 0
}

// take returns the place of n bytes at the head, which must fit.
func (r *ring) take(n int) (place int) {
	if skipped := r.skip(n); skipped > 0 {
		binary.LittleEndian.PutUint32(r.at(r.head), 0) // an entry of no size: go on with the next chunk
		r.head, r.used = (r.head+skipped)%r.capacity(), r.used+skipped
	}
	place = r.head
	if c := place / r.size; r.chunks[c] == nil {
		r.chunks[c] = make([]byte, r.size)
	}
	r.head, r.used = (r.head+n)%r.capacity(), r.used+n
	return place
}

// oldest returns the place and the size of the oldest entry, and false if there is
// none.
func (r *ring) oldest() (place, n int, ok bool) {
	if r.used == 0 {
		return 0, 0, false
	}
	if n = int(binary.LittleEndian.Uint32(r.at(r.tail))); n == 0 {
		r.release(r.size - r.tail%r.size)
		if r.used == 0 {
			return 0, 0, false
		}
		n = int(binary.LittleEndian.Uint32(r.at(r.tail)))
	}
	return r.tail, n, true
}

// release gives up the oldest n bytes.
func (r *ring) release(n int) {
	r.tail, r.used = (r.tail+n)%r.capacity(), r.used-n
}

// bytes returns how much memory is held.
func (r *ring) bytes() (n int) {
	for _, c := range r.chunks {
		n += len(c)
	}
	return n
}
