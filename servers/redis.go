package servers

import (
	"context"
	"net/url"
	"os"
	"strconv"
	"syscall"
)

// StartRedis runs a Redis or Valkey server. What it acknowledges is on disk.
// args are added to Options.Args.
func StartRedis(ctx context.Context, o Options, args ...string) (*Server, error) {
	o.Args = append(append([]string(nil), o.Args...), args...)
	return start(ctx, redis{}, o)
}

// redis is also a node of a cluster, or a sentinel.
type redis struct{ role redisRole }

type redisRole int

const (
	alone redisRole = iota
	clusterNode
	sentinel
)

func (redis) find() (string, error) {
	return find("redis-server (Redis 6.2 or later, or Valkey; on Debian and Ubuntu: apt-get install redis-server)", nil, "redis-server", "valkey-server")
}

func (redis) accounts() []string { return nil }

func (redis) goodbye() string { return "KILL" }

func (redis) stop() syscall.Signal { return syscall.SIGTERM }

func (r redis) prepare(_ context.Context, s *Server) error {
	if _, err := r.find(); err != nil {
		return err
	}
	if r.role == sentinel {
		return os.WriteFile(s.path("sentinel.conf"), nil, 0o600) // filled by the server itself
	}
	return nil
}

func (r redis) command(s *Server) ([]string, error) {
	program, err := r.find()
	if err != nil {
		return nil, err
	}
	port := strconv.Itoa(s.port)
	command := []string{program}
	if r.role == sentinel {
		command = append(command, s.path("sentinel.conf"), "--sentinel")
	}
	command = append(command, "--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--daemonize", "no")
	if r.role == sentinel {
		return append(command, s.options.Args...), nil
	}
	appendfsync := "always"
	if s.options.Unsynced {
		appendfsync = "everysec"
	}
	command = append(command, "--requirepass", s.Password(), "--masterauth", s.Password(), "--save", "",
		"--appendonly", "yes", "--appendfsync", appendfsync, "--repl-diskless-sync-delay", "0")
	if r.role == clusterNode {
		command = append(command, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf",
			"--cluster-node-timeout", "2000")
	}
	return append(command, s.options.Args...), nil
}

func (redis) probe() []string { return []string{"PING"} }

func (r redis) url(s *Server, _ string) string {
	u := url.URL{Scheme: "redis", User: url.UserPassword("", s.Password()), Host: s.Addr()}
	return u.String()
}
