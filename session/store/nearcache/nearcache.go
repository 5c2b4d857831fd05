// Package nearcache answers Load from copies in the memory of this process, which
// the engine's pushed invalidations drop: reads at the speed of memory, on many
// nodes, of sessions that live in one place.
//
//	shared, err := redisstore.Open(ctx, …)
//	…
//	near, err := nearcache.New(shared, nearcache.Options{})
//	…
//	defer near.Close(ctx) // then the shared store
//	m, err := session.New(session.Config{Store: near})
//
// # What can be relied on
//
// A change made through this store shows in the next Load through it. A change
// made elsewhere shows as soon as its push has arrived, and one second after it
// was acknowledged at the latest, whatever becomes of the connection that carries
// the pushes: a copy is served only if the engine has confirmed, by a heartbeat
// that began within the last second ([Options.MaxAge]), that everything it had
// acknowledged was pushed, and if the connection has been up without a gap since
// before the copy's own Load was sent. When the connection is lost, all copies are
// dropped, and every Load asks the engine until it is back.
//
// An answer of the engine becomes a copy only if no push about the record has
// arrived since it was asked. So a late answer covers neither a newer state nor a
// tombstone.
//
// [store.Fresh] reads past the copies. Seen may lag behind by the touches of other
// nodes, because touches are not pushed; whoever finds a session expired asks again
// with Fresh. Package session does.
//
// Where clocks stop, copies do not age: a machine that was suspended and wakes up
// is told apart by its wall clock, and reads through.
//
// # Memory
//
// Copies are kept encoded, in rings without pointers that [Options.MaxBytes]
// bounds, index included. The oldest make room, unless they were served lately.
// Of a session that has ended, its tombstone is kept; that there is no session of
// a name is never kept.
package nearcache

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// Options adjusts a [Store]. The zero value is right for most programs.
type Options struct {
	// Watcher reports what changes. If nil, the store itself must implement
	// [store.Watcher].
	Watcher store.Watcher
	// MaxBytes bounds the memory of the copies. A record larger than 120 KiB,
	// or than a ninth of MaxBytes, finds no place and is not copied. Zero means
	// 64 MiB; at least 64 KiB.
	MaxBytes int
	// MaxAge is how long ago the last confirmed heartbeat may have begun for
	// copies to be served. Zero means one second, which is also the most.
	MaxAge time.Duration
	// Logger is told when the connection that carries the pushes is lost, and
	// when it is back. If nil, [slog.Default].
	Logger *slog.Logger
}

const (
	maxAge    = time.Second
	minBytes  = 64 << 10
	perShard  = 1 << 20
	maxShards = 256
)

