package storetest_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

// simple is a correct store: encoded records in a map under one mutex. Each of
// its flaws is a small mistake, made at the line that asks for it, of a kind
// that real stores were shipped with.
type simple struct {
	flaw string

	mu          sync.Mutex
	rows        map[store.Key][]byte
	older       map[store.Key][]byte        // the row before the last write, for a stale replica
	shared      map[store.Key]store.Record  // what a careless cache would hand out
	index       map[string][]store.Handle   // subject → handles, for a careless index
	revocations map[string]store.Revocation // by target
	disk        map[store.Key][]byte        // what a careless durable store has written
	loads       int
}

func newSimple(flaw string) *simple {
	return &simple{
		flaw: flaw, rows: map[store.Key][]byte{}, older: map[store.Key][]byte{}, shared: map[store.Key]store.Record{},
		index: map[string][]store.Handle{}, revocations: map[string]store.Revocation{}, disk: map[store.Key][]byte{},
	}
}

func (s *simple) is(flaw string) bool { return s.flaw == flaw }

// window opens the gap between a check and the write that relies on it.
func (s *simple) window(flaw string) {
	if s.is(flaw) {
		s.mu.Unlock()
		time.Sleep(200 * time.Microsecond)
		s.mu.Lock()
	}
}

// key folds what a careless key builder would.
func (s *simple) key(k store.Key) store.Key {
	if s.is("namespace ignored") {
		k.Namespace = ""
	}
	if s.is("namespace cut at a separator") {
		k.Namespace, _, _ = strings.Cut(k.Namespace, ":")
	}
	return k
}

func (s *simple) get(k store.Key) (r store.Record, found bool) {
	row, found := s.rows[s.key(k)]
	if !found {
		return r, false
	}
	r, err := store.DecodeRecord(bytes.Clone(row))
	if err != nil {
		panic(err)
	}
	return r, true
}

func (s *simple) put(r store.Record) {
	if s.is("microseconds") {
		r.Seen = r.Seen.Truncate(time.Microsecond)
	}
	if s.is("unknown extensions dropped") {
		r.Extensions = nil
	}
	if s.is("NUL ends strings") {
		r.Label, _, _ = strings.Cut(r.Label, "\x00")
	}
	for i, p := range r.Parts {
		if len(p.Sealed) > 60<<10 && s.is("large parts cut") {
			r.Parts[i].Sealed = p.Sealed[:60<<10]
		}
	}
	k := s.key(r.Key())
	s.disk = maps.Clone(s.rows)
	s.older[k] = s.rows[k]
	s.rows[k] = r.Append(nil)
	delete(s.shared, k)
}

// now is the caller's time, or the wall clock's for those who know better.
func (s *simple) now(t time.Time) time.Time {
	if s.is("own clock") {
		return time.Now()
	}
	return t
}

// all returns the namespace's records by handle.
func (s *simple) all(namespace string) (rs []store.Record) {
	for k := range s.rows {
		if k.Namespace == s.key(store.Key{Namespace: namespace}).Namespace {
			r, _ := s.get(k)
			rs = append(rs, r)
		}
	}
	slices.SortFunc(rs, func(a, b store.Record) int { return bytes.Compare(a.Handle[:], b.Handle[:]) })
	return rs
}

// cut is what a store does about a context that is over.
func (s *simple) cut(ctx context.Context) error {
	switch err := ctx.Err(); {
	case err == nil:
		return nil
	case s.is("not found when cancelled"):
		return store.ErrNotFound
	case s.is("bare context error"):
		return err
	default:
		return fmt.Errorf("%w: %w", store.ErrUnavailable, err)
	}
}

