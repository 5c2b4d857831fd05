package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"
)

// recordVersion is the first byte of an encoded record. docs/format.md draws
// the layout; testdata/record-v1.json freezes it.
const recordVersion = 1

// ErrFormat says that bytes are not an encoded record of a version this code
// knows.
var ErrFormat = errors.New("store: not a readable record")

const (
	flagIdleLocks = 1 << iota
	flagLocked
	flagEnded
	flagPredecessor
	flagSameClient // Last equals First and is left out
	flagsKnown     = 1<<iota - 1
)

// headSizeAt is where the size of the head stands, in four bytes. The head is
// everything but the sealed bytes of the parts, which follow it.
const headSizeAt = 5

// Append appends the encoding of r, parts included, to b.
func (r *Record) Append(b []byte) []byte {
	start, flags := len(b), r.flags()
	b = append(b, recordVersion, flags, byte(r.State), byte(r.Transport), r.Assurance.Level, 0, 0, 0, 0)
	b = append(b, r.Handle[:]...)
	b = append(b, r.Verifier[:]...)
	for _, t := range []time.Time{r.Created, r.Seen, r.Rotated, r.Assurance.At, r.Deadline, r.Limit} {
		b = appendTime(b, t)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(r.Idle))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Absolute))
	b = binary.AppendUvarint(b, r.Version)
	b = appendString(b, r.Namespace)
	b = appendString(b, r.Subject)
	b = appendString(b, r.Assurance.Role)
	b = appendString(b, r.Assurance.Tenant)
	b = binary.AppendUvarint(b, uint64(len(r.Assurance.Methods)))
	for _, m := range r.Assurance.Methods {
		b = appendString(b, m)
	}
	b = appendBytes(b, r.Wrap)
	if flags&flagPredecessor != 0 {
		b = append(b, r.Predecessor.Verifier[:]...)
		b = appendTime(b, r.Predecessor.Confirmed)
		b = appendBytes(b, r.Predecessor.Successor)
	}
	if flags&flagEnded != 0 {
		b = appendTime(b, r.End.At)
		b = appendString(b, r.End.Cause)
		b = appendString(b, r.End.By)
	}
	b = appendClient(b, r.First)
	if flags&flagSameClient == 0 {
		b = appendClient(b, r.Last)
	}
	b = appendString(b, r.Label)
	b = r.appendLists(b)
	binary.BigEndian.PutUint32(b[start+headSizeAt:], uint32(len(b)-start))
	for _, p := range r.Parts {
		b = append(b, p.Sealed...)
	}
	return b
}

func (r *Record) appendLists(b []byte) []byte {
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
	b = binary.AppendUvarint(b, uint64(len(r.Parts)))
	for _, p := range r.Parts {
		b = appendString(b, p.Name)
		b = binary.AppendUvarint(b, p.Generation)
		b = binary.AppendUvarint(b, uint64(len(p.Sealed)))
	}
	return b
}

func (r *Record) flags() (flags byte) {
	if r.IdleLocks {
		flags |= flagIdleLocks
	}
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
	return flags
}

// DecodeRecord is the inverse of [Record.Append]. It takes b over: the record's
// byte slices point into it. Every error wraps [ErrFormat]; an unknown version
// is named.
func DecodeRecord(b []byte) (Record, error) {
	if len(b) == 0 {
		return Record{}, fmt.Errorf("decoding record: empty: %w", ErrFormat)
	}
	if b[0] != recordVersion {
		return Record{}, fmt.Errorf("decoding record: unknown version %d: %w", b[0], ErrFormat)
	}
	if len(b) < headSizeAt+4 || binary.BigEndian.Uint32(b[headSizeAt:]) > uint32(len(b)) {
		return Record{}, fmt.Errorf("decoding record: malformed head of %d bytes: %w", len(b), ErrFormat)
	}
	head := b[:binary.BigEndian.Uint32(b[headSizeAt:])]
	d := decoder{b: head, s: string(head), at: 1}
	r := d.record()
	whole := d.at == len(head)
	d.sealed(&r, b)
	if d.bad || !whole || d.at != len(b) {
		return Record{}, fmt.Errorf("decoding record: malformed at byte %d of %d: %w", d.at, len(b), ErrFormat)
	}
	return r, nil
}

// decoder reads an encoded record. Strings are cut from one copy of the head, so
// that decoding costs one allocation however many strings there are. After the
// first fault it stays at it and everything reads as zero.
type decoder struct {
	b     []byte
	s     string
	at    int
	bad   bool
	sizes [4]int // of the first parts …
	more  []int  // … and of the others
}

