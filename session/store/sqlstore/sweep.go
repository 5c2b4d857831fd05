package sqlstore

import (
	"context"
	"time"

	"cloakroom.example/session/store"
)

// sweepChunk is how many sessions are written in one operation, so that others
// need not wait long.
const sweepChunk = 64

// Sweep implements [store.Sweeper]. It works in several short operations; if one
// of them fails, Sweep returns what the earlier ones have done together with the
// error.
func (s *Store) Sweep(ctx context.Context, sw store.Sweeping) (store.Swept, error) {
	before, most := sw.Limits()
	var swept store.Swept
	for carried, postponed := 0, 0; ; {
		c := chunk{
			namespace: sw.Namespace, now: sw.Now, before: before,
			carry:  min(sweepChunk, most-carried),
			expire: min(sweepChunk, most-len(swept.Expired)-postponed),
			remove: min(sweepChunk, most-swept.Removed),
		}
		var done chunkDone
		err := s.write(ctx, "sweeping", func(ctx context.Context, tx tx) (err error) {
			done, err = s.sweepChunk(ctx, tx, c)
			return err
		})
		if err != nil {
			return swept, err
		}
		carried, postponed = carried+done.carried, postponed+done.postponed
		swept.Expired = append(swept.Expired, done.expired...)
		swept.Removed += done.removed
		swept.More = done.more
		if !done.again {
			return swept, nil
		}
	}
}

// chunk is the work of one operation of a sweep.
type chunk struct {
	namespace             string
	now, before           time.Time
	carry, expire, remove int // the most of each
}

type chunkDone struct {
	carried   int // sessions of older epochs
	expired   []store.Record
	postponed int // sessions that were used before they would have expired
	removed   int
	more      bool // there is more work
	again     bool // and some of it is within the bounds
}

// left notes that there is more to do than n.
func (d *chunkDone) left(n int) {
	d.more = true
	d.again = d.again || n == sweepChunk
}

func (s *Store) sweepChunk(ctx context.Context, tx tx, c chunk) (done chunkDone, err error) {
	current, err := s.epoch(ctx, tx, c.namespace)
	if err != nil {
		return done, err
	}
	if err := s.carryOver(ctx, tx, c, current, &done); err != nil {
		return done, err
	}
	allCarried := !done.more
	if err := s.expire(ctx, tx, c, current, &done); err != nil {
		return done, err
	}
	if err := s.remove(ctx, tx, c, &done); err != nil {
		return done, err
	}
	if err := s.forget(ctx, tx, c, current, allCarried, &done); err != nil || s.dialect.unwatch == "" || done.again {
		return done, err
	}
	_, err = tx.exec(ctx, s.dialect.unwatch, c.namespace)
	return done, err
}

func (s *Store) epoch(ctx context.Context, tx tx, namespace string) (epoch int64, err error) {
	err = readOne(ctx, tx, `SELECT COALESCE(MAX(epoch), 0) FROM session_epochs WHERE namespace = ?`,
		[]any{namespace}, &epoch)
	return epoch, err
}

// carryOver gives sessions of older epochs their tombstone, if a revocation of
// everything has ended them, or the current epoch, if none did.
func (s *Store) carryOver(ctx context.Context, tx tx, c chunk, current int64, done *chunkDone) error {
	old, err := s.due(ctx, tx, c.namespace, c.carry, done, `s.epoch < ?`, current)
	if err != nil {
		return err
	}
	for i := range old {
		if old[i].Ended() {
			err = s.put(ctx, tx, &old[i])
		} else {
			_, err = tx.exec(ctx, `UPDATE sessions SET epoch = ? WHERE namespace = ? AND handle = ?`,
				current, c.namespace, old[i].Handle.String())
		}
		if err != nil {
			return err
		}
		done.carried++
	}
	return nil
}

// expire ends sessions of the current epoch that have expired.
func (s *Store) expire(ctx context.Context, tx tx, c chunk, current int64, done *chunkDone) error {
	out, err := s.due(ctx, tx, c.namespace, c.expire, done,
		`s.epoch = ? AND s.`+s.dialect.due+` > 0 AND s.`+s.dialect.due+` <= ?`, current, nanos(c.now))
	if err != nil {
		return err
	}
	for i := range out {
		if !out[i].Revoke(store.Revocation{OnlyExpired: true, Now: c.now}) {
			if err := s.postpone(ctx, tx, &out[i]); err != nil {
				return err
			}
			done.postponed++
			continue
		}
		if err := s.put(ctx, tx, &out[i]); err != nil {
			return err
		}
		done.expired = append(done.expired, out[i].Record)
	}
	return nil
}

