package storeurl

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/redisstore"
)

func (s *Opened) openRedis(ctx context.Context, a address, o Options) error {
	client, err := a.redisClient()
	if err != nil {
		return err
	}
	tuning, err := a.redisOptions()
	if err != nil {
		return err
	}
	tuning.Warn = func(warning string) { o.Logger.Warn("storeurl: "+warning, "store", s.URL) }
	s.inspect = func(ctx context.Context, r *Report) error { return inspectRedis(ctx, client, r) }
	opened, err := redisstore.Open(ctx, client, tuning)
	if err != nil {
		return err
	}
	s.onClose(func(context.Context) error { return opened.Close() })
	s.Store = opened
	return nil
}

// redisOptions reads how the store is to behave.
func (a *address) redisOptions() (tuning redisstore.Options, err error) {
	tuning.Prefix = a.options["prefix"]
	if tuning.WaitTimeout, err = a.options.duration("wait"); err != nil {
		return tuning, err
	}
	tuning.WaitReplicas, err = a.options.count("wait-replicas", 0, 1)
	if tuning.WaitReplicas == 0 {
		tuning.WaitReplicas = -1 // zero means one there
	}
	return tuning, err
}

// redisClient returns the configuration of connections.
func (a *address) redisClient() (c rueidis.ClientOption, err error) {
	c = rueidis.ClientOption{Username: a.user, Password: a.password, ClientName: "cloakroom"}
	if c.Dialer.Timeout, err = a.options.duration("connect-timeout"); err != nil {
		return c, err
	}
	secured, err := a.security()
	if err != nil {
		return c, err
	}
	c.TLSConfig = secured.config // the client puts in the name of each host
	if c.SelectDB, err = a.redisDatabase(); err != nil {
		return c, err
	}
	port := "6379"
	switch a.layout {
	case "sentinel":
		port = "26379"
		if a.path == "" || strings.Contains(a.path, "/") {
			return c, fmt.Errorf("storeurl: %s:// needs the name that the sentinels know the servers by: %s://host,host/name", a.name, a.name)
		}
		c.Sentinel = rueidis.SentinelOption{
			MasterSet: a.path, Username: a.options["sentinel-user"], Password: a.sentinelPassword, TLSConfig: c.TLSConfig, Dialer: c.Dialer,
			ClientName: c.ClientName,
		}
	case "cluster":
		if a.path != "" || c.SelectDB != 0 {
			return c, errors.New("storeurl: a Cluster has one database; leave out what follows the hosts")
		}
	default:
		if len(a.hosts) > 1 {
			return c, fmt.Errorf("storeurl: %s:// takes one host; for several write %s+cluster:// or %s+sentinel://", a.name, a.name, a.name)
		}
	}
	for _, host := range a.hosts {
		c.InitAddress = append(c.InitAddress, withPort(host, port))
	}
	if socket := a.options["socket"]; socket != "" {
		if a.layout != "" {
			return c, errors.New("storeurl: a socket reaches one server, neither a Cluster nor sentinels")
		}
		c.InitAddress, c.ForceSingleClient = []string{socket}, true
		c.DialCtxFn = func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}
	}
	return c, nil
}

// redisDatabase returns the number of the database, from the path or the option.
func (a *address) redisDatabase() (int, error) {
	if a.options.has("db") || a.path == "" || a.layout != "" {
		return a.options.count("db", 0, 0)
	}
	n, err := strconv.ParseUint(a.path, 10, 16)
	if err != nil {
		return 0, errors.New("storeurl: what follows the host is the number of a database of Redis: redis://host/0")
	}
	return int(n), nil
}

// inspectRedis asks the servers about themselves. All of them have to be in order;
// version, memory and clock are those of one that takes writes.
func inspectRedis(ctx context.Context, option rueidis.ClientOption, r *Report) error {
	client, err := rueidis.NewClient(option)
	if err != nil {
		return err
	}
	defer client.Close()
	nodes := client.Nodes()
	names := make([]string, 0, len(nodes))
	for name := range nodes {
		names = append(names, name)
	}
	slices.Sort(names)
	replicas := 0
	for _, name := range names {
		info, err := nodes[name].Do(ctx, nodes[name].B().Info().Build()).ToString()
		if err != nil {
			return fmt.Errorf("asking %s: %w", name, err)
		}
		where := ""
		if len(names) > 1 {
			where = " of " + name
		}
		about := newRedisInfo(info)
		if about["role"] == "master" {
			n, _ := strconv.Atoi(about["connected_slaves"])
			replicas += n
			r.redisServer(about)
		}
		r.redisSettings(about, where)
	}
	r.set("replicas", strconv.Itoa(replicas), false, "")
	if replicas > 0 {
		r.Durability += "; replication is asynchronous: a replica that takes over may not have the last writes, revocations included"
	}
	return r.clock(ctx, func(ctx context.Context) (time.Time, error) { return redisTime(ctx, client) })
}

// redisInfo is the answer to INFO.
type redisInfo map[string]string

func newRedisInfo(text string) redisInfo {
	about := make(redisInfo)
	for line := range strings.Lines(text) {
		if name, value, found := strings.Cut(strings.TrimSpace(line), ":"); found {
			about[name] = value
		}
	}
	return about
}

// redisServer notes what is to be known once.
func (r *Report) redisServer(about redisInfo) {
	r.Product, r.Version = "Redis", about["redis_version"]
	if about["server_name"] == "valkey" {
		r.Product, r.Version = "Valkey", about["valkey_version"]
	}
	if mode := about["redis_mode"]; mode != "" && mode != "standalone" {
		r.Product += " " + strings.ToUpper(mode[:1]) + mode[1:]
	}
	r.Durability = choose(about["aof_enabled"] == "1",
		"acknowledged writes are in the append-only file, with appendfsync everysec all but those of the last second",
		"what was written since the last snapshot is lost with the server")
}

// redisSettings notes what sessions depend on, of each server.
func (r *Report) redisSettings(about redisInfo, where string) {
	policy := about["maxmemory_policy"]
	r.set("maxmemory-policy"+where, policy, policy != "noeviction" && policy != "",
		"a server whose memory is full ends sessions and forgets revocations; set it to noeviction")
	r.set("maxmemory"+where, choose(about["maxmemory"] == "0", "no limit", about["maxmemory_human"]), false, "")
	r.set("used memory"+where, about["used_memory_human"], false, "")
	aof := about["aof_enabled"]
	r.set("appendonly"+where, choose(aof == "1", "yes", "no"), aof != "1" && aof != "",
		"a server that is started again has forgotten what was acknowledged, and what was revoked is back; set it to yes")
}

func redisTime(ctx context.Context, client rueidis.Client) (time.Time, error) {
	parts, err := client.Do(ctx, client.B().Time().Build()).AsStrSlice()
	if err != nil || len(parts) != 2 {
		return time.Time{}, errors.Join(err, errors.New("TIME has no answer"))
	}
	seconds, err := strconv.ParseInt(parts[0], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("TIME: %w", err)
	}
	micros, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("TIME: %w", err)
	}
	return time.Unix(seconds, micros*1000), nil
}
