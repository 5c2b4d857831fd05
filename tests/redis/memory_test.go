package redis_test

import (
	"crypto/rand"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// agent is what browsers say.
const agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"

// typical returns the session of a signed-in user as the manager makes it, with
// values of so many bytes.
func typical(namespace string, n, payload int) store.Record {
	now := time.Now()
	random := func(n int) []byte {
		b := make([]byte, n)
		_, _ = rand.Read(b) // never fails
		return b
	}
	client := store.Client{Addr: netip.AddrFrom4([4]byte(random(4))), Agent: agent}
	return store.Record{
		Namespace: namespace, Handle: store.Handle(random(16)), Version: 1, Verifier: store.Verifier(random(32)),
		State: store.Active, Subject: fmt.Sprintf("user-%08d", n), Transport: store.Cookie,
		Assurance: store.Assurance{Methods: []string{"pwd", "otp"}, Level: 2, At: now},
		Created:   now, Seen: now, Rotated: now, Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Deadline: now.Add(12 * time.Hour),
		Wrap: random(61), First: client, Last: client,
		Parts: []store.Part{{Name: "app", Generation: 1, Sealed: random(payload + 29)}},
	}
}

// TestMemory measures what a session takes in the engine: all its fields, the index
// of its user, and the list.
func TestMemory(t *testing.T) {
	const sessions, most = 100_000, 800
	server, err := servers.StartRedis(t.Context(), servers.Options{Unsynced: true}, "--appendonly", "no")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	s := open(t, optionFor(server), redisstore.Options{})
	before := usedMemory(t, server)
	var all sync.WaitGroup
	for i := range 32 {
		all.Go(func() {
			for n := i; n < sessions && !t.Failed(); n += 32 {
				r := typical("shop", n, 100)
				if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created, Max: 3, EvictOldest: true}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	each := (usedMemory(t, server) - before) / sessions
	t.Logf("%d bytes for a session with 100 bytes of values, its user's index and the list", each)
	if each > most {
		t.Errorf("a session takes %d bytes, want at most %d", each, most)
	}
}

func usedMemory(t *testing.T, s *servers.Server) int {
	t.Helper()
	info, err := s.Run(t.Context(), "INFO", "memory")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(info, "used_memory:")
	n, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
