package memory

import (
	"cmp"
	"encoding/binary"
	"time"
)

// reader reads what this package has written itself, and therefore checks
// nothing: bytes that are not there would be a defect here.
type reader struct {
	b  []byte
	at int
}

func (d *reader) take(n int) []byte {
	d.at += n
	return d.b[d.at-n : d.at : d.at]
}

func (d *reader) byte() byte {
	d.at++
	return d.b[d.at-1]
}

func (d *reader) uint16() uint16 { return binary.LittleEndian.Uint16(d.take(2)) }
func (d *reader) int64() int64   { return int64(binary.LittleEndian.Uint64(d.take(8))) }

func (d *reader) uvarint() uint64 {
	if b := d.b[d.at]; b < 0x80 {
		d.at++
		return uint64(b)
	}
	v, n := binary.Uvarint(d.b[d.at:])
	d.at += n
	return v
}

func (d *reader) bytes() []byte  { return d.take(int(d.uvarint())) }
func (d *reader) string() string { return string(d.bytes()) }

// word reads a word, which is the one given if that is not spelt out here.
func (d *reader) word(known string) string {
	if v := d.uvarint(); v&1 == 0 {
		return string(d.take(int(v >> 1)))
	}
	return known
}

func appendInt64(b []byte, v int64) []byte { return binary.LittleEndian.AppendUint64(b, uint64(v)) }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendBytes(b, s []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// nanos is how times are kept; the zero time is 0, and the beginning of 1970, which
// would be too, a nanosecond late.
func nanos(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return cmp.Or(t.UnixNano(), 1)
}

func fromNanos(ns int64) time.Time {
	if ns == 0 {
		return time.Time{}
	}
	return time.Unix(0, ns).UTC()
}
