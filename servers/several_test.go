package servers_test

import (
	"testing"
	"time"

	"cloakroom.example/servers"
)

func TestClusterFailsOver(t *testing.T) {
	ctx := t.Context()
	c, err := servers.StartRedisCluster(ctx, servers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const slot = 0
	killed, err := c.Primary(ctx, slot)
	if err != nil {
		t.Fatal(err)
	}
	killed.Kill()
	awaitPrimary(t, killed, func() (*servers.Server, error) { return c.Primary(ctx, slot) })
	if err := killed.Start(ctx); err != nil {
		t.Fatal(err)
	}
	if err := c.Await(ctx); err != nil {
		t.Error(err)
	}
}

func TestSentinelFailsOver(t *testing.T) {
	ctx := t.Context()
	s, err := servers.StartSentinel(ctx, servers.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	killed, err := s.Primary(ctx)
	if err != nil {
		t.Fatal(err)
	}
	killed.Kill()
	awaitPrimary(t, killed, func() (*servers.Server, error) { return s.Primary(ctx) })
}

// awaitPrimary waits until another server than the killed one is the primary.
func awaitPrimary(t *testing.T, killed *servers.Server, primary func() (*servers.Server, error)) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		now, err := primary()
		if err == nil && now != killed {
			if _, err := now.Run(t.Context(), "SET", "{06S}", "v"); err == nil { // a key of slot 0
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("no other primary after a minute: %v", err)
		}
	}
}
