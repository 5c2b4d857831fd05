package redisstore

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// Revoking everything writes to each bucket of the namespace. The epoch is
//
//	number 4 · when 8 · clock 8
//
// of the last revocation, so that a load, which reads it together with the
// session, sees whether there was one since the session was created. What it
// was is in the log, whose entries are
//
//	number 4 · authenticated before 8 · when 8 · cause size 2 · cause · by whom
//
// Both are kept for as long as any session is to which they may apply. Numbers
// begin with the engine's time in seconds, so that they grow even after that.
const logMost = 64

func epochNumber(epoch string) uint32 {
	if len(epoch) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32([]byte(epoch[:4]))
}

// markIn reads a mark: when something was revoked last.
func markIn(b string) store.Mark {
	if len(b) < 16 {
		return store.Mark{}
	}
	return store.Mark{At: timeIn(b), Clock: int64(binary.BigEndian.Uint64([]byte(b[8:])))}
}

func epochMark(epoch string) store.Mark {
	if len(epoch) < 20 {
		return store.Mark{}
	}
	return markIn(epoch[4:])
}

func markString(m store.Mark) string {
	return string(binary.BigEndian.AppendUint64(appendTime(nil, m.At), uint64(m.Clock)))
}

// revocation is one entry of the log.
type revocation struct {
	number uint32
	before time.Time // means sessions authenticated before; zero means all
	end    store.End
}

func (r revocation) encode() string {
	b := appendTime(appendTime(nil, r.before), r.end.At)
	b = binary.BigEndian.AppendUint16(b, uint16(len(r.end.Cause)))
	return string(b) + r.end.Cause + r.end.By
}

// decodeRevocation is the inverse of encode, behind the number.
func decodeRevocation(s string) (r revocation, err error) {
	if len(s) < 22 || len(s) < 22+int(binary.BigEndian.Uint16([]byte(s[20:]))) {
		return r, fmt.Errorf("revocation of %d bytes: %w", len(s), store.ErrFormat)
	}
	cause := 22 + int(binary.BigEndian.Uint16([]byte(s[20:])))
	return revocation{
		number: epochNumber(s), before: timeIn(s[4:]),
		end: store.End{At: timeIn(s[12:]), Cause: s[22:cause], By: s[cause:]},
	}, nil
}

func (r revocation) means(v *store.Record) bool {
	return r.before.IsZero() || !v.Assurance.At.IsZero() && v.Assurance.At.Before(r.before)
}

// carry applies to a session what was revoked with everything else since it was
// written.
func (s *Store) carry(ctx context.Context, f *found, number uint32) error {
	if f.Ended() {
		return nil
	}
	b := bucketOf(f.Handle)
	key := s.keys(f.Namespace).in(kindLog, b, "")
	m, err := s.read(ctx, b, func() rueidis.Completed { return s.client.B().Lrange().Key(key).Start(0).Stop(-1).Build() })
	if err != nil {
		return err
	}
	entries, err := m.AsStrSlice()
	if err != nil {
		return errReply
	}
	var all []revocation
	for _, entry := range entries {
		r, err := decodeRevocation(entry)
		if err != nil {
			return err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return fmt.Errorf("redisstore: the log of revocations is not there: %w", store.ErrUnavailable)
	}
	written := f.value.epoch
	f.carried, f.value.epoch = true, number
	for i, r := range all {
		if i == 0 && len(all) == logMost {
			r.before = time.Time{} // what the entries before said is not known any more
		}
		if r.number > written && r.means(&f.Record) {
			f.Finish(r.end)
			break
		}
	}
	return nil
}

// revokeAll ends every session of the namespace.
func (s *Store) revokeAll(ctx context.Context, v store.Revocation) error {
	if len(v.Cause) > 1<<16-1 {
		return errors.New("redisstore: revoking: the cause is too long")
	}
	todo := make([]int, buckets)
	for b := range todo {
		todo[b] = b
	}
	unknown := error(nil)
	some := false // have written
	for len(todo) > 0 {
		again, wrote, err := s.revokeBuckets(ctx, v, todo)
		some = some || wrote
		if err != nil {
			unknown = err
			break
		}
		todo = again
	}
	if unknown != nil && some && !errors.Is(unknown, store.ErrUnknownOutcome) {
		return fmt.Errorf("redisstore: some sessions are revoked and others not: %w", store.ErrUnknownOutcome)
	}
	return unknown
}

// revokeBuckets revokes in the buckets given, and returns those in which somebody
// else has revoked meanwhile.
func (s *Store) revokeBuckets(ctx context.Context, v store.Revocation, todo []int) (again []int, wrote bool, err error) {
	keys := s.keys(v.Namespace)
	epochs, err := s.epochs(ctx, keys, todo)
	if err != nil {
		return nil, false, err
	}
	entry := revocation{before: v.AuthenticatedBefore, end: store.End{At: v.Now, Cause: v.Cause, By: v.By}}.encode()
	calls := make([]call, len(todo))
	for i, b := range todo {
		calls[i] = call{&s.scripts.epoch, b,
			[]string{keys.in(kindEpoch, b, ""), keys.in(kindLog, b, ""), keys.in(kindDirectory, b, ""), keys.in(kindChunk, b, "")},
			[]string{epochs[i], markString(epochMark(epochs[i]).After(v)), entry, millis(keepTime, true), fmt.Sprint(logMost)}}
	}
	for i, a := range s.runAll(ctx, calls) {
		switch {
		case a.err != nil && (err == nil || errors.Is(a.err, store.ErrUnknownOutcome)):
			err = a.err
		case a.err != nil:
		case text(a.RedisMessage) == "ok":
			wrote = true
		default:
			again = append(again, todo[i])
		}
	}
	return again, wrote, err
}

// epochs reads the epochs of the buckets given.
func (s *Store) epochs(ctx context.Context, keys keyspace, of []int) ([]string, error) {
	commands := make([]rueidis.Completed, len(of))
	for i, b := range of {
		commands[i] = s.client.B().Get().Key(keys.in(kindEpoch, b, "")).Build()
	}
	replies, err := s.readAll(ctx, commands)
	if err != nil {
		return nil, err
	}
	all := make([]string, len(of))
	for i, reply := range replies {
		all[i] = text(reply)
	}
	return all, nil
}
