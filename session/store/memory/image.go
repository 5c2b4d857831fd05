package memory

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"cloakroom.example/session/store"
)

// image is what has to be known of a record to decode it.
type image struct {
	raw    []byte
	words  [3]string // its words, as far as they are not spelt out
	handle store.Handle
	seen   int64
	epoch  uint32
}

// image returns that of the record at p. Its bytes are valid under the lock only.
func (sh *shard) image(p place) (im image) {
	e := sh.slab.entry(p)
	im.raw, im.handle, im.seen, im.epoch = e.record(), e.handle(), e.seen(), e.epoch()
	d := reader{b: im.raw}
	flags := d.uint16()
	d.at = wordsAt
	im.words[0] = sh.terms.read(&d)
	im.words[1] = sh.agents.read(&d)
	if flags&flagSameClient == 0 {
		im.words[2] = sh.agents.read(&d)
	}
	return im
}

// ended reports whether the record was encoded as a tombstone.
func ended(raw []byte) bool { return binary.LittleEndian.Uint16(raw)&flagEnded != 0 }

// head returns an encoded record without the bytes of its parts.
func head(raw []byte) []byte {
	if n := binary.LittleEndian.Uint16(raw[headSizeAt:]); n != headUnknown {
		return raw[:n]
	}
	return raw
}

// wanted says which parts of a record are to be decoded.
type wanted struct {
	parts []string
	// all also says that byte slices may point into the image.
	all bool
	// room is used if it is not nil.
	room *room
}

// room is what a record points to.
type room struct {
	methods []string
	parts   []store.Part
	bytes   []byte
	texts   []string // that are likely to be there
}

// text returns a string of the bytes.
func (o *room) text(b []byte) string {
	if o != nil {
		for _, t := range o.texts {
			if t == string(b) {
				return t
			}
		}
	}
	return string(b)
}

// headRoom is where the methods and the wrap of most records fit, in one
// allocation …
type headRoom struct {
	methods [2]string
	bytes   [64]byte
}

// … and smallRoom where everything fits of those that have few values.
type smallRoom struct {
	methods [2]string
	parts   [1]store.Part
	bytes   [208]byte
}

// newRoom returns room for n bytes and so many parts.
func newRoom(n int, parts int) room {
	if parts == 0 && n <= len(headRoom{}.bytes) {
		r := new(headRoom)
		return room{methods: r.methods[:0], bytes: r.bytes[:0]}
	}
	if parts <= 1 && n > 0 && n <= len(smallRoom{}.bytes) {
		r := new(smallRoom)
		return room{methods: r.methods[:0], parts: r.parts[:0], bytes: r.bytes[:0]}
	}
	return room{parts: make([]store.Part, 0, parts), bytes: make([]byte, 0, n)}
}

// decode decodes the record into r, which is zero.
func (im *image) decode(r *store.Record, sp *space, want wanted) {
	d, flags := im.facts(r)
	r.Namespace = sp.namespace
	if flags&flagEnded != 0 {
		r.End.Cause, r.End.By = d.string(), d.string()
	}
	if flags&flagPredecessor != 0 {
		r.Predecessor = d.predecessor()
	}
	r.Subject = want.room.text(d.bytes())
	r.First.Addr = d.addr()
	r.Last.Addr = r.First.Addr
	if flags&flagSameClient == 0 {
		r.Last.Addr = d.addr()
	}
	if flags&flagRare != 0 {
		d.rare(r)
	}
	r.Assurance.Methods = methods(d.parts(r, want), im.words[0])
	sp.epoch.apply(r, im.epoch)
}

// facts decodes what decides whether the session is alive, and returns where to
// go on. This allocates nothing, unless a word is spelt out.
func (im *image) facts(r *store.Record) (d reader, flags uint16) {
	d = reader{b: im.raw}
	flags = d.uint16()
	d.at = wordsAt
	im.words[0] = d.word(im.words[0])
	decodeTerms(im.words[0], r)
	r.First.Agent = d.word(im.words[1])
	r.Last.Agent = r.First.Agent
	if flags&flagSameClient == 0 {
		r.Last.Agent = d.word(im.words[2])
	}
	r.Handle, r.Seen, r.Locked = im.handle, fromNanos(im.seen), flags&flagLocked != 0
	r.Version = d.uvarint()
	created, kinds := d.int64(), flags>>firstTimeFlag
	copy(r.Verifier[:], d.take(len(r.Verifier)))
	r.Created = fromNanos(created)
	r.Rotated = d.time(kinds, created)
	r.Assurance.At = d.time(kinds>>timeBits, created)
	r.Deadline = d.time(kinds>>(2*timeBits), created+int64(r.Absolute))
	r.Limit = d.time(kinds>>(3*timeBits), 0)
	if flags&flagEnded != 0 {
		r.End.At = fromNanos(d.int64())
	}
	return d, flags
}

