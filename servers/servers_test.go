package servers_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom.example/servers"
)

type engine struct {
	start func(context.Context, servers.Options) (*servers.Server, error)
	// write stores something and read prints it as "kept".
	write, read []string
	// install is what a missing program's error says.
	install string
}

func engines() map[string]engine {
	create := []string{"CREATE TABLE t (v varchar(10))", "INSERT INTO t VALUES ('kept')"}
	read := []string{"SELECT v FROM t"}
	redis := func(ctx context.Context, o servers.Options) (*servers.Server, error) {
		return servers.StartRedis(ctx, o)
	}
	return map[string]engine{
		"PostgreSQL": {servers.StartPostgreSQL, create, read, "install postgresql"},
		"MariaDB":    {servers.StartMariaDB, create, read, "install mariadb-server"},
		"Redis":      {redis, []string{"SET", "t", "kept"}, []string{"GET", "t"}, "install redis-server"},
	}
}

// startServer starts a server and closes it after the test.
func startServer(t *testing.T, e engine) *servers.Server {
	t.Helper()
	s, err := e.start(t.Context(), servers.Options{Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestKilledAndStartedAgain(t *testing.T) {
	for name, e := range engines() {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			s, err := e.start(ctx, servers.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if _, err := s.Run(ctx, e.write...); err != nil {
				t.Fatal(err)
			}
			addr := s.Addr()
			if err := s.Start(ctx); err == nil {
				t.Error("a running server started once more")
			}
			for _, end := range []func(){s.Kill, s.Kill, func() {
				if err := s.Stop(ctx); err != nil {
					t.Error(err)
				}
			}} {
				end()
				if _, err := s.Run(ctx, e.read...); err == nil {
					t.Error("a server that has ended answers")
				}
				if err := s.Start(ctx); err != nil {
					t.Fatal(err)
				}
				if got, err := s.Run(ctx, e.read...); err != nil || got != "kept" {
					t.Errorf("after the start got %q, %v, want kept", got, err)
				}
			}
			if s.Addr() != addr {
				t.Errorf("got the address %s, want %s as before", s.Addr(), addr)
			}
		})
	}
}

func TestFrozen(t *testing.T) {
	for name, e := range engines() {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, e)
			if _, err := s.Run(t.Context(), e.write...); err != nil {
				t.Fatal(err)
			}
			// On an open connection: PostgreSQL serves each with a process of its own.
			open, err := net.Dial("tcp", s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer open.Close()
			if err := s.Freeze(); err != nil {
				t.Fatal(err)
			}
			answer := make(chan error, 1)
			go func() {
				_, err := s.Run(t.Context(), e.read...)
				answer <- err
			}()
			select {
			case err := <-answer:
				t.Errorf("a frozen server answers: %v", err)
			case <-time.After(time.Second):
			}
			if err := s.Thaw(); err != nil {
				t.Fatal(err)
			}
			if err := <-answer; err != nil {
				t.Errorf("after the thaw got %v, want an answer", err)
			}
		})
	}
}

func TestFrozenIsEveryProcess(t *testing.T) {
	s := startServer(t, engines()["PostgreSQL"])
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	const count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"
	done := make(chan time.Time, 1)
	go func() {
		s.Run(ctx, "SELECT pg_sleep(0.5)")
		done <- time.Now()
	}()
	for {
		if got, err := s.Run(ctx, count); err != nil {
			t.Fatal(err)
		} else if got == "1" {
			break
		}
	}
	if err := s.Freeze(); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second)
	thawed := time.Now()
	if err := s.Thaw(); err != nil {
		t.Fatal(err)
	}
	if ended := <-done; ended.Before(thawed) {
		t.Error("a statement went on in a frozen server")
	}
}

