// Package servers runs real database servers for tests and benchmarks: each on a
// private port, with its files in a temporary folder, gone when it is closed.
//
// A server can be killed, started again, frozen and thawed, and [Proxy] spoils
// the connections to it. Nothing outlives the process that started it, even if
// that one is killed: a watchdog ends the server and removes its files. For that
// it needs /proc (Linux) or pgrep, and a POSIX shell.
package servers

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Options say how to run a server. The zero value runs a durable one.
type Options struct {
	// Unsynced gives up what a server promises about power failures, for speed.
	// What it has acknowledged still survives its being killed.
	Unsynced bool
	// Args are added to the server's command line, in the engine's own words.
	Args []string
	// Password is the one of clients. If empty, one is made up.
	Password string
}

// startTime bounds a start, and the making of the files before it, on a machine
// that is busy.
const startTime = 2 * time.Minute

// user is who clients log in as, where an engine has users.
const user = "cloakroom"

// Server is a running database server. Its methods are safe for concurrent use.
type Server struct {
	engine  engine
	options Options
	dir     string
	account *account
	port    int
	guard   *watchdog

	mu      sync.Mutex
	process *process // nil while there is none
	closed  bool
}

// engine is what differs between databases.
type engine interface {
	// prepare makes the files of a new server.
	prepare(ctx context.Context, s *Server) error
	// command is the server's own.
	command(s *Server) ([]string, error)
	// run executes statements of the engine's own language in a database, the
	// first one where that is empty, and returns what they print.
	run(ctx context.Context, s *Server, database string, words []string) (string, error)
	// probe holds the words for run that an answering server agrees to.
	probe() []string
	// url returns the address of a database, of the first one where that is
	// empty.
	url(s *Server, database string) string
	// accounts names the users that the server may run as when root starts it;
	// none for root itself.
	accounts() []string
	// goodbye is the signal that makes the server free what is not in a file.
	goodbye() string
	// stop is the signal that makes the server end in good order, whoever is
	// connected.
	stop() syscall.Signal
}

// start makes a folder and its files, and starts a server on a free port.
func start(ctx context.Context, e engine, o Options) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	s := &Server{engine: e, options: o}
	if s.options.Password == "" {
		s.options.Password = rand.Text()
	}
	var err error
	if s.account, err = runAs(e.accounts()); err != nil {
		return nil, err
	}
	if s.dir, err = folder(s.account); err != nil {
		return nil, err
	}
	if s.guard, err = guard(s.dir, e.goodbye()); err != nil {
		return nil, errors.Join(err, os.RemoveAll(s.dir))
	}
	if err := s.prepareAndRun(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// prepareAndRun starts the server for the first time. Between the choice of a port
// and the server's use of it somebody else may take it.
func (s *Server) prepareAndRun(ctx context.Context) error {
	if err := s.engine.prepare(ctx, s); err != nil {
		return err
	}
	for {
		var err error
		if s.port, err = freePort(); err != nil {
			return err
		}
		if err = s.Start(ctx); err == nil || ctx.Err() != nil || free(s.port) {
			return err
		}
	}
}

// Addr returns host:port.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// URL returns the address of the server's first database, with credentials.
func (s *Server) URL() string { return s.engine.url(s, "") }

// Password returns the clients' password.
func (s *Server) Password() string { return s.options.Password }

// Folder returns where the server's files are.
func (s *Server) Folder() string { return s.dir }

// Run executes SQL statements, or one Redis command given in words, and returns
// what they print. Each call makes a connection of its own.
func (s *Server) Run(ctx context.Context, words ...string) (string, error) {
	return s.RunIn(ctx, "", words...)
}

// RunIn is Run in one database of a PostgreSQL or MariaDB server.
func (s *Server) RunIn(ctx context.Context, database string, words ...string) (string, error) {
	text, err := s.engine.run(ctx, s, database, words)
	if err != nil {
		return text, fmt.Errorf("asking %s: %w", s.Addr(), err)
	}
	return text, nil
}

// output runs a client program and returns what it prints.
func output(cmd *exec.Cmd) (string, error) {
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	text := strings.TrimSpace(string(out))
	if err != nil {
		return text, fmt.Errorf("%w: %s", err, text)
	}
	return text, nil
}

// Start starts a server that was killed again, on the same port and files, and
// returns when it answers.
func (s *Server) Start(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errors.New("servers: the server is closed")
	}
	if s.process != nil && s.process.running() {
		return errors.New("servers: the server is running")
	}
	command, err := s.engine.command(s)
	if err != nil {
		return err
	}
	if s.process, err = launch(command, s.dir, s.logFile(), s.account); err != nil {
		return fmt.Errorf("starting %s: %w", filepath.Base(command[0]), err)
	}
	if err := s.guard.watch(s.process.pid); err != nil {
		s.process.kill()
		return err
	}
	if err := s.await(ctx); err != nil {
		s.process.kill()
		return fmt.Errorf("waiting for %s: %w\n%s", filepath.Base(command[0]), err, s.log())
	}
	return nil
}

// await returns when the server answers.
func (s *Server) await(ctx context.Context) error {
	for {
		_, err := s.Run(ctx, s.engine.probe()...)
		if err == nil && s.process.running() {
			return nil
		}
		select {
		case <-s.process.done:
			return errors.New("the server ended")
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Kill ends the server and all its processes with SIGKILL and returns when they
// are gone. Killing one that does not run is not an error.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process != nil {
		s.process.kill()
	}
}

// Stop ends the server in good order, as operators do, and returns when it has
// ended. It can be started again.
func (s *Server) Stop(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil || !s.process.running() {
		return errNotRunning
	}
	if err := syscall.Kill(s.process.pid, s.engine.stop()); err != nil {
		return err
	}
	select {
	case <-s.process.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// errNotRunning says that there is no process to send a signal to.
var errNotRunning = errors.New("servers: the server is not running")

// Freeze stops all processes of the server; connections stay open and nobody
// answers.
func (s *Server) Freeze() error {
	return s.signal((*process).freeze)
}

// Thaw lets a frozen server go on.
func (s *Server) Thaw() error {
	return s.signal((*process).thaw)
}

func (s *Server) signal(send func(*process) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.process == nil || !s.process.running() {
		return errNotRunning
	}
	return send(s.process)
}

// Close ends the server and removes its files.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := s.guard.close()
	if s.process != nil {
		<-s.process.done
	}
	return err
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// log returns the end of what the server printed.
func (s *Server) log() string {
	f, err := os.Open(s.logFile())
	if err != nil {
		return ""
	}
	defer f.Close()
	const most = 4000
	if size, err := f.Seek(0, io.SeekEnd); err == nil {
		f.Seek(max(0, size-most), io.SeekStart)
	}
	text, _ := io.ReadAll(f)
	return string(text)
}

// path returns the name of one of the server's files.
func (s *Server) path(name string) string { return filepath.Join(s.dir, name) }
