package nodes_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/servers"
)

// engine is where sessions can be kept.
type engine struct {
	name string
	// place returns the URL of a place without sessions.
	place func(t testing.TB) string
	// near is the option that makes nodes keep copies, for engines that push
	// what changes.
	near string
}

// engines are all there are. Servers are started when they are first asked for.
func engines() []engine {
	const near = "near-cache=8MB"
	return []engine{
		{"SQLite", func(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "sessions.db") }, near},
		{"PostgreSQL", database(postgreSQL), near},
		{"MariaDB", database(mariaDB), ""},
		{"Redis", prefixed(redis), near},
		{"Redis_Cluster", prefixed(redisCluster), near},
	}
}

var (
	postgreSQL = shared(servers.StartPostgreSQL)
	mariaDB    = shared(servers.StartMariaDB)
	redis      = shared(func(ctx context.Context, o servers.Options) (*servers.Server, error) {
		return servers.StartRedis(ctx, o)
	})
	redisCluster = shared(servers.StartRedisCluster)

	places atomic.Int64 // numbers what is empty

	closersMu sync.Mutex
	closers   []func() error
)

// shared starts a server once for all tests.
func shared[S interface{ Close() error }](start func(context.Context, servers.Options) (S, error)) func() (S, error) {
	return sync.OnceValues(func() (S, error) {
		s, err := start(context.Background(), servers.Options{Unsynced: true})
		if err == nil {
			closersMu.Lock()
			defer closersMu.Unlock()
			closers = append(closers, s.Close)
		}
		return s, err
	})
}

// database makes an empty database for each test.
func database(server func() (*servers.Server, error)) func(t testing.TB) string {
	return func(t testing.TB) string {
		t.Helper()
		s, err := server()
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("place%d", places.Add(1))
		url, err := s.NewDatabase(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			if _, err := s.Run(ctx, "DROP DATABASE "+name); err != nil {
				t.Error(err)
			}
		})
		return url
	}
}

// prefixed gives each test names of its own.
func prefixed[S interface{ URL() string }](server func() (S, error)) func(t testing.TB) string {
	return func(t testing.TB) string {
		t.Helper()
		s, err := server()
		if err != nil {
			t.Fatal(err)
		}
		return with(s.URL(), fmt.Sprintf("prefix=place%d", places.Add(1)))
	}
}

// with adds an option to a URL.
func with(url, option string) string {
	switch {
	case option == "":
		return url
	case strings.Contains(url, "?"):
		return url + "&" + option
	}
	return url + "?" + option
}

func TestMain(m *testing.M) {
	status := m.Run()
	for _, c := range closers {
		if err := c(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
	}
	os.Exit(status)
}
