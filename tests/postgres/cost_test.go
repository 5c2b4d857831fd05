package postgres_test

import (
	"database/sql"
	"fmt"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// position returns where the server's write-ahead log ends.
func position(t *testing.T, db *sql.DB) (at int64) {
	t.Helper()
	if err := db.QueryRow(`SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint`).Scan(&at); err != nil {
		t.Fatal(err)
	}
	return at
}

// TestReadsWriteNothing: loads, alone and together, and lists leave nothing in the
// write-ahead log, and hold no transaction open.
func TestReadsWriteNothing(t *testing.T) {
	url := database(t)
	s, db := open(t, url, sqlstore.Options{}), connect(t, url)
	fill(t, url, 1000)
	edit(t, db, `VACUUM`)     // the first to look at new rows writes hints
	edit(t, db, `CHECKPOINT`) // nothing else is left to be written
	reads := func() {
		for n := range 200 {
			if _, err := s.Load(t.Context(), key(n), []string{"values"}); err != nil {
				t.Fatal(err)
			}
		}
		together(64, func(worker int) {
			for n := range 50 {
				if _, err := s.Load(t.Context(), key(worker*10+n), []string{"values"}); err != nil {
					t.Error(err)
				}
			}
		})
		if _, err := s.List(t.Context(), store.Query{Namespace: "shop", Now: sqltest.Start()}); err != nil {
			t.Fatal(err)
		}
	}
	// Other processes of the server write a little now and then; reads would
	// each time.
	for range 5 {
		before := position(t, db)
		reads()
		if position(t, db) == before {
			return
		}
	}
	t.Error("got records in the write-ahead log at each of 5 attempts, want none")
}

// TestTouchesWriteNoIndex: touches and changes are heap-only updates, as long as
// pages are cleaned up, which leave the indexes alone.
func TestTouchesWriteNoIndex(t *testing.T) {
	url := database(t)
	s, db := open(t, url, sqlstore.Options{Writers: 1}), connect(t, url)
	const n, rounds = 500, 6
	fill(t, url, n)
	for round := range rounds {
		var touches []store.Touch
		for i := range n {
			touches = append(touches, store.Touch{Handle: key(i).Handle, Seen: sqltest.Start().Add(time.Duration(round+1) * time.Minute)})
		}
		if err := s.Touch(t.Context(), "shop", touches); err != nil {
			t.Fatal(err)
		}
		together(64, func(worker int) {
			for i := worker; i < n; i += 64 {
				r, err := s.Load(t.Context(), key(i), []string{"values"})
				if err == nil {
					r.Label = fmt.Sprint("round ", round)
					r.Parts[0].Generation++
					err = s.Swap(t.Context(), r, r.Seen)
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	if err := s.Close(t.Context()); err != nil { // whereupon the server's processes report what they did
		t.Fatal(err)
	}
	for _, table := range []string{"sessions", "session_parts"} {
		var all, hot int
		for deadline := time.Now().Add(time.Minute); all < n*rounds && time.Now().Before(deadline); {
			if err := db.QueryRow(`SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1`, table).Scan(&all, &hot); err != nil {
				t.Fatal(err)
			}
		}
		if all < n*rounds || hot < all*8/10 {
			t.Errorf("%s: got %d heap-only updates of %d, want most", table, hot, all)
		}
		t.Logf("%s: %d heap-only updates of %d", table, hot, all)
	}
}

// TestSweepLooksAgain: sessions that were used since they came into the queue are
// passed over, put off, and swept when they have expired.
func TestSweepLooksAgain(t *testing.T) {
	s := open(t, database(t), sqlstore.Options{})
	const n = 100
	var touches []store.Touch
	for i := range n {
		sqltest.Create(t, s, sqltest.Record(i, "alice"))
		touches = append(touches, store.Touch{Handle: sqltest.Handle(i), Seen: sqltest.Start().Add(20 * time.Minute)})
	}
	if err := s.Touch(t.Context(), "shop", touches[:n-1]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{40 * time.Minute, 1}, {40 * time.Minute, 0}, {50*time.Minute - 1, 0}, {50 * time.Minute, n - 1}} {
		swept, err := s.Sweep(t.Context(), store.Sweeping{Namespace: "shop", Now: sqltest.Start().Add(c.after)})
		if err != nil || len(swept.Expired) != c.want || swept.More {
			t.Errorf("after %v: got %d expired, more %v, error %v, want %d", c.after, len(swept.Expired), swept.More, err, c.want)
		}
	}
}

// TestEditedLimit: an administrator who shortens a session's life in its column
// need not think of when it will be swept.
func TestEditedLimit(t *testing.T) {
	url := database(t)
	s, db := open(t, url, sqlstore.Options{}), connect(t, url)
	sqltest.Create(t, s, sqltest.Record(1, "alice"))
	end := sqltest.Start().Add(time.Minute)
	edit(t, db, `UPDATE sessions SET limit_at = $1`, end.UnixNano())
	swept, err := s.Sweep(t.Context(), store.Sweeping{Namespace: "shop", Now: end})
	if err != nil || len(swept.Expired) != 1 || swept.Expired[0].End.Cause != store.CauseAbsolute {
		t.Errorf("got %+v, error %v, want one session expired", swept, err)
	}
}
