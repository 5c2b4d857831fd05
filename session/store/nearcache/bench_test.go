package nearcache_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/nearcache"
)

// active returns a record as a login makes it, with a part of the given size.
func active(n, size int) store.Record {
	now := time.Now().UTC()
	r := store.Record{
		Namespace: "shop", Version: 1, State: store.Active, Subject: fmt.Sprint("user ", n), Transport: store.Cookie,
		Assurance: store.Assurance{Methods: []string{"pwd"}, Level: 1, At: now},
		Created:   now, Seen: now, Rotated: now, Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Deadline: now.Add(12 * time.Hour),
		Wrap:  bytes.Repeat([]byte("w"), 60),
		First: store.Client{Agent: "Mozilla/5.0 (X11; Linux x86_64; rv:130.0) Gecko/20100101 Firefox/130.0"},
		Parts: []store.Part{{Name: "app", Generation: 1, Sealed: bytes.Repeat([]byte("s"), size)}},
	}
	binary.BigEndian.PutUint64(r.Handle[:], rand.Uint64())
	binary.BigEndian.PutUint64(r.Handle[8:], uint64(n))
	r.Last = r.First
	return r
}

// BenchmarkHit reads one of many records that there are copies of.
func BenchmarkHit(b *testing.B) {
	for _, size := range []int{100, 1024} {
		h := newHub()
		c := near(b, h, nearcache.Options{})
		awaitCopies(b, c, "shop")
		keys := fill(b, h, c, 10_000, size)
		for _, parts := range [][]string{nil, {"app"}} {
			name := fmt.Sprintf("value=%d/parts=%d", size, len(parts))
			b.Run(name, func(b *testing.B) {
				b.ReportAllocs()
				for n := 0; b.Loop(); n++ {
					if _, err := c.Load(b.Context(), keys[n*7919%len(keys)], parts); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(name+"/parallel", func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for n := rand.Int(); pb.Next(); n++ {
						if _, err := c.Load(b.Context(), keys[n%len(keys)], parts); err != nil {
							b.Error(err)
							return
						}
					}
				})
			})
		}
	}
}

// fill creates records, and copies of them.
func fill(t testing.TB, h *hub, c nearcache.Store, n, size int) []store.Key {
	t.Helper()
	keys := make([]store.Key, n)
	for i := range keys {
		r := active(i, size)
		keys[i] = r.Key()
		if _, err := h.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Load(t.Context(), keys[i], []string{"app"}); err != nil {
			t.Fatal(err)
		}
	}
	return keys
}

// BenchmarkMemory reads the same from the store in memory, to compare with.
func BenchmarkMemory(b *testing.B) {
	h := newHub()
	c := near(b, h, nearcache.Options{})
	keys := fill(b, h, c, 10_000, 100)
	b.ReportAllocs()
	for n := 0; b.Loop(); n++ {
		if _, err := h.Load(b.Context(), keys[n*7919%len(keys)], []string{"app"}); err != nil {
			b.Fatal(err)
		}
	}
}
