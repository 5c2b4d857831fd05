package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"cloakroom.example/session/store"
)

// # Creating
//
// A session, its names and the session it replaces are in different slots, so
// that no single step can write them all. The steps are, each a script:
//
//  1. look at everything, and refuse what must be refused;
//  2. reserve a place at each name; where there is a limit, only if nobody else
//     has since 1, and after waiting for those who are about to;
//  3. create the record, to be kept for two minutes;
//  4. confirm at each name: if it was revoked meanwhile, refuse;
//  5. end the session replaced, if it still fits: this decides;
//  6. end those in excess of the limit;
//  7. keep the record for as long as it may live.
//
// Whoever refuses undoes 2 to 4, none of which anybody has noticed: the token of
// the new session is not out before 7. Whoever dies leaves a reservation, which
// keeps others waiting for a second, and a record that nobody has the token
// of, for two minutes. After 5 the old session has ended, and after 7 the new one
// lives; a death between the two is the user's loss, who signs in again, and
// nobody's gain.
//
// A revocation of a name sets its mark, then ends the sessions there. It either
// comes before 4, which then sees the mark, or after 4, and then it sees the
// session. One of everything changes the epoch of the bucket, which 3 compares.
type creation struct {
	*Store
	store.Creation
	keys     keyspace
	names    []name
	states   []nameState
	epoch    string
	old      *found
	evict    []store.Handle
	reserved []name // those of names that undo has to release
	written  bool   // the record may be there
	ended    []store.Record
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	x := &creation{Store: s, Creation: c, keys: s.keys(c.Record.Namespace)}
	x.Record.Version, x.Record.End = 1, store.End{}
	x.names = x.keys.namesOf(&x.Record)
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	err := checkSizes(c.Record.Parts)
	if err == nil && ctx.Err() != nil {
		err = readFault(ctx.Err())
	}
	var created store.Created
	if err == nil {
		created, err = x.run(ctx)
	}
	if err != nil {
		return store.Created{}, fmt.Errorf("creating session %v: %w", c.Record.Handle, err)
	}
	return created, nil
}

func (x *creation) run(ctx context.Context) (created store.Created, err error) {
	for attempt := 0; ; attempt++ {
		if err := x.look(ctx); err != nil {
			return created, err
		}
		done, err := x.reserve(ctx)
		if err != nil {
			return created, x.undo(ctx, err)
		}
		if done {
			break
		}
		if !pause(ctx, attempt) {
			return created, x.undo(ctx, readFault(context.DeadlineExceeded))
		}
	}
	for _, step := range []func(context.Context) error{x.write, x.confirm, x.replace} {
		if err := step(ctx); err != nil {
			return created, x.undo(ctx, err)
		}
	}
	if created.Evicted, err = x.evictAll(ctx); err == nil {
		err = x.settle(ctx)
	}
	if err != nil {
		return created, unknown(err)
	}
	x.retire(ctx, x.ended, x.Now)
	if !x.simple() {
		x.replicated(ctx, x.touched()...)
	}
	return created, nil
}

// unknown makes of an error one that says that something has been changed.
func unknown(err error) error {
	if isUnknown(err) {
		return err
	}
	return fmt.Errorf("redisstore: a creation was not finished (%v): %w", err, store.ErrUnknownOutcome)
}

func isUnknown(err error) bool { return errors.Is(err, store.ErrUnknownOutcome) }

// reserve is step 2. It returns false if somebody else was faster.
func (x *creation) reserve(ctx context.Context) (done bool, err error) {
	if len(x.names) == 0 {
		return true, nil
	}
	if x.limited() && x.states[0].busy() || x.twice() {
		return false, nil
	}
	calls := make([]call, len(x.names))
	for i, n := range x.names {
		if calls[i], err = x.reserving(ctx, n, &x.states[i], i == 0 && x.limited()); err != nil {
			return false, err
		}
	}
	done = true
	for i, a := range x.runAll(ctx, calls) {
		switch {
		case a.err != nil:
			err = worse(err, a.err)
			if isUnknown(a.err) {
				x.reserved = append(x.reserved, x.names[i])
			}
		case text(a.RedisMessage) != "ok":
			done = false
		default:
			x.reserved = append(x.reserved, x.names[i])
		}
	}
	if err != nil {
		return false, err
	}
	if !done {
		err = x.release(ctx)
	}
	return done, err
}

// twice reports whether somebody else seems to be creating the same session. To
// take his reservation would be to lose it when he gives up.
func (x *creation) twice() bool {
	for i := range x.states {
		till, reserved := x.states[i].reserved[x.Record.Handle]
		if reserved && till+unsettledTime.Milliseconds() > x.states[i].now {
			return true
		}
	}
	return false
}

