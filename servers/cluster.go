package servers

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Cluster is a Redis Cluster of three primaries with a replica each.
type Cluster struct {
	// Nodes are the six servers; the first three begin as primaries.
	Nodes []*Server
}

const (
	primaries = 3
	slots     = 16384
)

// StartRedisCluster runs a Redis Cluster and returns when all its nodes agree
// that it is complete.
func StartRedisCluster(ctx context.Context, o Options) (*Cluster, error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	nodes, err := startAll(ctx, redis{role: clusterNode}, 2*primaries, &o)
	c := &Cluster{nodes}
	if err == nil {
		err = c.join(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting a Redis Cluster: %w", err), c.Close())
	}
	return c, nil
}

// startAll starts several servers with one password.
func startAll(ctx context.Context, e engine, n int, o *Options) (all []*Server, err error) {
	for range n {
		s, startErr := start(ctx, e, *o)
		if startErr != nil {
			return all, startErr
		}
		o.Password = s.Password()
		all = append(all, s)
	}
	return all, nil
}

func closeAll(all []*Server) error {
	errs := make([]error, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() { errs[i] = s.Close() })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// join makes one cluster of the nodes.
func (c *Cluster) join(ctx context.Context) error {
	ids := make([]string, len(c.Nodes))
	for i, node := range c.Nodes {
		var err error
		if ids[i], err = node.Run(ctx, "CLUSTER", "MYID"); err != nil {
			return err
		}
		if i < primaries {
			words := []string{"CLUSTER", "ADDSLOTS"}
			for slot := i * slots / primaries; slot < (i+1)*slots/primaries; slot++ {
				words = append(words, strconv.Itoa(slot))
			}
			if _, err := node.Run(ctx, words...); err != nil {
				return err
			}
		}
		if _, err := node.Run(ctx, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return err
		}
	}
	for _, node := range c.Nodes[1:] {
		if _, err := c.Nodes[0].Run(ctx, "CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(node.port)); err != nil {
			return err
		}
	}
	if err := c.until(ctx, "CLUSTER INFO", fmt.Sprintf("cluster_known_nodes:%d\r", len(c.Nodes)), c.Nodes); err != nil {
		return err
	}
	for i, replica := range c.Nodes[primaries:] {
		if err := replicate(ctx, replica, ids[i]); err != nil {
			return err
		}
	}
	return c.Await(ctx)
}

// replicate makes a node the replica of another, which it may not have heard of
// yet.
func replicate(ctx context.Context, replica *Server, id string) error {
	for {
		_, err := replica.Run(ctx, "CLUSTER", "REPLICATE", id)
		if err == nil || !strings.Contains(err.Error(), "Unknown node") {
			return err
		}
		if err := pause(ctx); err != nil {
			return err
		}
	}
}

// Await returns when all nodes run, agree that the cluster is complete, and the
// replicas have what their primaries have.
func (c *Cluster) Await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	if err := c.until(ctx, "CLUSTER INFO", "cluster_state:ok\r", c.Nodes); err != nil {
		return err
	}
	for _, node := range c.Nodes {
		for {
			info, err := node.Run(ctx, "INFO", "replication")
			if err == nil && (strings.Contains(info, "master_link_status:up\r") || strings.Contains(info, "connected_slaves:1\r")) {
				break
			}
			if pauseErr := pause(ctx); pauseErr != nil {
				return errors.Join(pauseErr, err)
			}
		}
	}
	return nil
}

// until returns when every node's answer to the command holds the text.
func (c *Cluster) until(ctx context.Context, command, text string, nodes []*Server) error {
	for _, node := range nodes {
		for {
			info, err := node.Run(ctx, strings.Fields(command)...)
			if err == nil && strings.Contains(info, text) {
				break
			}
			if pauseErr := pause(ctx); pauseErr != nil {
				return errors.Join(fmt.Errorf("waiting for %q: %w", text, pauseErr), err)
			}
		}
	}
	return nil
}

func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(20 * time.Millisecond):
		return nil
	}
}

