package memory

import (
	"bytes"
	"slices"
	"strconv"
)

// TestOnlyMeeting returns two subjects whose sessions share a list.
func (s *Store) TestOnlyMeeting() (a, b string, found bool) {
	const bits = 22 // of the number of subjects: enough to meet in 39 bits
	sp := s.space("")
	all := make([]uint64, 1<<bits)
	subject := func(x uint64) string { return strconv.FormatUint(x&(1<<bits-1), 36) }
	for i := range all {
		k := sp.subjectKey(subject(uint64(i)))
		all[i] = (uint64(k.shard())<<32|uint64(k.tag()))<<bits | uint64(i)
	}
	slices.Sort(all)
	for i := 1; i < len(all); i++ {
		if all[i-1]>>bits == all[i]>>bits {
			return subject(all[i-1]), subject(all[i]), true
		}
	}
	return "", "", false
}

// TestOnlyHolds reports whether bytes lie in a slab.
func (s *Store) TestOnlyHolds(b []byte) bool {
	sp := s.space("")
	for i := range sp.shards {
		for _, c := range sp.shards[i].slab.chunks {
			if bytes.Contains(c.bytes, b) {
				return true
			}
		}
		for _, piece := range sp.shards[i].slab.spare {
			if bytes.Contains(piece, b) {
				return true
			}
		}
	}
	return false
}