func (x *creation) reserving(ctx context.Context, n name, st *nameState, alone bool) (call, error) {
	expected := ""
	if alone {
		expected = st.reservations
	}
	args := []string{expected, string(x.Record.Handle[:]), st.state(x.Record.Handle), millis(leaseTime, true), foundFor(&x.Record, x.Now)}
	for _, h := range st.ended {
		if slices.Contains(st.live, h) {
			args = append(args, string(h[:]), "x")
		}
	}
	gone, err := x.gone(ctx, x.Record.Namespace, st)
	if err != nil {
		return call{}, err
	}
	for _, h := range gone {
		args = append(args, string(h[:]), "-")
	}
	for _, h := range st.lapsed(alone) {
		args = append(args, string(h[:]), "r")
	}
	return call{&x.scripts.reserve, n.bucket, []string{n.key}, args}, nil
}

// release takes the reservations back.
func (x *creation) release(ctx context.Context) (err error) {
	var calls []call
	for _, n := range x.reserved {
		calls = append(calls, call{&x.scripts.release, n.bucket, []string{n.key}, []string{string(x.Record.Handle[:])}})
	}
	x.reserved = nil
	for _, a := range x.runAll(ctx, calls) {
		err = worse(err, a.err)
	}
	return err
}

// write is step 3. A session without names that replaces none is kept for good at
// once.
func (x *creation) write(ctx context.Context) error {
	r, b := &x.Record, bucketOf(x.Record.Handle)
	keep := lifetime(r, x.Now)
	if !x.simple() {
		keep = millis(unsettledTime, true)
	}
	v := value{Record: *r, digest: digestOf(r)}
	v.setParts(r.Parts)
	for {
		v.epoch = epochNumber(x.epoch)
		m, err := x.Store.run(ctx, call{&x.scripts.create, b,
			[]string{x.keys.of(kindRecord, r.Handle), x.keys.in(kindEpoch, b, ""), x.keys.of(kindNotice, r.Handle),
				x.keys.in(kindDirectory, b, ""), x.keys.in(kindChunk, b, "")},
			[]string{x.epoch, x.agents.encode(&v), keep, string(r.Handle[:]), foundFor(r, x.Now)}})
		x.written = err == nil && text(m) == "ok" || isUnknown(err)
		switch {
		case err != nil:
			return err
		case x.written:
			return nil
		case text(m) == "exists":
			return store.ErrExists
		}
		// Everything was revoked, or that has been forgotten.
		epochs, err := x.epochs(ctx, x.keys, []int{b})
		if err != nil {
			return err
		}
		if x.epoch = epochs[0]; x.Overtook(epochMark(x.epoch)) {
			return store.ErrRevoked
		}
	}
}

func (x *creation) simple() bool { return len(x.names) == 0 && x.Replace == nil }

// confirm is step 4.
func (x *creation) confirm(ctx context.Context) (err error) {
	calls := make([]call, len(x.names))
	for i, n := range x.names {
		calls[i] = call{&x.scripts.confirm, n.bucket, []string{n.key}, []string{string(x.Record.Handle[:])}}
	}
	for _, a := range x.runAll(ctx, calls) {
		if a.err != nil {
			err = worse(err, a.err)
			continue
		}
		fields, _ := a.AsStrSlice()
		switch {
		case len(fields) < 2:
			err = worse(err, fmt.Errorf("redisstore: the reservation has lapsed: %w", store.ErrUnavailable))
		case x.Overtook(markIn(fields[1])) && !isUnknown(err):
			err = store.ErrRevoked
		}
	}
	return err
}

// replace is step 5. Once a revocation of everything has ended the old session,
// or somebody has changed it, it does not fit any more.
func (x *creation) replace(ctx context.Context) error {
	if x.Replace == nil {
		return nil
	}
	for {
		old := x.old
		old.Finish(store.End{At: x.Now, Cause: store.CauseRenewed})
		done, err := x.replaceValue(ctx, old, lifetime(&old.Record, x.Now))
		if err != nil {
			return err
		}
		if done {
			x.ended = append(x.ended, old.Record)
			return nil
		}
		if err := x.lookAtReplaced(ctx); err != nil {
			return err
		}
	}
}

// evictAll is step 6. Those that somebody else has ended are not reported.
func (x *creation) evictAll(ctx context.Context) ([]store.Handle, error) {
	if len(x.evict) == 0 {
		return nil, nil
	}
	v := store.Revocation{Namespace: x.Record.Namespace, Cause: store.CauseLimit, Now: x.Now}
	changed, err := x.apply(ctx, v, x.evict)
	x.ended = append(x.ended, changed...)
	return handlesOf(changed), err
}

// settle is step 7.
func (x *creation) settle(ctx context.Context) error {
	if x.simple() {
		return nil
	}
	r := &x.Record
	m, err := x.Store.run(ctx, call{&x.scripts.settle, bucketOf(r.Handle),
		[]string{x.keys.of(kindRecord, r.Handle)}, []string{lifetime(r, x.Now)}})
	if err == nil && text(m) != "ok" {
		return fmt.Errorf("redisstore: the creation took too long: %w", store.ErrUnknownOutcome)
	}
	return err
}

// touched returns the buckets that a creation has written to.
func (x *creation) touched() []int {
	bs := []int{bucketOf(x.Record.Handle)}
	for _, n := range x.names {
		bs = append(bs, n.bucket)
	}
	for i := range x.ended {
		bs = append(bs, bucketOf(x.ended[i].Handle))
	}
	return bs
}
