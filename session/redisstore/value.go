package redisstore

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// # Values
//
// The value of a session is
//
//	epoch 4 · sequence 4 · chunk 4 · digest 4   header
//	the record without its parts                as store.Record.Append writes it
//	name size 2 · value size 3 · generation 6 · name · value   each part
//
// all numbers big-endian. The key says handle and namespace: the record is
// written without them (and with shorter user agents, agent.go), so that the header takes the place of the handle, and
// every other field of fixed size stands where store.Record.Append puts it. That
// is where the scripts look for it.
//
// The epoch is the number of the revocation of everything that was the last when
// the session was created or looked at; the sequence counts the changes, for
// comparing; the chunk says where the session is listed; the digest is of the
// facts that creation fixes, so that a swap can be checked against them without
// reading them.
const (
	headerSize = 16
	handleSize = len(store.Handle{})
	beginSize  = 9 // of a record, before its handle
	seenAt     = 65
	fixedSize  = 121 // header and fields of fixed size
	partHead   = 2 + 3 + 6
)

// value is a session as it is stored.
type value struct {
	store.Record
	epoch, sequence, chunk, digest uint32
	parts                          string // as they are stored
}

// decode reads a value. The record's own parts are left to [value.load].
func (a agents) decode(raw string, namespace string, h store.Handle) (value, error) {
	if len(raw) < fixedSize {
		return value{}, fmt.Errorf("value of %d bytes: %w", len(raw), store.ErrFormat)
	}
	head := int(binary.BigEndian.Uint32([]byte(raw[21:25])))
	if head < fixedSize || head > len(raw) {
		return value{}, fmt.Errorf("head of %d bytes in a value of %d: %w", head, len(raw), store.ErrFormat)
	}
	b := make([]byte, 0, head)
	b = append(b, raw[headerSize:headerSize+beginSize]...)
	b = append(b, h[:]...)
	b = append(b, raw[headerSize+beginSize:head]...)
	r, err := store.DecodeRecord(b)
	if err != nil {
		return value{}, err
	}
	r.Namespace = namespace
	if same := r.First == r.Last; same {
		r.First.Agent = a.unpack(r.First.Agent)
		r.Last = r.First
	} else {
		r.First.Agent, r.Last.Agent = a.unpack(r.First.Agent), a.unpack(r.Last.Agent)
	}
	number := func(at int) uint32 { return binary.BigEndian.Uint32([]byte(raw[at : at+4])) }
	return value{Record: r, epoch: number(0), sequence: number(4), chunk: number(8), digest: number(12), parts: raw[head:]}, nil
}

// load decodes the parts that are named into the record, or all.
func (v *value) load(names []string, all bool) error {
	for rest := v.parts; rest != ""; {
		if len(rest) < partHead {
			return fmt.Errorf("part of %d bytes: %w", len(rest), store.ErrFormat)
		}
		head := [2 + partHead + 2]byte{} // each number in eight bytes or four
		copy(head[1:], rest[2:5])
		copy(head[6:], rest[5:partHead])
		name := int(rest[0])<<8 | int(rest[1])
		size := partHead + name + int(binary.BigEndian.Uint32(head[:]))
		if len(rest) < size {
			return fmt.Errorf("part of %d bytes, want %d: %w", len(rest), size, store.ErrFormat)
		}
		p := store.Part{Name: rest[partHead : partHead+name], Generation: binary.BigEndian.Uint64(head[4:])}
		if all || slices.Contains(names, p.Name) {
			p.Sealed = append([]byte{}, rest[partHead+name:size]...)
			v.Record.Parts = append(v.Record.Parts, p)
		}
		rest = rest[size:]
	}
	return nil
}

// encode is the inverse of decode. A tombstone has no parts.
func (a agents) encode(v *value) string {
	b := make([]byte, 0, 512)
	b = binary.BigEndian.AppendUint32(b, v.epoch)
	b = binary.BigEndian.AppendUint32(b, v.sequence)
	b = binary.BigEndian.AppendUint32(b, v.chunk)
	b = binary.BigEndian.AppendUint32(b, v.digest)
	b = a.appendHead(b, &v.Record)
	if !v.Ended() {
		b = append(b, v.parts...)
	}
	return string(b)
}

// appendHead appends the record without its handle, namespace and parts.
func (a agents) appendHead(b []byte, r *store.Record) []byte {
	from := len(b)
	plain := *r
	plain.Namespace, plain.Handle, plain.Parts = "", store.Handle{}, nil
	plain.First.Agent = a.pack(r.First.Agent)
	if plain.Last.Agent = plain.First.Agent; r.Last.Agent != r.First.Agent {
		plain.Last.Agent = a.pack(r.Last.Agent)
	}
	b = plain.Append(b)
	return slices.Delete(b, from+beginSize, from+beginSize+handleSize)
}

// appendPart appends one part.
func appendPart(b []byte, p store.Part) []byte {
	n := len(p.Sealed)
	b = binary.BigEndian.AppendUint16(b, uint16(len(p.Name)))
	b = append(b, byte(n>>16), byte(n>>8), byte(n))
	b = binary.BigEndian.AppendUint16(b, uint16(p.Generation>>32))
	b = binary.BigEndian.AppendUint32(b, uint32(p.Generation))
	b = append(b, p.Name...)
	return append(b, p.Sealed...)
}

// setParts replaces the parts of v by those given.
func (v *value) setParts(parts []store.Part) {
	var b []byte
	for i, p := range parts {
		// Of two of a name the last counts.
		if p.Sealed != nil && !slices.ContainsFunc(parts[i+1:], func(q store.Part) bool { return q.Name == p.Name }) {
			b = appendPart(b, p)
		}
	}
	v.parts = string(b)
}

// digestOf returns the digest of what no Swap changes.
func digestOf(r *store.Record) uint32 {
	f := store.Record{
		State: r.State, Subject: r.Subject, Assurance: r.Assurance, Transport: r.Transport,
		Created: r.Created, Idle: r.Idle, IdleLocks: r.IdleLocks, Absolute: r.Absolute, Deadline: r.Deadline,
		First: r.First, Links: r.Links,
	}
	return crc32.Checksum(f.Append(make([]byte, 0, 512)), crc32.MakeTable(crc32.Castagnoli))
}

// checkSizes refuses what does not fit into a value.
func checkSizes(parts []store.Part) error {
	for _, p := range parts {
		if len(p.Name) >= 1<<16 || len(p.Sealed) >= 1<<24 || p.Generation >= 1<<48 {
			return fmt.Errorf("part of %d bytes, with a name of %d, of generation %d is too large", len(p.Sealed), len(p.Name), p.Generation)
		}
	}
	return nil
}

// appendTime appends a time as records hold it.
func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func timeIn(b string) time.Time {
	if ns := binary.BigEndian.Uint64([]byte(b)); ns != 0 {
		return time.Unix(0, int64(ns)).UTC()
	}
	return time.Time{}
}

func timeString(t time.Time) string { return string(appendTime(nil, t)) }
