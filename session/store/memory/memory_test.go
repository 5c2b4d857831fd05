package memory_test

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

func TestStore(t *testing.T) {
	storetest.Run(t, storetest.Harness{
		Open: func(testing.TB) store.Store { return memory.New() },
	})
}

// The suite knows nothing of how this store works inside; the tests below look for
// what can go wrong there.

var start = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// handle returns the n-th of the handles that belong to one shard, whatever their
// number.
func handle(n int) (h store.Handle) {
	binary.LittleEndian.PutUint64(h[4:], uint64(n+1)*0x9E3779B97F4A7C15)
	return h
}

// active is a session of a user that lives for half an hour.
func active(n int, subject string) store.Record {
	return store.Record{
		Handle: handle(n), Version: 1, State: store.Active, Subject: subject, Transport: store.Cookie,
		Created: start, Seen: start, Rotated: start, Idle: 30 * time.Minute,
	}
}

func create(t testing.TB, s *memory.Store, r store.Record) {
	t.Helper()
	if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
		t.Fatal(err)
	}
}

func revoke(t testing.TB, s *memory.Store, v store.Revocation) {
	t.Helper()
	if _, err := s.Revoke(t.Context(), v); err != nil {
		t.Fatal(err)
	}
}

// sweep sweeps once, and fails if there was more to do.
func sweep(t testing.TB, s *memory.Store, now time.Time) store.Swept {
	t.Helper()
	swept, err := s.Sweep(t.Context(), store.Sweeping{Now: now})
	if err != nil || swept.More {
		t.Fatalf("Sweep: more %v, error %v", swept.More, err)
	}
	return swept
}

// same compares a session with all its parts.
func same(t testing.TB, s *memory.Store, want store.Record) {
	t.Helper()
	var parts []string
	for _, p := range want.Parts {
		parts = append(parts, p.Name)
	}
	got, err := s.Load(t.Context(), want.Key(), parts)
	if err != nil || string(got.Append(nil)) != string(want.Append(nil)) {
		t.Fatalf("session %v: error %v\n got %+v\nwant %+v", want.Handle, err, got, want)
	}
}

// Numbers that are used again count for nobody twice.
func TestLimitWhereNumbersAreUsedAgain(t *testing.T) {
	s := memory.New()
	for i := range 50 {
		create(t, s, active(i, "alice"))
	}
	revoke(t, s, store.Revocation{All: true, Now: start})
	sweep(t, s, start.Add(13*time.Hour))
	if got := sweep(t, s, start.Add(25*time.Hour)).Removed; got != 50 {
		t.Fatalf("%d tombstones went, want 50", got)
	}
	for i := range 51 {
		r := active(100+i, "alice")
		r.Created, r.Seen = start.Add(26*time.Hour), start.Add(26*time.Hour)
		_, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created, Max: 50})
		if (err == nil) != (i < 50) {
			t.Errorf("session %d of 50: error %v", i+1, err)
		}
	}
}

// A cursor that no list has made is refused, whatever it names.
func TestCursorsOfNobody(t *testing.T) {
	s := memory.New()
	create(t, s, active(1, "alice"))
	for _, cursor := range []string{"0.0", "1.0", "127.0", "128.1", "-1.1", "1", "1.01", "1.1 ", "1.4294967296"} {
		if _, err := s.List(t.Context(), store.Query{Cursor: cursor, Now: start}); err == nil {
			t.Errorf("List with cursor %q: got no error", cursor)
		}
	}
}

// Subjects that share a list do not share a fate.
func TestMeetingSubjects(t *testing.T) {
	s := memory.New()
	a, b, found := s.TestOnlyMeeting()
	if !found {
		t.Fatal("found no two subjects that share a list")
	}
	create(t, s, active(1, a))
	create(t, s, active(2, b))
	for _, subject := range []string{a, b} {
		page, err := s.List(t.Context(), store.Query{Subject: subject, Now: start})
		if err != nil || len(page.Records) != 1 || page.Records[0].Subject != subject {
			t.Errorf("List of %q: %d records, error %v; want its own one", subject, len(page.Records), err)
		}
		if _, err := s.Create(t.Context(), store.Creation{Record: active(3, subject), Now: start, Max: 1}); !errors.Is(err, store.ErrLimit) {
			t.Errorf("second session of %q, where one may be: error %v, want ErrLimit", subject, err)
		}
	}
	done, err := s.Revoke(t.Context(), store.Revocation{Subject: a, Now: start})
	if err != nil || len(done.Changed) != 1 || done.Changed[0] != handle(1) {
		t.Errorf("Revoke of %q changed %v, error %v; want its own one", a, done.Changed, err)
	}
	same(t, s, active(2, b))
}
