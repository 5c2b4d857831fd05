package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// # Why a heartbeat proves that nothing is missing
//
// A watch has a connection of its own to every primary, on which the engine pushes
// the names of the keys under two prefixes as they change (CLIENT TRACKING in
// broadcasting mode, see keys.go). What is pushed and what is answered arrive in one
// order, and the client handles them in that order.
//
// The engine executes commands and collects what they have changed; at the end of
// each turn of its event loop it pushes that, and only then sends the answers of the
// turn. So a change that somebody knows to be done was pushed in the turn of the
// change at the latest. What we ask after that is executed in a later turn, and its
// answer stands behind the push. That is so where one thread sends the answers. To
// rely on less, a heartbeat asks twice, one question after the other: the second is
// executed in a later turn than the first, whoever sends what, and behind the pushes
// of the first one's turn. When both are answered, everything has been pushed that
// was acknowledged before the heartbeat began.
//
// A primary that is none any more might answer and know nothing: so a heartbeat asks
// for the role too and, in a Cluster, for what tells that the slots are served by
// others now. Whatever changes there ends the watch.

const (
	// beat is the time between two heartbeats. Copies may be used for a second
	// after one has begun.
	beat = 200 * time.Millisecond
	// patience is how long the engine may take for an answer. Copies are not
	// used all that time, but need not be dropped because it is busy.
	patience = 3 * time.Second
)

var _ store.Watcher = (*Store)(nil)

// Watch implements [store.Watcher].
func (s *Store) Watch(ctx context.Context, namespace string, to store.Watching) error {
	w := &watch{s: s, keys: s.keys(namespace), to: to, lost: make(chan struct{})}
	defer w.close()
	if err := w.open(ctx); err != nil {
		return fmt.Errorf("redisstore: beginning to watch: %w", err)
	}
	w.report(to.Ready)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		began := time.Now()
		if err := w.heartbeat(ctx); err != nil {
			return fmt.Errorf("redisstore: watching: %w", err)
		}
		w.report(func() { to.Confirmed(began) })
		timer.Reset(beat - time.Since(began))
		select {
		case <-timer.C:
		case <-w.lost:
			return errors.New("redisstore: watching: connection lost")
		case <-ctx.Done():
			return fmt.Errorf("redisstore: watching: %w", ctx.Err())
		}
	}
}

// watch is one watch of a namespace.
type watch struct {
	s         *Store
	keys      keyspace
	to        store.Watching
	addresses map[string]bool // of all nodes, as the client knew them
	primaries []*primary

	lost    chan struct{} // closed when a connection is
	lostOne sync.Once

	mu   sync.Mutex // held while something is reported
	over bool
}

// primary is the connection to one primary.
type primary struct {
	client  rueidis.DedicatedClient
	cluster string // what it says of the Cluster
}

// report calls a function of the Watching, one at a time and none after the end.
func (w *watch) report(do func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		do()
	}
}

func (w *watch) close() {
	w.mu.Lock()
	w.over = true
	w.mu.Unlock()
	for _, p := range w.primaries {
		p.client.Close() // rather than give back a connection that pushes
	}
}

// open connects to all primaries.
func (w *watch) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nodes := w.s.client.Nodes()
	w.addresses = make(map[string]bool)
	for address := range nodes {
		w.addresses[address] = true
	}
	found, err := w.s.findPrimaries(ctx, nodes)
	if err != nil {
		return err
	}
	for _, f := range found {
		client, err := dedicate(ctx, f.client)
		if err != nil {
			return err
		}
		w.primaries = append(w.primaries, &primary{client, f.cluster})
		if err := w.track(ctx, client); err != nil {
			return err
		}
	}
	return nil
}

// dedicate takes a connection of its own to a node. That can take longer than the
// context lasts; then it is closed when it is there.
func dedicate(ctx context.Context, node rueidis.Client) (rueidis.DedicatedClient, error) {
	taken := make(chan rueidis.DedicatedClient, 1)
	go func() {
		client, _ := node.Dedicate()
		taken <- client
	}()
	select {
	case client := <-taken:
		return client, nil
	case <-ctx.Done():
		go func() { (<-taken).Close() }()
		return nil, ctx.Err()
	}
}

// track makes a connection report changes.
func (w *watch) track(ctx context.Context, c rueidis.DedicatedClient) error {
	gone := c.SetOnInvalidations(w.pushed)
	for _, answer := range c.DoMulti(ctx,
		// The client may have switched on tracking of another kind.
		c.B().Arbitrary("CLIENT", "TRACKING", "OFF").Build(),
		c.B().Arbitrary("CLIENT", "TRACKING", "ON", "BCAST").
			Args("PREFIX", w.keys.noticePrefix(), "PREFIX", w.keys.epochPrefix()).Build(),
	) {
		if err := answer.Error(); err != nil {
			return err
		}
	}
	go func() {
		<-gone // closed with the connection
		w.lostOne.Do(func() { close(w.lost) })
	}()
	return nil
}

// pushed reports the keys that an engine says have changed.
func (w *watch) pushed(keys []rueidis.RedisMessage) {
	handles := make([]store.Handle, 0, len(keys))
	all := len(keys) == 0 // the database was flushed, or the connection is lost
	for i := range keys {
		key, err := keys[i].ToString()
		if h, noticed := w.keys.noticed(key); err == nil && noticed {
			handles = append(handles, h)
		} else {
			all = true
		}
	}
	w.report(func() {
		if all {
			w.to.ChangedAll()
		} else {
			w.to.Changed(handles)
		}
	})
}

// heartbeat returns nil when all primaries have answered twice, as primaries.
func (w *watch) heartbeat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nodes := w.s.client.Nodes()
	for address := range nodes {
		if !w.addresses[address] || len(nodes) != len(w.addresses) {
			return errTopology
		}
	}
	for _, ask := range []func(context.Context, *primary) error{w.s.stillPrimary, ping} {
		answers := make(chan error, len(w.primaries))
		for _, p := range w.primaries {
			go func() { answers <- ask(ctx, p) }()
		}
		var failed error
		for range w.primaries {
			failed = errors.Join(failed, <-answers)
		}
		if failed != nil {
			return failed
		}
	}
	return nil
}

func ping(ctx context.Context, p *primary) error {
	return p.client.Do(ctx, p.client.B().Ping().Build()).Error()
}
