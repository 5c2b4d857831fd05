package redisstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cloakroom.example/session/store"
)

// undo takes back what has been written, and returns what to answer. If nobody
// waits any more it does so by itself.
func (x *creation) undo(ctx context.Context, why error) error {
	if !x.written && len(x.reserved) == 0 {
		return why
	}
	if ctx.Err() != nil || isUnknown(why) {
		written := x.written // from here on x is the background's
		x.inBackground(func(ctx context.Context) { _ = x.takeBack(ctx) })
		if written {
			return unknown(why)
		}
		return fmt.Errorf("%v: %w", why.Error(), store.ErrUnavailable) // a reservation is nothing anybody sees
	}
	if err := x.takeBack(ctx); err != nil {
		return unknown(err)
	}
	return why
}

func (x *creation) takeBack(ctx context.Context) error {
	err := x.release(ctx)
	for x.written {
		f, ferr := x.find(ctx, x.Record.Namespace, x.Record.Handle)
		if errors.Is(ferr, store.ErrNotFound) {
			break
		}
		if ferr != nil {
			return ferr
		}
		m, rerr := x.Store.run(ctx, x.removing(&f))
		if rerr != nil {
			return rerr
		}
		x.written = text(m) != "ok"
	}
	return err
}

// inBackground does what nobody waits for; Close does.
func (s *Store) inBackground(do func(context.Context)) {
	s.background.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		do(ctx)
	})
}