// postpone notes when to look again after a session that was used since.
func (s *Store) postpone(ctx context.Context, tx tx, f *found) error {
	if s.dialect.requeue == "" {
		return nil
	}
	_, err := tx.exec(ctx, s.dialect.requeue, f.Namespace, f.Handle.String())
	return err
}

// due reads at most n living records that meet the condition, and notes whether
// there are more.
func (s *Store) due(ctx context.Context, tx tx, namespace string, n int, done *chunkDone, condition string, args ...any) ([]found, error) {
	args = append(append([]any{namespace}, args...), n+1)
	all, err := readAll(ctx, tx, namespace, `SELECT `+rowColumns+rowFrom+
		` WHERE s.namespace = ? AND s.ended_at = 0 AND `+condition+` LIMIT ?`+s.dialect.skipLocked, args...)
	if len(all) > n {
		all = all[:n]
		done.left(n)
	}
	return all, err
}

// remove deletes tombstones that have been kept long enough.
func (s *Store) remove(ctx context.Context, tx tx, c chunk, done *chunkDone) error {
	handles, err := s.old(ctx, tx, c)
	if err != nil {
		return err
	}
	if len(handles) > c.remove {
		handles = handles[:c.remove]
		done.left(c.remove)
	}
	for _, h := range handles {
		for _, table := range []string{"session_parts", "session_links", "sessions"} {
			if _, err := tx.exec(ctx, `DELETE FROM `+table+` WHERE namespace = ? AND handle = ?`, c.namespace, h); err != nil {
				return err
			}
		}
		done.removed++
	}
	return nil
}

func (s *Store) old(ctx context.Context, tx tx, c chunk) (handles []string, err error) {
	err = tx.query(ctx, `SELECT s.handle FROM sessions s WHERE s.namespace = ? AND s.ended_at <> 0 AND s.ended_at < ? LIMIT ?`+s.dialect.skipLocked,
		[]any{c.namespace, nanos(c.before), c.remove + 1}, func(scan scan) error {
			handles = append(handles, "")
			return scan(&handles[len(handles)-1])
		})
	return handles, err
}

// forget deletes revocations that no login can have begun before, and those of
// everything once no session of an older epoch is left. The last of these stays,
// because it holds the counter.
func (s *Store) forget(ctx context.Context, tx tx, c chunk, current int64, allCarried bool, done *chunkDone) error {
	if err := s.forgetNames(ctx, tx, c, done); err != nil || !allCarried {
		return err
	}
	// Others may hold sessions of older epochs, so that they were left out.
	_, err := tx.exec(ctx, `DELETE FROM session_epochs WHERE namespace = ? AND at < ? AND epoch < ? `+
		`AND NOT EXISTS (SELECT 1 FROM sessions s WHERE s.namespace = ? AND s.ended_at = 0 AND s.epoch < ?)`,
		c.namespace, nanos(c.before), current, c.namespace, current)
	return err
}

func (s *Store) forgetNames(ctx context.Context, tx tx, c chunk, done *chunkDone) error {
	names, err := s.oldNames(ctx, tx, c)
	if err != nil {
		return err
	}
	if len(names) > sweepChunk {
		names = names[:sweepChunk]
		done.left(sweepChunk)
	}
	for _, n := range names {
		_, err := tx.exec(ctx, `DELETE FROM session_revocations WHERE namespace = ? AND kind = ? AND name = ?`,
			c.namespace, n.kind, n.value)
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) oldNames(ctx context.Context, tx tx, c chunk) (names []name, err error) {
	err = tx.query(ctx, `SELECT s.kind, s.name FROM session_revocations s WHERE s.namespace = ? AND s.at < ? LIMIT ?`+s.dialect.skipLocked,
		[]any{c.namespace, nanos(c.before), sweepChunk + 1}, func(scan scan) error {
			names = append(names, name{})
			n := &names[len(names)-1]
			return scan(&n.kind, &n.value)
		})
	return names, err
}
