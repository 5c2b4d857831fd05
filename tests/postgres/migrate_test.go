package postgres_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// childURL lets the test binary run itself again as a second node that opens the
// database named.
const childURL = "CLOAKROOM_TEST_URL"

func child(url string) {
	db, _, err := sqltest.OpenFaulty("pgx", url)
	if err != nil {
		panic(err)
	}
	s, err := sqlstore.Open(context.Background(), db, sqlstore.PostgreSQL(), sqlstore.Options{})
	if err != nil {
		panic(err)
	}
	if err := s.Close(context.Background()); err != nil {
		panic(err)
	}
}

// TestOpenAtOnce: several stores and processes find one empty database and all
// want to create the tables.
func TestOpenAtOnce(t *testing.T) {
	url := database(t)
	var wg sync.WaitGroup
	for n := range 6 {
		wg.Go(func() {
			sqltest.Create(t, open(t, url, sqlstore.Options{Readers: 1, Writers: 1}), sqltest.Record(n, "alice"))
		})
		if n%3 == 0 {
			wg.Go(func() {
				cmd := exec.Command(os.Args[0])
				cmd.Env = append(os.Environ(), childURL+"="+url)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("another process: %v: %s", err, out)
				}
			})
		}
	}
	wg.Wait()
	s := open(t, url, sqlstore.Options{})
	for n := range 6 {
		if _, err := s.Load(t.Context(), sqltest.Key(n), nil); err != nil {
			t.Errorf("session %d: %v", n, err)
		}
	}
}

// TestMigrationIsUndone: a migration that is cut short leaves nothing.
func TestMigrationIsUndone(t *testing.T) {
	for step := 1; ; step++ {
		url := database(t)
		db, f := sqltest.FaultyDB(t, "pgx", url)
		f.Arm(sqltest.Fault{Err: sqltest.ErrInjected}, step, nil)
		_, _, err := sqlstore.Migrate(t.Context(), db, sqlstore.PostgreSQL())
		fired := f.Disarm()
		s, checked := sqlstore.Check(t.Context(), connect(t, url), sqlstore.PostgreSQL())
		switch {
		case checked != nil:
			t.Fatal(checked)
		case err != nil && s.Version != 0 && !s.Current():
			t.Errorf("step %d: got version %d after %v, want none or all", step, s.Version, err)
		case !fired && err != nil:
			t.Fatal(err)
		}
		if !fired {
			if step < 10 {
				t.Errorf("got %d steps, want those of a migration", step)
			}
			return
		}
		open(t, url, sqlstore.Options{Readers: 1, Writers: 1})
	}
}

// TestRollingDeploy: this program works on tables of a newer one that says so,
// while others are refused; and a store that is open goes on.
func TestRollingDeploy(t *testing.T) {
	url := database(t)
	old, db := openWith(t, url, sqlstore.Options{})
	s, err := sqlstore.Check(t.Context(), db, sqlstore.PostgreSQL())
	if err != nil || !s.Current() || s.Usable() != nil {
		t.Fatalf("got %+v, error %v, want current tables", s, err)
	}
	// What a later migration may do and call compatible.
	edit(t, db, `ALTER TABLE sessions ADD COLUMN later bigint NOT NULL DEFAULT 7`)
	edit(t, db, `INSERT INTO session_migrations (version, compatible) VALUES ($1, $2)`, s.Known+1, s.Known)
	sqltest.Create(t, old, sqltest.Record(1, "alice"))
	sqltest.Create(t, open(t, url, sqlstore.Options{KeepSchema: true}), sqltest.Record(2, "alice"))
	for _, op := range sqltest.Operations() {
		sqltest.Scene(t, old, op.Name)
		if err := op.Run(t.Context(), old, op.Name); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
	edit(t, db, `UPDATE session_migrations SET compatible = $1 WHERE version = $1`, s.Known+1)
	want := fmt.Sprintf("its tables have version %d, this program knows version %d and older", s.Known+1, s.Known)
	if _, err := sqlstore.Open(t.Context(), db, sqlstore.PostgreSQL(), sqlstore.Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

// TestKeepSchema: a store that may not migrate says what is missing; Migrate and
// Check say what was done.
func TestKeepSchema(t *testing.T) {
	db := connect(t, database(t))
	_, err := sqlstore.Open(t.Context(), db, sqlstore.PostgreSQL(), sqlstore.Options{KeepSchema: true})
	const want = "sqlstore: opening PostgreSQL database: there are no tables: they have to be created by migrating"
	if err == nil || err.Error() != want {
		t.Errorf("got %v, want %q", err, want)
	}
	from, to, err := sqlstore.Migrate(t.Context(), db, sqlstore.PostgreSQL())
	if err != nil || from.Version != 0 || !to.Current() {
		t.Errorf("got from %+v to %+v, error %v", from, to, err)
	}
	openOn(t, db, sqlstore.Options{KeepSchema: true})
}

// TestLeastPrivileges: an account that owns nothing can use the tables.
func TestLeastPrivileges(t *testing.T) {
	url := database(t)
	_, admin := openWith(t, url, sqlstore.Options{})
	role := fmt.Sprint("role_", time.Now().UnixNano())
	edit(t, admin, `CREATE ROLE `+role+` LOGIN PASSWORD 'secret'`)
	edit(t, admin, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+role)
	edit(t, admin, `REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
	_, rest, _ := strings.Cut(url, "@")
	s := open(t, "postgres://"+role+":secret@"+rest, sqlstore.Options{})
	for _, op := range sqltest.Operations() {
		sqltest.Scene(t, s, op.Name)
		if err := op.Run(t.Context(), s, op.Name); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
}
