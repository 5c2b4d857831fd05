// Package redisstore keeps sessions in Redis (6.2 or later) or Valkey: one server,
// servers under Sentinel, or a Cluster.
//
//	s, err := redisstore.Open(ctx, rueidis.ClientOption{InitAddress: []string{"127.0.0.1:6379"}}, redisstore.Options{})
//
// # What it costs
//
// Loading a session is one command, an MGET of two keys in one slot. Changing one
// is one call of a script. Last-seen times go out together. Nothing needs to be
// swept: every key has a lifetime, and what has expired is kept for a day, as
// tombstones are, and then gone. Keys and values are described in keys.go and
// value.go.
//
// # What it guarantees
//
// All invariants of [store], on one server and in a Cluster, as long as the
// server acknowledges what it keeps: appendonly yes with appendfsync always keeps
// every acknowledged write when the server dies (with everysec, the default, the
// last second may be lost; without appendonly, everything since the last
// snapshot).
//
// Replication is asynchronous, and that leaves a risk that no client can remove:
// when a primary dies and a replica takes over that does not have the last writes,
// those are undone. Lost may be a login, a change of values, but a logout or a
// revocation too, and then the session is alive again. So logins, logouts and
// revocations are answered when a replica has confirmed them, if there is any, or
// after [Options.WaitTimeout]; that none did is reported through [Options.Warn].
// Even a confirmed write is lost if another replica is chosen that is behind:
// Sentinel and Cluster choose the one that is furthest, as far as they can see.
// With min-replicas-to-write set, a primary that was cut off refuses writes
// instead of losing them. Who cannot accept the rest keeps sessions in PostgreSQL.
//
// While a Cluster moves a slot, by hand and key by key, it serves no command of
// several keys there: the sessions in it, a 256th of all, are read with two
// commands, and changes wait until it has been moved, or for as long as their
// context says.
//
// An engine that evicts keys when its memory is full ends sessions, and forgets
// revocations: [Open] warns if maxmemory-policy is not noeviction.
package redisstore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// Options are how a store is made. The zero Options are fine.
type Options struct {
	// Prefix begins the names of all keys. Defaults to "cr:". It must not contain
	// braces.
	Prefix string
	// Timeout ends calls whose context has no end. Defaults to 5 seconds.
	Timeout time.Duration
	// WaitReplicas is how many replicas have to confirm a login, a logout or a
	// revocation before it is answered, if the engine has that many. Defaults to
	// 1; less than zero means none.
	WaitReplicas int
	// WaitTimeout is how long they are waited for. Defaults to 250 milliseconds.
	WaitTimeout time.Duration
	// Warn is told what an operator should know: that the engine may evict keys
	// or forgets what it acknowledged, or that no replica has confirmed. It must
	// return quickly and may be called from several goroutines. The same warning
	// comes at most once in ten seconds.
	Warn func(warning string)
}

// Store keeps sessions in Redis or Valkey. Make one with [Open].
type Store struct {
	client  rueidis.Client
	own     bool // the client
	prefix  string
	tags    [buckets]string
	ids     sync.Map // of namespaces
	scripts scripts
	agents  agents
	timeout time.Duration

	direct  atomic.Int64         // calls under way
	besides atomic.Int64         // calls waiting beside the client
	silent  [buckets]atomic.Bool // the last call got no answer in time

	replicas    int
	waitTimeout time.Duration
	lanes       [buckets]lane
	waiting     chan struct{} // as many as connections wait

	warnMu sync.Mutex
	warned map[string]time.Time
	tell   func(string)

	background sync.WaitGroup
}

var (
	_ store.Store     = (*Store)(nil)
	_ store.Estimator = (*Store)(nil)
)

// Open connects and returns a store with a client of its own. Where o leaves it
// open, connections are set up so that a silent server is noticed within seconds
// and a failover found out about.
func Open(ctx context.Context, c rueidis.ClientOption, o Options) (*Store, error) {
	// Only we know what may be sent again, and when a slot that moves needs
	// another question.
	c.DisableRetry = true
	// Otherwise a caller whose time runs out takes his connection down, and with
	// it the calls of others.
	c.AlwaysPipelining = true
	c.SendToReplicas = nil // a replica may not have heard yet of what was revoked
	c.Dialer.Timeout = or(c.Dialer.Timeout, 2*time.Second)
	c.ConnWriteTimeout = or(c.ConnWriteTimeout, 3*time.Second)
	c.Sentinel.TopologyRefreshInterval = or(c.Sentinel.TopologyRefreshInterval, 2*time.Second)
	c.ClusterOption.ShardsRefreshInterval = or(c.ClusterOption.ShardsRefreshInterval, 10*time.Second)
	if c.BlockingPoolCleanup == 0 {
		c.BlockingPoolCleanup = time.Minute
	}
	client, err := rueidis.NewClient(c)
	if err != nil {
		return nil, fmt.Errorf("redisstore: connecting: %w: %w", store.ErrUnavailable, err)
	}
	s, err := New(ctx, client, o)
	if err != nil {
		client.Close()
		return nil, err
	}
	s.own = true
	return s, nil
}

// New returns a store that uses a client of the caller's, whose DisableRetry and
// AlwaysPipelining should be set, see [Open]. It looks at the engine first, and fails if that cannot be reached or is
// too old.
func New(ctx context.Context, client rueidis.Client, o Options) (*Store, error) {
	if o.Prefix == "" {
		o.Prefix = "cr:"
	}
	if err := checkPrefix(o.Prefix); err != nil {
		return nil, err
	}
	all, err := newScripts()
	if err != nil {
		return nil, fmt.Errorf("redisstore: reading scripts: %w", err)
	}
	s := &Store{
		client: client, prefix: o.Prefix, tags: makeTags(), scripts: all, agents: newAgents(),
		timeout: or(o.Timeout, 5*time.Second), waitTimeout: or(o.WaitTimeout, 250*time.Millisecond),
		replicas: o.WaitReplicas, warned: map[string]time.Time{}, tell: o.Warn,
		waiting: make(chan struct{}, waitingMost),
	}
	if s.replicas == 0 {
		s.replicas = 1
	}
	for b := range s.lanes {
		s.lanes[b].bucket = b
	}
	if err := s.inspect(ctx); err != nil {
		return nil, err
	}
	return s, nil
}

func or(d, otherwise time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return otherwise
}

// Close waits for what the store does by itself, and closes the client if it is
// the store's own.
func (s *Store) Close() error {
	s.background.Wait()
	if s.own {
		s.client.Close()
	}
	return nil
}

// warnEvery is how often the same warning comes.
const warnEvery = 10 * time.Second

func (s *Store) warn(warning string) {
	if s.tell == nil {
		return
	}
	s.warnMu.Lock()
	now := time.Now()
	again := now.Sub(s.warned[warning]) >= warnEvery
	if again {
		if len(s.warned) > 100 {
			clear(s.warned)
		}
		s.warned[warning] = now
	}
	s.warnMu.Unlock()
	if again {
		s.tell(warning)
	}
}
