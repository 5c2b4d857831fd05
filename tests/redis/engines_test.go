// Package redis_test tries the store for Redis and Valkey on real servers: one,
// several under Sentinel, and a Cluster.
package redis_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/servers"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// engine is a way to run servers, shared by the tests.
type engine struct {
	name   string
	option func() (rueidis.ClientOption, error)
}

func engines() []engine {
	return []engine{{"one", single}, {"sentinel", sentinel}, {"cluster", clustered}}
}

func single() (rueidis.ClientOption, error) {
	s, err := oneServer()
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	return optionFor(s), nil
}

func optionFor(s *servers.Server) rueidis.ClientOption {
	return rueidis.ClientOption{InitAddress: []string{s.Addr()}, Password: s.Password(), ForceSingleClient: true}
}

func sentinel() (o rueidis.ClientOption, err error) {
	s, err := sentinelServers()
	if err != nil {
		return o, err
	}
	o.Password, o.Sentinel.MasterSet = s.Nodes[0].Password(), servers.PrimaryName
	for _, one := range s.Sentinels {
		o.InitAddress = append(o.InitAddress, one.Addr())
	}
	return o, nil
}

func clustered() (o rueidis.ClientOption, err error) {
	c, err := clusterServers()
	if err != nil {
		return o, err
	}
	return clusterOption(c), nil
}

func clusterOption(c *servers.Cluster) (o rueidis.ClientOption) {
	o.Password = c.Nodes[0].Password()
	for _, one := range c.Nodes {
		o.InitAddress = append(o.InitAddress, one.Addr())
	}
	return o
}

var (
	oneServer = shared(func(ctx context.Context, o servers.Options) (*servers.Server, error) {
		return servers.StartRedis(ctx, o)
	})
	sentinelServers = shared(servers.StartSentinel)
	clusterServers  = shared(servers.StartRedisCluster)

	prefixes atomic.Int64

	closersMu sync.Mutex
	closers   []func() error
)

// shared starts servers once for all tests.
func shared[S interface{ Close() error }](start func(context.Context, servers.Options) (S, error)) func() (S, error) {
	return sync.OnceValues(func() (S, error) {
		s, err := start(context.Background(), servers.Options{})
		if err == nil {
			closersMu.Lock()
			defer closersMu.Unlock()
			closers = append(closers, s.Close)
		}
		return s, err
	})
}

func TestMain(m *testing.M) {
	code := m.Run()
	var err error
	for _, end := range closers {
		err = errors.Join(err, end())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// freshPrefix returns one that no test has used.
func freshPrefix() string { return fmt.Sprintf("t%d:", prefixes.Add(1)) }

// opened remembers how a store was opened, and how to look past it.
type opened struct {
	*redisstore.Store
	nodes   func() (map[string]rueidis.Client, error) // past the store
	option  rueidis.ClientOption
	options redisstore.Options
}

func open(t testing.TB, c rueidis.ClientOption, o redisstore.Options) opened {
	t.Helper()
	if o.Prefix == "" {
		o.Prefix = "cr:"
	}
	c.ReadBufferEachConn, c.WriteBufferEachConn = 1<<16, 1<<16 // there are many stores
	// A server that was just started, or lost a connection, takes a moment.
	var last error
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		s, err := redisstore.Open(t.Context(), c, o)
		if err == nil {
			t.Cleanup(func() {
				if err := s.Close(); err != nil {
					t.Error(err)
				}
			})
			return opened{s, nodes(t, c), c, o}
		}
		if last = err; !errors.Is(err, store.ErrUnavailable) {
			break
		}
	}
	t.Fatal(last)
	return opened{}
}

// option returns how to reach an engine.
func (e engine) open(t testing.TB) opened {
	t.Helper()
	c, err := e.option()
	if err != nil {
		t.Fatal(err)
	}
	return open(t, c, redisstore.Options{Prefix: freshPrefix()})
}

// nodes returns a function that connects when it is first called.
func nodes(t testing.TB, c rueidis.ClientOption) func() (map[string]rueidis.Client, error) {
	return sync.OnceValues(func() (map[string]rueidis.Client, error) {
		client, err := rueidis.NewClient(c)
		if err != nil {
			return nil, err
		}
		t.Cleanup(client.Close)
		return client.Nodes(), nil
	})
}
