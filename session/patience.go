package session

import (
	"context"
	"sync"
	"time"
)

// patience is a context that ends with another one, or when a time has come. Unlike
// those of package context it needs no timer before somebody waits for its end, and
// nobody does where a copy answers: the timer would cost more than that.
type patience struct {
	context.Context // the other one
	until           time.Time

	mu     sync.Mutex
	timed  context.Context // nil before somebody waits
	cancel context.CancelFunc
	over   bool
}

// newPatience returns a context that lasts for d, and what ends it.
func newPatience(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	p := &patience{Context: ctx, until: time.Now().Add(d)}
	return p, p.end
}

func (p *patience) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.over = true
	if p.cancel != nil {
		p.cancel()
	}
}

// timer returns the context with a timer.
func (p *patience) timer() context.Context {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.timed == nil {
		p.timed, p.cancel = context.WithDeadline(p.Context, p.until)
	}
	if p.over {
		p.cancel()
	}
	return p.timed
}

// Deadline implements [context.Context].
func (p *patience) Deadline() (time.Time, bool) {
	if earlier, ok := p.Context.Deadline(); ok && earlier.Before(p.until) {
		return earlier, true
	}
	return p.until, true
}

// Done implements [context.Context].
func (p *patience) Done() <-chan struct{} { return p.timer().Done() }

// Err implements [context.Context].
func (p *patience) Err() error { return p.timer().Err() }

// Value implements [context.Context]. Contexts made of this one find the timer by it.
func (p *patience) Value(key any) any {
	p.mu.Lock()
	timed := p.timed
	p.mu.Unlock()
	if timed != nil {
		return timed.Value(key)
	}
	return p.Context.Value(key)
}
