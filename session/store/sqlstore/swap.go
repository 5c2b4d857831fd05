package sqlstore

import (
	"bytes"
	"context"
	"encoding/base64"
	"math"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// Swap implements [store.Store].
func (s *Store) Swap(ctx context.Context, r store.Record, now time.Time) error {
	to := cloneChangeable(r)
	w := &swapping{record: &to, head: headOf(&to), facts: factsOf(&to), now: now}
	return worded("changing session "+r.Handle.String(), s.writer.swap(ctx, w, func(ctx context.Context, tx tx) error {
		done, err := w.unread(ctx, tx)
		if err == nil && !done {
			err = s.swapRead(ctx, tx, &to, now)
		}
		if err != nil {
			return err
		}
		return s.putParts(ctx, tx, to.Namespace, to.Handle, to.Parts)
	}))
}

// swapping is one Swap.
type swapping struct {
	record *store.Record
	head   []byte
	facts  int64
	now    time.Time
}

// size returns about how many bytes are written.
func (w *swapping) size() int {
	n := len(w.head)
	for _, p := range w.record.Parts {
		n += len(p.Sealed)
	}
	return n
}

// unread replaces the blob in one statement, which matches nothing unless that
// comes to the same as [store.Record.Change]: the record is alive, has the
// version, and differs from the given one in nothing that a Swap cannot change;
// and neither Locked nor Limit would move.
func (w *swapping) unread(ctx context.Context, tx tx) (done bool, err error) {
	r := w.record
	least, most := w.limits()
	n, err := tx.exec(ctx, `UPDATE sessions AS s SET version = s.version + 1, head = ?, `+
		`seen = CASE WHEN s.seen < ? THEN ? ELSE s.seen END WHERE `+swapUnreadIf,
		w.head, nanos(r.Seen), nanos(r.Seen), r.Namespace, r.Handle.String(), int64(r.Version), w.facts,
		flag(r.Locked), least, most, nanos(w.now))
	return n == 1, err
}

// limits returns between which limits in the row that of the record would not
// change it.
func (w *swapping) limits() (least, most int64) {
	if w.record.Limit.IsZero() {
		return math.MinInt64, math.MaxInt64
	}
	return 1, nanos(w.record.Limit)
}

const swapUnreadIf = `s.namespace = ? AND s.handle = ? AND s.version = ? AND s.facts = ? ` +
	`AND s.locked >= ? AND s.limit_at BETWEEN ? AND ? AND s.ended_at + 0 = 0 AND (s.expires_at = 0 OR s.expires_at > ?) ` +
	`AND NOT EXISTS (SELECT 1 FROM session_epochs x ` + endedByEpoch + `)`

// swapManyIf is the same for sessions s joined with the values of k.
const swapManyIf = `s.version = k.version AND s.facts = k.facts ` +
	`AND s.locked >= k.locked AND s.limit_at BETWEEN k.least AND k.most AND s.ended_at + 0 = 0 ` +
	`AND (s.expires_at = 0 OR s.expires_at > k.now) ` +
	`AND NOT EXISTS (SELECT 1 FROM session_epochs x ` + endedByEpoch + `)`

// swapRead reads the record, changes it and writes it back; or says why not.
func (s *Store) swapRead(ctx context.Context, tx tx, to *store.Record, now time.Time) error {
	f, err := s.find(ctx, tx, to.Namespace, to.Handle)
	switch {
	case err != nil:
		return err
	case !f.Alive(now):
		return store.ErrNotFound
	case f.unreadable != nil:
		return f.unreadable
	case f.Version != to.Version:
		return store.ErrConflict
	}
	f.Change(to)
	return s.put(ctx, tx, &f)
}

// cloneChangeable copies what a Swap reads, because it may still be reading when
// the caller has gone.
func cloneChangeable(r store.Record) store.Record {
	if r.Predecessor != nil {
		p := *r.Predecessor
		p.Successor = slices.Clone(p.Successor)
		r.Predecessor = &p
	}
	r.Wrap = slices.Clone(r.Wrap)
	r.Extensions = slices.Clone(r.Extensions)
	for i := range r.Extensions {
		r.Extensions[i].Value = slices.Clone(r.Extensions[i].Value)
	}
	r.Parts = cloneParts(r.Parts)
	return r
}

// Touch implements [store.Store]. The statement says what [store.Record.Touch]
// says, in a form that changes nothing but the column seen.
func (s *Store) Touch(ctx context.Context, namespace string, touches []store.Touch) error {
	if len(touches) == 0 {
		return nil
	}
	rounds, write := touchRounds(touches), s.writer.write
	if len(rounds) == 1 && s.dialect.touch != nil {
		write = s.writer.single
	}
	return worded("recording last-seen times", write(ctx, func(ctx context.Context, tx tx) error {
		for _, round := range rounds {
			if err := s.touch(ctx, tx, namespace, round); err != nil {
				return err
			}
		}
		return nil
	}))
}

// touch does touches of different sessions.
func (s *Store) touch(ctx context.Context, tx tx, namespace string, touches []store.Touch) error {
	if s.dialect.touch != nil {
		query, args := s.dialect.touch(namespace, touches)
		_, err := tx.exec(ctx, query, args...)
		return err
	}
	for _, t := range touches {
		at := nanos(t.Seen)
		_, err := tx.exec(ctx, `UPDATE sessions AS s SET seen = ? WHERE s.namespace = ? AND s.handle = ?`+touchable(`?`),
			at, namespace, t.Handle.String(), at, at, at, at)
		if err != nil {
			return err
		}
	}
	return nil
}

// mostTouches is how many touches share a statement at most.
const mostTouches = 256

// touchRounds copies the touches: each round has a session once at most. They are
// in the order of the handles, because that is the order in which all nodes lock
// rows.
func touchRounds(touches []store.Touch) (rounds [][]store.Touch) {
	touches = slices.Clone(touches)
	slices.SortStableFunc(touches, func(a, b store.Touch) int { return byText(a.Handle, b.Handle) })
	for len(touches) > 0 {
		var round, rest []store.Touch
		for i, t := range touches {
			if i > 0 && t.Handle == touches[i-1].Handle {
				rest = append(rest, t)
			} else {
				round = append(round, t)
			}
		}
		rounds, touches = slices.AppendSeq(rounds, slices.Chunk(round, mostTouches)), rest
	}
	return rounds
}

// byText compares handles as the tables do, by their texts.
func byText(a, b store.Handle) int {
	var x, y [22]byte
	base64.RawURLEncoding.Encode(x[:], a[:])
	base64.RawURLEncoding.Encode(y[:], b[:])
	return bytes.Compare(x[:], y[:])
}

// touchable is the condition under which sessions s may be touched at a time,
// which is named four times.
func touchable(at string) string {
	return ` AND s.seen < ` + at + ` AND s.ended_at + 0 = 0 AND s.locked = 0` +
		` AND (s.deadline = 0 OR s.deadline > ` + at + `) AND (s.limit_at = 0 OR s.limit_at > ` + at + `)` +
		` AND (s.idle <= 0 OR s.seen > ` + at + ` - s.idle)` +
		` AND NOT EXISTS (SELECT 1 FROM session_epochs x ` + endedByEpoch + `)`
}
