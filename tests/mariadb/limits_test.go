package mariadb_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"cloakroom.example/servers"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestLargest: the largest of everything comes back whole.
func TestLargest(t *testing.T) {
	large, err := servers.StartMariaDB(t.Context(), servers.Options{Unsynced: true, Args: []string{"--max-allowed-packet=64M"}})
	if err != nil {
		t.Fatal(err)
	}
	defer large.Close()
	s := open(t, databaseOn(t, large), sqlstore.Options{})
	r := sqltest.Record(1, strings.Repeat("ü", 512))
	r.Assurance.Role, r.Assurance.Tenant = strings.Repeat("r", 2048), strings.Repeat("t", 2048)
	r.Wrap = make([]byte, 1<<20)
	// The payload's limit of 16 MiB, and what sealing adds.
	r.Parts = []store.Part{
		{Name: "values", Generation: 1, Sealed: bytes.Repeat([]byte{0, 255, '\'', '\\'}, 4<<20+256)},
		{Name: strings.Repeat("n", 1024), Generation: 1, Sealed: []byte{}},
	}
	sqltest.Create(t, s, r)
	r.Version = 1
	if err := s.Swap(t.Context(), r, sqltest.Start()); err != nil {
		t.Fatal(err)
	}
	got, err := s.Load(t.Context(), r.Key(), []string{"values", r.Parts[1].Name})
	if err != nil || len(got.Parts) != 2 {
		t.Fatalf("got %d parts, error %v, want 2", len(got.Parts), err)
	}
	for _, p := range got.Parts {
		want := r.Parts[0]
		if p.Name != want.Name {
			want = r.Parts[1]
		}
		if p.Name != want.Name || !bytes.Equal(p.Sealed, want.Sealed) {
			t.Errorf("got part %.20q of %d bytes, want the one stored", p.Name, len(p.Sealed))
		}
	}
	if got.Subject != r.Subject || got.Assurance.Role != r.Assurance.Role || got.Assurance.Tenant != r.Assurance.Tenant || len(got.Wrap) != len(r.Wrap) {
		t.Error("got a record that differs from the one stored")
	}
}

// TestTooLarge: what does not fit is refused, never cut, even where the server would
// rather cut it; the error does not hold it, and others go on.
func TestTooLarge(t *testing.T) {
	s := open(t, database(t)+"?sql_mode=''", sqlstore.Options{Readers: 1, Writers: 1})
	sqltest.Create(t, s, sqltest.Record(1, "alice"))
	for _, c := range []struct {
		name   string
		change func(r *store.Record)
	}{
		{"subject", func(r *store.Record) { r.Subject = strings.Repeat("MARK", 257) }},
		{"role", func(r *store.Record) { r.Assurance.Role = strings.Repeat("MARK", 513) }},
		{"tenant", func(r *store.Record) { r.Assurance.Tenant = strings.Repeat("MARK", 513) }},
		{"name of a part", func(r *store.Record) { r.Parts[0].Name = strings.Repeat("MARK", 257) }},
		{"packet", func(r *store.Record) { r.Parts[0].Sealed = bytes.Repeat([]byte("MARK"), 5<<20) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := sqltest.Record(2, "alice")
			c.change(&r)
			_, err := s.Create(t.Context(), store.Creation{Record: r, Now: sqltest.Start()})
			if !errors.Is(err, store.ErrUnavailable) || strings.Contains(err.Error(), "MARK") {
				t.Errorf("got %.200v, want ErrUnavailable without the value", err)
			}
			t.Logf("%.200v", err)
			if _, err := s.Load(t.Context(), r.Key(), nil); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("afterwards: got %v, want nothing to be there", err)
			}
			if _, err := s.Load(t.Context(), sqltest.Key(1), nil); err != nil {
				t.Errorf("another session: %v", err)
			}
		})
	}
}

// TestMissingLocks: rows that operations wait for each other by, and that somebody
// has deleted, are missed.
func TestMissingLocks(t *testing.T) {
	s, db := openWith(t, database(t), sqlstore.Options{})
	if _, err := db.Exec(`DELETE FROM session_locks`); err != nil {
		t.Fatal(err)
	}
	_, err := s.Create(t.Context(), store.Creation{Record: sqltest.Record(1, "alice"), Now: sqltest.Start()})
	if !errors.Is(err, store.ErrUnavailable) || !strings.Contains(err.Error(), "session_locks") {
		t.Errorf("got %v, want ErrUnavailable that names the table", err)
	}
}