func (d *decoder) record() (r Record) {
	flags := d.byte()
	if flags&^byte(flagsKnown) != 0 {
		d.bad = true
	}
	r.State, r.Transport, r.Assurance.Level = State(d.byte()), Transport(d.byte()), d.byte()
	d.take(4) // the size of the head
	copy(r.Handle[:], d.take(len(r.Handle)))
	copy(r.Verifier[:], d.take(len(r.Verifier)))
	for _, t := range []*time.Time{&r.Created, &r.Seen, &r.Rotated, &r.Assurance.At, &r.Deadline, &r.Limit} {
		*t = d.time()
	}
	r.Idle, r.Absolute = time.Duration(d.uint64()), time.Duration(d.uint64())
	r.Version = d.uvarint()
	r.Namespace, r.Subject = d.string(), d.string()
	r.Assurance.Role, r.Assurance.Tenant = d.string(), d.string()
	if n := d.count(1); n > 0 {
		r.Assurance.Methods = make([]string, n)
		for i := range r.Assurance.Methods {
			r.Assurance.Methods[i] = d.string()
		}
	}
	r.Wrap = d.bytes()
	r.IdleLocks, r.Locked = flags&flagIdleLocks != 0, flags&flagLocked != 0
	if flags&flagPredecessor != 0 {
		r.Predecessor = d.predecessor()
	}
	if flags&flagEnded != 0 {
		r.End = End{At: d.time(), Cause: d.string(), By: d.string()}
		d.bad = d.bad || r.End.At.IsZero()
	}
	d.clients(&r, flags)
	r.Label = d.string()
	d.lists(&r)
	return r
}

func (d *decoder) predecessor() *Predecessor {
	p := new(Predecessor)
	copy(p.Verifier[:], d.take(len(p.Verifier)))
	p.Confirmed, p.Successor = d.time(), d.bytes()
	return p
}

func (d *decoder) clients(r *Record, flags byte) {
	r.First = d.client()
	if flags&flagSameClient != 0 {
		r.Last = r.First
		return
	}
	r.Last = d.client()
	d.bad = d.bad || r.Last == r.First // one record, one encoding
}

func (d *decoder) lists(r *Record) {
	if n := d.count(len(Link{})); n > 0 {
		r.Links = make([]Link, n)
		for i := range r.Links {
			copy(r.Links[i][:], d.take(len(Link{})))
		}
	}
	if n := d.count(3); n > 0 {
		r.Extensions = make([]Extension, n)
		for i := range r.Extensions {
			r.Extensions[i] = Extension{Name: d.string(), Critical: d.bool(), Value: d.bytes()}
		}
	}
	if n := d.count(3); n > 0 {
		r.Parts, d.more = make([]Part, n), make([]int, max(0, n-len(d.sizes)))
		for i := range r.Parts {
			r.Parts[i] = Part{Name: d.string(), Generation: d.uvarint()}
			*d.sizeOf(i) = d.size()
		}
	}
}

// sealed cuts the sealed bytes of the parts from behind the head.
func (d *decoder) sealed(r *Record, b []byte) {
	d.b = b
	for i := range r.Parts {
		if n := *d.sizeOf(i); n > 0 {
			r.Parts[i].Sealed = d.take(n)
		}
	}
}

// sizeOf returns where the size of part i is kept. There are hardly ever more
// than a few parts.
func (d *decoder) sizeOf(i int) *int {
	if i < len(d.sizes) {
		return &d.sizes[i]
	}
	return &d.more[i-len(d.sizes)]
}

// size reads the size of something that lies elsewhere.
func (d *decoder) size() int {
	n := d.uvarint()
	if n > math.MaxInt32 {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) take(n int) []byte {
	if d.bad || n < 0 || n > len(d.b)-d.at {
		d.bad = true
		return nil
	}
	d.at += n
	return d.b[d.at-n : d.at : d.at]
}

func (d *decoder) byte() byte {
	if b := d.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (d *decoder) bool() bool {
	b := d.byte()
	d.bad = d.bad || b > 1
	return b == 1
}

func (d *decoder) uint64() uint64 {
	if b := d.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

func (d *decoder) uvarint() uint64 {
	if d.bad {
		return 0
	}
	v, n := binary.Uvarint(d.b[d.at:])
	// A final zero byte would be a second spelling of a shorter number.
	if n <= 0 || n > 1 && d.b[d.at+n-1] == 0 {
		d.bad = true
		return 0
	}
	d.at += n
	return v
}

// count reads the length of a list whose elements take at least size bytes, so
// that a forged length cannot make us allocate more than the input holds.
func (d *decoder) count(size int) int {
	n := d.uvarint()
	if d.bad || n > uint64((len(d.b)-d.at)/size) {
		d.bad = true
		return 0
	}
	return int(n)
}

func (d *decoder) string() string {
	n := d.count(1)
	if d.take(n) == nil {
		return ""
	}
	return d.s[d.at-n : d.at]
}

func (d *decoder) bytes() []byte {
	n := d.count(1)
	if n == 0 {
		return nil
	}
	return d.take(n)
}

func (d *decoder) time() time.Time {
	if ns := d.uint64(); ns != 0 {
		return time.Unix(0, int64(ns)).UTC()
	}
	return time.Time{}
}

func (d *decoder) client() (c Client) {
	if raw := d.bytes(); raw != nil {
		if err := c.Addr.UnmarshalBinary(raw); err != nil {
			d.bad = true
		}
	}
	c.Agent = d.string()
	return c
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendClient(b []byte, c Client) []byte {
	var raw []byte
	if c.Addr != (netip.Addr{}) {
		raw, _ = c.Addr.MarshalBinary() // never fails
	}
	return appendString(appendBytes(b, raw), c.Agent)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
