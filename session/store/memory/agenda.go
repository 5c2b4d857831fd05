package memory

import (
	"cmp"
	"math/bits"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// agenda files records by the second in which they have to be looked at, earliest
// first. What happens to a record does not move it: it is found at its old date,
// and filed anew then, so that its list needs to be linked in one direction only.
// For a touched session that is once per idle timeout.
type agenda []date

type date struct {
	second int64
	first  uint32 // of the list of its records
}

// lookAgain bounds how long a living record is left alone: revoking everything
// changes no record, and what it has ended must go in time. It is less than
// tombstones live, which wait at the date of their lives.
const lookAgain = store.TombstoneTime / 2

// dueAfter returns the second in which a living record has to be looked at.
func dueAfter(r *store.Record, now time.Time) int64 {
	due, latest := r.Expiry(), now.Add(lookAgain)
	if due.IsZero() || due.After(latest) {
		return latest.Unix()
	}
	return due.Unix()
}

// coarse returns a second not after the one given. The further that is ahead, the
// fewer there are: an agenda has a hundred dates, not one for every second, and a
// record is looked at once or twice before its time.
func coarse(second, now int64) int64 {
	ahead := (second - now) / 64
	if ahead < 2 {
		return second
	}
	return second &^ (1<<(bits.Len64(uint64(ahead))-1) - 1)
}

// file puts record i, which is on no agenda, on one.
func (sh *shard) file(a *agenda, i uint32, second, now int64) {
	sh.latest = max(sh.latest, now)
	second = coarse(second, now)
	at, found := slices.BinarySearchFunc(*a, second, func(d date, s int64) int { return cmp.Compare(d.second, s) })
	if !found {
		*a = slices.Insert(*a, at, date{second: second})
	}
	d := &(*a)[at]
	sh.numbers.at(i).next, d.first = d.first, i
}

// take removes a record that is due from an agenda, and tells what date it was
// filed under; 0 means that there is none.
func (sh *shard) take(a *agenda, now int64) (i uint32, second int64) {
	for len(*a) > 0 && (*a)[0].second <= now {
		d := &(*a)[0]
		if i = d.first; i != 0 {
			d.first = sh.numbers.at(i).next
			return i, d.second
		}
		*a = slices.Delete(*a, 0, 1)
	}
	return 0, 0
}

// hasten notes, once, that record i has to be looked at in a second that may be
// before the date it is filed under.
func (sh *shard) hasten(i uint32, second int64) {
	d := date{second, i}
	at, noted := slices.BinarySearchFunc(sh.early, d, func(a, b date) int {
		return cmp.Or(cmp.Compare(a.second, b.second), cmp.Compare(a.first, b.first))
	})
	if !noted {
		sh.early = slices.Insert(sh.early, at, d)
	}
}

// hastenGrave does that for a tombstone that would be filed as one too late,
// because a clock was set back.
func (sh *shard) hastenGrave(i uint32, r *store.Record) {
	if r.End.At.Before(time.Unix(sh.latest, 0).Add(lookAgain - store.TombstoneTime)) {
		sh.hasten(i, r.End.At.Add(store.TombstoneTime).Unix())
	}
}

// takeEarly is take for what was hastened.
func (sh *shard) takeEarly(now int64) (i uint32, second int64) {
	if len(sh.early) == 0 || sh.early[0].second > now {
		return 0, 0
	}
	d := sh.early[0]
	if sh.early = sh.early[1:]; len(sh.early) == 0 {
		sh.early = nil
	}
	return d.first, d.second
}
