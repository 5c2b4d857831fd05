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
	keys := sp.keysOf(&r)
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
		if c.Overtook(sp.keyShardOf(k).marks.of(k)) {
			return nil, nil, store.ErrRevoked
		}
	}
	evicted, err = sp.overLimitLocked(r, c)
	if err != nil {
		return nil, nil, err
	}
	x, replaced, err := sp.exchange(r, c, epoch.number())
	if err != nil {
		return nil, nil, err
	}
	for _, k := range keys {
		sp.keyShardOf(k).addLocked(k, x)
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
func (sp *space) exchange(r *store.Record, c store.Creation, epoch uint32) (x ref, replaced *store.Record, err error) {
	other := r.Handle
	if c.Replace != nil {
		other = c.Replace.Handle
	}
	defer sp.lockPair(r.Handle, other)()
	sh := sp.shardOf(r.Handle)
	if sh.find(r.Handle) != 0 {
		return 0, nil, store.ErrExists
	}
	if c.Replace != nil {
		replaced = new(store.Record)
		if err := sp.supersedeLocked(replaced, c); err != nil {
			return 0, nil, err
		}
	}
	return refOf(shardIndex(r.Handle), sh.insert(r, epoch)), replaced, nil
}

// supersedeLocked ends the record that a creation replaces.
func (sp *space) supersedeLocked(old *store.Record, c store.Creation) error {
	sh := sp.shardOf(c.Replace.Handle)
	p := sh.find(c.Replace.Handle)
	if p == 0 {
		return store.ErrNotFound
	}
	sh.peek(p, sp, old)
	if !old.Alive(c.Now) {
		return store.ErrNotFound
	}
	if !c.Replace.Fits(old) {
		return store.ErrConflict
	}
	old.Finish(store.End{At: c.Now, Cause: store.CauseRenewed})
	sh.rewrite(p, old)
	return nil
}

// overLimitLocked returns the sessions that have to end so that one more fits,
// or ErrLimit.
func (sp *space) overLimitLocked(r *store.Record, c store.Creation) ([]store.Handle, error) {
	if c.Max <= 0 || r.State != store.Active || r.Subject == "" {
		return nil, nil
	}
	k := sp.subjectKey(r.Subject)
	var live []store.Record
	sp.keyShardOf(k).walkLocked(k, func(x ref) bool {
		var other store.Record
		if !sp.loadRef(x, &other) || other.Ended() {
			return false
		}
		replaced := c.Replace != nil && c.Replace.Handle == other.Handle
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
