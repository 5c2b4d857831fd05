package storetest

import (
	"errors"
	"fmt"
	"slices"

	"cloakroom.example/session/store"
)

// sweepStep sweeps, if the store does.
type sweepStep struct {
	ns int
	s  store.Sweeping
}

func (sweepStep) op() Op { return OpSweep }

func (s sweepStep) String() string {
	return fmt.Sprintf("Sweep %c at %s: keep %v, max %d", 'a'+s.ns, since(s.s.Now), s.s.Keep, s.s.Max)
}

func (s sweepStep) send(x *execution, to store.Store) error {
	s.s.Namespace = x.namespace(s.ns)
	_, err := to.(store.Sweeper).Sweep(x.ctx, s.s)
	return err
}

// run takes over which sessions the store ended and which tombstones it
// removed, after checking that it was allowed to.
func (s sweepStep) run(x *execution) error {
	sweeper, ok := x.s.(store.Sweeper)
	if !ok {
		return nil
	}
	s.s.Namespace = x.namespace(s.ns)
	swept, err := sweeper.Sweep(x.ctx, s.s)
	if err != nil {
		return fmt.Errorf("got error %w", err)
	}
	_, most := s.s.Limits()
	expired, old := x.m.sweepable(s.s)
	for _, r := range swept.Expired {
		if !slices.Contains(expired, r.Key()) {
			return fmt.Errorf("%s was reported as expired, and was not, or twice", names([]store.Handle{r.Handle}))
		}
		expired = slices.DeleteFunc(expired, func(k store.Key) bool { return k == r.Key() })
		cause, _ := x.m.records[r.Key()].Expired(s.s.Now)
		x.m.records[r.Key()].Finish(store.End{At: s.s.Now, Cause: cause})
	}
	gone := x.bury(s.s)
	if swept.Removed != gone || gone > most || len(swept.Expired) > most {
		return fmt.Errorf("%d tombstones removed were reported and %d are gone, %d sessions ended, want at most %d", swept.Removed, gone, len(swept.Expired), most)
	}
	if !swept.More && (len(expired) > 0 || gone < len(old)) {
		return fmt.Errorf("no more was said to be left, and %d expired sessions and %d tombstones are", len(expired), len(old)-gone)
	}
	x.m.forget(s.s)
	return nil
}

// bury removes from the model the tombstones that the store may have removed
// and has.
func (x *execution) bury(s store.Sweeping) (gone int) {
	before, _ := s.Limits()
	for k, e := range x.m.records {
		if k.Namespace != s.Namespace || !e.Ended() || e.End.At.After(before) {
			continue
		}
		if _, err := x.s.Load(x.ctx, k, nil); errors.Is(err, store.ErrNotFound) {
			delete(x.m.records, k)
			gone++
		}
	}
	return gone
}
