package nearcache_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/nearcache"
	"cloakroom.example/session/store/storetest"
)

// world is a near-cache before an engine that other nodes use too, with a clock
// that can be moved.
type world struct {
	testing.TB
	hub    *hub              // the engine, as other nodes see it
	engine *storetest.Faulty // as the near-cache sees it
	c      nearcache.Store
	ahead  atomic.Int64
}

func newWorld(t testing.TB) *world {
	w := &world{TB: t, hub: newHub()}
	w.engine = storetest.NewFaulty(w.hub)
	w.c = nearAt(t, w.engine, nearcache.Options{Watcher: w.hub}, func() time.Time {
		return time.Now().Add(time.Duration(w.ahead.Load()))
	})
	awaitCopies(t, w.c, "shop")
	return w
}

// copied creates a session on another node and makes a copy of it.
func (w *world) copied(changes ...func(*store.Record)) store.Record {
	w.Helper()
	r := active(1, 10)
	for _, change := range changes {
		change(&r)
	}
	if _, err := w.hub.Create(w.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
		w.Fatal(err)
	}
	w.load(r.Key())
	w.isCopied("after the first Load", r.Key(), true)
	return r
}

func (w *world) load(k store.Key) store.Record {
	w.Helper()
	r, err := w.c.Load(w.Context(), k, []string{"app"})
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// isCopied loads, and compares whether that was answered from a copy.
func (w *world) isCopied(when string, k store.Key, want bool) {
	w.Helper()
	before := w.engine.Calls(storetest.OpLoad)
	_, _ = w.c.Load(w.Context(), k, []string{"app"})
	if got := w.engine.Calls(storetest.OpLoad) == before; got != want {
		w.Errorf("%s: got an answer from a copy: %t, want %t", when, got, want)
	}
}

// settle waits until everything that has happened was delivered.
func (w *world) settle() {
	w.Helper()
	now := time.Now()
	await(w, "the pushes", func() bool { return w.c.Stats().Spaces[0].Confirmed.After(now) })
}

// TestOtherNodes: what another node changes is dropped here, one by one.
func TestOtherNodes(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	for name, change := range map[string]func(w *world, r store.Record) error{
		"swap": func(w *world, r store.Record) error { return w.hub.Swap(ctx, r, now) },
		"revoke": func(w *world, r store.Record) error {
			_, err := w.hub.Revoke(ctx, store.Revocation{Namespace: "shop", Handle: r.Handle, Now: now})
			return err
		},
		"lock": func(w *world, r store.Record) error {
			_, err := w.hub.Revoke(ctx, store.Revocation{Namespace: "shop", Subject: r.Subject, Effect: store.EffectLock, Now: now})
			return err
		},
		"revoke all": func(w *world, _ store.Record) error {
			_, err := w.hub.Revoke(ctx, store.Revocation{Namespace: "shop", All: true, Now: now})
			return err
		},
		"replace": func(w *world, r store.Record) error {
			_, err := w.hub.Create(ctx, store.Creation{Record: active(2, 1), Now: now, Replace: &store.Replace{Handle: r.Handle, Version: 1}})
			return err
		},
		"evict": func(w *world, r store.Record) error {
			other := active(2, 1)
			other.Subject = r.Subject
			_, err := w.hub.Create(ctx, store.Creation{Record: other, Now: now, Max: 1, EvictOldest: true})
			return err
		},
		"sweep": func(w *world, _ store.Record) error {
			_, err := w.hub.Sweep(ctx, store.Sweeping{Namespace: "shop", Now: now.Add(24 * time.Hour)})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			r := w.copied()
			if err := change(w, r); err != nil {
				t.Fatal(err)
			}
			w.settle()
			w.isCopied("after the change", r.Key(), false)
		})
	}
}

