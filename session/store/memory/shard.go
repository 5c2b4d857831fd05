package memory

import (
	"encoding/binary"
	"fmt"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

const shardCount = 128

// shard holds the records whose handles begin alike.
type shard struct {
	mu       sync.Mutex
	byHandle map[store.Handle]uint32 // :: handle → number in metas
	metas    metas
	slab     slab
	expiries agenda   // the living, by when they may expire
	graves   agenda   // the tombstones, by when they ended
	guests   int      // anonymous records that have not ended
	scratch  []byte   // for encoding, reused
	_        [64]byte // neighbours do not share a cache line
}

// meta is what a shard keeps of a record outside the encoding.
type meta struct {
	handle store.Handle
	seen   int64 // nanoseconds; prevails over the encoded record
	second int64 // under which it is filed
	next   uint32
	prev   uint32
	epoch  uint32
	data   ref
	ended  bool // is filed among the graves
	used   bool
	guest  bool // counts as anonymous
}

// metas is a growing table of metas that never moves, so that growth stalls
// nobody.
type metas struct {
	chunks [][]meta
	free   []uint32
	count  uint32 // numbers ever given out; 0 is not used, it ends lists
}

const metaChunk = 256

func (m *metas) at(i uint32) *meta { return &m.chunks[i/metaChunk][i%metaChunk] }

func (m *metas) add() uint32 {
	if n := len(m.free); n > 0 {
		i := m.free[n-1]
		m.free = m.free[:n-1]
		return i
	}
	m.count++
	if int(m.count/metaChunk) >= len(m.chunks) {
		m.chunks = append(m.chunks, make([]meta, metaChunk))
	}
	return m.count
}

func (m *metas) remove(i uint32) {
	*m.at(i) = meta{}
	m.free = append(m.free, i)
}

func shardIndex(h store.Handle) int {
	// Handles are hashes: any of their bits are evenly spread.
	return int(binary.BigEndian.Uint16(h[:2]) % shardCount)
}

func (sp *space) shardOf(h store.Handle) *shard { return &sp.shards[shardIndex(h)] }

// lockPair locks the shards of two handles in ascending order.
func (sp *space) lockPair(a, b store.Handle) (unlock func()) {
	i, j := shardIndex(a), shardIndex(b)
	if i == j {
		sp.shards[i].mu.Lock()
		return sp.shards[i].mu.Unlock
	}
	first, second := &sp.shards[min(i, j)], &sp.shards[max(i, j)]
	first.mu.Lock()
	second.mu.Lock()
	return func() {
		second.mu.Unlock()
		first.mu.Unlock()
	}
}

// copyOf returns a copy of the record, which the caller may keep.
func (sh *shard) copyOf(h store.Handle, sp *space) (store.Record, bool) {
	sh.mu.Lock()
	i, found := sh.byHandle[h]
	if !found {
		sh.mu.Unlock()
		return store.Record{}, false
	}
	m := *sh.metas.at(i)
	raw := append([]byte(nil), sh.slab.bytes(m.data)...)
	sh.mu.Unlock()
	// Decoding outside the lock keeps the lock short.
	return decode(raw, &m, sp), true
}

// stored reports whether the record is there, as a tombstone or alive.
func (sp *space) stored(h store.Handle) bool {
	sh := sp.shardOf(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	_, found := sh.byHandle[h]
	return found
}

// record decodes a copy of record i, which the caller may keep.
func (sh *shard) record(i uint32, sp *space) store.Record {
	m := sh.metas.at(i)
	return decode(append([]byte(nil), sh.slab.bytes(m.data)...), m, sp)
}

// peek decodes record i in place: its byte slices are valid under the lock only.
// Nothing of them is left in a record that has become a tombstone.
func (sh *shard) peek(i uint32, sp *space) store.Record {
	m := sh.metas.at(i)
	return decode(sh.slab.bytes(m.data), m, sp)
}

func decode(raw []byte, m *meta, sp *space) store.Record {
	r, err := store.DecodeRecord(raw)
	if err != nil {
		// We wrote these bytes and nobody else can: this is a defect here.
		panic(fmt.Sprintf("memory: internal error: %v", err))
	}
	if m.seen != 0 {
		r.Seen = time.Unix(0, m.seen).UTC()
	}
	sp.epoch.apply(&r, m.epoch)
	return r
}

// insert adds a record that is not there yet.
func (sh *shard) insert(r *store.Record, epoch uint32) {
	i := sh.metas.add()
	sh.byHandle[r.Handle] = i
	sh.scratch = r.Append(sh.scratch[:0])
	*sh.metas.at(i) = meta{
		handle: r.Handle, seen: nanos(r.Seen), epoch: epoch,
		data: sh.slab.put(sh.scratch), used: true, guest: r.State == store.Anonymous,
	}
	if r.State == store.Anonymous {
		sh.guests++
	}
	sh.file(i, r)
}

// rewrite stores the changed record under the same number.
func (sh *shard) rewrite(i uint32, r *store.Record) {
	m := sh.metas.at(i)
	sh.scratch = r.Append(sh.scratch[:0])
	m.seen = nanos(r.Seen)
	if m.guest && r.Ended() {
		m.guest = false
		sh.guests--
	}
	if n := uint32(len(sh.scratch)); m.data.class != largeClass && classOf(n) == m.data.class {
		m.data.size = n
		copy(sh.slab.bytes(m.data), sh.scratch)
	} else {
		sh.slab.drop(m.data)
		m.data = sh.slab.put(sh.scratch)
	}
	sh.file(i, r)
}

func (sh *shard) delete(i uint32) {
	sh.unfile(i)
	m := sh.metas.at(i)
	delete(sh.byHandle, m.handle)
	sh.slab.drop(m.data)
	sh.metas.remove(i)
}

func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixNano()
}
