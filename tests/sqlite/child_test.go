package sqlite_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/sqlstore"
)

// The test binary runs itself again as a second process that uses a database.
// These name the file and what to do.
const (
	childFile = "CLOAKROOM_TEST_FILE"
	childTask = "CLOAKROOM_TEST_TASK"
)

func TestMain(m *testing.M) {
	if name := os.Getenv(childFile); name != "" {
		child(name, os.Getenv(childTask))
		return
	}
	os.Exit(m.Run())
}

// child is the second process. What it reports goes to the standard output, one
// line in one write.
func child(name, task string) {
	db, err := sql.Open("sqlite", name)
	if err != nil {
		panic(err)
	}
	s, err := sqlstore.Open(context.Background(), db, sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		panic(err)
	}
	word, rest, _ := strings.Cut(task, " ")
	switch word {
	case "write":
		writeUntilKilled(s, rest)
	case "revoke":
		revoke(s, rest)
	case "add":
		add(s, 0, rest)
	}
	if err := s.Close(context.Background()); err != nil {
		panic(err)
	}
}

// startChild starts the second process and returns its lines; they end with it.
func startChild(t testing.TB, name, task string) (*exec.Cmd, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childFile+"="+name, childTask+"="+task)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	return cmd, bufio.NewScanner(out)
}

// report acknowledges something to the parent.
func report(format string, args ...any) {
	os.Stdout.Write(fmt.Appendf(nil, format+"\n", args...))
}

// revoke ends a subject's sessions and says so.
func revoke(s *sqlstore.Store, subject string) {
	_, err := s.Revoke(context.Background(), store.Revocation{Namespace: "shop", Subject: subject, Cause: "admin", Now: start()})
	if err != nil {
		panic(err)
	}
	report("revoked")
}

// adders and additions are how often add changes the session.
const adders, additions = 8, 25

// add changes one session many times from several goroutines, each change on
// top of the one before; label names who does it.
func add(s store.Store, n int, label string) {
	var wg sync.WaitGroup
	for range adders {
		wg.Go(func() {
			for range additions {
				if err := addOne(s, n, label); err != nil {
					panic(err)
				}
			}
		})
	}
	wg.Wait()
}

func addOne(s store.Store, n int, label string) error {
	for {
		r, err := s.Load(context.Background(), key(n), []string{"values"})
		if err != nil {
			return err
		}
		r.Parts[0].Generation++
		r.Parts[0].Sealed = append(r.Parts[0].Sealed, label...)
		err = s.Swap(context.Background(), r, start())
		if !errors.Is(err, store.ErrConflict) {
			return err
		}
	}
}
