package redis_test

import (
	"maps"
	"strconv"
	"strings"
	"testing"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// commands are what servers have executed since the last question, by name, those
// of scripts included, and without what connections say to begin with.
func commands(t *testing.T, nodes ...*servers.Server) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, s := range nodes {
		info, err := s.Run(t.Context(), "INFO", "commandstats")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Run(t.Context(), "CONFIG", "RESETSTAT"); err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(info) {
			name, rest, found := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
			calls, _, _ := strings.Cut(rest, ",")
			n, err := strconv.Atoi(calls)
			if !found || err != nil || name != "mget" && name != "lrange" && name != "evalsha" && name != "get" && name != "set" &&
				name != "del" && name != "getrange" && name != "setrange" && name != "pexpire" && name != "pttl" && name != "exists" {
				continue
			}
			all[name] += n
		}
	}
	return all
}

// wantCommands compares what the engine executes for op.
func wantCommands(t *testing.T, nodes []*servers.Server, what string, want map[string]int, op func() error) {
	t.Helper()
	commands(t, nodes...)
	if err := op(); err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got := commands(t, nodes...); !maps.Equal(got, want) {
		t.Errorf("%s: the engine executed %v, want %v", what, got, want)
	}
}

// TestCommands counts what requests cause.
func TestCommands(t *testing.T) {
	cluster, err := clusterServers()
	if err != nil {
		t.Fatal(err)
	}
	one, err := oneServer()
	if err != nil {
		t.Fatal(err)
	}
	for name, nodes := range map[string][]*servers.Server{"one": {one}, "cluster": cluster.Nodes[:3]} {
		t.Run(name, func(t *testing.T) {
			option := optionFor(one)
			if name == "cluster" {
				option = clusterOption(cluster)
			}
			countCommands(t, open(t, option, redisstore.Options{Prefix: freshPrefix()}), nodes)
		})
	}
}

func countCommands(t *testing.T, s store.Store, nodes []*servers.Server) {
	ctx, now := t.Context(), time.Now()
	r := typical("shop", 1, 100)
	load := func() error {
		_, err := s.Load(ctx, r.Key(), []string{"app"})
		return err
	}
	swap := func() error {
		err := s.Swap(ctx, r, now)
		r.Version++
		return err
	}
	touch := func() error {
		now = now.Add(time.Minute)
		return s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: now}})
	}
	if _, err := s.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
		t.Fatal(err)
	}
	for _, first := range []func() error{swap, touch} { // this sends the scripts themselves
		if err := first(); err != nil {
			t.Fatal(err)
		}
	}
	reading := map[string]int{"mget": 1}
	wantCommands(t, nodes, "Load", reading, load)
	wantCommands(t, nodes, "Swap", map[string]int{"evalsha": 1, "mget": 1, "set": 2, "del": 1}, swap)
	wantCommands(t, nodes, "Touch", map[string]int{"evalsha": 1, "get": 1, "getrange": 1, "setrange": 1, "pexpire": 1}, touch)
	wantCommands(t, nodes, "Touch again", map[string]int{"evalsha": 1, "get": 1, "getrange": 1}, func() error {
		return s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: now}})
	})

	// A session that a revocation of everything has spared costs one command more
	// until it is used.
	v := store.Revocation{Namespace: "shop", All: true, AuthenticatedBefore: now.Add(-48 * time.Hour), Now: now, Cause: "policy"}
	if _, err := s.Revoke(ctx, v); err != nil {
		t.Fatal(err)
	}
	wantCommands(t, nodes, "Load of a session that was spared", map[string]int{"mget": 1, "lrange": 1}, load)
	if err := touch(); err != nil {
		t.Fatal(err)
	}
	wantCommands(t, nodes, "Load after a Touch", reading, load)
}
