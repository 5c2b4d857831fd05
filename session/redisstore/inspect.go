package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// inspectTime is how long a node may take to say something about itself.
const inspectTime = 3 * time.Second

// inspect looks at the engine once, and says what is not as it should be. It
// fails where sessions could not be kept at all.
func (s *Store) inspect(ctx context.Context) error {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	nodes := s.client.Nodes()
	infos, err := s.infos(ctx, nodes)
	if rerr, answered := rueidis.IsRedisErr(err); answered && code(rerr) == "NOPERM" {
		s.warn("INFO is not allowed, so that nothing is known about the engine's version, memory and durability")
		return nil
	}
	if len(infos) == 0 {
		return readFault(err)
	}
	for _, info := range infos {
		for _, complaint := range complaints(info, len(nodes) == 1) {
			s.warn(complaint)
		}
		if v := infoField(info, "redis_version"); older(v) {
			return fmt.Errorf("redisstore: the engine's version is %s, want 6.2 or later", v)
		}
	}
	return nil
}

// infos returns what the nodes that answer say of themselves, and why others do
// not.
func (s *Store) infos(ctx context.Context, nodes map[string]rueidis.Client) (infos []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, inspectTime)
	defer cancel()
	results := make(chan rueidis.RedisResult, len(nodes))
	for _, n := range nodes {
		go func() { results <- n.Do(ctx, n.B().Info().Build()) }()
	}
	err = errors.New("the client knows no node")
	for range nodes {
		select {
		case r := <-results:
			info, failed := r.ToString()
			if failed != nil {
				err = failed
				continue
			}
			infos = append(infos, info)
		case <-ctx.Done():
			return infos, ctx.Err()
		}
	}
	return infos, err
}

// infoField returns a field of the answer to INFO.
func infoField(info, field string) string {
	_, rest, found := strings.Cut("\n"+info, "\n"+field+":")
	if !found {
		return ""
	}
	value, _, _ := strings.Cut(rest, "\n")
	return strings.TrimSpace(value)
}

// older reports whether a version is before 6.2. Valkey says which version of
// Redis it is like.
func older(version string) bool {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	return major != "" && (atoi(major) < 6 || atoi(major) == 6 && atoi(minor) < 2)
}

// complaints returns what is not as it should be with a node.
func complaints(info string, only bool) (all []string) {
	policy := infoField(info, "maxmemory_policy")
	limit := infoField(info, "maxmemory")
	if policy != "" && policy != "noeviction" {
		when := "when its memory is full"
		if limit == "0" {
			when += ", should maxmemory be set"
		}
		all = append(all, fmt.Sprintf("the engine's maxmemory-policy is %s: %s it ends sessions and forgets revocations; set it to noeviction", policy, when))
	}
	if infoField(info, "aof_enabled") == "0" {
		all = append(all, "the engine does not write an append-only file: what was acknowledged may be lost, and what was revoked come back, when it stops; set appendonly yes, and appendfsync always if no acknowledged write may be lost")
	}
	if only && infoField(info, "role") == "slave" {
		all = append(all, "the engine is a replica: sessions cannot be created or changed there")
	}
	return all
}
