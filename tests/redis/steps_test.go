package redis_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// failing is a client that fails at one command: before it is sent, or after it was
// executed. From then on it is dead, or lives on.
type failing struct {
	rueidis.Client
	left  atomic.Int64 // commands until then; not armed if negative
	after bool
	dies  bool
	hit   atomic.Bool
}

// fails reports whether the next command fails.
func (f *failing) fails() bool {
	if f.hit.Load() && f.dies {
		return true
	}
	if f.left.Add(-1) == 0 {
		f.hit.Store(true)
		return true
	}
	return false
}

func (f *failing) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	first := !f.hit.Load()
	if !f.fails() {
		return f.Client.Do(ctx, cmd)
	}
	if f.after && first {
		f.Client.Do(ctx, cmd)
	}
	return rueidis.NewErrorResult(io.EOF)
}

func (f *failing) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	all := make([]rueidis.RedisResult, len(multi))
	for i, cmd := range multi {
		all[i] = f.Do(ctx, cmd)
	}
	return all
}

// creationSteps is how many commands such a login takes, and a few more.
const creationSteps = 26

// TestCreateFailsBetweenSteps lets a login that replaces a session, under a limit,
// fail at each command in every way, and looks at what is left.
func TestCreateFailsBetweenSteps(t *testing.T) {
	for _, e := range []engine{engines()[0], engines()[2]} {
		for _, dies := range []bool{true, false} {
			for _, after := range []bool{true, false} {
				name := fmt.Sprintf("%s/dies=%t/executed=%t", e.name, dies, after)
				for n := 1; n <= creationSteps; n++ {
					t.Run(fmt.Sprintf("%s/%d", name, n), func(t *testing.T) {
						t.Parallel()
						failAt(t, e, n, after, dies)
					})
				}
			}
		}
	}
}

func failAt(t *testing.T, e engine, n int, after, dies bool) {
	s := e.open(t)
	ctx, now := t.Context(), time.Now()
	client, err := rueidis.NewClient(s.option)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	f := &failing{Client: client, after: after, dies: dies}
	f.left.Store(-1)
	broken, err := redisstore.New(ctx, f, redisstore.Options{Prefix: s.options.Prefix, WaitReplicas: -1})
	if err != nil {
		t.Fatal(err)
	}
	make := func(i int) store.Record {
		r := typical("shop", 0, 10)
		r.Created, r.Links = now.Add(time.Duration(i)*time.Second), []store.Link{{byte(i)}}
		return r
	}
	guest, oldest, fresh := make(0), make(1), make(2)
	guest.State, guest.Subject, guest.Links = store.Anonymous, "", nil
	for _, r := range []store.Record{guest, oldest} {
		if _, err := s.Create(ctx, store.Creation{Record: r, Now: now}); err != nil {
			t.Fatal(err)
		}
	}
	c := store.Creation{Record: fresh, Now: now, Since: now, Max: 1, EvictOldest: true,
		Replace: &store.Replace{Handle: guest.Handle, Version: 1}}

	short, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	f.left.Store(int64(n))
	_, err = broken.Create(short, c)
	if n == creationSteps && f.hit.Load() {
		t.Errorf("a login takes more than %d commands", n)
	}
	if err := broken.Close(); err != nil { // waits for what goes on behind our backs
		t.Error(err)
	}
	afterFailure(t, s, err, guest, oldest, fresh)
	stillWorks(t, s, now, fresh)
}

// afterFailure compares what is there with what the caller was told.
func afterFailure(t *testing.T, s opened, err error, guest, oldest, fresh store.Record) {
	t.Helper()
	alive := func(r store.Record) (alive, settled bool) {
		got, err := s.Load(t.Context(), r.Key(), nil)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		alive = err == nil && !got.Ended()
		for key, left := range everyKey(t, s) {
			settled = settled || kindOf(s, key) == 'r' && key[len(key)-22:] == r.Handle.String() && left > time.Hour
		}
		return alive, alive && settled
	}
	guestAlive, _ := alive(guest)
	oldestAlive, _ := alive(oldest)
	freshAlive, freshSettled := alive(fresh)
	state := fmt.Sprintf("replaced alive: %t, oldest alive: %t, new alive: %t, for good: %t; error %v", guestAlive, oldestAlive, freshAlive, freshSettled, err)
	switch {
	case err == nil:
		if guestAlive || oldestAlive || !freshSettled {
			t.Errorf("Create was acknowledged: %s", state)
		}
	case errors.Is(err, store.ErrUnknownOutcome):
		if freshSettled && (guestAlive || oldestAlive) {
			t.Errorf("there are more sessions than there may be: %s", state)
		}
	default:
		if !errors.Is(err, store.ErrUnavailable) || freshAlive || !guestAlive || !oldestAlive {
			t.Errorf("Create changed something: %s", state)
		}
	}
	for key, left := range everyKey(t, s) {
		if left < 0 {
			t.Errorf("key %q has no end", key)
		}
	}
}

// stillWorks logs the same user in once the reservation has lapsed, and revokes
// him.
func stillWorks(t *testing.T, s opened, now time.Time, fresh store.Record) {
	t.Helper()
	ctx := t.Context()
	next := typical("shop", 0, 10)
	next.Created = now.Add(time.Hour)
	began := time.Now()
	for {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		_, err := s.Create(short, store.Creation{Record: next, Now: now, Since: now, Max: 1, EvictOldest: true})
		cancel()
		if err == nil {
			break
		}
		if time.Since(began) > 30*time.Second {
			t.Fatalf("no login is possible any more: %v", err)
		}
	}
	page, err := s.List(ctx, store.Query{Namespace: "shop", Subject: fresh.Subject, Now: now})
	if err != nil || len(page.Records) != 1 || page.Records[0].Handle != next.Handle {
		t.Errorf("after the next login %d sessions are alive, error %v; want that one", len(page.Records), err)
	}
	v := store.Revocation{Namespace: "shop", Subject: fresh.Subject, Cause: "admin", Now: now.Add(time.Second)}
	if revoked, err := s.Revoke(ctx, v); err != nil || len(revoked.Changed) != 1 {
		t.Errorf("Revoke ended %d sessions, error %v; want 1", len(revoked.Changed), err)
	}
	for _, r := range []store.Record{next, fresh} {
		got, err := s.Load(ctx, r.Key(), nil)
		if errors.Is(err, store.ErrNotFound) || err == nil && got.Ended() {
			continue
		}
		for key, left := range everyKey(t, s) {
			if kindOf(s, key) == 'r' && key[len(key)-22:] == r.Handle.String() && left > 3*time.Minute {
				t.Errorf("after Revoke a session of the user is alive, for %v (error %v)", left, err)
			}
		}
	}
}
