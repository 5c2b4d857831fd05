package servers

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
)

// StartPostgreSQL runs a PostgreSQL server.
func StartPostgreSQL(ctx context.Context, o Options) (*Server, error) {
	return start(ctx, postgresql{}, o)
}

type postgresql struct{}

// firstDatabase is the one that initdb makes.
const firstDatabase = "postgres"

func (postgresql) find(name string) (string, error) {
	return find("postgresql (PostgreSQL 13 or later; on Debian and Ubuntu: apt-get install postgresql)",
		[]string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin", "/usr/local/opt/postgresql*/bin"}, name)
}

func (postgresql) accounts() []string { return []string{"postgres", "nobody"} }

// goodbye is PostgreSQL's immediate shutdown, which frees shared memory.
func (postgresql) goodbye() string { return "QUIT" }

// stop is PostgreSQL's fast shutdown.
func (postgresql) stop() syscall.Signal { return syscall.SIGINT }

func (p postgresql) prepare(ctx context.Context, s *Server) error {
	initdb, err := p.find("initdb")
	if err != nil {
		return err
	}
	password := s.path("password")
	if err := os.WriteFile(password, []byte(s.Password()), 0o600); err != nil {
		return err
	}
	if s.account != nil {
		if err := os.Chown(password, s.account.uid, s.account.gid); err != nil {
			return err
		}
	}
	cmd := exec.CommandContext(ctx, initdb, "--pgdata="+s.path("data"), "--username="+user, "--pwfile="+password,
		"--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	if err := prepared(s, cmd); err != nil {
		return err
	}
	return os.Remove(password)
}

// prepared runs the program that makes a server's files.
func prepared(s *Server, cmd *exec.Cmd) error {
	cmd.Dir = s.dir
	s.account.apply(cmd)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("making the files of a server: %w\n%s", err, out)
	}
	return nil
}

func (p postgresql) command(s *Server) ([]string, error) {
	// The server is the one beside the initdb that made the files: several
	// versions may be installed.
	initdb, err := p.find("initdb")
	if err != nil {
		return nil, err
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return nil, err
	}
	command := []string{filepath.Join(filepath.Dir(initdb), "postgres"), "-D", s.path("data"),
		"-c", "listen_addresses=127.0.0.1", "-c", "port=" + strconv.Itoa(s.port), "-c", "unix_socket_directories=",
		"-c", "max_connections=200", "-c", "shared_buffers=32MB",
		"-c", "dynamic_shared_memory_type=mmap", // a file, which goes with the others
	}
	if s.options.Unsynced {
		command = append(command, "-c", "fsync=off", "-c", "synchronous_commit=off", "-c", "full_page_writes=off")
	}
	return append(command, s.options.Args...), nil
}

func (p postgresql) run(ctx context.Context, s *Server, database string, words []string) (string, error) {
	psql, err := p.find("psql")
	if err != nil {
		return "", err
	}
	args := []string{"--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1",
		"--host=127.0.0.1", "--port=" + strconv.Itoa(s.port), "--username=" + user, "--dbname=" + cmp.Or(database, firstDatabase)}
	for _, statement := range words {
		args = append(args, "--command="+statement)
	}
	cmd := exec.CommandContext(ctx, psql, args...)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+s.Password(), "PGCONNECT_TIMEOUT=5")
	return output(cmd)
}

func (postgresql) probe() []string { return []string{"SELECT 1"} }

func (postgresql) url(s *Server, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(user, s.Password()), Host: s.Addr(), Path: "/" + cmp.Or(database, firstDatabase)}
	return u.String() + "?sslmode=disable"
}
