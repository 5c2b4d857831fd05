package session

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
	"time"
)

type contextKey struct{}

// managerKey finds the session of one manager among several.
type managerKey struct{ m *Manager }

// From returns the session of the request whose context this is: the innermost
// one where several managers are at work. It is never nil: outside of a handler it
// is a session without anything in it, whose changes return ErrOutside.
func From(ctx context.Context) *Session {
	if s, ok := ctx.Value(contextKey{}).(*Session); ok {
		return s
	}
	return new(Session)
}

// From returns the session of this manager, like the function From.
func (m *Manager) From(ctx context.Context) *Session {
	if s := m.find(ctx); s != nil {
		return s
	}
	return new(Session)
}

// find returns the session of this manager, or nil.
func (m *Manager) find(ctx context.Context) *Session {
	if s, ok := ctx.Value(contextKey{}).(*Session); ok && s.m == m {
		return s
	}
	s, _ := ctx.Value(managerKey{m}).(*Session)
	return s
}

// requestContext is the context of a request with a session. It ends with the
// request, and once the response has become an open channel also with the
// session. Most requests never ask when it ends, so that what is needed for an
// answer is made on demand.
type requestContext struct {
	context.Context // the request's own
	s               *Session

	made  atomic.Pointer[cancellable] // nil until somebody asks
	muted atomic.Bool                 // the session ended a moment ago: nothing more is sent
}

// cancellable is a context with its end.
type cancellable struct {
	context.Context
	cancel context.CancelCauseFunc
}

func (c *requestContext) materialise() *cancellable {
	if made := c.made.Load(); made != nil {
		return made
	}
	made := new(cancellable)
	made.Context, made.cancel = context.WithCancelCause(c.Context)
	if !c.made.CompareAndSwap(nil, made) {
		made.cancel(context.Canceled) // somebody else was faster
	}
	return c.made.Load()
}

func (c *requestContext) current() context.Context {
	if made := c.made.Load(); made != nil {
		return made
	}
	return c.Context
}

// String keeps fmt from printing the session behind the context.
func (c *requestContext) String() string { return "session.requestContext" }

// Format does the same for every verb.
func (c *requestContext) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, c.String()) }

// Done implements context.Context.
func (c *requestContext) Done() <-chan struct{} { return c.materialise().Done() }

// Err implements context.Context.
func (c *requestContext) Err() error { return c.current().Err() }

// Deadline implements context.Context.
func (c *requestContext) Deadline() (time.Time, bool) { return c.Context.Deadline() }

// Value implements context.Context.
func (c *requestContext) Value(key any) any {
	switch k := key.(type) {
	case contextKey:
		return c.s
	case managerKey:
		if k.m == c.s.m {
			return c.s
		}
	}
	return c.current().Value(key)
}

// end ends the context before the request is over. A handler that notices can
// still say goodbye; one that does not is cut off.
func (c *requestContext) end(cause error) {
	c.materialise().cancel(cause)
	time.AfterFunc(hangUp, func() { c.muted.Store(true) })
}

// release frees what was made on demand, when the request is over.
func (c *requestContext) release() {
	if made := c.made.Load(); made != nil {
		made.cancel(context.Canceled)
	}
}