// TestOwnChanges: what is changed through the near-cache shows in the next Load,
// though no push has arrived, and whatever the call has answered.
func TestOwnChanges(t *testing.T) {
	ctx := context.Background()
	now := time.Now()
	calls := map[string]struct {
		op storetest.Op
		do func(c nearcache.Store, r store.Record) error
	}{
		"swap": {storetest.OpSwap, func(c nearcache.Store, r store.Record) error { return c.Swap(ctx, r, now) }},
		"revoke": {storetest.OpRevoke, func(c nearcache.Store, r store.Record) error {
			_, err := c.Revoke(ctx, store.Revocation{Namespace: "shop", Handle: r.Handle, Now: now})
			return err
		}},
		"revoke subject": {storetest.OpRevoke, func(c nearcache.Store, r store.Record) error {
			_, err := c.Revoke(ctx, store.Revocation{Namespace: "shop", Subject: r.Subject, Now: now})
			return err
		}},
		"revoke link": {storetest.OpRevoke, func(c nearcache.Store, r store.Record) error {
			_, err := c.Revoke(ctx, store.Revocation{Namespace: "shop", Link: r.Links[0], Now: now})
			return err
		}},
		"revoke all": {storetest.OpRevoke, func(c nearcache.Store, _ store.Record) error {
			_, err := c.Revoke(ctx, store.Revocation{Namespace: "shop", All: true, Now: now})
			return err
		}},
		"replace": {storetest.OpCreate, func(c nearcache.Store, r store.Record) error {
			_, err := c.Create(ctx, store.Creation{Record: active(2, 1), Now: now, Replace: &store.Replace{Handle: r.Handle, Version: 1}})
			return err
		}},
		"evict": {storetest.OpCreate, func(c nearcache.Store, r store.Record) error {
			other := active(2, 1)
			other.Subject = r.Subject
			_, err := c.Create(ctx, store.Creation{Record: other, Now: now, Max: 1, EvictOldest: true})
			return err
		}},
		"sweep": {storetest.OpSweep, func(c nearcache.Store, _ store.Record) error {
			_, err := c.(store.Sweeper).Sweep(ctx, store.Sweeping{Namespace: "shop", Now: now.Add(24 * time.Hour)})
			return err
		}},
	}
	for name, call := range calls {
		for _, lost := range []bool{false, true} {
			if lost {
				name += ", answer lost"
			}
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				r := w.copied(func(r *store.Record) { r.Links = []store.Link{{1}} })
				w.Cleanup(w.hub.hold())
				if lost {
					w.engine.FailAfter(call.op, 1, nil)
				}
				if err := call.do(w.c, r); (err != nil) != lost {
					t.Fatalf("got error %v", err)
				}
				w.isCopied("after the change", r.Key(), false)
			})
		}
	}
}

