package servers

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	osuser "os/user"
	"path/filepath"
	"strconv"
	"strings"
)

// account is whom a server runs as, where not as the caller.
type account struct{ uid, gid int }

// runAs returns the first of the named accounts that exists, or nil where the
// server can run as the caller. Some servers refuse to run as root.
func runAs(names []string) (*account, error) {
	if os.Getuid() != 0 || len(names) == 0 {
		return nil, nil
	}
	for _, name := range names {
		u, err := osuser.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.Atoi(u.Uid)
		if err != nil {
			continue
		}
		gid, err := strconv.Atoi(u.Gid)
		if err != nil {
			continue
		}
		return &account{uid, gid}, nil
	}
	return nil, fmt.Errorf("servers: the server does not run as root, and there is no user %s", strings.Join(names, " or "))
}

// longestPath leaves room for the name of a socket within the 107 bytes that a
// socket's path may have.
const longestPath = 90

// folder makes an empty folder that the account can reach: the one of temporary
// files may be private to the caller.
func folder(a *account) (string, error) {
	var failed error
	for _, parent := range []string{os.TempDir(), "/tmp", "/var/tmp"} {
		if a != nil && !public(parent) {
			continue
		}
		dir, err := os.MkdirTemp(parent, "server")
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		if len(dir) > longestPath {
			failed = errors.Join(failed, fmt.Errorf("the path %s is too long", dir), os.Remove(dir))
			continue
		}
		if a != nil {
			if err := os.Chown(dir, a.uid, a.gid); err != nil {
				return "", errors.Join(err, os.Remove(dir))
			}
		}
		return dir, nil
	}
	return "", fmt.Errorf("making a folder for a server: %w", failed)
}

// public reports whether everybody may pass through the folder and those around
// it.
func public(dir string) bool {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return false
	}
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&1 == 0 {
			return false
		}
		if parent := filepath.Dir(dir); parent != dir {
			dir = parent
			continue
		}
		return true
	}
}

// Ports lie below those that systems give to clients: a client that dials a dead
// server there can be connected to itself. The nodes of a Redis Cluster use a
// second port, busPorts above the first.
const (
	firstPort = 11000
	lastPort  = 20999
	busPorts  = 10000
)

// freePort returns a port that nobody listens on, and neither on the one of the
// cluster bus that goes with it.
func freePort() (int, error) {
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		if free(port) && free(port+busPorts) {
			return port, nil
		}
	}
	return 0, errors.New("servers: found no free port")
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	if err != nil {
		return false
	}
	return l.Close() == nil
}

// find returns the path of the first of the named programs that is installed, in
// PATH or one of the folders, which are patterns. packages says how to get it.
func find(packages string, folders []string, names ...string) (string, error) {
	for _, name := range names {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
		for _, folder := range folders {
			found, err := filepath.Glob(filepath.Join(folder, name))
			if err != nil {
				return "", err
			}
			if len(found) > 0 {
				return found[len(found)-1], nil
			}
		}
	}
	return "", fmt.Errorf("servers: %s %w: install %s", strings.Join(names, " or "), ErrMissing, packages)
}

// ErrMissing says that the program of a server is not installed.
var ErrMissing = errors.New("is missing")
