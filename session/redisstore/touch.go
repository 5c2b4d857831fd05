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
	again, err := s.touch(ctx, namespace, touches)
	for range 3 {
		if err != nil || len(again) == 0 {
			break
		}
		again, err = s.touch(ctx, namespace, again)
	}
	if err != nil {
		return fmt.Errorf("recording last-seen times: %w", err)
	}
	return nil
}

// touch returns the touches to be tried again, now that their sessions have been
// compared with the last revocation of everything.
func (s *Store) touch(ctx context.Context, namespace string, touches []store.Touch) (again []store.Touch, err error) {
	calls, groups := s.touchCalls(namespace, touches)
	var short []store.Handle
	for i, a := range s.runAll(ctx, calls) {
		if a.err != nil {
			err = worse(err, a.err)
			continue
		}
		look, _ := a.AsIntSlice()
		for _, place := range look {
			if place > 0 {
				short = append(short, groups[i][place-1].Handle)
			} else {
				again = append(again, groups[i][-place-1])
			}
		}
	}
	if err != nil {
		return nil, err
	}
	s.prolong(ctx, namespace, short)
	for _, t := range again {
		if err := s.carryOver(ctx, namespace, t.Handle); err != nil {
			return nil, err
		}
	}
	return again, nil
}

// touchCalls groups the touches by bucket.
func (s *Store) touchCalls(namespace string, touches []store.Touch) (calls []call, groups [][]store.Touch) {
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
				[]string{keys.in(kindEpoch, b, ""), keys.in(kindChunk, b, "")}, []string{millis(keepTime, true)}}
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
// absolute end. It is tried again at the next touch if it fails.
func (s *Store) prolong(ctx context.Context, namespace string, handles []store.Handle) {
	if len(handles) == 0 {
		return
	}
	all, err := s.findAll(ctx, namespace, handles)
	if err != nil {
		return
	}
	keys := s.keys(namespace)
	var names, chunks []call
	for h, f := range all {
		b, keep := bucketOf(h), foundFor(&f.Record, f.Seen)
		for _, n := range keys.namesOf(&f.Record) {
			names = append(names, call{&s.scripts.prolong, n.bucket, []string{n.key}, []string{keep}})
		}
		chunks = append(chunks, call{&s.scripts.prolong, b, []string{keys.chunk(b, f.chunk), keys.in(kindDirectory, b, "")}, []string{keep}})
	}
	for _, a := range s.runAll(ctx, names) {
		if a.err != nil {
			return // the chunks remind us
		}
	}
	s.runAll(ctx, chunks)
}
