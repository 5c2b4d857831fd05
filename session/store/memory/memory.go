// Package memory keeps sessions in the memory of this process. It is the
// reference implementation of the store contract and the store of programs
// that run as one process and may forget their sessions when they restart.
//
// # Layout
//
// With a million sessions, what costs is memory and the garbage collector's work.
// So records lie encoded in bytes, everything refers to everything by number, and
// the pieces are cut from a few large blocks without pointers.
//
//	handle ──► one of 128 shards             subject, link ──► one of 128 key shards
//	             │ hash                                           │ hash
//	             ▼                                                ▼
//	  handles  [ 0 │ 7.3 │ 0 │ 4.1 │ … ]              live     [ 0 │ 2 │ … ]
//	                  │                                            │
//	                  ▼                                            ▼
//	  slab     chunk 7: [ … │ … │ … │ entry 12 │ … ]  nodes    2: shard 5, number 12
//	                                  ▲               marks    when it was revoked
//	  numbers  12: place 7.3, next … ◄┘
//	            ▲
//	  agenda   12:30                                  words    9: "Mozilla/5.0 …"
//
// An entry moves when it grows; what refers to it for longer than a moment holds
// its number. Words are what many entries say, kept once for a shard.
//
// A session of a signed-in user with 100 bytes of values takes 345 bytes. 240 of
// them are hashes, random numbers and sealed bytes, which nothing makes smaller.
//
//   - arena.go, slab.go, table.go, buckets.go: memory, and finding things in it;
//   - record.go, image.go, terms.go, words.go: how a record is written and read;
//   - shard.go: the records; index.go, marks.go: whose they are;
//   - agenda.go, sweep.go: what is due. Records are filed by the second in which
//     they expire, so that sweeping touches what expired and not what lives.
//
// # Locks
//
// Whoever needs several locks takes those of the key index first, in ascending
// order, then those of the shards, in ascending order. That of the sweep comes
// before them, those of the arenas after. Creating, and revoking by subject or
// link, hold the locks of their keys throughout; that is what makes limits hold and
// revocations complete. A shard's lock is held for a record, or for a few.
package memory

