package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// table is the plaintext of the application's part: a version byte, then for
// each value its name, flags, codec and bytes, in ascending order of names. It is
// read in place and never modified. docs/format.md draws the layout.
type table []byte

const tableVersion = 1

// slot is one value in a table.
type slot struct {
	name  string
	flags byte
	codec byte
	value []byte
	// shown, if not nil, makes a removal conditional: the value vanishes only if
	// it is still the one that was shown.
	shown []byte
}

const (
	flagCarryOver = 1 << iota
	flagFlash
)

var (
	errTable = errors.New("malformed values")
	// errTableVersion says that a newer node has written the values.
	errTableVersion = errors.New("unknown version")
)

// nextSlot reads the slot at the beginning of b.
func nextSlot(b []byte) (s slot, name, rest []byte, err error) {
	name, b, ok := cutField(b)
	if !ok || len(b) < 2 {
		return slot{}, nil, nil, errTable
	}
	s.flags, s.codec, b = b[0], b[1], b[2:]
	s.value, b, ok = cutField(b)
	if !ok {
		return slot{}, nil, nil, errTable
	}
	return s, name, b, nil
}

func cutField(b []byte) (field, rest []byte, ok bool) {
	n, size := binary.Uvarint(b)
	if size <= 0 || size > 1 && b[size-1] == 0 || n > uint64(len(b)-size) {
		return nil, nil, false
	}
	b = b[size:]
	return b[:n:n], b[n:], true
}

// outdated reports whether a conditional removal comes too late for the stored
// value.
func (s slot) outdated(stored slot) bool {
	return s.shown != nil && !bytes.Equal(s.shown, stored.value)
}

// slots returns the slots of the table behind its version byte.
func (t table) slots() []byte {
	if len(t) == 0 {
		return nil
	}
	return t[1:]
}

// check reports whether the whole table is well formed.
func (t table) check() error {
	if len(t) == 0 {
		return nil
	}
	if t[0] != tableVersion {
		return fmt.Errorf("%w %d of values", errTableVersion, t[0])
	}
	var previous []byte
	first := true
	for b := t.slots(); len(b) > 0; {
		_, name, rest, err := nextSlot(b)
		if err != nil {
			return err
		}
		if !first && bytes.Compare(name, previous) <= 0 {
			return errTable
		}
		previous, first, b = name, false, rest
	}
	return nil
}

// get finds a slot. The value points into the table.
func (t table) get(name string) (slot, bool) {
	for b := t.slots(); len(b) > 0; {
		s, found, rest, err := nextSlot(b)
		if err != nil || string(found) > name {
			return slot{}, false
		}
		if string(found) == name {
			s.name = name
			return s, true
		}
		b = rest
	}
	return slot{}, false
}

// with returns a table in which the slot is set, or removed if value is nil: in
// room, if that is not nil, and otherwise in memory of its own.
func (t table) with(change slot, room *[]byte) table {
	before, _ := t.get(change.name)
	var out table
	if room != nil {
		clear(*room) // of an earlier attempt
		out = (*room)[:0]
	}
	out = append(slices.Grow(out, len(t)-len(before.value)+len(change.name)+len(change.value)+16), tableVersion)
	written := change.value == nil
	for b := t.slots(); len(b) > 0; {
		_, name, rest, err := nextSlot(b)
		if err != nil {
			break // check refused such tables when they were opened
		}
		if !written && string(name) >= change.name {
			out, written = appendSlot(out, change), true
		}
		if string(name) != change.name {
			out = append(out, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
	if !written {
		out = appendSlot(out, change)
	}
	if room != nil {
		*room = out
	}
	return out
}

// only returns a table with the slots whose flags have all of the given ones.
func (t table) only(flags byte) table {
	out := table{tableVersion}
	for b := t.slots(); len(b) > 0; {
		s, _, rest, err := nextSlot(b)
		if err != nil {
			break
		}
		if s.flags&flags == flags {
			out = append(out, b[:len(b)-len(rest)]...)
		}
		b = rest
	}
	return out
}

func appendSlot(b []byte, s slot) []byte {
	b = appendField(b, s.name)
	b = append(b, s.flags, s.codec)
	b = binary.AppendUvarint(b, uint64(len(s.value)))
	return append(b, s.value...)
}