func (o Options) withDefaults() Options {
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.MaxAge == 0 {
		o.MaxAge = maxAge
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	return o
}

func (o Options) check() error {
	switch {
	case o.Watcher == nil:
		return errors.New("nearcache: Options.Watcher: is not set, and the store reports no changes itself")
	case o.MaxBytes < minBytes:
		return fmt.Errorf("nearcache: Options.MaxBytes: is less than %d", minBytes)
	case o.MaxAge < 0 || o.MaxAge > maxAge:
		return fmt.Errorf("nearcache: Options.MaxAge: is negative, or more than %v", maxAge)
	}
	return nil
}

// Store is a store that answers from copies. Beside these methods it implements
// [store.Counter] and [store.Estimator], by listing where the decorated store does
// not, and [store.Sweeper] if the decorated store does. All methods are safe for
// concurrent use.
type Store interface {
	store.Store
	store.Copier
	// Stats returns what has been counted so far.
	Stats() Stats
	// Close stops watching and drops the copies; from then on every Load asks
	// the decorated store, which stays open. If ctx ends first, Close returns
	// its error.
	Close(ctx context.Context) error
}

// cache is a [Store] before a store that need not be swept.
type cache struct {
	inner   store.Store
	watcher store.Watcher
	maxAge  time.Duration
	log     *slog.Logger
	now     func() time.Time
	seed    maphash.Seed

	shards []shard
	shift  int       // of a hash, to the number of its shard
	bodies sync.Pool // of *[]byte: entries on their way to the ring

	mu     sync.Mutex // held to add a namespace, and to close
	spaces atomic.Pointer[map[string]*space]
	ctx    context.Context // of the watches
	stop   context.CancelFunc
	work   sync.WaitGroup
}

var (
	_ Store           = (*cache)(nil)
	_ store.Counter   = (*cache)(nil)
	_ store.Estimator = (*cache)(nil)
	_ store.Sweeper   = sweeping{}
)

// New returns a store that answers from copies of what s holds. It watches a
// namespace from its first Load on.
func New(s store.Store, o Options) (Store, error) {
	c, err := newCache(s, o)
	if err != nil {
		return nil, err
	}
	return c.sweeping(), nil
}

func newCache(s store.Store, o Options) (*cache, error) {
	if o.Watcher == nil {
		o.Watcher, _ = s.(store.Watcher)
	}
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	n := min(max(1<<bits.Len(uint(o.MaxBytes/perShard))/2, 1), maxShards)
	c := &cache{
		inner: s, watcher: o.Watcher, maxAge: o.MaxAge, log: o.Logger, now: time.Now, seed: maphash.MakeSeed(),
		shards: make([]shard, n), shift: 64 - bits.Len(uint(n-1)),
	}
	for i := range c.shards {
		c.shards[i] = newShard(o.MaxBytes / n)
	}
	c.spaces.Store(&map[string]*space{})
	c.bodies.New = func() any { return new([]byte) }
	c.ctx, c.stop = context.WithCancel(context.Background())
	return c, nil
}

// Close implements [Store].
func (s *cache) Close(ctx context.Context) error {
	s.mu.Lock()
	s.stop()
	s.mu.Unlock()
	stopped := make(chan struct{})
	go func() {
		s.work.Wait()
		close(stopped)
	}()
	select {
	case <-stopped:
	case <-ctx.Done():
		return fmt.Errorf("nearcache: closing: %w", ctx.Err())
	}
	for i := range s.shards {
		s.shards[i].close()
	}
	return nil
}

// ServesCopies implements [store.Copier].
func (s *cache) ServesCopies() bool { return true }

func (s *cache) shard(id recordID) *shard { return &s.shards[id.hash()>>s.shift] }

// Stats say how the cache is doing.
type Stats struct {
	// Hits are the Loads answered from copies, Misses those that were not:
	// because there was no copy, or because it could not be relied on.
	Hits, Misses uint64
	// Drops are the copies dropped because their record has changed, one by
	// one; Evictions those dropped for want of room.
	Drops, Evictions uint64
	// Entries is the number of copies that can be served, Bytes the memory
	// held for them and for others to come.
	Entries, Bytes int
	// Spaces are the namespaces watched.
	Spaces []SpaceStats
}

// SpaceStats say how a namespace is watched.
type SpaceStats struct {
	Namespace string
	// Up says that the connection that carries the pushes is there, Confirmed
	// when the last confirmed heartbeat began.
	Up        bool
	Confirmed time.Time
	// Lost counts how often the connection was lost, or could not be made.
	Lost uint64
	// Drops counts how often all copies were dropped.
	Drops uint64
}

// Stats implements [Store].
func (s *cache) Stats() (st Stats) {
	generations := make(map[uint16]uint64)
	for _, sp := range *s.spaces.Load() {
		st.Spaces = append(st.Spaces, sp.stats())
		generations[sp.number] = sp.generation.Load()
	}
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		st.Hits, st.Misses, st.Drops = st.Hits+sh.hits, st.Misses+sh.misses, st.Drops+sh.drops
		st.Evictions, st.Bytes = st.Evictions+sh.evictions, st.Bytes+sh.bytes()
		sh.each(func(e entry) {
			if g := generations[e.space()]; e.generation() == g && isUp(g) {
				st.Entries++
			}
		})
		sh.mu.Unlock()
	}
	return st
}
