package memory_test

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestChurn lets the sessions of some users come and go for months, with sizes from
// nothing to what is too large for any slot, so that every place is used again and
// again, and compares them with plain records.
func TestChurn(t *testing.T) {
	s, now, want := memory.New(), start, map[store.Handle]store.Record{}
	for i := range 6000 {
		x := benchMix(uint64(i + 1))
		now = now.Add(time.Duration(x % uint64(4*time.Minute)))
		r := active(i, fmt.Sprint("user ", x%50))
		r.Created, r.Seen, r.Wrap = now, now, benchRandom(x, 61)
		r.First.Agent = benchAgents()[x>>8%12]
		r.Last = r.First
		if x%3 == 0 {
			r.Links = []store.Link{{byte(x >> 16)}, {byte(x >> 24), 1}}
		}
		if x%4 > 0 {
			r.Parts = []store.Part{{Name: "app", Generation: x, Sealed: benchRandom(x, 1+int(x>>32%(1<<(x>>48%17))))}}
		}
		create(t, s, r)
		want[r.Handle] = r
		for h, r := range want { // of any session
			r = churn(t, s, r, x, now)
			want[h] = r
			same(t, s, r)
			break
		}
		if i%16 == 0 {
			sweep(t, s, now)
			for h, r := range want {
				if !r.Ended() && !r.Alive(now) {
					cause, _ := r.Expired(now)
					r.Finish(store.End{At: now, Cause: cause})
					want[h] = r
				}
				if r.Ended() && r.End.At.Before(now.Add(-store.TombstoneTime)) {
					delete(want, h)
				}
			}
		}
		if i%1000 == 999 {
			compareAll(t, s, want)
		}
	}
}

// churn changes one session, and returns what it should be.
func churn(t *testing.T, s *memory.Store, r store.Record, x uint64, now time.Time) store.Record {
	switch x >> 40 % 4 {
	case 0:
		if r.Touch(now); s.Touch(t.Context(), "", []store.Touch{{Handle: r.Handle, Seen: now}}) != nil {
			t.Fatal("touching")
		}
	case 1:
		v := store.Revocation{Handle: r.Handle, Cause: "admin", By: "root", Now: now}
		revoke(t, s, v)
		r.Revoke(v)
	default:
		to := r
		to.Label, to.Predecessor = fmt.Sprint("label ", x%100), &store.Predecessor{Successor: benchRandom(x, 61)}
		to.Parts = []store.Part{{Name: "app", Generation: x, Sealed: benchRandom(x, 1+int(x>>20%(1<<(x>>50%14))))}}
		if err := s.Swap(t.Context(), to, now); (err == nil) != r.Alive(now) {
			t.Fatalf("Swap: error %v, alive %v", err, r.Alive(now))
		} else if err == nil {
			r.Change(&to)
			r.Parts = to.Parts
		}
	}
	return r
}

func compareAll(t *testing.T, s *memory.Store, want map[store.Handle]store.Record) {
	t.Helper()
	for _, r := range want {
		same(t, s, r)
	}
	page, err := s.List(t.Context(), store.Query{Ended: true, Max: len(want) + 1})
	if err != nil || len(page.Records) != len(want) {
		t.Fatalf("List: %d records, error %v; want %d", len(page.Records), err, len(want))
	}
	for i := range 50 {
		q := store.Query{Subject: fmt.Sprint("user ", i), Ended: true, Max: len(want) + 1}
		page, err := s.List(t.Context(), q)
		n := 0
		for _, r := range want {
			if q.Wants(&r) {
				n++
			}
		}
		if err != nil || len(page.Records) != n {
			t.Fatalf("List of %s: %d records, error %v; want %d", q.Subject, len(page.Records), err, n)
		}
	}
}

// While sessions are removed, new ones get their numbers at once. None of those may
// be lost to its user.
func TestNumbersUsedAgain(t *testing.T) {
	s := memory.New()
	const rounds, users = 60, 4
	var group sync.WaitGroup
	for user := range users {
		group.Go(func() {
			subject := fmt.Sprint("user ", user)
			for round := range rounds {
				var made []store.Handle
				for i := range 10 {
					r := active((round*users+user)*10+i, subject)
					r.Idle = 0
					create(t, s, r)
					made = append(made, r.Handle)
				}
				ended, err := s.Revoke(t.Context(), store.Revocation{Subject: subject, Now: start})
				if err != nil {
					t.Error(err)
				}
				for _, h := range made {
					if !slices.Contains(ended.Changed, h) {
						t.Errorf("round %d: a session of %s was not revoked with the others", round, subject)
					}
				}
			}
		})
	}
	done := make(chan struct{})
	go func() {
		group.Wait()
		close(done)
	}()
	removed := 0
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		// Nothing expires by then, and what was revoked is old enough.
		swept, err := s.Sweep(t.Context(), store.Sweeping{Now: start.Add(24*time.Hour + 1)})
		if err != nil {
			t.Fatal(err)
		}
		removed += swept.Removed
	}
	if removed == 0 {
		t.Error("no session was removed while others were made")
	}
}

// Who signs out takes himself off the list of the living. When he has been removed
// before he comes to it, and another session of his has the number, that one stays.
func TestNumbersUsedAgainWhileOthersRetire(t *testing.T) {
	for range 8 {
		s := memory.New()
		const rounds, users = 400, 16
		var group sync.WaitGroup
		for user := range users {
			group.Go(func() {
				for round := range rounds {
					r := active(round*users+user, "alice")
					r.Idle = 0
					create(t, s, r)
					if round%8 == 0 {
						revoke(t, s, store.Revocation{Handle: r.Handle, Now: start})
					}
				}
			})
		}
		done := make(chan struct{})
		go func() {
			group.Wait()
			close(done)
		}()
		for over := false; !over; {
			select {
			case <-done:
				over = true
			default:
				sweep(t, s, start.Add(24*time.Hour+1))
			}
		}
		want := users * rounds * 7 / 8
		page, err := s.List(t.Context(), store.Query{Subject: "alice", Now: start, Max: users * rounds})
		if err != nil || len(page.Records) != want {
			t.Fatalf("List of alice: %d sessions, error %v; want %d", len(page.Records), err, want)
		}
	}
}
