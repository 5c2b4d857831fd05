package mariadb_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"cloakroom.example/session/store/sqlstore"
	"cloakroom.example/tests/sqltest"
)

// TestOpenAtOnce: several stores find one empty database and all want to create
// the tables.
func TestOpenAtOnce(t *testing.T) {
	name := database(t)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() { sqltest.Create(t, open(t, name, sqlstore.Options{Readers: 1}), sqltest.Record(n, "alice")) })
	}
	wg.Wait()
	s := open(t, name, sqlstore.Options{})
	for n := range 8 {
		if _, err := s.Load(t.Context(), sqltest.Key(n), nil); err != nil {
			t.Errorf("session %d: %v", n, err)
		}
	}
}

// The test binary runs itself again as a process that opens a database and kills
// itself meanwhile. These name the database, the call of the driver at which it
// does so, and whether it lets the server begin with that call first.
const (
	childSource = "CLOAKROOM_TEST_SOURCE"
	childStep   = "CLOAKROOM_TEST_STEP"
	childDuring = "CLOAKROOM_TEST_DURING"
)

func child(name, step string, during bool) {
	n, err := strconv.Atoi(step)
	if err != nil {
		panic(err)
	}
	kill := func() { syscall.Kill(os.Getpid(), syscall.SIGKILL) }
	hook := kill
	if during {
		hook = func() { time.AfterFunc(200*time.Microsecond, kill) }
	}
	db, f, err := sqltest.OpenFaulty("mysql", name)
	if err != nil {
		panic(err)
	}
	f.Arm(sqltest.Fault{}, n, hook)
	s, err := sqlstore.Open(context.Background(), db, sqlstore.MySQL(), sqlstore.Options{Readers: 1, Writers: 1})
	if err != nil {
		panic(err)
	}
	f.Disarm()
	s.Close(context.Background())
}

// TestMigrationKilled kills a process at each of the calls that it makes while it
// creates the tables, before and during the call. Whoever comes next goes on where
// it has stopped, without waiting for the dead one's lock.
func TestMigrationKilled(t *testing.T) {
	for _, during := range []string{"", "yes"} {
		killed := 0
		for step := 1; ; step++ {
			name := database(t)
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), childSource+"="+name, childStep+"="+strconv.Itoa(step), childDuring+"="+during)
			cmd.Stderr = os.Stderr
			err := cmd.Run()
			var exit *exec.ExitError
			if err != nil && (!errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL) {
				t.Fatalf("step %d: the process that was to be killed: %v", step, err)
			}
			s := open(t, name, sqlstore.Options{Readers: 1, Writers: 1})
			sqltest.Create(t, s, sqltest.Record(1, "alice"))
			if _, err := s.Load(t.Context(), sqltest.Key(1), nil); err != nil {
				t.Errorf("killed at step %d: %v", step, err)
			}
			s.Close(t.Context())
			if err == nil {
				break
			}
			killed++
		}
		if killed < 15 {
			t.Errorf("got %d steps, want those of the migration", killed)
		}
		t.Logf("killed at %d steps", killed)
	}
}

// TestMigrationWaits: while somebody else migrates this database, nobody else
// does; another database is not concerned.
func TestMigrationWaits(t *testing.T) {
	name := database(t)
	db, err := sql.Open("mysql", name)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	var got int
	if err := conn.QueryRowContext(t.Context(), `SELECT GET_LOCK(CONCAT('cloakroom ', SHA1(DATABASE())), 0)`).Scan(&got); err != nil || got != 1 {
		t.Fatalf("taking the lock: got %d, error %v", got, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, _, err := sqlstore.Migrate(ctx, db, sqlstore.MySQL()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("migrating while somebody else does: got %v, want it to wait", err)
	}
	open(t, database(t), sqlstore.Options{})
	if _, err := conn.ExecContext(t.Context(), `DO RELEASE_ALL_LOCKS()`); err != nil {
		t.Fatal(err)
	}
	open(t, name, sqlstore.Options{})
}

// TestRollingDeploy: this program works on tables of a newer one that says so, and
// refuses all others.
func TestRollingDeploy(t *testing.T) {
	name := database(t)
	_, db := openWith(t, name, sqlstore.Options{})
	s, err := sqlstore.Check(t.Context(), db, sqlstore.MySQL())
	if err != nil || !s.Current() {
		t.Fatalf("got %+v, error %v, want current tables", s, err)
	}
	newer := func(compatible int) {
		_, err := db.Exec(`REPLACE INTO session_migrations (version, compatible) VALUES (?, ?)`, s.Known+1, compatible)
		if err != nil {
			t.Fatal(err)
		}
	}
	newer(s.Known)
	sqltest.Create(t, open(t, name, sqlstore.Options{}), sqltest.Record(1, "alice"))
	newer(s.Known + 1)
	want := fmt.Sprintf("its tables have version %d, this program knows version %d and older", s.Known+1, s.Known)
	if _, err := sqlstore.Open(t.Context(), db, sqlstore.MySQL(), sqlstore.Options{}); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want an error with %q", err, want)
	}
}

// TestLeastPrivileges: an account that may not change tables can use them, and is
// told what is missing where there are none.
func TestLeastPrivileges(t *testing.T) {
	name := database(t)
	_, admin := openWith(t, name, sqlstore.Options{})
	account := func(of string) string {
		user := fmt.Sprint("user_", databases.Add(1))
		_, rest, _ := strings.Cut(of, "@")
		schema := rest[strings.LastIndex(rest, "/")+1:]
		for _, statement := range []string{
			`CREATE USER ` + user + ` IDENTIFIED BY 'secret'`,
			`GRANT SELECT, INSERT, UPDATE, DELETE ON ` + schema + `.* TO ` + user,
		} {
			if _, err := admin.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		return user + ":secret@" + rest
	}
	s := open(t, account(name), sqlstore.Options{})
	for _, op := range sqltest.Operations() {
		sqltest.Scene(t, s, op.Name)
		if err := op.Run(t.Context(), s, op.Name); err != nil {
			t.Errorf("%s: %v", op.Name, err)
		}
	}
	db, err := sql.Open("mysql", account(database(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = sqlstore.Open(t.Context(), db, sqlstore.MySQL(), sqlstore.Options{})
	if err == nil || !strings.Contains(err.Error(), "CREATE command denied") || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v, want an error that says what is not allowed", err)
	}
}

// TestMigrationNeedsItsLock: who was not given the lock, after all the time that
// it has waited, changes nothing.
func TestMigrationNeedsItsLock(t *testing.T) {
	name := database(t)
	db, f := sqltest.FaultyDB(t, "mysql", name)
	f.Replace = func(query string) string { return strings.Replace(query, "DO GET_LOCK", "DO CONCAT", 1) }
	if _, _, err := sqlstore.Migrate(t.Context(), db, sqlstore.MySQL()); err == nil {
		t.Error("got no error without the lock")
	}
	s, err := sqlstore.Check(t.Context(), db, sqlstore.MySQL())
	if err != nil || s.Version != 0 {
		t.Errorf("got %+v, error %v, want no tables", s, err)
	}
}
