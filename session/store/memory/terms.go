package memory

import (
	"encoding/binary"
	"time"

	"cloakroom.example/session/store"
)

// The terms of a session are what it shares with most others of its kind: state,
// transport, assurance without its time, and time limits. They never change, but
// for authentications, which make new records; a shard keeps each set once.
//
//	state · transport · level · idle locks · idle 8 · absolute 8
//	role · tenant · number of methods · methods
func appendTerms(b []byte, r *store.Record) []byte {
	b = append(b, byte(r.State), byte(r.Transport), r.Assurance.Level, boolByte(r.IdleLocks))
	b = appendInt64(b, int64(r.Idle))
	b = appendInt64(b, int64(r.Absolute))
	b = appendString(b, r.Assurance.Role)
	b = appendString(b, r.Assurance.Tenant)
	b = binary.AppendUvarint(b, uint64(len(r.Assurance.Methods)))
	for _, m := range r.Assurance.Methods {
		b = appendString(b, m)
	}
	return b
}

// decodeTerms sets what the terms say, but for the methods.
func decodeTerms(terms string, r *store.Record) {
	r.State, r.Transport, r.Assurance.Level, r.IdleLocks = store.State(terms[0]), store.Transport(terms[1]), terms[2], terms[3] == 1
	t := textReader{terms, 4}
	r.Idle, r.Absolute = time.Duration(t.int64()), time.Duration(t.int64())
	r.Assurance.Role, r.Assurance.Tenant = t.string(), t.string()
}

// methods appends the methods to a list; without any it is nil.
func methods(to []string, terms string) []string {
	t := textReader{terms, 4 + 8 + 8}
	t.string()
	t.string()
	n := t.uvarint()
	if n == 0 {
		return nil
	}
	for range n {
		to = append(to, t.string())
	}
	return to
}

// textReader is a [reader] of text, which strings can be cut from.
type textReader struct {
	s  string
	at int
}

func (t *textReader) int64() (v int64) {
	for i := range 8 {
		v |= int64(t.s[t.at+i]) << (8 * i)
	}
	t.at += 8
	return v
}

func (t *textReader) uvarint() (v uint64) {
	for shift := 0; ; shift += 7 {
		b := t.s[t.at]
		t.at++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

func (t *textReader) string() string {
	n := int(t.uvarint())
	t.at += n
	return t.s[t.at-n : t.at]
}
