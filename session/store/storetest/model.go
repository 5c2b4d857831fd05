package storetest

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

// model is the contract in its plainest form: one map under one mutex, every
// operation a loop over all of it. Stores are compared with it.
//
// Where the contract leaves a choice, such as which of two sessions created at
// the same time is the older, or which of two reasons for refusing is given, its
// methods say what is allowed, and take over what the store under test chose.
type model struct {
	mu          sync.Mutex
	records     map[store.Key]*entry
	revocations []past
	creations   int
}

// entry is a record and when, in order, it was created.
type entry struct {
	store.Record
	order int
}

// past is a revocation that creations are compared with.
type past struct {
	store.Revocation
	forgotten bool // a sweep long after may have removed it
}

func newModel() *model { return &model{records: map[store.Key]*entry{}} }

var _ interface {
	store.Store
	store.Sweeper
	store.Counter
} = (*model)(nil)

// refusals returns the errors that Create must choose from, and those that it
// may give instead of success.
func (m *model) refusals(c store.Creation) (must, may []error) {
	if m.records[c.Record.Key()] != nil {
		must = append(must, store.ErrExists)
	}
	if c.Replace != nil {
		old := m.records[store.Key{Namespace: c.Record.Namespace, Handle: c.Replace.Handle}]
		must = append(must, unchangeable(old, c.Replace.Version, c.Now)...)
		if old != nil && !old.Ended() && !c.Replace.Fits(&old.Record) {
			must = append(must, store.ErrConflict)
		}
	}
	if !c.EvictOldest && m.surplus(c) > 0 {
		must = append(must, store.ErrLimit)
	}
	overtaken, perhaps := m.overtaken(c)
	if overtaken {
		must = append(must, store.ErrRevoked)
	} else if perhaps {
		may = append(may, store.ErrRevoked)
	}
	return must, may
}

// unchangeable returns the reasons why a record cannot be changed by somebody
// who expects the version. Ended goes before version: nobody should try again.
func unchangeable(e *entry, version uint64, now time.Time) (why []error) {
	if e == nil || e.Ended() {
		return []error{store.ErrNotFound}
	}
	if e.Version != version {
		why = append(why, store.ErrConflict)
	}
	if !e.Alive(now) {
		why = append(why, store.ErrNotFound)
	}
	return why
}

// rivals are the sessions that count against the limit, oldest first.
func (m *model) rivals(c store.Creation) (rs []*entry) {
	if c.Max <= 0 || c.Record.State != store.Active {
		return nil
	}
	for _, e := range m.records {
		replaced := c.Replace != nil && e.Handle == c.Replace.Handle
		if e.Namespace == c.Record.Namespace && e.Subject == c.Record.Subject && e.State == store.Active && e.Alive(c.Now) && !replaced {
			rs = append(rs, e)
		}
	}
	slices.SortFunc(rs, func(a, b *entry) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.order, b.order))
	})
	return rs
}

// surplus is how many sessions stand in the way of the new one.
func (m *model) surplus(c store.Creation) int {
	if c.Max <= 0 || c.Record.State != store.Active {
		return 0
	}
	return max(0, len(m.rivals(c))+1-c.Max)
}

// overtaken reports whether a revocation that came later must, or may, refuse
// the creation. It may if both happened in the same instant, if the
// revocation locked or shortened, if it spared such an authentication, or if it
// is so old that a sweep has forgotten it.
func (m *model) overtaken(c store.Creation) (must, may bool) {
	for _, v := range m.revocations {
		aimed := v.All || v.Subject != "" && v.Subject == c.Record.Subject || v.Link != (store.Link{}) && c.Record.HasLink(v.Link)
		if c.Since.IsZero() || v.Namespace != c.Record.Namespace || !aimed || !v.Now.Equal(c.Since) && !c.Overtook(store.Mark{At: v.Now, Clock: v.Clock}) {
			continue
		}
		authenticated := c.Record.Assurance.At
		spared := !v.AuthenticatedBefore.IsZero() && (authenticated.IsZero() || !authenticated.Before(v.AuthenticatedBefore))
		if v.Now.Equal(c.Since) || v.Effect != store.EffectEnd || spared || v.forgotten {
			may = true
		} else {
			must = true
		}
	}
	return must, may
}

// accept applies a creation with the evictions that were made for it.
func (m *model) accept(c store.Creation, evicted []store.Handle) {
	end := func(h store.Handle, cause string) {
		m.records[store.Key{Namespace: c.Record.Namespace, Handle: h}].Finish(store.End{At: c.Now, Cause: cause})
	}
	if c.Replace != nil {
		end(c.Replace.Handle, store.CauseRenewed)
	}
	for _, h := range evicted {
		end(h, store.CauseLimit)
	}
	m.creations++
	e := &entry{clone(c.Record), m.creations}
	e.Version = 1
	m.records[e.Key()] = e
}