// TestRevokeNamesMoreThanItChanges: a session that another node has ended, and
// whose push is under way, is not served after an own call that names it too.
func TestRevokeNamesMoreThanItChanges(t *testing.T) {
	w := newWorld(t)
	r := w.copied()
	w.Cleanup(w.hub.hold())
	for _, s := range []store.Store{w.hub, w.c} {
		if _, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Subject: r.Subject, Now: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if got := w.load(r.Key()); !got.Ended() {
		t.Error("the session is served alive after RevokeSubject returned")
	}
}

// TestConfirmation: copies are served for a second after the beginning of the last
// confirmed heartbeat, and again after the next.
func TestConfirmation(t *testing.T) {
	w := newWorld(t)
	r := w.copied()
	release := w.hub.hold()
	w.settled()
	confirmed := w.c.Stats().Spaces[0].Confirmed
	w.ahead.Store(int64(time.Second - time.Since(confirmed) - 200*time.Millisecond))
	w.isCopied("just before the second is over", r.Key(), true)
	w.ahead.Store(int64(time.Second + time.Millisecond))
	w.isCopied("after a second", r.Key(), false)
	release()
	w.ahead.Store(0)
	w.settle()
	w.isCopied("after the next heartbeat", r.Key(), true)
}

// settled waits until nothing is being delivered any more.
func (w *world) settled() {
	w.Helper()
	last := time.Time{}
	await(w, "the last delivery", func() bool {
		before := last
		last = w.c.Stats().Spaces[0].Confirmed
		time.Sleep(5 * w.hub.beat)
		return last.Equal(before)
	})
}

// TestLostConnection: all copies go with the connection, none is kept while there is
// none, and what changed meanwhile is seen afterwards.
func TestLostConnection(t *testing.T) {
	w := newWorld(t)
	r := w.copied()
	w.hub.cut()
	await(t, "the loss to be noticed", func() bool { return !w.c.Stats().Spaces[0].Up })
	w.isCopied("without a connection", r.Key(), false)
	w.isCopied("without a connection, again", r.Key(), false)
	r.Label = "changed meanwhile"
	if err := w.hub.Swap(t.Context(), r, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.hub.mend()
	awaitCopies(t, w.c, "shop")
	if got := w.load(r.Key()).Label; got != r.Label {
		t.Errorf("got label %q after the connection was back, want %q", got, r.Label)
	}
	w.isCopied("when the connection is back", r.Key(), true)
	if lost := w.c.Stats().Spaces[0].Lost; lost == 0 {
		t.Error("got no losses counted")
	}
}

// TestFresh: a fresh Load passes the copy, and renews it.
func TestFresh(t *testing.T) {
	w := newWorld(t)
	r := w.copied()
	w.Cleanup(w.hub.hold())
	r.Label = "new"
	if err := w.hub.Swap(t.Context(), r, time.Now()); err != nil {
		t.Fatal(err)
	}
	if got := w.load(r.Key()).Label; got != "" {
		t.Fatalf("got label %q from the copy, which the test needs to be old", got)
	}
	got, err := w.c.Load(store.Fresh(t.Context()), r.Key(), nil)
	if err != nil || got.Label != "new" {
		t.Errorf("got label %q, error %v from a fresh Load, want the new one", got.Label, err)
	}
	if got := w.load(r.Key()); got.Label != "new" || len(got.Parts) != 1 {
		t.Errorf("got label %q and %d parts after the fresh Load, want the new label and the part", got.Label, len(got.Parts))
	}
}

// TestParts: a copy answers for the parts that were asked for, also those that are
// not there, and for no others.
func TestParts(t *testing.T) {
	w := newWorld(t)
	r := active(1, 10)
	r.Parts = append(r.Parts, store.Part{Name: "jar", Generation: 1, Sealed: []byte{}})
	if _, err := w.hub.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		parts []string
		asks  bool
		want  []string
	}{
		{nil, true, nil},
		{nil, false, nil},
		{[]string{"app"}, true, []string{"app"}},
		{[]string{"jar"}, true, []string{"jar"}},
		{[]string{"app", "jar"}, false, []string{"app", "jar"}},
		{[]string{"none"}, true, nil},
		{[]string{"none", "app"}, false, []string{"app"}},
		{nil, false, nil},
	} {
		before := w.engine.Calls(storetest.OpLoad)
		got, err := w.c.Load(t.Context(), r.Key(), c.parts)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, p := range got.Parts {
			names = append(names, p.Name)
		}
		slices.Sort(names)
		if asked := w.engine.Calls(storetest.OpLoad) > before; asked != c.asks || !slices.Equal(names, c.want) {
			t.Errorf("Load with %v: got parts %v, asked the engine: %t; want %v, %t", c.parts, names, asked, c.want, c.asks)
		}
	}
}

// TestTouch: an own touch moves the copy's last-seen time forward, and does not drop
// it; a Load under way that was answered before it does not become a copy.
func TestTouch(t *testing.T) {
	w := newWorld(t)
	r := w.copied()
	for _, d := range []time.Duration{time.Minute, 2 * time.Minute, time.Second} {
		if err := w.c.Touch(t.Context(), "shop", []store.Touch{{Handle: r.Handle, Seen: r.Seen.Add(d)}}); err != nil {
			t.Fatal(err)
		}
	}
	if got, want := w.load(r.Key()).Seen, r.Seen.Add(2*time.Minute); !got.Equal(want) {
		t.Errorf("got seen %v, want %v", got, want)
	}
	w.isCopied("after touches", r.Key(), true)
	if err := w.c.Touch(t.Context(), "shop", []store.Touch{{Handle: r.Handle, Seen: r.Seen.Add(13 * time.Hour)}}); err != nil {
		t.Fatal(err)
	}
	if got, want := w.load(r.Key()).Seen, r.Seen.Add(2*time.Minute); !got.Equal(want) {
		t.Errorf("got seen %v after a touch when it had expired, want %v", got, want)
	}
}

// TestAbsence: that there is no session is never remembered, a tombstone is.
func TestAbsence(t *testing.T) {
	w := newWorld(t)
	r := active(1, 10)
	for range 2 {
		w.isCopied("without a session", r.Key(), false)
	}
	r = w.copied()
	if _, err := w.hub.Revoke(t.Context(), store.Revocation{Namespace: "shop", Handle: r.Handle, Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	w.settle()
	w.isCopied("tombstone, first", r.Key(), false)
	w.isCopied("tombstone, again", r.Key(), true)
}

// TestFailures: an engine that cannot answer makes no copies, and an answer that a
// caller did not wait for neither.
func TestFailures(t *testing.T) {
	w := newWorld(t)
	r := w.copied()
	w.engine.Down(nil)
	if _, err := w.c.Load(store.Fresh(t.Context()), r.Key(), nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v from a fresh Load without an engine, want ErrUnavailable", err)
	}
	other := active(2, 1)
	if _, err := w.c.Load(t.Context(), other.Key(), nil); !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("got %v from a Load without an engine, want ErrUnavailable", err)
	}
	w.engine.Up()
	if _, err := w.c.Load(t.Context(), other.Key(), nil); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("got %v, want ErrNotFound", err)
	}
}

// TestOneLoadForMany: those who ask for the same at the same time share an answer.
func TestOneLoadForMany(t *testing.T) {
	w := newWorld(t)
	r := active(1, 10)
	if _, err := w.hub.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
		t.Fatal(err)
	}
	w.engine.Delay(storetest.OpLoad, 1, 20*time.Millisecond)
	before := w.engine.Calls(storetest.OpLoad)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { w.load(r.Key()) })
	}
	wg.Wait()
	if n := w.engine.Calls(storetest.OpLoad) - before; n > 5 {
		t.Errorf("got %d questions to the engine for 20 callers, want hardly more than one", n)
	}
}