func (s *simple) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	if err := s.cut(ctx); err != nil {
		return store.Record{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, found := s.get(k)
	if !found {
		return r, fmt.Errorf("loading: %w", store.ErrNotFound)
	}
	if shared, ok := s.shared[s.key(k)]; ok && s.is("slices shared") {
		r = shared
		r.Version = 1
	}
	if s.loads++; s.is("stale replica") && s.loads%3 == 0 && s.older[k] != nil {
		r, _ = store.DecodeRecord(bytes.Clone(s.older[k]))
	}
	if cause, expired := r.Expired(s.now(time.Unix(1<<32, 0))); expired && !r.Ended() && s.is("load ends expired") {
		r.Finish(store.End{At: r.Expiry(), Cause: cause})
		s.put(r)
	}
	if all := s.revocations[target(store.Revocation{Namespace: k.Namespace, All: true})]; r.Created.Before(all.Now) && s.is("all by time") {
		r.Finish(store.End{At: all.Now, Cause: all.Cause, By: all.By})
	}
	if !s.is("load gives all parts") {
		r.Parts = slices.DeleteFunc(slices.Clone(r.Parts), func(p store.Part) bool { return !slices.Contains(parts, p.Name) })
	}
	return r, nil
}

func (s *simple) Swap(ctx context.Context, to store.Record, now time.Time) error {
	if err := s.cut(ctx); err != nil {
		if s.is("applied, but unavailable") {
			_ = s.Swap(context.WithoutCancel(ctx), to, now)
		}
		if s.is("cancelled, but acknowledged") {
			return nil
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r, found := s.get(to.Key())
	if s.is("upsert") {
		to.Version++
		s.put(to)
		return nil
	}
	if !found || !r.Alive(s.now(now)) || r.Locked && s.is("locked is ended") {
		if s.is("errors quote values") {
			return fmt.Errorf("swapping %q: %w", to.Wrap, store.ErrNotFound)
		}
		return store.ErrNotFound
	}
	if r.Version != to.Version && !s.is("blind update") {
		return store.ErrConflict
	}
	s.window("version checked, then written")
	s.change(&r, to)
	s.put(r)
	return nil
}

// change is Record.Change, and the parts.
func (s *simple) change(r *store.Record, to store.Record) {
	r.Change(&to)
	if s.is("swap loosens") {
		r.Locked, r.Limit = to.Locked, to.Limit
	}
	if s.is("swap moves seen back") {
		r.Seen = to.Seen
	}
	if s.is("swap writes identity") {
		r.Subject, r.State, r.Assurance = to.Subject, to.State, to.Assurance
	}
	if s.is("parts overwritten") {
		r.Parts = nil
	}
	for _, p := range to.Parts {
		if len(p.Sealed) == 0 && s.is("empty part removed") {
			p.Sealed = nil
		}
		r.Parts = store.ChangePart(r.Parts, p)
	}
}

func (s *simple) Touch(ctx context.Context, namespace string, touches []store.Touch) error {
	if err := s.cut(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.is("touch takes 100") {
		touches = touches[:min(100, len(touches))]
	}
	for _, t := range touches {
		k := store.Key{Namespace: namespace, Handle: t.Handle}
		r, found := s.get(k)
		if !found && s.is("touch stops at unknown") {
			return nil
		}
		if !found && !s.is("touch creates") {
			continue
		}
		s.window("touch writes the whole record")
		s.move(&r, t.Seen)
		if s.is("touch counts as a version") {
			r.Version++
		}
		r.Namespace, r.Handle = namespace, t.Handle
		s.put(r)
	}
	return nil
}

func (s *simple) move(r *store.Record, seen time.Time) {
	switch {
	case s.is("touch moves back") && r.Alive(seen), s.is("touch revives expired") && !r.Ended(), s.is("touch revives ended"):
		r.Seen = seen
	case s.is("touch moves locked") && r.Alive(seen) && seen.After(r.Seen):
		r.Seen = seen
	default:
		if s.now(seen).Equal(seen) || r.Alive(s.now(seen)) {
			r.Touch(seen)
		}
	}
	if s.is("touch revives ended") {
		r.End = store.End{}
	}
}

// names reports whether a revocation is aimed at the record.
func (s *simple) names(v store.Revocation, r *store.Record) bool {
	same := v.Subject == r.Subject || s.is("subjects without case") && strings.EqualFold(v.Subject, r.Subject)
	linked := r.HasLink(v.Link) && (r.Links[0] == v.Link || !s.is("first link only"))
	return v.All || !v.Handle.IsZero() && v.Handle == r.Handle || v.Subject != "" && same || v.Link != (store.Link{}) && linked
}

func (s *simple) Revoke(ctx context.Context, v store.Revocation) (revoked store.Revoked, err error) {
	if err := s.cut(ctx); err != nil {
		return revoked, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.revocations[target(v)]
	if v.Handle.IsZero() && v.Effect == store.EffectEnd {
		merged := v
		if last.Now.After(v.Now) && !s.is("last revocation wins") {
			merged.Now = last.Now
		}
		if last.AuthenticatedBefore.After(v.AuthenticatedBefore) {
			merged.AuthenticatedBefore = last.AuthenticatedBefore
		}
		s.revocations[target(v)] = merged
	}
	if s.is("except ignored") {
		v.Except = store.Handle{}
	}
	if s.is("authenticated before ignored") {
		v.AuthenticatedBefore = time.Time{}
	}
	named := s.all(v.Namespace)
	if s.is("index written back") && v.Subject != "" {
		named = slices.DeleteFunc(named, func(r store.Record) bool { return !slices.Contains(s.index[v.Subject], r.Handle) })
	}
	s.window("revocation reads, then writes")
	for _, r := range named {
		if r.Namespace == v.Namespace && s.names(v, &r) && s.apply(&r, v) && (!v.All || s.is("all reports")) {
			revoked.Changed = append(revoked.Changed, r.Handle)
		}
	}
	return revoked, nil
}

// apply revokes one record and stores it.
func (s *simple) apply(r *store.Record, v store.Revocation) bool {
	before := *r
	if s.is("never-expiring cannot be ended") && r.Expiry().IsZero() {
		return false
	}
	if s.is("cause of the last") && r.Ended() {
		r.End = store.End{At: v.Now, Cause: v.Cause, By: v.By}
		s.put(*r)
		return false
	}
	if s.is("shorten lengthens") && v.Effect == store.EffectShorten {
		r.Limit = v.Limit
		s.put(*r)
		return true
	}
	if v.OnlyExpired {
		v.Now = s.now(v.Now)
	}
	if !r.Revoke(v) {
		return false
	}
	if r.Ended() && s.is("no tombstone") {
		delete(s.rows, s.key(r.Key()))
		return true
	}
	if s.is("tombstone keeps wrap") {
		r.Wrap = before.Wrap
	}
	if s.is("tombstone loses verifier") {
		r.Verifier = store.Verifier{}
	}
	s.put(*r)
	return true
}
