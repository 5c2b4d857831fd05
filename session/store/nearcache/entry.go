package nearcache

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// entry is a copy of a record as it stands in the ring:
//
//	 0  uint32  size, up to the next entry
//	 4  uint32  next entry of the bucket: its place in units of align, from 1; 0: none
//	 8  uint8   flags
//	10  uint16  number of the namespace
//	12  uint32  size of what follows the head
//	16  uint64  generation of the namespace when the Load was sent
//	24  uint64  marks of the subject and the links
//	32  int64   last seen
//	40  16 B    handle
//	56          the names of the parts that were asked for: their number, and
//	            each with its length in front; then the record, encoded
type entry []byte

const entryHead = 56

const (
	flagDropped uint8 = 1 << iota // nobody finds it any more
	flagAsked                     // served since it was put, or since it was spared
	flagEnded                     // a tombstone
)

func (e entry) next() uint32       { return binary.LittleEndian.Uint32(e[4:]) }
func (e entry) setNext(n uint32)   { binary.LittleEndian.PutUint32(e[4:], n) }
func (e entry) is(flag uint8) bool { return e[8]&flag != 0 }
func (e entry) set(flag uint8)     { e[8] |= flag }
func (e entry) clear(flag uint8)   { e[8] &^= flag }
func (e entry) space() uint16      { return binary.LittleEndian.Uint16(e[10:]) }
func (e entry) generation() uint64 { return binary.LittleEndian.Uint64(e[16:]) }
func (e entry) marks() uint64      { return binary.LittleEndian.Uint64(e[24:]) }
func (e entry) seen() int64        { return int64(binary.LittleEndian.Uint64(e[32:])) }
func (e entry) setSeen(ns int64)   { binary.LittleEndian.PutUint64(e[32:], uint64(ns)) }
func (e entry) handle() []byte     { return e[40:entryHead] }
func (e entry) body() []byte       { return e[entryHead : entryHead+int(binary.LittleEndian.Uint32(e[12:]))] }
func (e entry) of(id recordID) bool {
	return e.space() == id.space && string(e.handle()) == string(id.handle[:])
}
func (e entry) marked(mark uint64) bool { return e.marks()&mark == mark }

// recordID names a record within the cache.
type recordID struct {
	space  uint16
	handle store.Handle
}

// image is an entry that is about to be put into the ring.
type image struct {
	id         recordID
	generation uint64
	marks      uint64
	ended      bool
	body       []byte
}

// appendBody appends what follows the head of an entry to b; ok is false for
// what cannot be written down.
func appendBody(b []byte, r *store.Record, asked []string) (_ []byte, ok bool) {
	if len(asked) > 255 {
		return b, false
	}
	b = append(b, byte(len(asked)))
	for _, name := range asked {
		if len(name) > 255 {
			return b, false
		}
		b = append(append(b, byte(len(name))), name...)
	}
	return r.Append(b), true
}

// split separates the names of the parts that an entry knows from the record. They
// were written by appendBody.
func split(body []byte) (names, record []byte) {
	at := 1
	for range body[0] {
		at += 1 + int(body[at])
	}
	return body[1:at], body[at:]
}

// knows reports whether a part of this name was asked for when the copy was made.
func knows(names []byte, name string) bool {
	for len(names) > 0 {
		n := int(names[0])
		if string(names[1:1+n]) == name {
			return true
		}
		names = names[1+n:]
	}
	return false
}

// askedNames returns the names as strings.
func askedNames(names []byte) (all []string) {
	for len(names) > 0 {
		n := int(names[0])
		all = append(all, string(names[1:1+n]))
		names = names[1+n:]
	}
	return all
}

// decode makes the record of an entry's body, which it takes over, with those of
// its parts that are wanted.
func decode(body []byte, seen int64, parts []string) (store.Record, error) {
	_, encoded := split(body)
	r, err := store.DecodeRecord(encoded)
	if err != nil {
		return store.Record{}, err
	}
	if seen != 0 && (r.Seen.IsZero() || seen > r.Seen.UnixNano()) {
		r.Seen = time.Unix(0, seen).UTC()
	}
	r.Parts = wanted(r.Parts, parts)
	for i := range r.Parts {
		if r.Parts[i].Sealed == nil {
			r.Parts[i].Sealed = []byte{} // the part is there, and empty
		}
	}
	return r, nil
}

// wanted returns those parts that are named, in the slice given.
func wanted(parts []store.Part, names []string) []store.Part {
	kept := parts[:0]
	for _, p := range parts {
		if slices.Contains(names, p.Name) {
			kept = append(kept, p)
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// markOf returns three bits that stand for a subject or a link. Other names may
// have the same ones: then too much is dropped.
func markOf(seed maphash.Seed, name []byte) uint64 {
	h := maphash.Bytes(seed, name)
	return 1<<(h&63) | 1<<(h>>6&63) | 1<<(h>>12&63)
}

func marksOf(seed maphash.Seed, r *store.Record) (marks uint64) {
	if r.Subject != "" {
		marks = markOf(seed, []byte(r.Subject))
	}
	for _, l := range r.Links {
		marks |= markOf(seed, l[:])
	}
	return marks
}
