package nearcache_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/nearcache"
)

// hub is an engine that several nodes share, with its pushes: the store in memory,
// whose changes are queued for all watches before they are acknowledged, and
// delivered in order with the heartbeats.
type hub struct {
	*memory.Store
	beat time.Duration // between heartbeats

	mu   sync.Mutex
	subs map[*subscription]struct{}
	lost error         // while it is set, there is no connection
	held chan struct{} // while it is set, nothing is delivered; closed to go on
}

// subscription is one connection.
type subscription struct {
	namespace string
	queue     []func(store.Watching)
	more      chan struct{}
	cut       chan error
}

func newHub() *hub {
	return &hub{Store: memory.New(), beat: 2 * time.Millisecond, subs: make(map[*subscription]struct{})}
}

var errCut = errors.New("connection cut")

// cut ends all watches; until mend, none can be made.
func (h *hub) cut() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = errCut
	for s := range h.subs {
		s.cut <- errCut
		delete(h.subs, s)
	}
}

func (h *hub) mend() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost = nil
}

// hold stops all deliveries, until the function it returns is called.
func (h *hub) hold() (release func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	held := make(chan struct{})
	h.held = held
	return func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		close(held)
		h.held = nil
	}
}

// Watch implements store.Watcher.
func (h *hub) Watch(ctx context.Context, namespace string, w store.Watching) error {
	s := &subscription{namespace: namespace, more: make(chan struct{}, 1), cut: make(chan error, 1)}
	h.mu.Lock()
	if h.lost != nil {
		h.mu.Unlock()
		return h.lost
	}
	h.subs[s] = struct{}{}
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		delete(h.subs, s)
		h.mu.Unlock()
	}()
	w.Ready()
	ticker := time.NewTicker(h.beat)
	defer ticker.Stop()
	for {
		began := time.Now()
		h.push(s, func(w store.Watching) { w.Confirmed(began) })
		for next := false; !next; {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case err := <-s.cut:
				return err
			case <-s.more:
				if !h.deliver(ctx, s, w) {
					return errCut
				}
			case <-ticker.C:
				next = true
			}
		}
	}
}

func (h *hub) push(s *subscription, message func(store.Watching)) {
	h.mu.Lock()
	defer h.mu.Unlock()
	s.queue = append(s.queue, message)
	select {
	case s.more <- struct{}{}:
	default:
	}
}

func (h *hub) deliver(ctx context.Context, s *subscription, w store.Watching) bool {
	h.mu.Lock()
	held := h.held
	h.mu.Unlock()
	if held != nil {
		select {
		case <-held:
		case <-ctx.Done():
			return false
		case <-s.cut:
			return false
		}
	}
	h.mu.Lock()
	queue := s.queue
	s.queue = nil
	h.mu.Unlock()
	for _, message := range queue {
		message(w)
	}
	return true
}

func (h *hub) report(namespace string, message func(store.Watching)) {
	h.mu.Lock()
	var to []*subscription
	for s := range h.subs {
		if s.namespace == namespace {
			to = append(to, s)
		}
	}
	h.mu.Unlock()
	for _, s := range to {
		h.push(s, message)
	}
}

func (h *hub) changed(namespace string, handles ...store.Handle) {
	if len(handles) > 0 {
		h.report(namespace, func(w store.Watching) { w.Changed(handles) })
	}
}

// Create implements store.Store.
func (h *hub) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	done, err := h.Store.Create(ctx, c)
	if err == nil && c.Replace != nil {
		h.changed(c.Record.Namespace, c.Replace.Handle)
	}
	h.changed(c.Record.Namespace, done.Evicted...)
	return done, err
}

// Swap implements store.Store.
func (h *hub) Swap(ctx context.Context, r store.Record, now time.Time) error {
	err := h.Store.Swap(ctx, r, now)
	if err == nil {
		h.changed(r.Namespace, r.Handle)
	}
	return err
}

// Revoke implements store.Store.
func (h *hub) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	done, err := h.Store.Revoke(ctx, v)
	h.changed(v.Namespace, done.Changed...)
	if v.All {
		h.report(v.Namespace, func(w store.Watching) { w.ChangedAll() })
	}
	return done, err
}

// Sweep implements store.Sweeper.
func (h *hub) Sweep(ctx context.Context, w store.Sweeping) (store.Swept, error) {
	done, err := h.Store.Sweep(ctx, w)
	for i := range done.Expired {
		h.changed(w.Namespace, done.Expired[i].Handle)
	}
	if done.Removed > 0 {
		h.report(w.Namespace, func(w store.Watching) { w.ChangedAll() })
	}
	return done, err
}

func quiet() *slog.Logger { return slog.New(slog.NewTextHandler(io.Discard, nil)) }

// near returns a near-cache of a store, which is closed with the test.
func near(t testing.TB, s store.Store, o nearcache.Options) nearcache.Store {
	t.Helper()
	return nearAt(t, s, o, time.Now)
}

// nearAt is near with another clock.
func nearAt(t testing.TB, s store.Store, o nearcache.Options, now func() time.Time) nearcache.Store {
	t.Helper()
	o.Logger = quiet()
	c, err := nearcache.NewAt(s, o, now)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return c
}

// awaitCopies waits until copies of the namespace can be served.
func awaitCopies(t testing.TB, c nearcache.Store, namespace string) {
	t.Helper()
	_, _ = c.Load(t.Context(), store.Key{Namespace: namespace}, nil) // begins the watch
	await(t, "the watch of "+namespace, func() bool {
		for _, sp := range c.Stats().Spaces {
			if sp.Namespace == namespace && sp.Up && !sp.Confirmed.IsZero() {
				return true
			}
		}
		return false
	})
}

// await waits for a condition, for ten seconds at most.
func await(t testing.TB, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(200 * time.Microsecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}
