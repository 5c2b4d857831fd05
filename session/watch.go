package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"cloakroom.example/session/store"
)

const (
	// channelCheck is how often the sessions of open channels are looked up, to
	// see what other nodes have done to them.
	channelCheck = 2 * time.Second
	// channelDoubt is how many times in a row the store may fail to answer
	// before an open channel ends: it must not outlive a session that nobody
	// can look up.
	channelDoubt = 5
	// hangUp is how long a handler gets to say goodbye on an open channel whose
	// session has ended.
	hangUp = time.Second
)

// channels are the responses that stay open: event streams, hijacked connections
// and whatever else watches its session. They end when the session does.
type channels struct {
	m *Manager

	mu   sync.Mutex
	open map[store.Handle]map[*channel]struct{}
}

// channel is one open response.
type channel struct {
	handle store.Handle
	end    func(error)
	doubts int
}

func newChannels(m *Manager) *channels {
	return &channels{m: m, open: make(map[store.Handle]map[*channel]struct{})}
}

func (c *channels) add(ch *channel) (remove func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[ch.handle] == nil {
		c.open[ch.handle] = make(map[*channel]struct{})
	}
	c.open[ch.handle][ch] = struct{}{}
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open[ch.handle], ch)
		if len(c.open[ch.handle]) == 0 {
			delete(c.open, ch.handle)
		}
	}
}

// end ends the channels of a session that has ended.
func (c *channels) end(h store.Handle) { c.endWith(h, ErrEnded) }

func (c *channels) endWith(h store.Handle, cause error) {
	c.mu.Lock()
	ended := c.open[h]
	delete(c.open, h)
	c.mu.Unlock()
	for ch := range ended {
		ch.end(cause)
	}
}

// CloseChannels ends the open channels of all sessions: event streams, hijacked
// connections and what else watches its session. The sessions live on; the cause
// is [ErrUnavailable]. A server that shuts down waits for its streams, so that
// this belongs to [http.Server.RegisterOnShutdown]. [Manager.Close] does it too.
func (m *Manager) CloseChannels() {
	m.channels.endAll(fmt.Errorf("session: closing: %w", ErrUnavailable))
}

// endAll ends all channels.
func (c *channels) endAll(cause error) {
	for _, h := range c.handles() {
		c.endWith(h, cause)
	}
}

func (c *channels) handles() []store.Handle {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]store.Handle, 0, len(c.open))
	for h := range c.open {
		all = append(all, h)
	}
	return all
}

// check looks up the sessions of all open channels and ends those whose session
// has ended, expired or locked.
func (c *channels) check(ctx context.Context) {
	all := c.handles()
	for i, h := range all {
		if ctx.Err() != nil {
			return
		}
		over, err := c.over(ctx, h)
		if c.m.copies && over {
			over, err = c.over(store.Fresh(ctx), h) // a copy may not know that it was used
		}
		switch {
		case over:
			c.end(h)
		case err != nil:
			// The others would have to wait just as long for no answer.
			for _, h := range all[i:] {
				c.doubt(h)
			}
			return
		default:
			c.trust(h)
		}
	}
}

// over reports whether a session has ended, expired or locked.
func (c *channels) over(ctx context.Context, h store.Handle) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, c.m.cfg.StoreTimeout)
	defer cancel()
	r, err := c.m.store.Load(ctx, store.Key{Namespace: c.m.cfg.Namespace, Handle: h}, nil)
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrFormat) {
		return true, nil
	}
	if seen := c.m.touches.pending(h); seen.After(r.Seen) {
		r.Seen = seen
	}
	now := c.m.now()
	return err == nil && (!r.Alive(now) || r.LockedAt(now)), err
}

func (c *channels) doubt(h store.Handle) {
	c.mu.Lock()
	tooMany := false
	for ch := range c.open[h] {
		ch.doubts++
		tooMany = tooMany || ch.doubts >= channelDoubt
	}
	c.mu.Unlock()
	if tooMany {
		c.end(h)
	}
}

func (c *channels) trust(h store.Handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for ch := range c.open[h] {
		ch.doubts = 0
	}
}

// Watch returns a context that ends with ctx, and when the session is revoked,
// expires, locks or is replaced: its cause is then [ErrEnded]. The request's own
// context ends then too, and does so by itself after Flush and Hijack. Without a
// session, it ends with ctx only.
func (s *Session) Watch(ctx context.Context) (context.Context, context.CancelFunc) {
	watched, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	x, live, h := s.x, s.status == statusLive, s.record.Handle
	ended := s.status == statusEnded
	s.mu.Unlock()
	if x != nil {
		x.watch()
	}
	if ended {
		cancel(ErrEnded)
	}
	if !live {
		return watched, func() { cancel(context.Canceled) }
	}
	remove := s.m.channels.add(&channel{handle: h, end: cancel})
	return watched, func() {
		remove()
		cancel(context.Canceled)
	}
}

// watch makes the request's context end with the session, once.
func (x *exchange) watch() {
	s := &x.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != statusLive || s.removeWatch != nil || s.hijacked || s.over {
		return
	}
	s.removeWatch = s.m.channels.add(&channel{handle: s.record.Handle, end: x.ctx.end})
	if x.writer.x == nil { // opened by Open: nobody closes the exchange
		context.AfterFunc(x.ctx.Context, s.unwatch)
	}
}

// rewatchLocked makes the request's context follow the session to its new token.
func (x *exchange) rewatchLocked() {
	s := &x.session
	if s.removeWatch != nil {
		s.removeWatch()
		s.removeWatch = s.m.channels.add(&channel{handle: s.record.Handle, end: x.ctx.end})
	}
}

// unwatch is called when the request is over.
func (s *Session) unwatch() {
	s.mu.Lock()
	s.over = true
	remove := s.removeWatch
	s.mu.Unlock()
	if remove != nil {
		remove()
	}
}

func (s *Session) isWatched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.removeWatch != nil
}

func (s *Session) isHijacked() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hijacked
}

// watchConn makes a hijacked connection end with the session.
func (s *Session) watchConn(conn net.Conn) net.Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hijacked = true
	if s.removeWatch != nil {
		s.removeWatch() // the connection takes over
		s.removeWatch = nil
	}
	if s.status != statusLive {
		return conn
	}
	w := &watchedConn{Conn: conn, ctx: &s.x.ctx}
	w.remove = s.m.channels.add(&channel{handle: s.record.Handle, end: func(cause error) {
		w.ctx.end(cause)
		// The handler that notices its context can still say goodbye.
		time.AfterFunc(hangUp, func() { _ = conn.Close() })
	}})
	return w
}

// watchedConn is a hijacked connection.
type watchedConn struct {
	net.Conn
	ctx    *requestContext
	remove func()
}

// Close implements net.Conn.
func (c *watchedConn) Close() error {
	c.remove()
	c.ctx.release()
	return c.Conn.Close()
}