func TestClosedLeavesNothing(t *testing.T) {
	for name, e := range engines() {
		for state, change := range map[string]func(*servers.Server) error{
			"running": func(*servers.Server) error { return nil },
			"killed":  func(s *servers.Server) error { s.Kill(); return nil },
			"frozen":  (*servers.Server).Freeze,
		} {
			t.Run(name+" "+state, func(t *testing.T) {
				s := startServer(t, e)
				dir, memory := s.Folder(), memoryOf(s.Folder())
				if name == "PostgreSQL" && !hasMemory(t, memory) {
					t.Fatalf("found no shared memory of PostgreSQL, by the id %q", memory)
				}
				if err := change(s); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				nothingLeft(t, dir, s.Addr())
				if memory != "" && hasMemory(t, memory) {
					t.Error("left shared memory behind")
				}
				if err := s.Start(t.Context()); err == nil {
					t.Error("a closed server starts")
				}
				if err := s.Close(); err != nil {
					t.Errorf("closing twice: %v", err)
				}
			})
		}
	}
}

// nothingLeft waits until a server's files, processes and port are gone.
func nothingLeft(t *testing.T, dir, addr string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		left := processesNaming(t, dir)
		if _, err := os.Stat(dir); err == nil {
			left = append(left, "the folder "+dir)
		}
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			left = append(left, "a listener on "+addr)
		}
		if len(left) == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left behind: %s", strings.Join(left, "\n"))
		}
	}
}

// processesNaming returns the command lines that hold the text.
func processesNaming(t *testing.T, text string) (found []string) {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		line, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(line), text) {
			found = append(found, strings.ReplaceAll(string(line), "\x00", " "))
		}
	}
	return found
}

// memoryOf returns the System V segment of shared memory that a PostgreSQL server
// says it has, or "".
func memoryOf(dir string) string {
	text, err := os.ReadFile(filepath.Join(dir, "data", "postmaster.pid"))
	if lines := strings.Split(string(text), "\n"); err == nil && len(lines) > 6 {
		if fields := strings.Fields(lines[6]); len(fields) == 2 { // key and id
			return fields[1]
		}
	}
	return ""
}

// hasMemory reports whether there is a segment with the id.
func hasMemory(t *testing.T, id string) bool {
	t.Helper()
	table, err := os.ReadFile("/proc/sysvipc/shm")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(table)) {
		// key shmid perms …
		if fields := strings.Fields(line); len(fields) > 1 && fields[1] == id {
			return true
		}
	}
	return false
}

func TestNewDatabase(t *testing.T) {
	for name, e := range engines() {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, e)
			url, err := s.NewDatabase(t.Context(), "another")
			if name == "Redis" {
				if err == nil {
					t.Error("Redis made a database")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(url, s.Addr()+"/another") {
				t.Errorf("got the URL %s, want one of the database another", url)
			}
			if _, err := s.RunIn(t.Context(), "another", e.write...); err != nil {
				t.Error(err)
			}
			if _, err := s.Run(t.Context(), e.read...); err == nil {
				t.Error("the first database has what the other was given")
			}
			if _, err := s.NewDatabase(t.Context(), "no; name"); err == nil {
				t.Error("made a database of a name that is none")
			}
		})
	}
}

func TestMissingSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir()) // where Redis is looked for, and nowhere else
	e := engines()["Redis"]
	s, err := e.start(t.Context(), servers.Options{})
	if err == nil {
		s.Close()
		t.Fatal("started a server that is not installed")
	}
	if !strings.Contains(err.Error(), e.install) {
		t.Errorf("got %q, want it to say %q", err, e.install)
	}
}

func TestStartSaysWhyNot(t *testing.T) {
	for name, e := range engines() {
		t.Run(name, func(t *testing.T) {
			s, err := e.start(t.Context(), servers.Options{Args: []string{"--no-such-setting=1"}})
			if err == nil {
				s.Close()
				t.Fatal("started in spite of a setting that does not exist")
			}
			if !strings.Contains(strings.ReplaceAll(err.Error(), "_", "-"), "no-such-setting") {
				t.Errorf("got %q, want it to name the setting", err)
			}
		})
	}
}
