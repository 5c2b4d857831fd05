package memory

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"time"

	"cloakroom.example/session/store"
)

// entry is the form in which a record lies in a slab. Nobody else ever sees it, so
// that it can change with every version: what follows from other fields takes two
// bits, and what many sessions have in common is a word.
//
//	handle 16 · seen 8 · next of its bucket 4 · epoch 4 · number 4
//	flags 2 · size of the head 2             (the record begins and is not aligned)
//	words: terms · agent of the first client · agent of the last, if it is another
//	version · created 8 · verifier 32 · times that do not follow from others, 8 each
//	how it ended · predecessor · subject · addresses · label, links, extensions
//	parts: name, generation, size · wrap                     (the head ends here)
//	the sealed bytes of the parts
type entry []byte

// The fields of an entry that change in place, or are needed to find it.
const (
	seenAt   = 16
	sameAt   = 24
	epochAt  = 28
	numberAt = 32
	recordAt = 36
)

func (e entry) handle() store.Handle { return store.Handle(e[:seenAt]) }
func (e entry) seen() int64          { return int64(binary.LittleEndian.Uint64(e[seenAt:])) }
func (e entry) same() place          { return place(binary.LittleEndian.Uint32(e[sameAt:])) }
func (e entry) epoch() uint32        { return binary.LittleEndian.Uint32(e[epochAt:]) }
func (e entry) number() uint32       { return binary.LittleEndian.Uint32(e[numberAt:]) }
func (e entry) record() []byte       { return e[recordAt:] }

func (e entry) setSeen(ns int64) { binary.LittleEndian.PutUint64(e[seenAt:], uint64(ns)) }
func (e entry) setSame(p place)  { binary.LittleEndian.PutUint32(e[sameAt:], uint32(p)) }

// What a record consists of.
const (
	flagLocked = 1 << iota
	flagEnded
	flagPredecessor
	flagSameClient // the last client is the first
	flagRare       // there is a label, a link or an extension
	firstTimeFlag  = iota
)

// How a time is kept: two bits for each of rotated, authenticated, deadline and
// limit.
const (
	timeUnset = iota
	timeUsual // rotated and authenticated when created, deadline as Absolute says
	timeWhole // spelt out
	timeBits  = 2
	timeMask  = 1<<timeBits - 1
)

const (
	headSizeAt  = 2
	wordsAt     = 4
	headUnknown = 1<<16 - 1 // the size of heads that are too large for the field
)

// encode returns the entry of a record, valid until the next call. Its words are
// taken.
func (sh *shard) encode(r *store.Record, number, epoch uint32) entry {
	b := append(sh.scratch[:0], r.Handle[:]...)
	b = appendInt64(b, nanos(r.Seen))
	b = binary.LittleEndian.AppendUint32(b, 0) // until it is linked
	b = binary.LittleEndian.AppendUint32(b, epoch)
	b = binary.LittleEndian.AppendUint32(b, number)
	b = sh.appendRecord(b, r)
	if len(b) <= chunkMost { // one large record is no reason to keep as much for ever
		sh.scratch = b
	}
	return b
}

func (sh *shard) appendRecord(b []byte, r *store.Record) []byte {
	start, flags := len(b), flagsOf(r)
	b = append(b, 0, 0, 0, 0)
	sh.text = appendTerms(sh.text[:0], r)
	b = sh.terms.append(b, sh.text)
	b = sh.appendAgent(b, r.First)
	if flags&flagSameClient == 0 {
		b = sh.appendAgent(b, r.Last)
	}
	b = binary.AppendUvarint(b, r.Version)
	created := nanos(r.Created)
	b = appendInt64(b, created)
	b = append(b, r.Verifier[:]...)
	for i, t := range [...]struct {
		time  time.Time
		usual int64
	}{{r.Rotated, created}, {r.Assurance.At, created}, {r.Deadline, created + int64(r.Absolute)}, {r.Limit, 0}} {
		kind := uint16(timeUnset)
		switch ns := nanos(t.time); ns {
		case 0:
		case t.usual:
			kind = timeUsual
		default:
			kind = timeWhole
			b = appendInt64(b, ns)
		}
		flags |= kind << (firstTimeFlag + i*timeBits)
	}
	b = appendHead(b, r, flags)
	binary.LittleEndian.PutUint16(b[start:], flags)
	binary.LittleEndian.PutUint16(b[start+headSizeAt:], uint16(min(len(b)-start, headUnknown)))
	for _, p := range r.Parts {
		b = append(b, p.Sealed...)
	}
	return b
}

// release takes back the words of an encoded record.
func (sh *shard) release(raw []byte) {
	d := reader{b: raw}
	flags := d.uint16()
	d.at = wordsAt
	sh.terms.release(&d)
	sh.agents.release(&d)
	if flags&flagSameClient == 0 {
		sh.agents.release(&d)
	}
}

func flagsOf(r *store.Record) (flags uint16) {
	if r.Locked {
		flags |= flagLocked
	}
	if r.Ended() {
		flags |= flagEnded
	}
	if r.Predecessor != nil {
		flags |= flagPredecessor
	}
	if r.First == r.Last {
		flags |= flagSameClient
	}
	if r.Label != "" || len(r.Links) > 0 || len(r.Extensions) > 0 {
		flags |= flagRare
	}
	return flags
}

func (sh *shard) appendAgent(b []byte, c store.Client) []byte {
	sh.text = append(sh.text[:0], c.Agent...)
	return sh.agents.append(b, sh.text)
}

// appendHead appends the head from how the session ended.
func appendHead(b []byte, r *store.Record, flags uint16) []byte {
	if flags&flagEnded != 0 {
		b = appendInt64(b, nanos(r.End.At))
		b = appendString(b, r.End.Cause)
		b = appendString(b, r.End.By)
	}
	if flags&flagPredecessor != 0 {
		b = append(b, r.Predecessor.Verifier[:]...)
		b = appendInt64(b, nanos(r.Predecessor.Confirmed))
		b = appendBytes(b, r.Predecessor.Successor)
	}
	b = appendString(b, r.Subject)
	b = appendAddr(b, r.First.Addr)
	if flags&flagSameClient == 0 {
		b = appendAddr(b, r.Last.Addr)
	}
	if flags&flagRare != 0 {
		b = appendRare(b, r)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Parts)))
	for _, p := range r.Parts {
		b = appendString(b, p.Name)
		b = binary.AppendUvarint(b, p.Generation)
		b = binary.AppendUvarint(b, uint64(len(p.Sealed)))
	}
	return appendBytes(b, r.Wrap)
}

// appendAddr appends an address as [netip.Addr.MarshalBinary] spells it.
func appendAddr(b []byte, a netip.Addr) []byte {
	at := len(b)
	b, _ = a.AppendBinary(append(b, 0)) // never fails
	size := len(b) - at - 1
	if size < 0x80 {
		b[at] = byte(size)
		return b
	}
	raw := bytes.Clone(b[at+1:]) // with a zone that nobody has
	return appendBytes(b[:at], raw)
}

func appendRare(b []byte, r *store.Record) []byte {
	b = appendString(b, r.Label)
	b = binary.AppendUvarint(b, uint64(len(r.Links)))
	for _, l := range r.Links {
		b = append(b, l[:]...)
	}
	b = binary.AppendUvarint(b, uint64(len(r.Extensions)))
	for _, e := range r.Extensions {
		b = appendString(b, e.Name)
		b = append(b, boolByte(e.Critical))
		b = appendBytes(b, e.Value)
	}
	return b
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
