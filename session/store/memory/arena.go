package memory

import "sync"

// arena gives out pieces of larger blocks. The garbage collector has to look at
// every block, however small, and at next to nothing else; so there are few. Who
// gets a piece keeps it, and uses it again.
type arena[T any] struct {
	mu    sync.Mutex
	most  int // the size of large blocks; they must not take long to be cleared
	rest  []T // of the last block
	given int
}

// take returns room for one to n units, as much as is left of a block.
func (a *arena[T]) take(unit, n int) []T {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.rest) < unit {
		// An eighth of what there is, so that small stores stay small.
		a.rest = make([]T, max(unit*n, min(a.given/8, a.most)))
	}
	size := unit * min(n, len(a.rest)/unit)
	piece := a.rest[:size:size]
	a.rest = a.rest[size:]
	a.given += size
	return piece
}
