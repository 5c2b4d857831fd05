package sqlite_test

import (
	"database/sql"
	"errors"
	"os"
	"reflect"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// edit changes the database as an administrator with the sqlite3 program would.
func edit(t testing.TB, db *sql.DB, statement string, args ...any) {
	t.Helper()
	if _, err := db.Exec(statement, args...); err != nil {
		t.Fatal(err)
	}
}

// TestColumnsPrevail: what an administrator, or a thief, writes into a column is
// what the store answers; the manager then checks it against the seal.
func TestColumnsPrevail(t *testing.T) {
	later := start().Add(time.Hour)
	for _, c := range []struct {
		name, set string
		arg       any
		holds     func(r store.Record) bool
	}{
		{"locked", `locked = ?`, 1, func(r store.Record) bool { return r.Locked }},
		{"limit", `limit_at = ?`, later.UnixNano(), func(r store.Record) bool { return r.Limit.Equal(later) && !r.Alive(later) }},
		{"ended", `ended_at = ?`, later.UnixNano(), func(r store.Record) bool { return r.Ended() && r.Wrap == nil && r.Parts == nil }},
		{"subject", `subject = ?`, "bob", func(r store.Record) bool { return r.Subject == "bob" }},
		{"role", `role = ?`, "admin", func(r store.Record) bool { return r.Assurance.Role == "admin" }},
		{"tenant", `tenant = ?`, "other", func(r store.Record) bool { return r.Assurance.Tenant == "other" }},
		{"state", `state = ?`, 1, func(r store.Record) bool { return r.State == store.Anonymous }},
		{"deadline", `deadline = ?`, later.UnixNano(), func(r store.Record) bool { return r.Deadline.Equal(later) }},
		{"authenticated", `auth_at = ?`, later.UnixNano(), func(r store.Record) bool { return r.Assurance.At.Equal(later) }},
		{"idle", `idle = ?`, int64(time.Second), func(r store.Record) bool { return r.Idle == time.Second }},
		{"created", `created = ?`, later.UnixNano(), func(r store.Record) bool { return r.Created.Equal(later) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, db := openWith(t, file(t), sqlstore.Options{})
			create(t, s, record(1, "alice"))
			edit(t, db, `UPDATE sessions SET `+c.set, c.arg)
			r, err := s.Load(t.Context(), key(1), []string{"values"})
			if err != nil || !c.holds(r) {
				t.Errorf("got %+v, error %v, want the column to prevail", r, err)
			}
		})
	}
}

// TestUnreadable: a row whose blob is damaged is not a missing session, does not
// hide the others, and can be ended.
func TestUnreadable(t *testing.T) {
	for _, c := range []struct {
		name string
		head []byte
	}{{"empty", []byte{}}, {"unknown version", []byte{99, 1, 2, 3}}, {"cut off", []byte{1, 0, 3}}} {
		t.Run(c.name, func(t *testing.T) {
			s, db := openWith(t, file(t), sqlstore.Options{})
			create(t, s, record(1, "alice"))
			create(t, s, record(2, "alice"))
			edit(t, db, `UPDATE sessions SET head = ? WHERE handle = ?`, c.head, handle(1).String())

			_, err := s.Load(t.Context(), key(1), nil)
			wantUnreadable(t, "Load", err)
			r := record(1, "alice")
			r.Version, r.Label = 1, "changed"
			r.First.Agent = "another" // no Swap changes that, so the row has to be read
			wantUnreadable(t, "Swap", s.Swap(t.Context(), r, start()))
			p, err := s.List(t.Context(), store.Query{Namespace: "shop", Subject: "alice", Now: start()})
			if err != nil || len(p.Records) != 2 {
				t.Errorf("List: got %d records, error %v, want both", len(p.Records), err)
			}
			v := store.Revocation{Namespace: "shop", Subject: "alice", Cause: "admin", Now: start()}
			if done, err := s.Revoke(t.Context(), v); err != nil || len(done.Changed) != 2 {
				t.Errorf("Revoke: got %d ended, error %v, want both", len(done.Changed), err)
			}
			ended, err := s.Load(t.Context(), key(1), nil)
			if err != nil || ended.End.Cause != "admin" || ended.Subject != "alice" {
				t.Errorf("Load after Revoke: got %+v, error %v, want a tombstone", ended, err)
			}
		})
	}
}

// TestSwapRepairs: who has the version of a session, and with it what it was, puts
// a damaged blob right.
func TestSwapRepairs(t *testing.T) {
	s, db := openWith(t, file(t), sqlstore.Options{})
	create(t, s, record(1, "alice"))
	before, err := s.Load(t.Context(), key(1), nil)
	if err != nil {
		t.Fatal(err)
	}
	edit(t, db, `UPDATE sessions SET head = x'00'`)
	before.Label = "changed"
	if err := s.Swap(t.Context(), before, start()); err != nil {
		t.Fatal(err)
	}
	before.Version++
	if after, err := s.Load(t.Context(), key(1), nil); err != nil || !reflect.DeepEqual(after, before) {
		t.Errorf("got %+v, error %v, want %+v", after, err, before)
	}
}

func wantUnreadable(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, store.ErrFormat) || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnavailable) {
		t.Errorf("%s: got %v, want ErrFormat alone", what, err)
	}
}

// TestUnreadableIsSwept: damage does not stop expiry.
func TestUnreadableIsSwept(t *testing.T) {
	s, db := openWith(t, file(t), sqlstore.Options{})
	create(t, s, record(1, "alice"))
	edit(t, db, `UPDATE sessions SET head = x'00'`)
	swept, err := s.Sweep(t.Context(), store.Sweeping{Namespace: "shop", Now: start().Add(time.Hour)})
	if err != nil || len(swept.Expired) != 1 || swept.Expired[0].End.Cause != store.CauseIdle {
		t.Errorf("got %+v, error %v, want one session ended for being idle", swept, err)
	}
}

// TestCorruptFile: a damaged file is an unavailable store, not one without
// sessions.
func TestCorruptFile(t *testing.T) {
	name := file(t)
	s, db := openWith(t, name, sqlstore.Options{})
	for n := range 20 {
		create(t, s, record(n, "alice"))
	}
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	db.Close()
	whole, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	const page = 4096
	for first := page; first < len(whole); first += page {
		damaged := append([]byte(nil), whole...)
		for i := first; i < first+page; i++ {
			damaged[i] ^= 0x5a
		}
		if err := os.WriteFile(name, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		useDamaged(t, name, first/page+1)
	}
}

func useDamaged(t *testing.T, name string, page int) {
	t.Helper()
	db, err := sql.Open("sqlite", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		return // refused; the program does not start
	}
	defer s.Close(t.Context())
	for n := range 20 {
		_, err := s.Load(t.Context(), key(n), []string{"values"})
		if err != nil && !errors.Is(err, store.ErrUnavailable) && !errors.Is(err, store.ErrFormat) {
			t.Errorf("page %d damaged, session %d: got %v, want ErrUnavailable", page, n, err)
		}
	}
	_, err = s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Subject: "alice", Now: start()})
	if err != nil && !errors.Is(err, store.ErrUnavailable) {
		t.Errorf("page %d damaged: Revoke: got %v, want ErrUnavailable", page, err)
	}
}
