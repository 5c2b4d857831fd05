// Package memory keeps sessions in the memory of this process. It is the
// reference implementation of the store contract and the store of programs
// that run as one process and may forget their sessions when they restart.
//
// # Layout
//
// Records live encoded in slabs of bytes, found through maps without pointers,
// so that the garbage collector has next to nothing to scan however many
// sessions there are. They are spread over shards by handle; a second set of
// shards indexes them by subject and by link. Within a shard, records are filed
// by the second in which they expire, so that sweeping touches what expired and
// not what lives.
//
// # Locks
//
// Whoever needs several locks takes those of the key index first, in ascending
// order, then those of the shards, in ascending order. Creating, and revoking
// by subject or link, hold the locks of their keys throughout; that is what
// makes limits hold and revocations complete.
package memory

import (
	"context"
	"fmt"
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
}

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
	sp := &space{namespace: namespace}
	for i := range sp.shards {
		sp.shards[i].byHandle = make(map[store.Handle]uint32)
	}
	for i := range sp.keys {
		sp.keys[i].entries = make(map[key]entry)
	}
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
func (s *Store) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	if err := unavailable(ctx); err != nil {
		return store.Record{}, err
	}
	sp := s.existing(k.Namespace)
	if sp == nil {
		return store.Record{}, store.ErrNotFound
	}
	r, found := sp.shardOf(k.Handle).copyOf(k.Handle, sp)
	if !found {
		return store.Record{}, store.ErrNotFound
	}
	r.Parts = only(r.Parts, parts)
	return r, nil
}

// only keeps the parts that are named.
func only(parts []store.Part, names []string) []store.Part {
	kept := parts[:0]
	for _, p := range parts {
		for _, name := range names {
			if p.Name == name {
				kept = append(kept, p)
				break
			}
		}
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
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
	i, found := sh.byHandle[r.Handle]
	if !found {
		return store.ErrNotFound
	}
	stored := sh.peek(i, sp)
	if !stored.Alive(now) {
		return store.ErrNotFound
	}
	if stored.Version != r.Version {
		return store.ErrConflict
	}
	stored.Change(&r)
	for _, p := range r.Parts {
		stored.Parts = store.ChangePart(stored.Parts, p)
	}
	sh.rewrite(i, &stored)
	return nil
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
		sh := sp.shardOf(t.Handle)
		sh.mu.Lock()
		if i, found := sh.byHandle[t.Handle]; found {
			// Seen is kept beside the encoded record, which stays as it is.
			if r := sh.peek(i, sp); r.Touch(t.Seen) {
				sh.metas.at(i).seen = r.Seen.UnixNano()
			}
		}
		sh.mu.Unlock()
	}
	return nil
}
