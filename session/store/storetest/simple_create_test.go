package storetest_test

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"

	"cloakroom.example/session/store"
)

func (s *simple) Create(ctx context.Context, c store.Creation) (created store.Created, err error) {
	if err := s.cut(ctx); err != nil {
		return created, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r := c.Record
	r.Version = 1
	if _, exists := s.get(r.Key()); exists && !s.is("create overwrites") {
		return created, fmt.Errorf("creating: %w", store.ErrExists)
	}
	s.window("handle checked, then inserted")
	old, err := s.replaced(c)
	if err != nil {
		return created, err
	}
	if old != nil && s.is("refused, and yet replaced") {
		old.Finish(store.End{At: c.Now, Cause: store.CauseRenewed})
		s.put(*old)
	}
	s.window("replaced checked, then ended")
	rivals, err := s.rivals(c)
	if err != nil {
		return created, err
	}
	s.window("limit checked, then inserted")
	if s.overtaken(c) && !s.is("since ignored") {
		return created, store.ErrRevoked
	}
	s.window("revocations checked, then inserted")
	if old != nil && !s.is("replaced lives on") {
		old.Finish(store.End{At: c.Now, Cause: store.CauseRenewed})
		s.put(*old)
	}
	for _, e := range rivals {
		e.Finish(store.End{At: c.Now, Cause: store.CauseLimit})
		s.put(e)
		created.Evicted = append(created.Evicted, e.Handle)
	}
	s.put(r)
	s.shared[s.key(r.Key())] = c.Record
	known := slices.Clone(s.index[r.Subject])
	s.window("index written back")
	s.index[r.Subject] = append(known, r.Handle)
	return created, nil
}

// replaced returns the record that the creation supersedes, if any.
func (s *simple) replaced(c store.Creation) (*store.Record, error) {
	if c.Replace == nil {
		return nil, nil
	}
	old, found := s.get(store.Key{Namespace: c.Record.Namespace, Handle: c.Replace.Handle})
	switch {
	case !found, !old.Alive(s.now(c.Now)):
		return nil, store.ErrNotFound
	case s.is("replace ignores version"):
	case s.is("replace ignores a lock") && old.Version == c.Replace.Version:
	case !c.Replace.Fits(&old):
		return nil, store.ErrConflict
	}
	return &old, nil
}

// rivals returns the sessions to be evicted.
func (s *simple) rivals(c store.Creation) (rs []store.Record, err error) {
	if c.Max <= 0 || c.Record.State != store.Active && !s.is("limit for everybody") {
		return nil, nil
	}
	for _, r := range s.all(c.Record.Namespace) {
		replaced := c.Replace != nil && r.Handle == c.Replace.Handle && !s.is("limit counts replaced")
		alive := r.Alive(s.now(c.Now)) || s.is("limit counts expired") && !r.Ended()
		if s.is("limit spares locked") && r.LockedAt(c.Now) {
			continue
		}
		if r.Subject == c.Record.Subject && r.State == store.Active && alive && !replaced {
			rs = append(rs, r)
		}
	}
	surplus := len(rs) + 1 - c.Max
	if surplus <= 0 {
		return nil, nil
	}
	if !c.EvictOldest {
		return nil, fmt.Errorf("creating: %w", store.ErrLimit)
	}
	slices.SortFunc(rs, func(a, b store.Record) int {
		if s.is("evicts by last seen") {
			return a.Seen.Compare(b.Seen)
		}
		return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.Handle[:], b.Handle[:]))
	})
	if s.is("evicts one only") {
		surplus = 1
	}
	return rs[:surplus], nil
}

func target(v store.Revocation) string {
	return fmt.Sprintf("%q %q %x %t %t %d", v.Namespace, v.Subject, v.Link, v.All, v.AuthenticatedBefore.IsZero(), v.Clock)
}

func (s *simple) overtaken(c store.Creation) bool {
	for _, v := range s.revocations {
		if s.is("clocks trusted") {
			v.Clock = c.Clock
		}
		old := c.Record.Assurance.At
		spared := !v.AuthenticatedBefore.IsZero() && (old.IsZero() || !old.Before(v.AuthenticatedBefore))
		if v.Namespace == c.Record.Namespace && (s.names(v, &c.Record) || s.is("revocations concern everybody")) && !spared && c.Overtook(store.Mark{At: v.Now, Clock: v.Clock}) {
			return true
		}
	}
	return false
}
