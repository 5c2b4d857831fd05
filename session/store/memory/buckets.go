package memory

import "math/bits"

// buckets find things by hash: linear hashing, in which whatever is added may split
// one bucket. No insertion rehashes everything, and the table is never half empty.
// The things of a bucket are chained by their numbers.
type buckets struct {
	heads []uint32 // the first of each bucket; 0 is nothing
	count int
}

// chained is where things are kept by number.
type chained interface {
	hash(i uint32) uint32
	next(i uint32) uint32 // of its bucket
	setNext(i, next uint32)
	crowd() int // how many things share a bucket
}

// bucket returns where the number of the first thing with such a hash is kept.
func (b *buckets) bucket(hash uint32) *uint32 {
	n := uint32(len(b.heads))
	mask := uint32(1)<<bits.Len32(n-1) - 1
	i := hash & mask
	if i >= n { // was not split off yet
		i &= mask >> 1
	}
	return &b.heads[i]
}

// first returns the first thing in the bucket of a hash, or 0.
func (b *buckets) first(hash uint32) uint32 {
	if len(b.heads) == 0 {
		return 0
	}
	return *b.bucket(hash)
}

// link adds a thing.
func (b *buckets) link(of chained, i uint32) {
	if b.count++; b.count > len(b.heads)*of.crowd() {
		b.split(of)
	}
	b.push(of, i)
}

func (b *buckets) push(of chained, i uint32) {
	head := b.bucket(of.hash(i))
	of.setNext(i, *head)
	*head = i
}

// split adds a bucket and gives it what belongs there of another one.
func (b *buckets) split(of chained) {
	n := uint32(len(b.heads))
	b.heads = append(b.heads, 0)
	if n == 0 {
		return
	}
	source := &b.heads[n&^(1<<(bits.Len32(n)-1))]
	i := *source
	for *source = 0; i != 0; {
		next := of.next(i)
		b.push(of, i)
		i = next
	}
}

// unlink removes a thing.
func (b *buckets) unlink(of chained, i uint32) {
	before := uint32(0)
	for j := b.first(of.hash(i)); j != i; j = of.next(j) {
		before = j
	}
	b.cut(of, before, i)
}

// cut removes a thing, which comes after the one before it, or first in its bucket
// if that is 0. Who walks a bucket knows; searching would make long ones quadratic.
func (b *buckets) cut(of chained, before, i uint32) {
	b.count--
	if next := of.next(i); before == 0 {
		*b.bucket(of.hash(i)) = next
	} else {
		of.setNext(before, next)
	}
}
