package redis_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// slow is a client that holds one command back, and all after it, until it is let
// go.
type slow struct {
	rueidis.Client
	left    atomic.Int64
	reached chan struct{}
	release chan struct{}
}

func (s *slow) hold() {
	if s.left.Add(-1) == 0 {
		close(s.reached)
		<-s.release
	}
}

func (s *slow) Do(ctx context.Context, cmd rueidis.Completed) rueidis.RedisResult {
	s.hold()
	return s.Client.Do(ctx, cmd)
}

func (s *slow) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	s.hold()
	return s.Client.DoMulti(ctx, multi...)
}

// batchesMost is how many batches of commands a creation has at most, scripts that
// are sent twice at first included.
const batchesMost = 14

// heldUp lets a creation begin, holds it up before its n-th batch of commands for as
// long as meanwhile takes, and returns what it answers. It returns false if the
// creation has fewer batches.
func heldUp(t *testing.T, s opened, n int, c store.Creation, meanwhile func()) (err error, held bool) {
	t.Helper()
	late, client := openSlow(t, s)
	client.left.Store(int64(n))
	answer := make(chan error, 1)
	go func() {
		// The held call itself has the time.
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		_, err := late.Create(ctx, c)
		answer <- err
	}()
	select {
	case <-client.reached:
	case err := <-answer:
		return err, false
	}
	meanwhile()
	close(client.release)
	return <-answer, true
}

// TestTwiceCreated: of two creations of one handle one succeeds, and what it has made
// is found by its user, whatever the other takes back.
func TestTwiceCreated(t *testing.T) {
	for n := range batchesMost {
		t.Run(fmt.Sprint("before batch ", n+1), func(t *testing.T) {
			t.Parallel()
			s := engines()[0].open(t)
			r := typical("shop", 0, 10)
			r.Links = []store.Link{{1}}
			c := store.Creation{Record: r, Now: r.Created}
			var second error
			first, held := heldUp(t, s, n+1, c, func() {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				_, second = s.Create(ctx, c)
			})
			if !held {
				return
			}
			if (first == nil) == (second == nil) {
				t.Errorf("the creations got %v and %v, want one success", first, second)
			}
			for _, err := range []error{first, second} {
				if err != nil && !isOnly(err, store.ErrExists) && !isOnly(err, store.ErrUnavailable) {
					t.Errorf("a creation got %v", err)
				}
			}
			for _, q := range []store.Query{{Subject: r.Subject}, {Link: r.Links[0]}} {
				q.Namespace, q.Now = "shop", r.Created
				page, err := s.List(t.Context(), q)
				if err != nil || len(page.Records) != 1 {
					t.Errorf("%d sessions are found by %q and %v, error %v; want 1", len(page.Records), q.Subject, q.Link, err)
				}
			}
		})
	}
}

// TestOvertaken: a login that is overtaken by a revocation is refused, or comes
// before it and is ended, even where the revocation would not mean it.
func TestOvertaken(t *testing.T) {
	for name, v := range map[string]store.Revocation{
		"subject": {Subject: "user-00000000"}, "link": {Link: store.Link{1}}, "all": {All: true},
	} {
		for _, spares := range []bool{false, true} {
			for n := range batchesMost {
				t.Run(fmt.Sprintf("%s/spares=%t/before batch %d", name, spares, n+1), func(t *testing.T) {
					t.Parallel()
					overtaken(t, v, spares, n+1)
				})
			}
		}
	}
}