// URL returns redis+cluster:// with the addresses of all nodes.
func (c *Cluster) URL() string {
	return severalURL("redis+cluster", c.Nodes, c.Nodes[0].Password(), "")
}

// severalURL returns a URL with the addresses of several servers.
func severalURL(scheme string, all []*Server, password, path string) string {
	var addrs []string
	for _, s := range all {
		addrs = append(addrs, s.Addr())
	}
	u := url.URL{Scheme: scheme, User: url.UserPassword("", password), Host: strings.Join(addrs, ","), Path: path}
	return u.String()
}

// Primary returns the node that serves a slot at present, as a node that answers
// sees it.
func (c *Cluster) Primary(ctx context.Context, slot int) (*Server, error) {
	var failed error
	for _, node := range c.Nodes {
		table, err := node.Run(ctx, "CLUSTER", "NODES")
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		for line := range strings.Lines(table) {
			if port, ok := servesSlot(line, slot); ok {
				for _, s := range c.Nodes {
					if s.port == port {
						return s, nil
					}
				}
			}
		}
	}
	return nil, errors.Join(fmt.Errorf("servers: nobody serves slot %d", slot), failed)
}

// servesSlot reads a line of CLUSTER NODES: id, address, flags, primary, ping,
// pong, epoch, link, slots…
func servesSlot(line string, slot int) (port int, ok bool) {
	fields := strings.Fields(line)
	if len(fields) < 9 || !strings.Contains(fields[2], "master") || strings.Contains(fields[2], "fail") {
		return 0, false
	}
	addr, _, _ := strings.Cut(fields[1], "@")
	port, err := strconv.Atoi(addr[strings.LastIndexByte(addr, ':')+1:])
	if err != nil {
		return 0, false
	}
	for _, span := range fields[8:] {
		first, last, spans := strings.Cut(span, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			continue // a slot that is being moved
		}
		to := from
		if spans {
			if to, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		if from <= slot && slot <= to {
			return port, true
		}
	}
	return 0, false
}

// MoveSlot gives a slot and its keys to another primary, key by key, as operators
// do while clients go on.
func (c *Cluster) MoveSlot(ctx context.Context, slot int, to *Server) error {
	from, err := c.Primary(ctx, slot)
	if err != nil {
		return err
	}
	if from == to {
		return nil
	}
	fromID, err := from.Run(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	toID, err := to.Run(ctx, "CLUSTER", "MYID")
	if err != nil {
		return err
	}
	name := strconv.Itoa(slot)
	if _, err := to.Run(ctx, "CLUSTER", "SETSLOT", name, "IMPORTING", fromID); err != nil {
		return err
	}
	if _, err := from.Run(ctx, "CLUSTER", "SETSLOT", name, "MIGRATING", toID); err != nil {
		return err
	}
	if err := moveKeys(ctx, name, from, to); err != nil {
		return err
	}
	for _, s := range []*Server{to, from} {
		if _, err := s.Run(ctx, "CLUSTER", "SETSLOT", name, "NODE", toID); err != nil {
			return err
		}
	}
	return nil
}

// moveKeys moves the keys of a slot until none is left.
func moveKeys(ctx context.Context, slot string, from, to *Server) error {
	for {
		keys, err := from.Run(ctx, "CLUSTER", "GETKEYSINSLOT", slot, "10")
		if err != nil || keys == "" {
			return err
		}
		words := append([]string{"MIGRATE", "127.0.0.1", strconv.Itoa(to.port), "", "0", "5000",
			"AUTH", to.Password(), "KEYS"}, strings.Split(keys, "\n")...)
		if _, err := from.Run(ctx, words...); err != nil {
			return err
		}
	}
}

// Close ends all nodes and removes their files.
func (c *Cluster) Close() error { return closeAll(c.Nodes) }