import (
	"context"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// Store keeps sessions in memory. Make one with [New].
type Store struct {
	mu     sync.Mutex                        // serialises additions to spaces
	spaces atomic.Pointer[map[string]*space] // :: namespace → its sessions; replaced, never modified
}

var (
	_ store.Store   = (*Store)(nil)
	_ store.Sweeper = (*Store)(nil)
	_ store.Counter = (*Store)(nil)
	_ store.Local   = (*Store)(nil)

	_ store.Stepwise  = (*Store)(nil)
	_ store.Estimator = (*Store)(nil)
)

// New returns an empty store.
func New() *Store {
	s := new(Store)
	s.spaces.Store(&map[string]*space{})
	return s
}

// InProcess returns true: nobody outside this process can change a record.
func (s *Store) InProcess() bool { return true }

// space holds the sessions of one namespace.
type space struct {
	namespace string
	epoch     epoch
	shards    [shardCount]shard
	keys      [keyShardCount]keyShard

	subjectSeed, linkSeed maphash.Seed

	bytes   arena[byte]
	numbers arena[number]
	nodes   arena[node]

	sweeping sync.Mutex // one sweep at a time
	buffers  sync.Pool  // of *[]byte, for copying records
}

// blockBytes is about the size of the blocks that all sessions lie in. It takes
// little time to clear one.
const blockBytes = 256 << 10

// existing returns the space of a namespace, or nil.
func (s *Store) existing(namespace string) *space { return (*s.spaces.Load())[namespace] }

// space returns the space of a namespace and makes it if there is none.
func (s *Store) space(namespace string) *space {
	if sp := s.existing(namespace); sp != nil {
		return sp
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp := s.existing(namespace); sp != nil {
		return sp
	}
	sp := &space{namespace: namespace, subjectSeed: maphash.MakeSeed(), linkSeed: maphash.MakeSeed()}
	sp.bytes.most, sp.numbers.most, sp.nodes.most = blockBytes, blockBytes/8, blockBytes/12
	for i := range sp.shards {
		sp.shards[i].slab.arena, sp.shards[i].numbers.arena = &sp.bytes, &sp.numbers
	}
	for i := range sp.keys {
		sp.keys[i].live.arena, sp.keys[i].ended.arena = &sp.nodes, &sp.nodes
	}
	sp.buffers.New = func() any { return new([]byte) }
	spaces := map[string]*space{namespace: sp}
	for name, other := range *s.spaces.Load() {
		spaces[name] = other
	}
	s.spaces.Store(&spaces)
	return sp
}

// unavailable is what a caller gets who gave up before we began.
func unavailable(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
	return nil
}

// Load implements [store.Store].
func (s *Store) Load(ctx context.Context, k store.Key, parts []string) (r store.Record, err error) {
	if err := unavailable(ctx); err != nil {
		return r, err
	}
	sp := s.existing(k.Namespace)
	if sp == nil || !sp.load(k.Handle, &r, parts...) {
		return r, store.ErrNotFound
	}
	return r, nil
}

// LoadHead implements [store.Stepwise].
func (s *Store) LoadHead(ctx context.Context, k store.Key, r *store.Record) error {
	if err := unavailable(ctx); err != nil {
		return err
	}
	sp := s.existing(k.Namespace)
	if sp == nil || !sp.load(k.Handle, r) {
		return store.ErrNotFound
	}
	return nil
}

// LoadPart implements [store.Stepwise].
func (s *Store) LoadPart(ctx context.Context, r *store.Record, name string, b []byte) (store.Part, error) {
	if err := unavailable(ctx); err != nil {
		return store.Part{}, err
	}
	sp := s.existing(r.Namespace)
	if sp == nil {
		return store.Part{}, store.ErrNotFound
	}
	sh := sp.shardOf(r.Handle)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.find(r.Handle)
	if p == 0 {
		return store.Part{}, store.ErrNotFound
	}
	return sh.copyPart(p, sp, r, name, b)
}

// Swap implements [store.Store].
func (s *Store) Swap(ctx context.Context, r store.Record, now time.Time) error {
	if err := unavailable(ctx); err != nil {
		return err
	}
	sp := s.existing(r.Namespace)
	if sp == nil {
		return store.ErrNotFound
	}
	sh := sp.shardOf(r.Handle)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.find(r.Handle)
	if p == 0 {
		return store.ErrNotFound
	}
	var stored store.Record
	sh.peekAt(p, sp, &r, &stored)
	if !stored.Alive(now) {
		return store.ErrNotFound
	}
	if stored.Version != r.Version {
		return store.ErrConflict
	}
	stored.Change(&r)
	for _, p := range r.Parts {
		stored.Parts = changePart(stored.Parts, p)
	}
	sh.rewrite(p, &stored)
	return nil
}

// changePart is [store.ChangePart] for a list that nobody else has.
func changePart(parts []store.Part, p store.Part) []store.Part {
	parts = slices.DeleteFunc(parts, func(q store.Part) bool { return q.Name == p.Name })
	if p.Sealed == nil {
		return parts
	}
	return append(parts, p)
}

// Touch implements [store.Store].
func (s *Store) Touch(ctx context.Context, namespace string, touches []store.Touch) error {
	if err := unavailable(ctx); err != nil {
		return err
	}
	sp := s.existing(namespace)
	if sp == nil {
		return nil
	}
	for _, t := range touches {
		sp.touch(t)
	}
	return nil
}

// touch moves the time of last use, which stands beside the encoded record: that
// stays as it is.
func (sp *space) touch(t store.Touch) {
	sh := sp.shardOf(t.Handle)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	p := sh.find(t.Handle)
	if p == 0 {
		return
	}
	var r store.Record
	if sh.glance(p, sp, &r); r.Touch(t.Seen) {
		sh.slab.entry(p).setSeen(nanos(r.Seen))
	}
}
