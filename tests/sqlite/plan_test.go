package sqlite_test

import (
	"database/sql"
	"strings"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// TestNothingIsScanned asks SQLite for the plan of every statement that the
// store has used: each finds its rows by an index. For List, Count and Sweep too,
// whose cost may grow with what they return or end, but not with other
// namespaces or with what is alive.
func TestNothingIsScanned(t *testing.T) {
	db, f := faultyDB(t, file(t))
	s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	f.prepared = nil // those of the migration
	scene(t, s, "shop")
	for _, op := range operations() {
		if err := op.run(t.Context(), s, "shop"); err != nil {
			t.Logf("%s: %v", op.name, err) // an earlier one may have ended its session
		}
	}
	for _, q := range []store.Query{
		{Subject: "alice"}, {Subject: "alice", Ended: true}, {Link: store.Link{7}}, {Link: store.Link{7}, Ended: true},
		{Ended: true}, {State: store.Active, Cursor: handle(1).String()},
	} {
		q.Namespace, q.Now = "shop", start()
		if _, err := s.List(t.Context(), q); err != nil {
			t.Error(err)
		}
		if _, err := s.Count(t.Context(), q); err != nil {
			t.Error(err)
		}
	}
	checked := 0
	for _, query := range f.prepared {
		if !strings.Contains(query, "session") || strings.HasPrefix(query, "PRAGMA") {
			continue
		}
		checked++
		for _, step := range plan(t, db, query) {
			if strings.HasPrefix(step, "SCAN ") && step != "SCAN CONSTANT ROW" {
				t.Errorf("got %q for\n%s", step, query)
			}
		}
	}
	if checked < 20 {
		t.Errorf("got %d statements, want all that the store uses", checked)
	}
}

func plan(t *testing.T, db *sql.DB, query string) (steps []string) {
	t.Helper()
	args := make([]any, strings.Count(query, "?"))
	for i := range args {
		args[i] = 1
	}
	rows, err := db.Query("EXPLAIN QUERY PLAN "+query, args...)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		steps = append(steps, step)
	}
	return steps
}
