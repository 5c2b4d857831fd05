package main

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"net/http/httptest"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// BenchmarkFloor is what a request cannot do without, each step by itself: the
// least that the rows about requests in memory can come to. Compare their sum with
// BenchmarkRequest:
//
//	go test -run '^$' -bench 'Floor|Request/.*/cloakroom$' -cpu 1 -benchmem
func BenchmarkFloor(b *testing.B) {
	ctx, s, now := b.Context(), memory.New(), time.Now()
	value, context := bytes.Repeat([]byte("a"), 1024), make([]byte, 64)
	aead := floorCipher(b)
	r := store.Record{
		Namespace: "app", Handle: store.Handle{1}, State: store.Active, Transport: store.Cookie, Subject: customer,
		Assurance: store.Assurance{Methods: []string{"pwd"}, Role: "customer", At: now},
		Created:   now, Seen: now, Rotated: now, Idle: time.Hour, Absolute: 12 * time.Hour, Deadline: now.Add(12 * time.Hour),
		Wrap: make([]byte, 61), Parts: []store.Part{{Name: "app", Generation: 1, Sealed: aead.Seal(nil, nil, value, context)}},
	}
	if _, err := s.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
		b.Fatal(err)
	}
	r.Version = 1
	request, buffer := httptest.NewRequest("GET", "https://shop.example/", nil), make([]byte, 0, 2048)
	var kept any
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"a request with a context", func() error { kept = request.WithContext(ctx); return nil }},
		{"two hashes of the token", func() error {
			h := sha256.Sum256(buffer[:56])
			h = sha256.Sum256(append(buffer[:0], h[:]...))
			return nil
		}},
		{"a record without values", func() error {
			var head store.Record
			return s.LoadHead(ctx, r.Key(), &head)
		}},
		{"a sealed part", func() error {
			p, err := s.LoadPart(ctx, &r, "app", buffer)
			buffer = p.Sealed
			return err
		}},
		{"opening it", func() error {
			buffer = append(buffer[:0], r.Parts[0].Sealed...)
			_, err := aead.Open(buffer[:0], nil, buffer, context)
			return err
		}},
		{"a copy of 1 KB", func() error { kept = bytes.Clone(value); return nil }},
		{"sealing it", func() error { buffer = aead.Seal(buffer[:0], nil, value, context); return nil }},
		{"swapping it", func() error {
			err := s.Swap(ctx, r, now)
			r.Version++
			return err
		}},
	} {
		b.Run(step.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := step.do(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	_ = kept
}

func floorCipher(b *testing.B) cipher.AEAD {
	b.Helper()
	block, err := aes.NewCipher(make([]byte, 32))
	if err != nil {
		b.Fatal(err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		b.Fatal(err)
	}
	return aead
}
