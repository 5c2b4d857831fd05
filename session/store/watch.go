package store

import (
	"context"
	"time"
)

// Watcher is implemented by stores that push what changes, so that copies kept
// elsewhere can be dropped at once.
type Watcher interface {
	// Watch reports the changes of a namespace, made through any node, until
	// ctx ends or the connection that carries them is lost. It always returns
	// an error, and calls nothing of w afterwards.
	Watch(ctx context.Context, namespace string, w Watching) error
}

// Watching is what a watcher reports to. Its functions are called one after the
// other, in the order in which the engine sent what they report, and must return
// quickly.
//
// Every Create, Swap, Revoke and Sweep, through this node too, is reported by the
// time it has been acknowledged to its caller or, where the push is under way,
// before any confirmation that began later. It is reported only once every Load
// that begins later sees it. What changed nothing anybody could have loaded, such
// as the Create of a new handle, may be left out. Touches are not reported: they
// would empty the copies all the time, and move nothing but Seen.
type Watching struct {
	// Ready says that whatever is acknowledged from now on will be reported. It
	// is called once, before the others.
	Ready func()
	// Changed names records that were changed, ended or removed.
	Changed func(handles []Handle)
	// ChangedAll says that any record of the namespace may have changed.
	ChangedAll func()
	// Confirmed says that every change that was acknowledged before began has
	// been reported. A watcher calls it several times a second, as long as the
	// engine answers; began is read from this process's monotonic clock before
	// the engine was asked.
	Confirmed func(began time.Time)
	// Wanted, if not nil, reports whether anybody has asked for a copy since
	// it was called last, so that watchers that have to poll can rest.
	Wanted func() bool
}

// Copier is implemented by stores whose Load may answer from a copy, which lags
// behind the engine for a moment and, as to Seen, for longer. [Fresh] asks the
// engine.
type Copier interface {
	// ServesCopies reports whether they do.
	ServesCopies() bool
}

type freshKey struct{}

// Fresh returns a context under which Load reads from the engine itself, past
// any copy: for decisions that must not be taken on what was true a moment ago.
func Fresh(ctx context.Context) context.Context {
	if IsFresh(ctx) {
		return ctx
	}
	return context.WithValue(ctx, freshKey{}, true)
}

// IsFresh reports whether the context comes from [Fresh].
func IsFresh(ctx context.Context) bool {
	fresh, _ := ctx.Value(freshKey{}).(bool)
	return fresh
}
