package postgres_test

import (
	"database/sql"
	"regexp"
	"strings"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestNothingIsScanned asks the server for the plan of every statement that the
// store has used, as its own connections would get it: each finds its rows by an
// index, for List, Count and Sweep too. Most were prepared while the tables were
// empty, and without statistics.
func TestNothingIsScanned(t *testing.T) {
	url := database(t)
	db, f := sqltest.FaultyDB(t, "pgx", url)
	s := openOn(t, db, sqlstore.Options{})
	f.Statements() // those of the migration
	for _, op := range sqltest.Operations() {
		sqltest.Scene(t, s, op.Name)
		if err := op.Run(t.Context(), s, op.Name); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
	together(64, func(int) { s.Load(t.Context(), sqltest.Key(1), []string{"values"}) })
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
	fill(t, url, 100_000)
	conn := asStore(t, connect(t, url))
	checked := 0
	for query, args := range f.Statements() {
		if !strings.Contains(query, "session") || strings.HasPrefix(query, "SELECT pg_") || strings.HasPrefix(query, "SELECT set_config") {
			continue
		}
		checked++
		for _, node := range plan(t, conn, query, args) {
			if whole.MatchString(node) {
				t.Errorf("got %q for\n%s", strings.TrimSpace(node), query)
			}
		}
	}
	if checked < 20 {
		t.Errorf("got %d statements, want all that the store uses", checked)
	}
}

// whole matches the steps of a plan that read a table from end to end.
var whole = regexp.MustCompile(`Seq Scan|Merge Join|Hash Join`)

// asStore returns a connection with the settings of the store's own.
func asStore(t *testing.T, db *sql.DB) *sql.Conn {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	for _, setting := range []string{`plan_cache_mode = force_generic_plan`, `enable_seqscan = off`,
		`enable_hashjoin = off`, `enable_mergejoin = off`} {
		if _, err := conn.ExecContext(t.Context(), `SET `+setting); err != nil {
			t.Fatal(err)
		}
	}
	return conn
}

func plan(t *testing.T, conn *sql.Conn, query string, args []any) (lines []string) {
	t.Helper()
	rows, err := conn.QueryContext(t.Context(), "EXPLAIN "+query, args...)
	if err != nil {
		t.Fatalf("%v for\n%s", err, query)
	}
	defer rows.Close()
	for rows.Next() {
		var line string
		if err := rows.Scan(&line); err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

// TestPlansOfEmptyTables: what is prepared while there are hardly any sessions finds
// them by more than their namespace, because it may be used when there are many.
func TestPlansOfEmptyTables(t *testing.T) {
	url := database(t)
	db, f := sqltest.FaultyDB(t, "pgx", url)
	s := openOn(t, db, sqlstore.Options{})
	f.Statements() // those of the migration
	for _, op := range sqltest.Operations() {
		sqltest.Scene(t, s, op.Name)
		if err := op.Run(t.Context(), s, op.Name); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
	together(64, func(int) { s.Load(t.Context(), sqltest.Key(1), []string{"values"}) })
	statements := f.Statements()
	edit(t, db, `TRUNCATE sessions, session_parts, session_links, session_epochs, session_revocations`)
	conn := asStore(t, connect(t, url))
	checked := 0
	for query, args := range statements {
		if !strings.Contains(query, "sessions") || strings.Contains(query, "ORDER BY s.handle LIMIT") || strings.Contains(query, "COUNT(*)") {
			continue // List and Count read whole namespaces
		}
		checked++
		if lines := strings.Join(plan(t, conn, query, args), "\n"); wholeNamespace.MatchString(lines) {
			t.Errorf("got for\n%s\nthe plan\n%s", query, lines)
		}
	}
	if checked < 10 {
		t.Errorf("got %d statements, want all that the store uses", checked)
	}
}

// wholeNamespace matches the step of a plan that reads all sessions of a namespace.
var wholeNamespace = regexp.MustCompile(` on sessions.*\n *(Index|Recheck) Cond: \(namespace = [^()]*\)(\n|$)`)
