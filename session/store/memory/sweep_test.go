package memory_test

import (
	"fmt"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// Sessions that share a second and a shard are told apart by their nanoseconds,
// however many they are.
func TestSweepWithinASecond(t *testing.T) {
	s := memory.New()
	const each = 300
	for i := range 2 * each {
		r := active(i, "alice")
		r.Seen = start.Add(time.Duration(i%2) * time.Second / 2)
		create(t, s, r)
	}
	for _, c := range []struct {
		at   time.Duration
		want int
	}{{0, each}, {time.Second / 4, 0}, {time.Second / 2, each}, {time.Hour, 0}} {
		if got := len(sweep(t, s, start.Add(30*time.Minute+c.at)).Expired); got != c.want {
			t.Errorf("sweep %v after the first expire: ended %d sessions, want %d", c.at, got, c.want)
		}
	}
}

// A session that was shortened ends then, and not at the date for which it was
// filed, even if it was touched and changed before and after.
func TestSweepOfTheShortened(t *testing.T) {
	s := memory.New()
	const all = 100
	for i := range all {
		r := active(i, fmt.Sprint("user ", i%10))
		r.Idle = 0
		create(t, s, r)
	}
	limit := start.Add(time.Hour)
	for i := range 10 {
		revoke(t, s, store.Revocation{Subject: fmt.Sprint("user ", i), Effect: store.EffectShorten, Limit: limit.Add(time.Duration(i) * time.Minute), Now: start})
	}
	for i := range all {
		r, err := s.Load(t.Context(), store.Key{Handle: handle(i)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Label = "changed"
		if err := s.Swap(t.Context(), r, start); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 10 {
		at := limit.Add(time.Duration(i) * time.Minute)
		if early := sweep(t, s, at.Add(-1)).Expired; len(early) != 0 {
			t.Errorf("%d sessions ended before their limit", len(early))
		}
		if got := sweep(t, s, at).Expired; len(got) != all/10 || got[0].Subject != fmt.Sprint("user ", i) {
			t.Errorf("%d sessions ended with limit %d, want %d", len(got), i, all/10)
		}
	}
	if got := sweep(t, s, limit.Add(9*time.Minute+24*time.Hour+1)).Removed; got != all {
		t.Errorf("%d tombstones went, want %d", got, all)
	}
}

// A clock that was far ahead for a while does not keep the tombstones of later
// days, nor lose the living that were looked at on the same date.
func TestSweepWithAClockSetBack(t *testing.T) {
	s := memory.New()
	const each = 100
	ahead := start.AddDate(10, 0, 0)
	for i := range 2 * each {
		r := active(i, []string{"alice", "bob"}[i%2])
		r.Idle, r.Deadline = 0, ahead.Add(12*time.Hour)
		create(t, s, r)
	}
	sweep(t, s, ahead)
	revoke(t, s, store.Revocation{Subject: "alice", Now: start.Add(time.Hour)})
	if got := sweep(t, s, start.Add(25*time.Hour)).Removed; got != 0 {
		t.Errorf("%d tombstones went within a day", got)
	}
	if got := sweep(t, s, start.Add(25*time.Hour+1)).Removed; got != each {
		t.Errorf("%d tombstones went after a day, want %d", got, each)
	}
	if got := len(sweep(t, s, ahead.Add(12*time.Hour)).Expired); got != each {
		t.Errorf("%d sessions expired when their time had come, want %d", got, each)
	}
}

// Removing the older half of a subject's tombstones, which stand behind the newer
// half, does not take longer than making the sessions did.
func TestSweepOfOneSubject(t *testing.T) {
	s, began := memory.New(), time.Now()
	const half = 20000
	for i := range 2 {
		at := start.Add(time.Duration(i) * time.Hour)
		for j := range half {
			r := active(i*half+j, "robot")
			r.Handle[0] = byte(j)
			r.Created, r.Seen = at, at
			create(t, s, r)
		}
		revoke(t, s, store.Revocation{Subject: "robot", Now: at})
	}
	made, began := time.Since(began), time.Now()
	swept, err := s.Sweep(t.Context(), store.Sweeping{Now: start.Add(24*time.Hour + time.Minute), Max: 2 * half})
	if err != nil || swept.Removed != half {
		t.Fatalf("Sweep: removed %d, error %v; want %d", swept.Removed, err, half)
	}
	if took := time.Since(began); took > 4*made {
		t.Errorf("removing half of the sessions took %.0f times as long as making them all", took.Seconds()/made.Seconds())
	}
}