// TestSlicesAreTheCallers: what a caller does to an answer harms no other.
func TestSlicesAreTheCallers(t *testing.T) {
	w := newWorld(t)
	r := w.copied()
	for range 2 {
		got := w.load(r.Key())
		if string(got.Parts[0].Sealed) != strings.Repeat("s", 10) || string(got.Wrap) != string(r.Wrap) {
			t.Fatalf("got %q and wrap %q, which somebody has written over", got.Parts[0].Sealed, got.Wrap)
		}
		clear(got.Parts[0].Sealed)
		clear(got.Wrap)
	}
}

// TestMemoryIsBounded: however many records are loaded, of whatever size, the memory
// stays within its bound, and what is used stays.
func TestMemoryIsBounded(t *testing.T) {
	const most = 256 << 10
	h := newHub()
	c := near(t, h, nearcache.Options{MaxBytes: most})
	awaitCopies(t, c, "shop")
	hot := fill(t, h, c, 1, 100)[0]
	for size := 1; size < 200_000; size = size*3 + 1 {
		for range 20 + 100_000/(size+300) {
			fill(t, h, c, 1, size)
			if _, err := c.Load(t.Context(), hot, nil); err != nil {
				t.Fatal(err)
			}
		}
		if st := c.Stats(); st.Bytes > most || st.Entries == 0 && size < 10_000 {
			t.Fatalf("got %d bytes for %d entries with values of %d bytes, want at most %d", st.Bytes, st.Entries, size, most)
		}
	}
	st := c.Stats()
	if st.Evictions < 500 || st.Hits < 500 {
		t.Errorf("got %d evictions and %d hits of what was always in use, want many of both", st.Evictions, st.Hits)
	}
}

