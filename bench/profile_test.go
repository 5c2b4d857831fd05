package main

import (
	"context"
	"net/http"
	"testing"
)

// BenchmarkRequest is one contender at a time, to look with a profile where its
// time goes:
//
//	go test -run '^$' -bench 'Request/write/cloakroom$' -cpuprofile /tmp/cpu
func BenchmarkRequest(b *testing.B) {
	turn, values := 0, sampleBytes()
	fillProfile := func(lib library, w http.ResponseWriter, r *http.Request) error {
		return lib.setProfile(w, r, sampleProfile())
	}
	for _, c := range []struct {
		name     string
		fill, do step
	}{
		{"subject", fillBytes, readUser},
		{"bytes", fillBytes, func(lib library, _ http.ResponseWriter, r *http.Request) error {
			lib.bytes(r)
			return nil
		}},
		{"struct", fillProfile, func(lib library, _ http.ResponseWriter, r *http.Request) error {
			lib.profile(r)
			return nil
		}},
		{"write", fillBytes, func(lib library, w http.ResponseWriter, r *http.Request) error {
			turn++
			return lib.setBytes(w, r, values[turn&1])
		}},
	} {
		for _, lib := range benchLibraries(b) {
			b.Run(c.name+"/"+lib.name(), func(b *testing.B) {
				v, err := visits(lib, c.fill, c.do)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportAllocs()
				b.ResetTimer()
				if err := v.serve(b.N); err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}

// BenchmarkDurable is a contender of the row about durable writes.
func BenchmarkDurable(b *testing.B) {
	ours, err := newCloakroomSQLite(b.Context(), b.TempDir(), 0)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ours.close(context.Background()) })
	writes, err := parallelWrites(ours)
	if err != nil {
		b.Fatal(err)
	}
	plain, done, err := plainUpdates(b.Context(), b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = done() })
	for name, c := range map[string]contender{"cloakroom": writes, "plain": plain} {
		b.Run(name, func(b *testing.B) {
			if err := c.serve(b.N); err != nil {
				b.Fatal(err)
			}
		})
	}
}

func benchLibraries(b *testing.B) []library {
	b.Helper()
	libs, err := memoryLibraries(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = closeAll(context.Background(), libs) })
	return libs
}
