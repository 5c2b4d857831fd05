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

func (s *slow) DoMulti(ctx context.Context, multi ...rueidis.Completed) []rueidis.RedisResult {
	if s.left.Add(-1) == 0 {
		close(s.reached)
		<-s.release
	}
	return s.Client.DoMulti(ctx, multi...)
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
	for n := range 9 { // the batches of commands, and more because scripts are sent twice at first
		t.Run(fmt.Sprint("before batch ", n+1), func(t *testing.T) {
			t.Parallel()
			s := engines()[0].open(t)
			late, held := openSlow(t, s)
			login := func(s store.Store) (store.Record, error) {
				r := typical("shop", 0, 10)
				_, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created, Max: 1})
				return r, err
			}
			held.left.Store(int64(n + 1))
			answer := make(chan error, 1)
			go func() {
				// The held call itself has the time.
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				r := typical("shop", 0, 10)
				_, err := late.Create(ctx, store.Creation{Record: r, Now: r.Created, Max: 1})
				answer <- err
			}()
			select {
			case <-held.reached:
			case err := <-answer:
				t.Logf("a creation has fewer batches: %v", err)
				return
			}
			var second error
			await(t, "login beside one that is held up", func() error {
				_, second = login(s)
				if errors.Is(second, store.ErrLimit) {
					return nil
				}
				return second
			})
			close(held.release)
			first := <-answer
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
