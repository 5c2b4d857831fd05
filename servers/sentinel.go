package servers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Sentinel is a Redis primary with two replicas, and three sentinels that make a
// replica the primary when it fails.
type Sentinel struct {
	// Nodes are the three servers with data; the first begins as the primary.
	Nodes []*Server
	// Sentinels are the three that watch them. They need no password.
	Sentinels []*Server
}

// PrimaryName is what the sentinels call the primary.
const PrimaryName = "sessions"

// StartSentinel runs the six servers and returns when the sentinels know all of
// them.
func StartSentinel(ctx context.Context, o Options) (*Sentinel, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var s Sentinel
	var err error
	if s.Nodes, err = startAll(ctx, redis{}, 3, &o); err == nil {
		s.Sentinels, err = startAll(ctx, redis{role: sentinel}, 3, &Options{})
	}
	if err == nil {
		err = s.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting Redis with sentinels: %w", err), s.Close())
	}
	return &s, nil
}

func (s *Sentinel) join(ctx context.Context) error {
	port := strconv.Itoa(s.Nodes[0].port)
	for _, replica := range s.Nodes[1:] {
		if _, err := replica.Run(ctx, "REPLICAOF", "127.0.0.1", port); err != nil {
			return err
		}
	}
	if err := s.awaitReplicas(ctx); err != nil { // sentinels ask for them only every ten seconds
		return err
	}
	for _, sentinel := range s.Sentinels {
		for _, words := range [][]string{
			{"MONITOR", PrimaryName, "127.0.0.1", port, "2"},
			{"SET", PrimaryName, "auth-pass", s.Nodes[0].Password()},
			{"SET", PrimaryName, "down-after-milliseconds", "2000"},
			{"SET", PrimaryName, "failover-timeout", "10000"},
		} {
			if _, err := sentinel.Run(ctx, append([]string{"SENTINEL"}, words...)...); err != nil {
				return err
			}
		}
	}
	return s.awaitSentinels(ctx)
}

// awaitReplicas returns when the replicas have what the first node has.
func (s *Sentinel) awaitReplicas(ctx context.Context) error {
	for {
		info, err := s.Nodes[0].Run(ctx, "INFO", "replication")
		if err == nil && strings.Count(info, "state=online") == len(s.Nodes)-1 {
			return nil
		}
		if pauseErr := pause(ctx); pauseErr != nil {
			return errors.Join(pauseErr, err)
		}
	}
}

// awaitSentinels returns when every sentinel knows the replicas and the others.
func (s *Sentinel) awaitSentinels(ctx context.Context) error {
	for _, sentinel := range s.Sentinels {
		for {
			info, err := sentinel.Run(ctx, "INFO", "sentinel")
			if err == nil && strings.Contains(info, fmt.Sprintf("status=ok,address=%s,slaves=%d,sentinels=%d",
				s.Nodes[0].Addr(), len(s.Nodes)-1, len(s.Sentinels))) {
				break
			}
			if pauseErr := pause(ctx); pauseErr != nil {
				return errors.Join(fmt.Errorf("waiting for a sentinel: %w", pauseErr), err)
			}
		}
	}
	return nil
}

// URL returns redis+sentinel:// with the addresses of the sentinels and the
// primary's name. The password is the one of the servers with data.
func (s *Sentinel) URL() string {
	return severalURL("redis+sentinel", s.Sentinels, s.Nodes[0].Password(), "/"+PrimaryName)
}

// Primary returns the node that a sentinel says is the primary.
func (s *Sentinel) Primary(ctx context.Context) (*Server, error) {
	var failed error
	for _, sentinel := range s.Sentinels {
		address, err := sentinel.Run(ctx, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", PrimaryName)
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for _, node := range s.Nodes {
			if strings.ReplaceAll(address, "\n", ":") == node.Addr() {
				return node, nil
			}
		}
	}
	return nil, errors.Join(errors.New("servers: no sentinel knows the primary"), failed)
}

// Close ends all servers and removes their files.
func (s *Sentinel) Close() error {
	return errors.Join(closeAll(s.Sentinels), closeAll(s.Nodes))
}
