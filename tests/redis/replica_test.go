package redis_test

import (
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// warnings collects what a store has to say.
type warnings struct {
	mu  sync.Mutex
	all []string
}

func (w *warnings) add(text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.all = append(w.all, text)
}

func (w *warnings) take() (all []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	all, w.all = w.all, nil
	return all
}

// TestReplicasConfirm: a login and a logout wait for a replica, and where none
// answers they say so, and are done nevertheless.
func TestReplicasConfirm(t *testing.T) {
	s, err := servers.StartSentinel(t.Context(), servers.Options{Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	var told warnings
	option := optionFor(s.Nodes[0]) // not through the sentinels, who would object to what follows
	st := open(t, option, redisstore.Options{Warn: told.add, WaitTimeout: 200 * time.Millisecond})
	login := func() store.Record {
		t.Helper()
		r := typical("shop", 0, 100)
		if _, err := st.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := login()
	if got := told.take(); len(got) > 0 {
		t.Errorf("warnings of a login with replicas: %q", got)
	}
	for _, replica := range s.Nodes[1:] {
		found, err := replica.Run(t.Context(), "EXISTS", "cr:r"+onlyKey(t, st, r))
		if err != nil || strings.TrimSpace(found) != "1" {
			t.Logf("a replica does not have the session yet: %q, %v", found, err) // one is enough
		}
		if err := replica.Freeze(); err != nil {
			t.Fatal(err)
		}
	}
	v := store.Revocation{Namespace: "shop", Handle: r.Handle, Cause: "logout", Now: r.Created}
	began := time.Now()
	if revoked, err := st.Revoke(t.Context(), v); err != nil || len(revoked.Changed) != 1 {
		t.Errorf("Revoke with frozen replicas ended %d sessions, error %v; want 1", len(revoked.Changed), err)
	}
	if took := time.Since(began); took < 200*time.Millisecond {
		t.Errorf("Revoke took %v, want it to wait for a replica", took)
	}
	if got := told.take(); len(got) != 1 || !strings.Contains(got[0], "0 of 1 replicas confirmed") {
		t.Errorf("warnings of a logout that no replica confirmed: %q, want one that says so", got)
	}
	for _, replica := range s.Nodes[1:] {
		if err := replica.Thaw(); err != nil {
			t.Fatal(err)
		}
	}
}

// onlyKey returns what comes behind the kind in the key of a session.
func onlyKey(t *testing.T, s opened, r store.Record) string {
	t.Helper()
	for key := range everyKey(t, s) {
		if kindOf(s, key) == 'r' && strings.HasSuffix(key, r.Handle.String()) {
			return key[len(s.options.Prefix)+1:]
		}
	}
	t.Fatal("the session has no key")
	return ""
}

// TestWarnings: what an operator should know is said when the store is opened.
func TestWarnings(t *testing.T) {
	for _, c := range []struct {
		name string
		args []string
		want []string
	}{
		{"in order", nil, nil},
		{"evicts", []string{"--maxmemory-policy", "allkeys-lru", "--maxmemory", "1gb"}, []string{"maxmemory-policy is allkeys-lru"}},
		{"would evict", []string{"--maxmemory-policy", "volatile-ttl"}, []string{"should maxmemory be set"}},
		{"forgets", []string{"--appendonly", "no"}, []string{"does not write an append-only file"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			server, err := servers.StartRedis(t.Context(), servers.Options{}, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			var told warnings
			open(t, optionFor(server), redisstore.Options{Warn: told.add})
			got := told.take()
			for _, want := range c.want {
				if len(got) != 1 || !strings.Contains(got[0], want) {
					t.Errorf("warnings: %q, want one with %q", got, want)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("warnings: %q, want %d", got, len(c.want))
			}
		})
	}
}

// TestReplicaIsNoStore: sessions cannot be kept on a replica, and opening one says
// so.
func TestReplicaIsNoStore(t *testing.T) {
	s, err := sentinelServers()
	if err != nil {
		t.Fatal(err)
	}
	var told warnings
	st := open(t, optionFor(s.Nodes[1]), redisstore.Options{Warn: told.add, Timeout: 300 * time.Millisecond})
	if got := told.take(); len(got) != 1 || !strings.Contains(got[0], "is a replica") {
		t.Errorf("warnings of a replica: %q", got)
	}
	r := typical("shop", 0, 100)
	if _, err := st.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); !isOnly(err, store.ErrUnavailable) {
		t.Errorf("Create on a replica: got error %v, want ErrUnavailable", err)
	}
}

// TestPrefix: braces would take the place of the tag.
func TestPrefix(t *testing.T) {
	c, err := single()
	if err != nil {
		t.Fatal(err)
	}
	if s, err := redisstore.Open(t.Context(), c, redisstore.Options{Prefix: "{a}"}); err == nil {
		t.Errorf("a prefix with braces was accepted")
		s.Close()
	}
}
