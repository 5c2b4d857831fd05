package redisstore

import (
	"context"
	"fmt"

	"cloakroom.example/session/store"
)

// touchMost is how many sessions one script looks at: others wait meanwhile.
const touchMost = 64

// Touch implements [store.Store]. Touches of a bucket are one call of a script,
// and those calls go out together.
func (s *Store) Touch(ctx context.Context, namespace string, touches []store.Touch) error {
	if len(touches) == 0 {
		return nil
	}
	var err error
	for attempt := 0; attempt < 4 && len(touches) > 0 && err == nil; attempt++ {
		touches, err = s.touchOnce(ctx, namespace, touches)
	}
	if err != nil {
		return fmt.Errorf("recording last-seen times: %w", err)
	}
	return nil
}

// touchOnce returns the touches to be tried again, now that their sessions have been
// compared with the last revocation of everything.
func (s *Store) touchOnce(ctx context.Context, namespace string, touches []store.Touch) (again []store.Touch, err error) {
	again, due, err := s.touch(ctx, namespace, touches, "")
	if err == nil && len(due) > 0 {
		var more []store.Touch
		more, err = s.touchDue(ctx, namespace, due)
		again = append(again, more...)
	}
	if err != nil {
		return nil, err
	}
	for _, t := range again {
		if err := s.carryOver(ctx, namespace, t.Handle); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// touchDue touches sessions of which what they are found by has to be prolonged
// first.
func (s *Store) touchDue(ctx context.Context, namespace string, due []store.Touch) (again []store.Touch, err error) {
	handles := make([]store.Handle, len(due))
	for i, t := range due {
		handles[i] = t.Handle
	}
	if err := s.prolong(ctx, namespace, handles); err != nil {
		return nil, err
	}
	again, _, err = s.touch(ctx, namespace, due, "prolonged")
	return again, err
}

// touch returns the touches that were not made: of sessions that have to be compared
// with the last revocation of everything, and of those that are due to be prolonged.
func (s *Store) touch(ctx context.Context, namespace string, touches []store.Touch, prolonged string) (overtaken, due []store.Touch, err error) {
	calls, groups := s.touchCalls(namespace, touches, prolonged)
	for i, a := range s.runAll(ctx, calls) {
		if a.err != nil {
			err = worse(err, a.err)
			continue
		}
		look, _ := a.AsIntSlice()
		for _, place := range look {
			if place > 0 {
				due = append(due, groups[i][place-1])
			} else {
				overtaken = append(overtaken, groups[i][-place-1])
			}
		}
	}
	return overtaken, due, err
}

// touchCalls groups the touches by bucket.
func (s *Store) touchCalls(namespace string, touches []store.Touch, prolonged string) (calls []call, groups [][]store.Touch) {
	keys := s.keys(namespace)
	var byBucket [buckets][]store.Touch
	for _, t := range touches {
		byBucket[bucketOf(t.Handle)] = append(byBucket[bucketOf(t.Handle)], t)
	}
	for b, some := range byBucket {
		for len(some) > 0 {
			group := some[:min(len(some), touchMost)]
			some = some[len(group):]
			c := call{&s.scripts.touch, b,
				[]string{keys.in(kindEpoch, b, "")}, []string{millis(keepTime, true), prolonged}}
			for _, t := range group {
				c.keys = append(c.keys, keys.of(kindRecord, t.Handle))
				c.args = append(c.args, timeString(t.Seen))
			}
			calls, groups = append(calls, c), append(groups, group)
		}
	}
	return calls, groups
}

// worse returns the error that leaves more open.
func worse(a, b error) error {
	if a == nil || isUnknown(b) {
		return b
	}
	return a
}

// carryOver writes what a revocation of everything has made of a session: its
// tombstone, or the current epoch if it was spared.
func (s *Store) carryOver(ctx context.Context, namespace string, h store.Handle) error {
	for {
		f, err := s.find(ctx, namespace, h)
		if isAbsent(err) {
			return nil
		}
		if err != nil || !f.carried {
			return err
		}
		now := f.Seen
		if f.Ended() {
			now = f.End.At
		}
		if done, err := s.replaceValue(ctx, &f, lifetime(&f.Record, now)); err != nil || done {
			return err
		}
	}
}

// prolong makes what sessions are found by last longer, where they have no
// deadline. It comes before they are seen later: otherwise a failure in between would
// leave sessions that nobody finds.
func (s *Store) prolong(ctx context.Context, namespace string, handles []store.Handle) (err error) {
	all, err := s.findAll(ctx, namespace, handles)
	if err != nil {
		return err
	}
	keys := s.keys(namespace)
	var calls []call
	for h, f := range all {
		if f.unreadable != nil {
			continue
		}
		b, keep := bucketOf(h), foundFor(&f.Record, f.Seen)
		for _, n := range keys.namesOf(&f.Record) {
			calls = append(calls, call{&s.scripts.prolong, n.bucket, []string{n.key}, []string{keep}})
		}
		calls = append(calls, call{&s.scripts.prolong, b, []string{keys.chunk(b, f.chunk), keys.in(kindDirectory, b, "")}, []string{keep}})
	}
	for _, a := range s.runAll(ctx, calls) {
		if a.err != nil && err == nil {
			err = fmt.Errorf("prolonging what sessions are found by: %v: %w", a.err, store.ErrUnavailable) // nothing else has changed
		}
	}
	return err
}
