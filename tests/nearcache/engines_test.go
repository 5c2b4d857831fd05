// Package nearcache_test tries copies of sessions on the engines that push what
// changes: real servers, with proxies that spoil the connections to them.
package nearcache_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"
	"github.com/redis/rueidis"
	_ "modernc.org/sqlite"

	"cloakroom.example/servers"
	"cloakroom.example/session/pgwatch"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/nearcache"
	"cloakroom.example/session/store/sqlstore"
)

// place is somewhere to keep sessions. What a node opens there goes through an
// address: that of the server, or of a proxy.
type place struct {
	address string
	store   func(t testing.TB, address string) store.Store
	watcher func(t testing.TB, address string) store.Watcher
}

type engine struct {
	name  string
	place func(t testing.TB) place // an empty one
	// proxied says that its connections can be led through a proxy: in a
	// Cluster, nodes tell clients each other's true addresses.
	proxied bool
}

func engines() []engine {
	return []engine{
		{"SQLite", sqlite, false},
		{"PostgreSQL", postgreSQL, true},
		{"Redis", redis, true},
		{"Redis Cluster", redisCluster, false},
	}
}

var (
	postgresServer = shared(servers.StartPostgreSQL)
	redisServer    = shared(func(ctx context.Context, o servers.Options) (*servers.Server, error) {
		return servers.StartRedis(ctx, o)
	})
	clusterServers = shared(servers.StartRedisCluster)

	places atomic.Int64 // numbers what is empty

	closersMu sync.Mutex
	closers   []func() error
)

// shared starts servers once for all tests.
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

func sqlite(t testing.TB) place {
	open := func(t testing.TB, file string) *sqlstore.Store { return openSQL(t, "sqlite", file, sqlstore.SQLite()) }
	return place{
		address: filepath.Join(t.TempDir(), "sessions.db"),
		store:   func(t testing.TB, file string) store.Store { return open(t, file) },
		watcher: func(t testing.TB, file string) store.Watcher { return open(t, file) },
	}
}

func openSQL(t testing.TB, driver, name string, d sqlstore.Dialect) *sqlstore.Store {
	t.Helper()
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s, err := sqlstore.Open(t.Context(), db, d, sqlstore.Options{BusyTimeout: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, s.Close) })
	return s
}

// finish closes what takes a context to be closed.
func finish(t testing.TB, end func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := end(ctx); err != nil {
		t.Errorf("closing: %v", err)
	}
}

func postgreSQL(t testing.TB) place {
	t.Helper()
	s, err := postgresServer()
	if err != nil {
		t.Fatal(err)
	}
	url, err := s.NewDatabase(t.Context(), fmt.Sprint("near_", places.Add(1)))
	if err != nil {
		t.Fatal(err)
	}
	through := func(t testing.TB, address string) *pgx.ConnConfig {
		t.Helper()
		c, err := pgx.ParseConfig(url)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscanf(address, "127.0.0.1:%d", &c.Port); err != nil {
			t.Fatal(err)
		}
		c.Host, c.Fallbacks = "127.0.0.1", nil
		return c
	}
	return place{
		address: s.Addr(),
		store: func(t testing.TB, address string) store.Store {
			c := through(t, address)
			name := fmt.Sprintf("host=127.0.0.1 port=%d user=%s password=%s dbname=%s sslmode=disable", c.Port, c.User, c.Password, c.Database)
			return openSQL(t, "pgx", name, sqlstore.PostgreSQL())
		},
		watcher: func(t testing.TB, address string) store.Watcher { return pgwatch.New(through(t, address)) },
	}
}

func redis(t testing.TB) place {
	t.Helper()
	s, err := redisServer()
	if err != nil {
		t.Fatal(err)
	}
	return redisPlace(s.Addr(), func(address string) rueidis.ClientOption {
		return rueidis.ClientOption{InitAddress: []string{address}, Password: s.Password(), ForceSingleClient: true}
	})
}

func redisCluster(t testing.TB) place {
	t.Helper()
	c, err := clusterServers()
	if err != nil {
		t.Fatal(err)
	}
	return clusterPlace(c)
}

func clusterPlace(c *servers.Cluster) place {
	return redisPlace("", func(string) (o rueidis.ClientOption) {
		o.Password = c.Nodes[0].Password()
		for _, one := range c.Nodes {
			o.InitAddress = append(o.InitAddress, one.Addr())
		}
		return o
	})
}

func redisPlace(address string, option func(address string) rueidis.ClientOption) place {
	prefix := fmt.Sprintf("near%d:", places.Add(1))
	open := func(t testing.TB, address string) *redisstore.Store {
		t.Helper()
		o := option(address)
		o.ReadBufferEachConn, o.WriteBufferEachConn = 1<<16, 1<<16 // there are many
		s, err := redisstore.Open(t.Context(), o, redisstore.Options{Prefix: prefix})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	return place{
		address: address,
		store:   func(t testing.TB, address string) store.Store { return open(t, address) },
		watcher: func(t testing.TB, address string) store.Watcher { return open(t, address) },
	}
}

// near opens a near-cache in a place, and waits until it serves copies.
func (p place) near(t testing.TB, data, push string) nearcache.Store {
	t.Helper()
	c, err := nearcache.New(p.store(t, data), nearcache.Options{
		Watcher: p.watcher(t, push), MaxBytes: 4 << 20, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { finish(t, c.Close) })
	awaitCopies(t, c)
	return c
}

// awaitCopies waits until copies can be served.
func awaitCopies(t testing.TB, c nearcache.Store) {
	t.Helper()
	_, _ = c.Load(t.Context(), store.Key{Namespace: "shop"}, nil) // begins the watch
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		if all := c.Stats().Spaces; len(all) > 0 && all[0].Up && time.Since(all[0].Confirmed) < time.Second/2 {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited in vain for the watch: %+v", c.Stats())
		}
	}
}
