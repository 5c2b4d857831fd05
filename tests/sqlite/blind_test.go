package sqlite_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// marked returns a record in which every field has a recognisable value.
func marked() store.Record {
	r := record(1, "MARK-subject")
	r.Assurance.Role, r.Assurance.Tenant, r.Label = "MARK-role", "MARK-tenant", "MARK-label"
	r.Assurance.Methods = []string{"MARK-method"}
	r.First.Agent, r.Last.Agent = "MARK-first", "MARK-last"
	copy(r.Verifier[:], "MARK-verifier")
	r.Wrap = []byte("MARK-wrap")
	r.Predecessor = &store.Predecessor{Successor: []byte("MARK-successor")}
	r.Extensions = []store.Extension{{Name: "MARK-extension", Value: []byte("MARK-value")}}
	r.Links = []store.Link{store.Link([]byte("MARK-link-0123456"))}
	r.Parts = []store.Part{{Name: "MARK-part", Generation: 1, Sealed: []byte("MARK-sealed")}}
	return r
}

// TestTombstoneKeepsNothing: of a session that has ended, no part and nothing
// that opens anything is left in the tables.
func TestTombstoneKeepsNothing(t *testing.T) {
	s, db := openWith(t, file(t), sqlstore.Options{})
	create(t, s, marked())
	for _, want := range []string{"wrap", "successor", "sealed", "first", "label", "value"} {
		if !strings.Contains(dump(t, db), "MARK-"+want) {
			t.Fatalf("%s is not found in the living session, so the test proves nothing", want)
		}
	}
	_, err := s.Revoke(t.Context(), store.Revocation{Namespace: "shop", Subject: "MARK-subject", Now: start()})
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []string{"wrap", "successor", "sealed", "first", "last", "label", "value", "extension", "part"} {
		if strings.Contains(dump(t, db), "MARK-"+gone) {
			t.Errorf("found %s in the tables after the session had ended", gone)
		}
	}
	if _, err := s.Sweep(t.Context(), store.Sweeping{Namespace: "shop", Now: start().Add(25 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	if rest := dump(t, db); strings.Contains(rest, "MARK-") {
		t.Errorf("found something in the tables after the sweep: %q", rest)
	}
}

// dump returns every value of every table that belongs to the store.
func dump(t testing.TB, db *sql.DB) string {
	t.Helper()
	var all strings.Builder
	for _, table := range []string{"sessions", "session_parts", "session_links", "session_epochs", "session_revocations"} {
		rows, err := db.Query(`SELECT * FROM ` + table)
		if err != nil {
			t.Fatal(err)
		}
		columns, err := rows.Columns()
		if err != nil {
			t.Fatal(err)
		}
		values, dest := make([]sql.RawBytes, len(columns)), make([]any, len(columns))
		for i := range values {
			dest[i] = &values[i]
		}
		for rows.Next() {
			if err := rows.Scan(dest...); err != nil {
				t.Fatal(err)
			}
			for i := range values {
				all.Write(values[i])
				all.WriteByte('\n')
			}
		}
		rows.Close()
	}
	return all.String()
}

// TestFilesHoldWhatWasPassed: every string of the raw database and log that looks
// like one of ours is one that the caller passed, so that nothing is derived,
// decoded or repeated elsewhere; and no temporary file holds anything.
func TestFilesHoldWhatWasPassed(t *testing.T) {
	name := file(t)
	s := open(t, name, sqlstore.Options{})
	create(t, s, marked())
	allowed := []string{"subject", "role", "tenant", "label", "method", "first", "last", "verifier", "wrap",
		"successor", "extension", "value", "link-", "part", "sealed"}
	for _, suffix := range []string{"", "-wal", "-shm"} {
		raw, err := os.ReadFile(name + suffix)
		if err != nil {
			t.Fatal(err)
		}
		for _, rest := range bytes.Split(raw, []byte("MARK-"))[1:] {
			known := false
			for _, a := range allowed {
				known = known || bytes.HasPrefix(rest, []byte(a))
			}
			if !known {
				t.Errorf("got %q in %s, which nobody passed", rest[:min(20, len(rest))], suffix)
			}
		}
	}
	entries, err := os.ReadDir(strings.TrimSuffix(name, "/sessions.db"))
	if err != nil || len(entries) != 3 {
		t.Errorf("got files %v, error %v, want the database, its log and the log's index", entries, err)
	}
}

// TestErrorsHoldNoValues: whatever goes wrong, the text names handles at most.
func TestErrorsHoldNoValues(t *testing.T) {
	for _, kind := range []fault{{err: errInjected, lasting: true}, {err: errInjected}, {err: codedError(13)}} {
		db, f := faultyDB(t, file(t))
		s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), sqlstore.Options{BusyTimeout: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		r := marked()
		create(t, s, r)
		errs := badCalls(t.Context(), s, r)
		f.arm(kind, 3, nil)
		errs = append(errs, badCalls(t.Context(), s, r)...)
		f.disarm()
		if err := errors.Join(errs...); err == nil || strings.Contains(err.Error(), "MARK-") {
			t.Errorf("got %v, want errors without values", err)
		}
		s.Close(context.Background())
	}
}

func badCalls(ctx context.Context, s *sqlstore.Store, r store.Record) []error {
	_, exists := s.Create(ctx, store.Creation{Record: r, Now: start(), Since: start(), Max: 5})
	other := r
	other.Handle = handle(2)
	_, limit := s.Create(ctx, store.Creation{Record: other, Now: start(), Max: 1})
	_, replace := s.Create(ctx, store.Creation{Record: other, Now: start(), Replace: &store.Replace{Handle: handle(3)}})
	_, load := s.Load(ctx, key(3), []string{"MARK-part"})
	swap := s.Swap(ctx, r, start())
	_, two := s.Revoke(ctx, store.Revocation{Namespace: "shop", Subject: "MARK-subject", All: true})
	_, cursor := s.List(ctx, store.Query{Namespace: "shop", Cursor: "MARK-cursor", Subject: "MARK-subject"})
	return []error{exists, limit, replace, load, swap, two, cursor}
}
