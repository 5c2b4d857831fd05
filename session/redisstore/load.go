package redisstore

import (
	"context"
	"errors"
	"fmt"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// found is a session as it was read, for deciding about it.
type found struct {
	value
	// stored is the value as it was read, and epoch that of its bucket.
	stored, epoch string
	// carried says that a revocation of everything has ended the session, or
	// spared it, since its value was written.
	carried bool
	// unreadable says why nothing but the handle is known of it.
	unreadable error
}

// Load implements [store.Store]. It is one command; for a session created before
// everything was revoked, and not used since, it is two.
func (s *Store) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	f, err := s.find(ctx, k.Namespace, k.Handle)
	if err == nil && !f.Ended() && len(parts) > 0 && f.parts != "" {
		err = f.load(parts, false)
	}
	if err != nil {
		return store.Record{}, fmt.Errorf("loading session %v: %w", k.Handle, err)
	}
	return f.Record, nil
}

// find reads one session. Errors: ErrNotFound, ErrUnavailable, ErrFormat.
func (s *Store) find(ctx context.Context, namespace string, h store.Handle) (found, error) {
	keys, b := s.keys(namespace), bucketOf(h)
	record, epoch := keys.of(kindRecord, h), keys.in(kindEpoch, b, "")
	m, err := s.read(ctx, b, func() rueidis.Completed { return s.client.B().Mget().Key(record, epoch).Build() })
	if isMoving(err) {
		return s.findMoving(ctx, namespace, h)
	}
	if err != nil {
		return found{}, err
	}
	pair, err := m.ToArray()
	if err != nil || len(pair) != 2 {
		return found{}, errReply
	}
	return s.found(ctx, namespace, h, pair[0], text(pair[1]))
}

// findMoving is find while a Cluster moves the slot from one node to another. Then
// it serves commands of one key only. The epoch is read last: a revocation between
// the two is seen.
func (s *Store) findMoving(ctx context.Context, namespace string, h store.Handle) (found, error) {
	keys, b := s.keys(namespace), bucketOf(h)
	var both [2]rueidis.RedisMessage
	for i, key := range []string{keys.of(kindRecord, h), keys.in(kindEpoch, b, "")} {
		m, err := s.read(ctx, b, func() rueidis.Completed { return s.client.B().Get().Key(key).Build() })
		if err != nil {
			return found{}, err
		}
		both[i] = m
	}
	return s.found(ctx, namespace, h, both[0], text(both[1]))
}

// errReply says that the engine's answer was none to our question.
var errReply = fmt.Errorf("redisstore: unexpected reply: %w", store.ErrUnavailable)

// text returns a string that may be nil.
func text(m rueidis.RedisMessage) string {
	if m.IsNil() {
		return ""
	}
	s, _ := m.ToString()
	return s
}

// found makes a session of what was read.
func (s *Store) found(ctx context.Context, namespace string, h store.Handle, m rueidis.RedisMessage, epoch string) (found, error) {
	if m.IsNil() {
		return found{}, store.ErrNotFound
	}
	f := found{stored: text(m), epoch: epoch}
	var err error
	if f.value, err = s.agents.decode(f.stored, namespace, h); err != nil {
		return found{}, err
	}
	if number := epochNumber(epoch); number > f.value.epoch {
		err = s.carry(ctx, &f, number)
	}
	return f, err
}

// findAll reads several sessions, in as many commands as they have buckets. Those
// that are not there are left out.
func (s *Store) findAll(ctx context.Context, namespace string, handles []store.Handle) (map[store.Handle]found, error) {
	keys := s.keys(namespace)
	var byBucket [buckets][]store.Handle
	for _, h := range handles {
		byBucket[bucketOf(h)] = append(byBucket[bucketOf(h)], h)
	}
	var commands []rueidis.Completed
	var asked [][]store.Handle
	for b, some := range byBucket {
		if len(some) == 0 {
			continue
		}
		get := s.client.B().Mget().Key(keys.in(kindEpoch, b, ""))
		for _, h := range some {
			get = get.Key(keys.of(kindRecord, h))
		}
		commands, asked = append(commands, get.Build()), append(asked, some)
	}
	replies, err := s.readAll(ctx, commands)
	if isMoving(err) {
		return s.findAllMoving(ctx, namespace, handles)
	}
	if err != nil {
		return nil, err
	}
	all := make(map[store.Handle]found, len(handles))
	for i, reply := range replies {
		values, err := reply.ToArray()
		if err != nil || len(values) != len(asked[i])+1 {
			return nil, errReply
		}
		for j, h := range asked[i] {
			f, err := s.found(ctx, namespace, h, values[j+1], text(values[0]))
			if err := add(all, namespace, h, f, err); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// findAllMoving is findAll while a slot moves.
func (s *Store) findAllMoving(ctx context.Context, namespace string, handles []store.Handle) (map[store.Handle]found, error) {
	all := make(map[store.Handle]found, len(handles))
	for _, h := range handles {
		f, err := s.find(ctx, namespace, h)
		if err := add(all, namespace, h, f, err); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// add adds what was found under a handle.
func add(all map[store.Handle]found, namespace string, h store.Handle, f found, err error) error {
	switch {
	case errors.Is(err, store.ErrNotFound):
		return nil
	case errors.Is(err, store.ErrFormat):
		f = found{unreadable: err}
		f.Namespace, f.Handle = namespace, h
	case err != nil:
		return err
	}
	all[h] = f
	return nil
}

// replaceValue writes what was decided about a session that was read, unless
// either it or the epoch of its bucket has changed since; then it returns false.
func (s *Store) replaceValue(ctx context.Context, f *found, keep string) (bool, error) {
	m, err := s.run(ctx, s.replacing(f, keep))
	if err != nil {
		return false, err
	}
	return text(m) == "ok", nil
}

// replacing is the call that writes f.value over f.stored.
func (s *Store) replacing(f *found, keep string) call {
	keys, b := s.keys(f.Namespace), bucketOf(f.Handle)
	f.sequence++
	return call{&s.scripts.replace, b,
		[]string{keys.of(kindRecord, f.Handle), keys.in(kindEpoch, b, ""), keys.of(kindNotice, f.Handle), keys.chunk(b, f.chunk)},
		[]string{f.stored[:8], f.stored[seenAt : seenAt+8], f.epoch, s.agents.encode(&f.value), keep}}
}

// removing is the call that removes a session that was read, or one that nobody can
// read.
func (s *Store) removing(f *found) call {
	if f.unreadable != nil {
		f.stored = string(make([]byte, fixedSize))
	}
	c := s.replacing(f, "")
	c.args[3] = ""
	if f.unreadable != nil {
		c.args[0] = ""
	}
	return c
}