func (d *reader) time(kind uint16, usual int64) time.Time {
	switch kind & timeMask {
	case timeUsual:
		return fromNanos(usual)
	case timeWhole:
		return fromNanos(d.int64())
	}
	return time.Time{}
}

func (d *reader) predecessor() *store.Predecessor {
	p := new(store.Predecessor)
	copy(p.Verifier[:], d.take(len(p.Verifier)))
	p.Confirmed, p.Successor = fromNanos(d.int64()), settled(bytes.Clone(d.bytes()))
	return p
}

func (d *reader) addr() (a netip.Addr) {
	_ = a.UnmarshalBinary(d.bytes()) // has marshalled it
	return a
}

func (d *reader) rare(r *store.Record) {
	r.Label = d.string()
	if n := d.uvarint(); n > 0 {
		r.Links = make([]store.Link, n)
		for i := range r.Links {
			copy(r.Links[i][:], d.take(len(store.Link{})))
		}
	}
	if n := d.uvarint(); n > 0 {
		r.Extensions = make([]store.Extension, n)
		for i := range r.Extensions {
			r.Extensions[i] = store.Extension{Name: d.string(), Critical: d.byte() == 1, Value: settled(bytes.Clone(d.bytes()))}
		}
	}
}

// parts decodes the wrap and the parts that are wanted. It returns room for the
// methods.
func (d *reader) parts(r *store.Record, want wanted) []string {
	n, size, count := d.uvarint(), 0, 0
	behind := *d
	for range n {
		if _, sealed, wanted := behind.part(want); wanted {
			size += sealed
			count++
		}
	}
	wrap := behind.bytes()
	if want.all {
		size = -len(wrap) // they stay where they are
	}
	var room room
	if want.room != nil {
		room = *want.room
	} else {
		room = newRoom(len(wrap)+size, count)
	}
	cut := func(b []byte) []byte {
		if want.all || len(b) == 0 {
			return settled(b)
		}
		room.bytes = append(room.bytes, b...)
		return room.bytes[len(room.bytes)-len(b) : len(room.bytes) : len(room.bytes)]
	}
	r.Wrap = cut(wrap)
	kept := room.parts
	for range n {
		p, size, wanted := d.part(want)
		if !wanted {
			behind.at += size
			continue
		}
		p.Sealed = cut(behind.take(size))
		kept = append(kept, p)
	}
	if len(kept) > 0 {
		r.Parts = kept
	}
	return room.methods
}

// skipToParts goes from behind the facts to the list of the parts, of a record
// that has not ended.
func (d *reader) skipToParts(flags uint16) {
	if flags&flagPredecessor != 0 {
		d.take(len(store.Verifier{}) + 8)
		d.bytes()
	}
	d.bytes() // the subject
	d.bytes() // the first address …
	if flags&flagSameClient == 0 {
		d.bytes() // … and the last
	}
	if flags&flagRare == 0 {
		return
	}
	d.bytes() // the label
	d.take(int(d.uvarint()) * len(store.Link{}))
	for range d.uvarint() {
		d.bytes()
		d.byte()
		d.bytes()
	}
}

// onePart reads the parts for the one of a name, and its sealed bytes, which are
// valid under the lock only. Without such a part it is zero.
func (d *reader) onePart(name string) (store.Part, []byte) {
	var found store.Part
	before, length, passed := 0, 0, 0
	want := wanted{parts: []string{name}}
	for range d.uvarint() {
		p, size, ok := d.part(want)
		if ok {
			found, before, length = p, passed, size
		}
		passed += size
	}
	d.bytes() // the wrap
	d.take(before)
	return found, d.take(length)
}

// part reads an entry of the list of parts.
func (d *reader) part(want wanted) (p store.Part, size int, wanted bool) {
	name := d.bytes()
	p.Generation, size = d.uvarint(), int(d.uvarint())
	if want.all {
		p.Name = want.room.text(name)
		return p, size, true
	}
	for _, known := range want.parts {
		if known == string(name) {
			p.Name = known
			return p, size, true
		}
	}
	return p, size, false
}

// settled returns nil for no bytes, as decoding a record elsewhere does.
func settled(b []byte) []byte {
	if len(b) == 0 {
		return nil
	}
	return b
}
