package memory

import (
	"encoding/binary"
	"sync"

	"cloakroom.example/session/store"
)

const shardCount = 128

// shard holds the records whose handles begin alike.
type shard struct {
	mu       sync.Mutex
	handles  buckets // of places in the slab
	slab     slab
	terms    words
	agents   words
	numbers  table[number]
	expiries agenda // the living, by when to look at them; one that ends stays until then
	graves   agenda // the tombstones, by when they ended
	early    []date // what has to be looked at before the date it is filed under
	latest   int64  // the latest second at which a date was chosen
	guests   int    // anonymous records that have not ended
	scratch  []byte // for encoding, reused …
	text     []byte // … and for words
	room     room   // for decoding what does not outlive the lock, reused
	_        [64]byte
}

// number is what names a record that moves in the slab as it grows.
type number struct {
	place place  // 0 if there is no record
	next  uint32 // in the list of its date
}

// ref names a record for as long as something refers to it: its shard and number.
type ref uint32

func refOf(shard int, number uint32) ref { return ref(number*shardCount + uint32(shard)) }

// at returns the shard and the number in it of a record.
func (sp *space) at(x ref) (*shard, uint32) {
	return &sp.shards[x%shardCount], uint32(x / shardCount)
}

// Handles are hashes: any of their bits are evenly spread.

func shardIndex(h store.Handle) int             { return int(binary.LittleEndian.Uint16(h[:2]) % shardCount) }
func hashOf(h store.Handle) uint32              { return binary.LittleEndian.Uint32(h[4:]) }
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

// The slab is searched by the handles of its records.

func (s *slab) hash(i uint32) uint32   { return hashOf(s.entry(place(i)).handle()) }
func (s *slab) next(i uint32) uint32   { return uint32(s.entry(place(i)).same()) }
func (s *slab) setNext(i, next uint32) { s.entry(place(i)).setSame(place(next)) }
func (s *slab) crowd() int             { return 1 }

func (s *slab) entry(p place) entry { return entry(s.bytes(p)) }

// find returns the place of a record, or 0.
func (sh *shard) find(h store.Handle) place {
	p := place(sh.handles.first(hashOf(h)))
	for p != 0 {
		e := sh.slab.entry(p)
		if e.handle() == h {
			break
		}
		p = e.same()
	}
	return p
}

// load copies a record into r, which the caller may keep, and reports whether
// there is one.
func (sp *space) load(h store.Handle, r *store.Record, parts ...string) bool {
	sh := sp.shardOf(h)
	sh.mu.Lock()
	p := sh.find(h)
	if p == 0 {
		sh.mu.Unlock()
		return false
	}
	sp.copyAndUnlock(sh, p, r, parts)
	return true
}

// loadRef is load for a record without its parts.
func (sp *space) loadRef(x ref, r *store.Record) bool {
	sh, i := sp.at(x)
	sh.mu.Lock()
	p := sh.place(i)
	if p == 0 {
		sh.mu.Unlock()
		return false
	}
	sp.copyAndUnlock(sh, p, r, nil)
	return true
}

// copyAndUnlock copies the record at p into r. Under the lock it copies bytes and
// allocates nothing; decoding comes after that.
func (sp *space) copyAndUnlock(sh *shard, p place, r *store.Record, parts []string) {
	buffer := sp.buffers.Get().(*[]byte)
	im := sh.image(p)
	if len(parts) == 0 {
		im.raw = head(im.raw)
	}
	*buffer = append((*buffer)[:0], im.raw...)
	sh.mu.Unlock()
	im.raw = *buffer
	im.decode(r, sp, wanted{parts: parts})
	sp.buffers.Put(buffer)
}

// copyLocked copies the record at p without its parts into r, all under the lock.
func (sh *shard) copyLocked(p place, sp *space, r *store.Record) {
	im := sh.image(p)
	im.raw = head(im.raw)
	im.decode(r, sp, wanted{})
}

// copyPart copies the sealed bytes of a part of the record at p over b, if the
// record is still as it was seen.
func (sh *shard) copyPart(p place, sp *space, seen *store.Record, name string, b []byte) (store.Part, error) {
	var now store.Record
	im := sh.image(p)
	d, flags := im.facts(&now)
	sp.epoch.apply(&now, im.epoch)
	if now.Ended() || now.Version != seen.Version || now.Locked != seen.Locked || !now.Limit.Equal(seen.Limit) {
		return store.Part{}, store.ErrConflict
	}
	d.skipToParts(flags)
	part, sealed := d.onePart(name)
	if len(sealed) > 0 {
		part.Sealed = append(b[:0], sealed...)
	}
	return part, nil
}

