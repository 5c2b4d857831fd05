package memory

// table is an array that grows without moving, so that growth stalls nobody.
// Numbers are given out from 1; 0 ends lists.
type table[T any] struct {
	arena  *arena[T]
	chunks []*[tableChunk]T
	free   []uint32
	last   uint32 // the highest number ever given out
}

const tableChunk = 64

func (t *table[T]) at(i uint32) *T { return &t.chunks[i/tableChunk][i%tableChunk] }

func (t *table[T]) add() uint32 {
	if n := len(t.free); n > 0 {
		i := t.free[n-1]
		t.free = t.free[:n-1]
		return i
	}
	t.last++
	if int(t.last/tableChunk) >= len(t.chunks) {
		t.chunks = append(t.chunks, (*[tableChunk]T)(t.arena.take(tableChunk, 1)))
	}
	return t.last
}

func (t *table[T]) remove(i uint32) {
	var zero T
	*t.at(i) = zero
	t.free = append(t.free, i)
}
