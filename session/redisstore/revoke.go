package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cloakroom.example/session/store"
)

// Revoke implements [store.Store]. If the engine has replicas, it returns when one
// of them has confirmed, or says through [Options.Warn] that none did.
func (s *Store) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	if err := check(v); err != nil {
		return store.Revoked{}, fmt.Errorf("redisstore: revoking: %w", err)
	}
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return store.Revoked{}, fmt.Errorf("revoking: %w", readFault(err))
	}
	changed, wrote, err := s.revoke(ctx, v)
	if err != nil {
		if len(changed) > 0 {
			err = unknown(err)
		}
		return store.Revoked{}, fmt.Errorf("revoking: %w", err)
	}
	s.retire(ctx, slices.DeleteFunc(slices.Clone(changed), func(r store.Record) bool { return !r.Ended() }), v.Now)
	if !v.OnlyExpired {
		s.replicated(ctx, wrote...)
	}
	return store.Revoked{Changed: handlesOf(changed)}, nil
}

// check refuses calls that name no target, several, or one that the effect
// cannot be applied to.
func check(v store.Revocation) error {
	targets := 0
	for _, named := range []bool{!v.Handle.IsZero(), v.Subject != "", v.Link != store.Link{}, v.All} {
		if named {
			targets++
		}
	}
	switch {
	case targets != 1:
		return fmt.Errorf("got %d targets, want 1", targets)
	case v.All && v.Effect != store.EffectEnd:
		return errors.New("everything can be ended only")
	}
	return nil
}

// revoke returns what has changed, and the buckets written to.
func (s *Store) revoke(ctx context.Context, v store.Revocation) (changed []store.Record, wrote []int, err error) {
	if v.All {
		for b := range buckets {
			wrote = append(wrote, b)
		}
		return nil, wrote, s.revokeAll(ctx, v)
	}
	handles := []store.Handle{v.Handle}
	if v.Handle.IsZero() {
		n := s.keys(v.Namespace).link(v.Link)
		if v.Subject != "" {
			n = s.keys(v.Namespace).subject(v.Subject)
		}
		st, marked, err := s.mark(ctx, n, v)
		if err != nil {
			return nil, nil, err
		}
		if marked {
			wrote = append(wrote, n.bucket)
		}
		handles = st.live
	}
	changed, err = s.apply(ctx, v, handles)
	if err != nil && len(wrote) > 0 {
		err = unknown(err)
	}
	for i := range changed {
		wrote = append(wrote, bucketOf(changed[i].Handle))
	}
	return changed, wrote, err
}

// mark remembers when a name was revoked, if the revocation ends sessions, and
// returns its sessions from after that.
func (s *Store) mark(ctx context.Context, n name, v store.Revocation) (st nameState, marked bool, err error) {
	for {
		m, err := s.run(ctx, s.looking(n))
		if err != nil {
			return st, false, err
		}
		st, err := lookedAt(n, m)
		if err != nil || v.Effect != store.EffectEnd || v.OnlyExpired {
			return st, false, err
		}
		mark := markString(markIn(st.mark).After(v))
		m, err = s.run(ctx, call{&s.scripts.mark, n.bucket, []string{n.key}, []string{st.mark, mark, millis(keepTime, true)}})
		if err != nil {
			return st, false, err
		}
		pair, err := m.ToArray()
		if err != nil {
			return st, false, errReply
		}
		if len(pair) == 2 {
			st, err = fieldsOf(n, pair[1])
			return st, true, err
		}
	}
}

// apply applies a revocation to sessions, each decided upon as it was read, and
// returns those it has changed.
func (s *Store) apply(ctx context.Context, v store.Revocation, handles []store.Handle) (changed []store.Record, err error) {
	for len(handles) > 0 {
		n := min(len(handles), directMost)
		todo := handles[:n]
		for len(todo) > 0 {
			some, again, failed := s.applyOnce(ctx, v, todo)
			changed = append(changed, some...)
			if err = worse(err, failed); failed != nil && !errors.Is(failed, store.ErrFormat) {
				return changed, err
			}
			todo = again
		}
		handles = handles[n:]
	}
	return changed, err
}

// applyOnce tries once, and returns those that were changed by somebody else
// meanwhile. The error wraps ErrFormat if some could not be tightened because they
// are unreadable; then the others were.
func (s *Store) applyOnce(ctx context.Context, v store.Revocation, handles []store.Handle) (changed []store.Record, again []store.Handle, err error) {
	all, err := s.findAll(ctx, v.Namespace, handles)
	if err != nil {
		return nil, nil, err
	}
	var calls []call
	var tried []store.Record
	var unreadable error
	for _, h := range handles {
		f, there := all[h]
		if !there {
			continue
		}
		c, changes, err := s.applying(v, &f)
		if err != nil {
			unreadable = err
		} else if changes {
			calls, tried = append(calls, c), append(tried, f.Record)
		}
	}
	for i, a := range s.runAll(ctx, calls) {
		switch {
		case a.err != nil:
			err = worse(err, a.err)
		case text(a.RedisMessage) == "ok":
			changed = append(changed, tried[i])
		default:
			again = append(again, tried[i].Handle)
		}
	}
	if err == nil {
		err = unreadable
	}
	return changed, again, err
}

// applying is the call that applies a revocation to a session, if that changes it. One
// that is unreadable, here at least, is ended by removing it.
func (s *Store) applying(v store.Revocation, f *found) (c call, changes bool, err error) {
	switch {
	case f.unreadable != nil && f.Handle == v.Except:
		return c, false, nil
	case f.unreadable != nil && (v.Effect != store.EffectEnd || v.OnlyExpired):
		return c, false, fmt.Errorf("session %v: %w", f.Handle, f.unreadable)
	case f.unreadable != nil:
		f.End = store.End{At: v.Now, Cause: v.Cause, By: v.By}
		return s.removing(f), true, nil
	case !names(v, &f.Record) || !f.Revoke(v):
		return c, false, nil
	}
	return s.replacing(f, lifetime(&f.Record, v.Now)), true, nil
}

// names reports whether the revocation names the record, which was found by its
// handle, or under a name.
func names(v store.Revocation, r *store.Record) bool {
	switch {
	case v.Subject != "":
		return r.Subject == v.Subject
	case v.Link != (store.Link{}):
		return r.HasLink(v.Link)
	}
	return true
}

func handlesOf(records []store.Record) (handles []store.Handle) {
	for i := range records {
		handles = append(handles, records[i].Handle)
	}
	return handles
}
