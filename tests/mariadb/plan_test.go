package mariadb_test

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/tests/sqltest"
)

// TestNothingIsScanned asks the server for the plan of every statement that the
// store has used: each finds its rows by an index, for List, Count and Sweep too.
func TestNothingIsScanned(t *testing.T) {
	name := database(t)
	s, f := faultyStore(t, name)
	db, err := sql.Open("mysql", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	sqltest.Scene(t, s, "shop")
	fill(t, db)
	for _, op := range sqltest.Operations() {
		if err := op.Run(t.Context(), s, "shop"); err != nil {
			t.Logf("%s: %v", op.Name, err) // an earlier one may have ended its session
		}
	}
	for _, q := range []store.Query{
		{Subject: "alice"}, {Subject: "alice", Ended: true}, {Link: store.Link{7}}, {Link: store.Link{7}, Ended: true},
		{Ended: true}, {State: store.Active, Cursor: sqltest.Handle(1).String()},
	} {
		q.Namespace, q.Now = "shop", sqltest.Start()
		if _, err := s.List(t.Context(), q); err != nil {
			t.Error(err)
		}
		if _, err := s.Count(t.Context(), q); err != nil {
			t.Error(err)
		}
	}
	manyAtOnce(t, s)
	checked, shared := 0, 0
	for query, args := range f.Statements() {
		if !strings.Contains(query, "session") || strings.Contains(query, "session_migrations") || strings.Contains(query, ") VALUES (") && !strings.Contains(query, "SELECT") {
			continue
		}
		checked++
		if strings.Contains(query, "STRAIGHT_JOIN") {
			shared++
		}
		for _, step := range plan(t, db, query, args) {
			if step.scans() {
				t.Errorf("got %q for\n%s", step, query)
			}
		}
	}
	if checked < 20 || shared < 6 {
		t.Errorf("got %d statements, %d for several operations; want all that the store uses", checked, shared)
	}
}

// manyAtOnce loads and swaps so many sessions at the same time that they share
// statements.
func manyAtOnce(t *testing.T, s store.Store) {
	t.Helper()
	var wg sync.WaitGroup
	for n := range 40 {
		sqltest.Create(t, s, sqltest.Record(100+n, "dora"))
	}
	for n := range 40 {
		wg.Go(func() {
			for range 5 {
				r, err := s.Load(t.Context(), sqltest.Key(100+n), []string{"values"}[:n%2])
				if err == nil {
					r.Parts = []store.Part{{Name: "values", Generation: 2, Sealed: []byte("new")}}
					err = s.Swap(t.Context(), r, sqltest.Start())
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// fill adds so many rows that a plan is worth making.
func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	const numbers = ` WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 900) `
	const columns = `version, state, subject, role, tenant, created, seen, idle, idle_locks, ` +
		`auth_at, deadline, locked, limit_at, ended_at, cause, ended_by, epoch, head`
	for _, statement := range []string{
		`INSERT INTO sessions (namespace, handle, ` + columns + `)` + numbers + `SELECT namespace, CONCAT(LPAD(i, 21, 'x'), 'A'), ` +
			strings.Replace(columns, "subject", "CONCAT(subject, i)", 1) + ` FROM n, sessions WHERE handle = ?`,
		`INSERT INTO session_parts (namespace, handle, name, generation, sealed)` + numbers +
			`SELECT 'shop', CONCAT(LPAD(i, 21, 'x'), 'A'), 'values', 1, '' FROM n WHERE ? <> ''`,
		`INSERT INTO session_links (namespace, handle, link)` + numbers +
			`SELECT 'shop', CONCAT(LPAD(i, 21, 'x'), 'A'), i FROM n WHERE ? <> ''`,
		`INSERT INTO session_revocations (namespace, kind, name, at, clock)` + numbers +
			`SELECT 'shop', 'subject', i, i, 0 FROM n WHERE ? <> ''`,
		`INSERT INTO session_epochs (namespace, epoch, auth_before, at, clock, cause, ended_by)` + numbers +
			`SELECT 'other', i, 1, i, 0, '', '' FROM n WHERE ? <> ''`,
	} {
		if _, err := db.Exec(statement, sqltest.Handle(4).String()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := db.Exec(`ANALYZE TABLE sessions, session_parts, session_links, session_epochs, session_revocations, session_locks`); err != nil {
		t.Fatal(err)
	}
}

// step is one row of EXPLAIN.
type step struct {
	table, kind, key sql.NullString
	rows             sql.NullInt64
	extra            sql.NullString
}

func (s step) String() string {
	return fmt.Sprintf("%s: %s by %s, %d rows, %s", s.table.String, s.kind.String, s.key.String, s.rows.Int64, s.extra.String)
}

// scans reports whether all rows of a table are read. Those of the statement's own
// making, in brackets, are few; and the target of an INSERT has no number.
func (s step) scans() bool {
	all := s.kind.String == "ALL" || s.kind.String == "index"
	return all && s.rows.Valid && !strings.HasPrefix(s.table.String, "<")
}

func plan(t *testing.T, db *sql.DB, query string, args []any) (steps []step) {
	t.Helper()
	rows, err := db.Query("EXPLAIN "+query, args...)
	if err != nil {
		t.Fatalf("%v for\n%s", err, query)
	}
	defer rows.Close()
	for rows.Next() {
		var s step
		var id, selects, possible, length, ref sql.NullString
		if err := rows.Scan(&id, &selects, &s.table, &s.kind, &possible, &s.key, &length, &ref, &s.rows, &s.extra); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, s)
	}
	return steps
}