// peek decodes the record at p, parts included, in place: its byte slices are valid under
// the lock only. Nothing of them is left in a record that has become a tombstone.
func (sh *shard) peek(p place, sp *space, r *store.Record) {
	im := sh.image(p)
	im.decode(r, sp, wanted{all: true})
}

// peekAt is peek for a record that is likely to say what the given one says: all
// of its slices are valid under the lock only.
func (sh *shard) peekAt(p place, sp *space, like, r *store.Record) {
	sh.room.texts = append(sh.room.texts[:0], like.Subject)
	for _, p := range like.Parts {
		sh.room.texts = append(sh.room.texts, p.Name)
	}
	im := sh.image(p)
	im.decode(r, sp, wanted{all: true, room: &sh.room})
	sh.room.methods, sh.room.parts = r.Assurance.Methods[:0], r.Parts[:0]
}

// glance decodes of the record at p what decides whether it is alive.
func (sh *shard) glance(p place, sp *space, r *store.Record) {
	im := sh.image(p)
	im.facts(r)
	sp.epoch.apply(r, im.epoch)
}

// place returns where record i is, or 0 if there is none.
func (sh *shard) place(i uint32) place { return sh.numbers.at(i).place }

// buried reports whether the record at p is kept as a tombstone.
func (sh *shard) buried(p place) bool { return ended(sh.slab.entry(p).record()) }

// stored reports whether a record is there, as a tombstone or alive.
func (sp *space) stored(x ref) bool {
	sh, i := sp.at(x)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	return sh.place(i) != 0
}

// living reports whether a record is there and not kept as a tombstone.
func (sp *space) living(x ref) bool {
	sh, i := sp.at(x)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.place(i)
	return p != 0 && !sh.buried(p)
}

// refTo returns the ref to a record, or one that is nobody's.
func (sp *space) refTo(h store.Handle) ref {
	sh := sp.shardOf(h)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.find(h); p != 0 {
		return refOf(shardIndex(h), sh.slab.entry(p).number())
	}
	return 0
}

// handleOf returns the handle of a record, zero if it is not there.
func (sp *space) handleOf(x ref) (h store.Handle) {
	sh, i := sp.at(x)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	if p := sh.place(i); p != 0 {
		h = sh.slab.entry(p).handle()
	}
	return h
}

// insert adds a record that is not there yet and returns its number.
func (sh *shard) insert(r *store.Record, epoch uint32) (i uint32) {
	i = sh.numbers.add()
	sh.put(i, sh.encode(r, i, epoch))
	if r.State == store.Anonymous {
		sh.guests++
	}
	sh.file(&sh.expiries, i, dueAfter(r, r.Seen), r.Seen.Unix())
	return i
}

func (sh *shard) put(i uint32, e entry) {
	p := sh.slab.put(e)
	sh.numbers.at(i).place = p
	sh.handles.link(&sh.slab, uint32(p))
}

// rewrite stores the changed record instead of the one at p.
func (sh *shard) rewrite(p place, r *store.Record) {
	old := sh.slab.entry(p)
	i := old.number()
	switch was := ended(old.record()); {
	case r.Ended() && !was:
		if r.State == store.Anonymous {
			sh.guests--
		}
		sh.hastenGrave(i, r)
	case !r.Ended() && !r.Limit.IsZero():
		sh.hasten(i, r.Limit.Unix())
	}
	e := sh.encode(r, i, old.epoch())
	sh.release(old.record())
	if sh.slab.fits(p, e) {
		e.setSame(old.same())
		sh.slab.overwrite(p, e)
		return
	}
	sh.drop(p)
	sh.put(i, e)
}

// drop takes what is at p out of the slab.
func (sh *shard) drop(p place) {
	sh.handles.unlink(&sh.slab, uint32(p))
	sh.slab.drop(p)
}

// delete removes the record at p. Its number stays taken for as long as something
// refers to it: an agenda, or the index of keys.
func (sh *shard) delete(p place) {
	e := sh.slab.entry(p)
	sh.numbers.at(e.number()).place = 0
	sh.release(e.record())
	sh.drop(p)
}