// Create implements [store.Store].
func (m *model) Create(_ context.Context, c store.Creation) (created store.Created, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if must, _ := m.refusals(c); len(must) > 0 {
		return created, must[0]
	}
	for _, e := range m.rivals(c)[:m.surplus(c)] {
		created.Evicted = append(created.Evicted, e.Handle)
	}
	m.accept(c, created.Evicted)
	return created, nil
}

// Load implements [store.Store].
func (m *model) Load(_ context.Context, k store.Key, parts []string) (store.Record, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.records[k]
	if e == nil {
		return store.Record{}, store.ErrNotFound
	}
	r := clone(e.Record)
	r.Parts = slices.DeleteFunc(r.Parts, func(p store.Part) bool { return !slices.Contains(parts, p.Name) })
	return r, nil
}

// Swap implements [store.Store].
func (m *model) Swap(_ context.Context, r store.Record, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.records[r.Key()]
	if why := unchangeable(e, r.Version, now); len(why) > 0 {
		return why[0]
	}
	r = clone(r)
	e.Change(&r)
	for _, p := range r.Parts {
		e.Parts = store.ChangePart(e.Parts, p)
	}
	return nil
}

// Touch implements [store.Store].
func (m *model) Touch(_ context.Context, namespace string, touches []store.Touch) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, t := range touches {
		if e := m.records[store.Key{Namespace: namespace, Handle: t.Handle}]; e != nil {
			e.Touch(t.Seen)
		}
	}
	return nil
}

// Revoke implements [store.Store].
func (m *model) Revoke(_ context.Context, v store.Revocation) (revoked store.Revoked, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if v.Handle.IsZero() {
		m.revocations = append(m.revocations, past{Revocation: v})
	}
	for _, e := range m.records {
		named := v.All || e.Handle == v.Handle || v.Subject != "" && e.Subject == v.Subject || v.Link != (store.Link{}) && e.HasLink(v.Link)
		if e.Namespace == v.Namespace && named && e.Revoke(v) && !v.All {
			revoked.Changed = append(revoked.Changed, e.Handle)
		}
	}
	return revoked, nil
}

// List implements [store.Store]. The cursor is the last handle of a page.
func (m *model) List(_ context.Context, q store.Query) (page store.Page, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var after store.Handle
	if q.Cursor != "" {
		if after, err = store.ParseHandle(q.Cursor); err != nil {
			return page, errors.New("listing: not a cursor")
		}
	}
	for _, r := range m.wanted(q) {
		if q.Cursor != "" && bytes.Compare(r.Handle[:], after[:]) <= 0 {
			continue
		}
		if len(page.Records) == q.PageSize() {
			page.Next = page.Records[len(page.Records)-1].Handle.String()
			break
		}
		page.Records = append(page.Records, r)
	}
	return page, nil
}

// wanted returns all records that q describes, without parts, by handle.
func (m *model) wanted(q store.Query) (rs []store.Record) {
	for _, e := range m.records {
		if q.Wants(&e.Record) {
			rs = append(rs, clone(without(e.Record)))
		}
	}
	slices.SortFunc(rs, func(a, b store.Record) int { return bytes.Compare(a.Handle[:], b.Handle[:]) })
	return rs
}

// Count implements [store.Counter].
func (m *model) Count(_ context.Context, q store.Query) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.wanted(q)), nil
}

// Sweep implements [store.Sweeper].
func (m *model) Sweep(_ context.Context, s store.Sweeping) (swept store.Swept, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, most := s.Limits()
	expired, old := m.sweepable(s)
	swept.More = len(expired) > most || len(old) > most
	for _, k := range expired[:min(most, len(expired))] {
		cause, _ := m.records[k].Expired(s.Now)
		m.records[k].Finish(store.End{At: s.Now, Cause: cause})
		swept.Expired = append(swept.Expired, clone(m.records[k].Record))
	}
	for _, k := range old[:min(most, len(old))] {
		delete(m.records, k)
		swept.Removed++
	}
	m.forget(s)
	return swept, nil
}

// sweepable returns what a sweep has to end, and to remove.
func (m *model) sweepable(s store.Sweeping) (expired, old []store.Key) {
	before, _ := s.Limits()
	for k, e := range m.records {
		switch {
		case k.Namespace != s.Namespace:
		case e.Ended() && e.End.At.Before(before):
			old = append(old, k)
		case !e.Ended() && !e.Alive(s.Now):
			expired = append(expired, k)
		}
	}
	for _, ks := range [][]store.Key{expired, old} { // so that programs can be repeated
		slices.SortFunc(ks, func(a, b store.Key) int { return bytes.Compare(a.Handle[:], b.Handle[:]) })
	}
	return expired, old
}

func (m *model) forget(s store.Sweeping) {
	before, _ := s.Limits()
	for i, v := range m.revocations {
		if v.Namespace == s.Namespace && !v.Now.After(before) {
			m.revocations[i].forgotten = true
		}
	}
}
