package redisstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

// errTopology says that other nodes serve the sessions now, or that it is not
// settled yet which ones do.
var errTopology = errors.New("the nodes have changed")

// foundPrimary is a node that says it is a primary.
type foundPrimary struct {
	client  rueidis.Client
	cluster string
}

// findPrimaries returns the nodes that are primaries: in a Cluster all of them,
// those without slots too, and it is an error if a slot is served by none of them.
func (s *Store) findPrimaries(ctx context.Context, nodes map[string]rueidis.Client) (found []foundPrimary, err error) {
	type answer struct {
		foundPrimary
		view view
		err  error
	}
	answers := make(chan answer, len(nodes))
	for _, node := range nodes {
		go func() {
			v, err := s.viewOf(ctx, node)
			answers <- answer{foundPrimary{node, v.cluster}, v, err}
		}()
	}
	ids, owners := map[string]bool{}, map[string]bool{}
	for range nodes {
		a := <-answers
		if a.err != nil {
			err = errors.Join(err, a.err) // it may be one that nobody needs any more
			continue
		}
		if a.view.primary {
			found, ids[a.view.id] = append(found, a.foundPrimary), true
			for _, owner := range a.view.owners {
				owners[owner] = true
			}
		}
	}
	for owner := range owners {
		if !ids[owner] {
			return nil, errors.Join(errTopology, err)
		}
	}
	if len(found) == 0 || s.clustered() && len(owners) == 0 {
		return nil, errors.Join(errors.New("found no primary"), err)
	}
	return found, nil
}

func (s *Store) clustered() bool { return s.client.Mode() == rueidis.ClientModeCluster }

// view is what a node says of itself and, in a Cluster, of the others.
type view struct {
	primary bool
	cluster string   // see clusterLines
	id      string   // its own …
	owners  []string // … and those of the nodes that have slots
}

func (s *Store) viewOf(ctx context.Context, node rueidis.Client) (v view, err error) {
	role, err := node.Do(ctx, node.B().Role().Build()).ToArray()
	if err != nil {
		return v, err
	}
	v.primary = isPrimary(role)
	if !s.clustered() || !v.primary {
		return v, nil
	}
	// First what tells of changes, so that a change meanwhile is noticed later.
	info, err := node.Do(ctx, node.B().ClusterInfo().Build()).ToString()
	if err != nil {
		return v, err
	}
	if v.cluster, err = clusterLines(info); err != nil {
		return v, err
	}
	if v.id, err = node.Do(ctx, node.B().ClusterMyid().Build()).ToString(); err != nil {
		return v, err
	}
	slots, err := node.Do(ctx, node.B().ClusterSlots().Build()).ToArray()
	if err != nil {
		return v, err
	}
	v.owners, err = ownersOf(slots)
	return v, err
}

func isPrimary(role []rueidis.RedisMessage) bool {
	if len(role) == 0 {
		return false
	}
	kind, err := role[0].ToString()
	return err == nil && kind == "master"
}

// ownersOf returns the ids of the primaries in an answer of CLUSTER SLOTS: ranges,
// each a first slot, a last one, and nodes with address, port and id.
func ownersOf(slots []rueidis.RedisMessage) (owners []string, err error) {
	for i := range slots {
		fields, err := slots[i].ToArray()
		if err != nil || len(fields) < 3 {
			return nil, fmt.Errorf("reading the slots: %w", errors.Join(errTopology, err))
		}
		node, err := fields[2].ToArray()
		if err != nil || len(node) < 3 {
			return nil, fmt.Errorf("reading the slots: %w", errors.Join(errTopology, err))
		}
		id, err := node[2].ToString()
		if err != nil {
			return nil, fmt.Errorf("reading the slots: %w", err)
		}
		owners = append(owners, id)
	}
	return owners, nil
}

// clusterLines returns those lines of CLUSTER INFO that change when nodes come or
// go, when a replica takes over and when a slot has moved. It is an error if the
// node serves nothing.
func clusterLines(info string) (string, error) {
	var kept []string
	healthy := false
	for line := range strings.Lines(strings.TrimPrefix(info, "txt:")) { // a verbatim string, in newer versions
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		healthy = healthy || name == "cluster_state" && value == "ok"
		if slices.Contains([]string{
			"cluster_slots_assigned", "cluster_known_nodes", "cluster_size", "cluster_current_epoch", "cluster_my_epoch",
		}, name) {
			kept = append(kept, value)
		}
	}
	if !healthy {
		return "", fmt.Errorf("the node serves nothing: %w", errTopology)
	}
	return strings.Join(kept, " "), nil
}

// stillPrimary returns nil if a node is a primary and says the same of the Cluster
// as it did at first.
func (s *Store) stillPrimary(ctx context.Context, p *primary) error {
	role, err := p.client.Do(ctx, p.client.B().Role().Build()).ToArray()
	if err != nil {
		return err
	}
	if !isPrimary(role) {
		return errTopology
	}
	if !s.clustered() {
		return nil
	}
	info, err := p.client.Do(ctx, p.client.B().ClusterInfo().Build()).ToString()
	if err != nil {
		return err
	}
	lines, err := clusterLines(info)
	if err == nil && lines != p.cluster {
		err = errTopology
	}
	return err
}
