package redis_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// TestFrozen: a server that has stopped answering holds nobody for longer than his
// context says, however many there are, and goes on afterwards.
func TestFrozen(t *testing.T) {
	server, err := servers.StartRedis(t.Context(), servers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	option := optionFor(server)
	option.ConnWriteTimeout = time.Minute // the client does not give up before we do
	s := open(t, option, redisstore.Options{})
	r := typical("shop", 0, 100)
	if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
		t.Fatal(err)
	}
	if err := server.Freeze(); err != nil {
		t.Fatal(err)
	}
	const callers, patience, tolerance = 9000, 300 * time.Millisecond, 5 * time.Second
	var all sync.WaitGroup
	var latest atomic.Int64
	for i := range callers {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			began := time.Now()
			var err error
			if i%3 == 0 {
				err = s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: r.Seen.Add(time.Minute)}})
			} else if i%3 == 1 {
				err = s.Swap(ctx, r, r.Created)
			} else {
				_, err = s.Load(ctx, r.Key(), nil)
			}
			if !errors.Is(err, store.ErrUnavailable) && (i%3 == 2 || !errors.Is(err, store.ErrUnknownOutcome)) {
				t.Errorf("call %d: got error %v", i, err)
			}
			for took := int64(time.Since(began)); ; {
				old := latest.Load()
				if old >= took || latest.CompareAndSwap(old, took) {
					break
				}
			}
		})
	}
	all.Wait()
	if took := time.Duration(latest.Load()); took > patience+tolerance {
		t.Errorf("a call with a context of %v took %v", patience, took)
	}
	if err := server.Thaw(); err != nil {
		t.Fatal(err)
	}
	await(t, "Load after the server goes on", func() error {
		_, err := s.Load(t.Context(), r.Key(), nil)
		return err
	})
}

// TestNoTimeLeft: what has not been sent has changed nothing, and says so.
func TestNoTimeLeft(t *testing.T) {
	s := engines()[0].open(t)
	r := typical("shop", 0, 100)
	if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range []struct {
		name string
		do   func() error
	}{
		{"Swap", func() error { return s.Swap(ctx, r, r.Created) }},
		{"Load", func() error { _, err := s.Load(ctx, r.Key(), nil); return err }},
		{"Touch", func() error {
			return s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: r.Seen.Add(time.Minute)}})
		}},
		{"Create", func() error {
			_, err := s.Create(ctx, store.Creation{Record: typical("shop", 1, 10), Now: r.Created})
			return err
		}},
		{"Revoke", func() error {
			_, err := s.Revoke(ctx, store.Revocation{Namespace: "shop", Handle: r.Handle, Now: r.Created})
			return err
		}},
		{"List", func() error { _, err := s.List(ctx, store.Query{Namespace: "shop", Now: r.Created}); return err }},
	} {
		if err := call.do(); !isOnly(err, store.ErrUnavailable) {
			t.Errorf("%s without time: got %v, want %v", call.name, err, store.ErrUnavailable)
		}
	}
	got, err := s.Load(t.Context(), r.Key(), nil)
	if err != nil || got.Version != 1 || !got.Seen.Equal(r.Seen) || got.Ended() {
		t.Errorf("the session has changed: version %d, error %v", got.Version, err)
	}
}

// await repeats what must work before long.
func await(t *testing.T, what string, do func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
	}
	t.Fatalf("%s: %v", what, err)
}

// TestSlotsMove moves sessions to another server while they are used. Whatever was
// acknowledged is there afterwards, and nobody is told that a session is not there.
func TestSlotsMove(t *testing.T) {
	cluster, err := servers.StartRedisCluster(t.Context(), servers.Options{Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	defer cluster.Close()
	s := open(t, clusterOption(cluster), redisstore.Options{})
	ctx := t.Context()
	var moving []store.Record
	for n := range 200 {
		r := typical("shop", n, 100)
		r.Handle[0] = byte(n % 4) // four buckets
		if _, err := s.Create(ctx, store.Creation{Record: r, Now: r.Created}); err != nil {
			t.Fatal(err)
		}
		moving = append(moving, r)
	}
	var done atomic.Bool
	var all sync.WaitGroup
	versions := make([]uint64, len(moving)) // acknowledged, each written by one worker
	for w := range 4 {
		all.Go(func() {
			for i := w; !done.Load() && !t.Failed(); i = (i + 4) % len(moving) {
				versions[i] += useOnce(t, s, moving[i], versions[i])
			}
		})
	}
	slots := map[int]bool{}
	for key := range everyKey(t, s) {
		if kindOf(s, key) == 'r' {
			slots[slotOfKey(t, cluster, key)] = true
		}
	}
	for slot := range slots {
		for to := range 3 {
			if err := cluster.MoveSlot(ctx, slot, cluster.Nodes[to]); err != nil {
				t.Fatal(err)
			}
		}
	}
	done.Store(true)
	all.Wait()
	for i, r := range moving {
		got, err := s.Load(ctx, r.Key(), nil)
		if err != nil || got.Version < versions[i]+1 {
			t.Errorf("session %d has version %d after %d acknowledged changes, error %v", i, got.Version, versions[i], err)
		}
	}
	if len(slots) != 4 {
		t.Errorf("%d slots were moved, want 4", len(slots))
	}
}

// useOnce is a request that writes. It returns how many changes were acknowledged.
func useOnce(t *testing.T, s store.Store, r store.Record, least uint64) uint64 {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	loaded, err := s.Load(ctx, r.Key(), []string{"app"})
	if err != nil {
		t.Errorf("Load while slots move: %v", err)
		return 0
	}
	if loaded.Version < least+1 || len(loaded.Parts) != 1 {
		t.Errorf("Load while slots move: version %d with %d parts, want %d and 1", loaded.Version, len(loaded.Parts), least+1)
	}
	loaded.Label = fmt.Sprint("changed ", loaded.Version)
	switch err := s.Swap(ctx, loaded, r.Created); {
	case err == nil:
		return 1
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrUnknownOutcome):
	default:
		t.Errorf("Swap while slots move: %v", err)
	}
	return 0
}

func slotOfKey(t *testing.T, c *servers.Cluster, key string) int {
	t.Helper()
	out, err := c.Nodes[0].Run(t.Context(), "CLUSTER", "KEYSLOT", key)
	if err != nil {
		t.Fatal(err)
	}
	slot, err := strconv.Atoi(strings.TrimSpace(out))
	if err != nil {
		t.Fatal(err)
	}
	return slot
}

// isOnly reports whether an error is of this kind, and of no other that callers
// branch on.
func isOnly(err, kind error) bool {
	for _, other := range []error{store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrLimit,
		store.ErrRevoked, store.ErrUnavailable, store.ErrUnknownOutcome} {
		if errors.Is(err, other) != (other == kind) {
			return false
		}
	}
	return true
}
