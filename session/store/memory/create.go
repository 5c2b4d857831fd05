package memory

import (
	"bytes"
	"context"
	"slices"

	"cloakroom.example/session/store"
)

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	if err := unavailable(ctx); err != nil {
		return store.Created{}, err
	}
	r := c.Record
	r.Version, r.End = 1, store.End{}
	sp := s.space(r.Namespace)
	keys := keysOf(&r)
	unlock := sp.lockKeys(keys)
	evicted, replaced, err := sp.createLocked(&r, c, keys)
	unlock()
	if err != nil {
		return store.Created{}, err
	}
	if replaced != nil {
		sp.retire(replaced)
	}
	return store.Created{Evicted: evicted}, nil
}

// createLocked does the work of Create under the locks of the record's keys.
func (sp *space) createLocked(r *store.Record, c store.Creation, keys []key) (evicted []store.Handle, replaced *store.Record, err error) {
	epoch := sp.epoch.now()
	if c.Overtook(epoch.last) {
		return nil, nil, store.ErrRevoked
	}
	for _, k := range keys {
		if sp.keyShardOf(k).overtookLocked(k, c) {
			return nil, nil, store.ErrRevoked
		}
	}
	evicted, err = sp.overLimitLocked(r, c)
	if err != nil {
		return nil, nil, err
	}
	replaced, err = sp.exchange(r, c, epoch.number())
	if err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		sp.keyShardOf(k).addLocked(k, r.Handle)
	}
	// The new session is in the store, but its token is not out before we
	// return, so it does not matter that the evicted ones go last.
	end := store.Revocation{Cause: store.CauseLimit, Now: c.Now}
	for _, h := range evicted {
		sp.revokeOne(h, end)
	}
	return evicted, replaced, nil
}

// exchange inserts the record and ends the one it replaces, or does neither.
func (sp *space) exchange(r *store.Record, c store.Creation, epoch uint32) (*store.Record, error) {
	other := r.Handle
	if c.Replace != nil {
		other = c.Replace.Handle
	}
	defer sp.lockPair(r.Handle, other)()
	sh := sp.shardOf(r.Handle)
	if _, taken := sh.byHandle[r.Handle]; taken {
		return nil, store.ErrExists
	}
	var old *store.Record
	if c.Replace != nil {
		replacedIn := sp.shardOf(other)
		i, found := replacedIn.byHandle[other]
		if !found {
			return nil, store.ErrNotFound
		}
		stored := replacedIn.peek(i, sp)
		if !stored.Alive(c.Now) {
			return nil, store.ErrNotFound
		}
		if !c.Replace.Fits(&stored) {
			return nil, store.ErrConflict
		}
		stored.Finish(store.End{At: c.Now, Cause: store.CauseRenewed})
		replacedIn.rewrite(i, &stored)
		old = &stored
	}
	sh.insert(r, epoch)
	return old, nil
}

// overLimitLocked returns the sessions that have to end so that one more fits,
// or ErrLimit.
func (sp *space) overLimitLocked(r *store.Record, c store.Creation) ([]store.Handle, error) {
	if c.Max <= 0 || r.State != store.Active || r.Subject == "" {
		return nil, nil
	}
	k := subjectKey(r.Subject)
	var live []store.Record
	sp.keyShardOf(k).walkLocked(k, func(h store.Handle) bool {
		other, found := sp.shardOf(h).copyOf(h, sp)
		if !found || other.Ended() {
			return false
		}
		replaced := c.Replace != nil && c.Replace.Handle == h
		if !replaced && other.State == store.Active && other.Subject == r.Subject && other.Alive(c.Now) {
			live = append(live, other)
		}
		return true
	})
	over := len(live) + 1 - c.Max
	if over <= 0 {
		return nil, nil
	}
	if !c.EvictOldest {
		return nil, store.ErrLimit
	}
	slices.SortFunc(live, func(a, b store.Record) int {
		if d := a.Created.Compare(b.Created); d != 0 {
			return d
		}
		return bytes.Compare(a.Handle[:], b.Handle[:])
	})
	evicted := make([]store.Handle, over)
	for i := range evicted {
		evicted[i] = live[i].Handle
	}
	return evicted, nil
}
