package memory

import (
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// marks remember when keys were revoked last, for as long as tombstones live. Keys
// that were not take nothing.
type marks struct {
	last  map[key]mark
	order []marked // by their times, roughly; for forgetting
}

type mark struct {
	at    int64 // nanoseconds …
	clock int64 // … by which clock
}

type marked struct {
	at  int64
	key key
}

// of returns when a key was revoked last. Where keys of two subjects are the same,
// once in 2^64, a login may be refused that could have gone on.
func (ms *marks) of(k key) store.Mark {
	m, found := ms.last[k]
	if !found {
		return store.Mark{}
	}
	return store.Mark{At: time.Unix(0, m.at).UTC(), Clock: m.clock}
}

// add remembers a revocation of a key.
func (ms *marks) add(k key, v store.Revocation) {
	was := ms.of(k)
	last := was.After(v)
	if !last.At.Equal(was.At) {
		ms.order = append(ms.order, marked{nanos(last.At), k})
	}
	if ms.last == nil {
		ms.last = make(map[key]mark)
	}
	ms.last[k] = mark{nanos(last.At), last.Clock}
}

// forget drops what is older than tombstones live.
func (ks *keyShard) forget(before time.Time) {
	ks.mu.Lock()
	defer ks.mu.Unlock()
	ms, n := &ks.marks, 0
	for ; n < len(ms.order) && ms.order[n].at < nanos(before); n++ {
		if old := ms.order[n]; ms.last[old.key].at == old.at {
			delete(ms.last, old.key)
		}
	}
	if n > 0 {
		ms.order = slices.Clone(ms.order[n:])
	}
}