// TestClose: nothing runs on after Close, and the store still answers.
func TestClose(t *testing.T) {
	before := runtime.NumGoroutine()
	h := newHub()
	c, err := nearcache.New(h, nearcache.Options{Logger: quiet()})
	if err != nil {
		t.Fatal(err)
	}
	awaitCopies(t, c, "shop")
	k := fill(t, h, c, 1, 10)[0]
	for range 2 {
		if err := c.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	await(t, "the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })
	if _, err := c.Load(t.Context(), k, nil); err != nil {
		t.Errorf("got %v from a Load after Close, want an answer of the store", err)
	}
	if st := c.Stats(); st.Entries != 0 {
		t.Errorf("got %d copies after Close, want none", st.Entries)
	}
}

// TestOptions: what cannot work is refused.
func TestOptions(t *testing.T) {
	h := newHub()
	for name, c := range map[string]struct {
		s    store.Store
		o    nearcache.Options
		want string
	}{
		"no watcher":        {external{h}, nearcache.Options{}, "Watcher"},
		"too little room":   {h, nearcache.Options{MaxBytes: 1}, "MaxBytes"},
		"older than agreed": {h, nearcache.Options{MaxAge: 2 * time.Second}, "MaxAge"},
		"negative age":      {h, nearcache.Options{MaxAge: -1}, "MaxAge"},
	} {
		if _, err := nearcache.New(c.s, c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error that names %s", name, err, c.want)
		}
	}
}

// pushless is an engine that reports no changes, as a database without pushes does.
type pushless struct {
	*hub
	asked atomic.Int32
}

func (p *pushless) Watch(context.Context, string, store.Watching) error {
	p.asked.Add(1)
	return fmt.Errorf("watching: %w", errors.ErrUnsupported)
}

// TestPushless: an engine that reports no changes is asked to once, and read.
func TestPushless(t *testing.T) {
	p := &pushless{hub: newHub()}
	c := near(t, p, nearcache.Options{})
	k := fill(t, p.hub, c, 1, 10)[0]
	await(t, "the watch", func() bool { return c.Stats().Spaces[0].Lost > 0 })
	for range 10 {
		if _, err := c.Load(t.Context(), k, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(10 * time.Millisecond) // it would be tried again after at most 15
	}
	if n, hits := p.asked.Load(), c.Stats().Hits; n != 1 || hits != 0 {
		t.Errorf("it was asked %d times and %d copies were served, want one time and none", n, hits)
	}
}

// TestUnreadNamespace: where everybody reads past copies, nobody watches.
func TestUnreadNamespace(t *testing.T) {
	w := newWorld(t)
	k := store.Key{Namespace: "shop.remember", Handle: store.Handle{1}}
	_, _ = w.c.Load(store.Fresh(t.Context()), k, nil)
	if err := w.c.Touch(t.Context(), k.Namespace, []store.Touch{{Handle: k.Handle, Seen: time.Now()}}); err != nil {
		t.Error(err)
	}
	if _, err := w.c.Revoke(t.Context(), store.Revocation{Namespace: k.Namespace, Subject: "alice", Now: time.Now()}); err != nil {
		t.Error(err)
	}
	if n := len(w.c.Stats().Spaces); n != 1 {
		t.Errorf("got %d namespaces watched, want only the one that is read", n)
	}
}

// notes counts what is written to a log.
type notes struct{ n atomic.Int32 }

func (n *notes) Write(p []byte) (int, error) {
	n.n.Add(1)
	return len(p), nil
}

// TestLog: that the connection is lost, and that it is back, is said once each.
func TestLog(t *testing.T) {
	h, said := newHub(), new(notes)
	c, err := nearcache.New(h, nearcache.Options{Logger: slog.New(slog.NewTextHandler(said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	awaitCopies(t, c, "shop")
	for outage := range 2 {
		h.cut()
		lost := c.Stats().Spaces[0].Lost
		await(t, "some attempts", func() bool { return c.Stats().Spaces[0].Lost > lost+2 })
		h.mend()
		awaitCopies(t, c, "shop")
		if got, want := said.n.Load(), int32(3+2*outage); got != want {
			t.Errorf("outage %d: got %d notes, want %d", outage+1, got, want)
		}
	}
}
