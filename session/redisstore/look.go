package redisstore

import (
	"bytes"
	"cmp"
	"context"
	"slices"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// look is step 1.
func (x *creation) look(ctx context.Context) error {
	if err := x.lookAtNames(ctx); err != nil {
		return err
	}
	if err := x.lookAtRecords(ctx); err != nil {
		return err
	}
	return x.lookAtLimit(ctx)
}

func (x *creation) lookAtNames(ctx context.Context) error {
	calls := make([]call, len(x.names))
	for i, n := range x.names {
		calls[i] = x.looking(n)
	}
	x.states = make([]nameState, len(x.names))
	for i, a := range x.runAll(ctx, calls) {
		if a.err != nil {
			return a.err
		}
		st, err := lookedAt(x.names[i], a.RedisMessage)
		if err != nil {
			return err
		}
		if x.Overtook(markIn(st.mark)) {
			return store.ErrRevoked
		}
		x.states[i] = st
	}
	return nil
}

func (x *creation) lookAtRecords(ctx context.Context) error {
	h, b := x.Record.Handle, bucketOf(x.Record.Handle)
	commands := []rueidis.Completed{x.client.B().Exists().Key(x.keys.of(kindRecord, h)).Build(),
		x.client.B().Get().Key(x.keys.in(kindEpoch, b, "")).Build()}
	replies, err := x.readAll(ctx, commands)
	if err != nil {
		return err
	}
	if n, _ := replies[0].AsInt64(); n > 0 {
		return store.ErrExists
	}
	if x.epoch = text(replies[1]); x.Overtook(epochMark(x.epoch)) {
		return store.ErrRevoked
	}
	if x.Replace == nil {
		return nil
	}
	return x.lookAtReplaced(ctx)
}

// lookAtReplaced reads the session to be replaced, and refuses if it does not
// fit.
func (x *creation) lookAtReplaced(ctx context.Context) error {
	old, err := x.find(ctx, x.Record.Namespace, x.Replace.Handle)
	switch {
	case err != nil:
		return err
	case !old.Alive(x.Now):
		return store.ErrNotFound
	case !x.Replace.Fits(&old.Record):
		return store.ErrConflict
	}
	x.old = &old
	return nil
}

func (x *creation) limited() bool {
	return x.Max > 0 && x.Record.State == store.Active && x.Record.Subject != ""
}

// lookAtLimit finds out who has to go, or refuses.
func (x *creation) lookAtLimit(ctx context.Context) error {
	x.evict = nil
	if !x.limited() || x.states[0].busy() {
		return nil // reserve waits
	}
	st := &x.states[0]
	all, err := x.findAll(ctx, x.Record.Namespace, st.live)
	if err != nil {
		return err
	}
	var live []found
	for _, f := range all {
		replaced := x.Replace != nil && x.Replace.Handle == f.Handle
		if !replaced && f.State == store.Active && f.Subject == x.Record.Subject && f.Alive(x.Now) {
			live = append(live, f)
		}
		if f.Ended() {
			st.ended = append(st.ended, f.Handle)
		}
	}
	over := len(live) + 1 - x.Max
	if over <= 0 {
		return nil
	}
	if !x.EvictOldest {
		return store.ErrLimit
	}
	slices.SortFunc(live, func(a, b found) int {
		return cmp.Or(a.Created.Compare(b.Created), bytes.Compare(a.Handle[:], b.Handle[:]))
	})
	for _, f := range live[:over] {
		x.evict = append(x.evict, f.Handle)
	}
	return nil
}
