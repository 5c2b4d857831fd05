package nearcache_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/servers"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/nearcache"
)

// topology is where nodes of the engine change places during a test.
type topology struct {
	name    string
	servers func(t *testing.T) (place, map[string]func(key string))
}

func topologies() []topology {
	return []topology{
		{"Redis Cluster", func(t *testing.T) (place, map[string]func(key string)) {
			c, err := servers.StartRedisCluster(t.Context(), servers.Options{Unsynced: true})
			closeAfter(t, c, err)
			return clusterPlace(c), map[string]func(key string){
				"slot moved": func(key string) { moveSlot(t, c, slotOf(t, c, key)) },
				"primary killed": func(key string) {
					killPrimary(t, func() (*servers.Server, error) { return c.Primary(t.Context(), slotOf(t, c, key)) })
				},
			}
		}},
		{"Redis Sentinel", func(t *testing.T) (place, map[string]func(key string)) {
			s, err := servers.StartSentinel(t.Context(), servers.Options{Unsynced: true})
			closeAfter(t, s, err)
			return redisPlace("", func(string) (o rueidis.ClientOption) {
					o.Password, o.Sentinel.MasterSet = s.Nodes[0].Password(), servers.PrimaryName
					for _, one := range s.Sentinels {
						o.InitAddress = append(o.InitAddress, one.Addr())
					}
					return o
				}), map[string]func(key string){
					"primary killed": func(string) { killPrimary(t, func() (*servers.Server, error) { return s.Primary(t.Context()) }) },
				}
		}},
	}
}

func closeAfter(t *testing.T, s interface{ Close() error }, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// TestBoundAcrossNodes: a session that other nodes of the engine serve by now, and
// that A revokes there, is not accepted by B for longer than on one that stays.
func TestBoundAcrossNodes(t *testing.T) {
	for _, e := range topologies() {
		t.Run(e.name, func(t *testing.T) {
			p, changes := e.servers(t)
			a, b := p.store(t, ""), p.near(t, "", "")
			for _, what := range []string{"slot moved", "primary killed"} {
				change := changes[what]
				if change == nil {
					continue
				}
				t.Run(what, func(t *testing.T) {
					k := create(t, a, b)
					change(k.Handle.String())
					revokeAtLast(t, a, k)
					revoked := time.Now()
					var latest time.Duration
					for time.Since(revoked) < bound+500*time.Millisecond {
						began := time.Since(revoked)
						if accepts(t, b, k) {
							latest = began
						}
						time.Sleep(500 * time.Microsecond)
					}
					t.Logf("last accepted after %v", latest)
					if latest > bound {
						t.Errorf("the session was accepted %v after it was revoked, want at most %v", latest, bound)
					}
					createAtLast(t, a, b)
				})
			}
		})
	}
}

// revokeAtLast revokes as soon as somebody can.
func revokeAtLast(t *testing.T, a store.Store, k store.Key) {
	t.Helper()
	atLast(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Revoke(ctx, store.Revocation{Namespace: k.Namespace, Handle: k.Handle, Cause: "test", Now: time.Now()})
		return err
	})
}

// createAtLast waits until copies are served again: of a session made afterwards.
func createAtLast(t *testing.T, a store.Store, b nearcache.Store) {
	t.Helper()
	r := session()
	atLast(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := a.Create(ctx, store.Creation{Record: r, Now: r.Created})
		return err
	})
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		before := b.Stats().Hits
		if accepts(t, b, r.Key()) && b.Stats().Hits > before {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("no copy was served within half a minute: %+v", b.Stats())
		}
	}
}

func atLast(t *testing.T, do func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = do(); err == nil {
			return
		}
	}
	t.Fatalf("half a minute in vain: %v", err)
}

// slotOf returns the slot of a session.
func slotOf(t *testing.T, c *servers.Cluster, handle string) int {
	t.Helper()
	for _, node := range c.Nodes {
		keys, err := node.Run(t.Context(), "KEYS", "*"+handle)
		if err != nil || keys == "" {
			continue // it is down, or serves others
		}
		key, _, _ := strings.Cut(keys, "\n")
		text, err := node.Run(t.Context(), "CLUSTER", "KEYSLOT", key)
		if err != nil {
			t.Fatal(err)
		}
		slot, err := strconv.Atoi(strings.TrimSpace(text))
		if err != nil {
			t.Fatal(err)
		}
		return slot
	}
	t.Fatalf("no node has session %s", handle)
	return 0
}

// moveSlot gives a slot to another primary.
func moveSlot(t *testing.T, c *servers.Cluster, slot int) {
	t.Helper()
	from, err := c.Primary(t.Context(), slot)
	if err != nil {
		t.Fatal(err)
	}
	for _, to := range c.Nodes[:3] {
		if to != from {
			if err := c.MoveSlot(t.Context(), slot, to); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

// killPrimary kills a server, and returns when another has taken its place.
func killPrimary(t *testing.T, primary func() (*servers.Server, error)) {
	t.Helper()
	killed, err := primary()
	if err != nil {
		t.Fatal(err)
	}
	killed.Kill()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		if now, err := primary(); err == nil && now != killed {
			return
		}
		if time.Now().After(end) {
			t.Fatal("no other primary within a minute")
		}
	}
}