func overtaken(t *testing.T, v store.Revocation, spares bool, n int) {
	s := engines()[0].open(t)
	guest, r := typical("shop", 0, 10), typical("shop", 0, 10)
	guest.State, guest.Subject, guest.Assurance = store.Anonymous, "", store.Assurance{}
	r.Links = []store.Link{{1}}
	if _, err := s.Create(t.Context(), store.Creation{Record: guest, Now: guest.Created}); err != nil {
		t.Fatal(err)
	}
	v.Namespace, v.Cause, v.Now, v.Clock = "shop", "admin", r.Created.Add(time.Second), 1
	if spares {
		v.AuthenticatedBefore = r.Assurance.At
	}
	c := store.Creation{Record: r, Now: r.Created, Since: r.Created, Clock: 1, Replace: &store.Replace{Handle: guest.Handle, Version: 1}}
	written := false
	err, held := heldUp(t, s, n, c, func() {
		_, err := s.Load(t.Context(), r.Key(), nil)
		written = err == nil
		if _, err := s.Revoke(t.Context(), v); err != nil {
			t.Error(err)
		}
	})
	if !held {
		return
	}
	got, lerr := s.Load(t.Context(), r.Key(), nil)
	alive := lerr == nil && !got.Ended()
	switch {
	case err == nil && !written:
		t.Errorf("the login was not refused, though it had written nothing when everything was revoked")
	case err == nil && !spares && alive:
		t.Errorf("the login succeeded, and its session is alive after the revocation")
	case err != nil && (alive || !errors.Is(err, store.ErrRevoked) && !errors.Is(err, store.ErrNotFound)):
		t.Errorf("the login got %v; its session is alive: %t", err, alive)
	}
}

// openSlow opens another store on the same data, to be held up.
func openSlow(t *testing.T, s opened) (*redisstore.Store, *slow) {
	t.Helper()
	client, err := rueidis.NewClient(s.option)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.Close)
	held := &slow{Client: client, reached: make(chan struct{}), release: make(chan struct{})}
	late, err := redisstore.New(t.Context(), held, redisstore.Options{Prefix: s.options.Prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { late.Close() })
	return late, held
}

// TestSlowCreation: a login that is held up for so long that another one does not
// wait any more must not come on top of that.
func TestSlowCreation(t *testing.T) {
	for n := range batchesMost {
		t.Run(fmt.Sprint("before batch ", n+1), func(t *testing.T) {
			t.Parallel()
			s := engines()[0].open(t)
			login := func() store.Creation {
				r := typical("shop", 0, 10)
				return store.Creation{Record: r, Now: r.Created, Max: 1}
			}
			var second error
			first, held := heldUp(t, s, n+1, login(), func() {
				ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
				defer cancel()
				if _, second = s.Create(ctx, login()); second != nil && !errors.Is(second, store.ErrLimit) {
					t.Errorf("login beside one that is held up: %v", second)
				}
			})
			if !held {
				return
			}
			page, err := s.List(t.Context(), store.Query{Namespace: "shop", Subject: "user-00000000", Now: time.Now()})
			if err != nil || len(page.Records) != 1 || (first == nil) == (second == nil) {
				t.Errorf("%d sessions are alive, error %v; the one held up got %v, the other %v; want one login of the two",
					len(page.Records), err, first, second)
			}
		})
	}
}

// TestUsedWhileExpiring: a session that was used before somebody who has found it
// expired writes that down is not ended.
func TestUsedWhileExpiring(t *testing.T) {
	s := engines()[0].open(t)
	late, held := openSlow(t, s)
	ctx := t.Context()
	create := func() (store.Record, store.Revocation) {
		r := typical("shop", 0, 10)
		if _, err := s.Create(ctx, store.Creation{Record: r, Now: r.Created}); err != nil {
			t.Fatal(err)
		}
		return r, store.Revocation{Namespace: "shop", Handle: r.Handle, OnlyExpired: true, Now: r.Seen.Add(r.Idle)}
	}
	_, v := create()
	if got, err := late.Revoke(ctx, v); err != nil || len(got.Changed) != 1 {
		t.Fatalf("Revoke of an expired session ended %d, error %v; want 1", len(got.Changed), err)
	}
	r, v := create()
	held.left.Store(2) // the first reads
	ended := make(chan int, 1)
	go func() {
		got, err := late.Revoke(ctx, v)
		if err != nil {
			t.Errorf("Revoke: %v", err)
		}
		ended <- len(got.Changed)
	}()
	<-held.reached
	if err := s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: r.Seen.Add(time.Minute)}}); err != nil {
		t.Fatal(err)
	}
	close(held.release)
	n := <-ended
	got, err := s.Load(ctx, r.Key(), nil)
	if n != 0 || err != nil || got.Ended() {
		t.Errorf("a session used in time was ended: %d changed, end %+v, error %v", n, got.End, err)
	}
}
