package redisstore

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// Replicas follow asynchronously. What must not be lost when a replica takes over
// (logins, logouts, revocations) waits until one has it: a small write after it,
// on a connection of its own, and WAIT for that. Replicas apply writes in order, so
// that the one covers the other. Callers that come while others wait share the
// next round, so that there is one at a time for each node, or for each bucket of a
// Cluster.
type lane struct {
	bucket int
	mu     sync.Mutex
	busy   bool
	next   *round
	alone  time.Time // until when no replica is expected; used by one round at a time
}

type round struct{ done chan struct{} }

// waitingMost is how many connections wait at a time.
const waitingMost = 16

// aloneTime is how long it takes to notice that there is a replica now.
const aloneTime = 5 * time.Second

// replicated waits until a replica has what was written to the buckets. That none
// has is no error: the write is done, and it is reported.
func (s *Store) replicated(ctx context.Context, wrote ...int) {
	if s.replicas < 1 {
		return
	}
	lanes := map[*lane]bool{}
	for _, b := range wrote {
		lanes[s.lane(b)] = true
	}
	var rounds []*round
	for l := range lanes {
		rounds = append(rounds, s.join(l))
	}
	for _, r := range rounds {
		select {
		case <-r.done:
		case <-ctx.Done():
			s.warn("nobody waited to hear whether a replica has the last login, logout or revocation")
			return
		}
	}
}

// lane returns the lane of a bucket.
func (s *Store) lane(bucket int) *lane {
	if s.client.Mode() != rueidis.ClientModeCluster {
		bucket = 0
	}
	return &s.lanes[bucket]
}

// join takes part in the next round.
func (s *Store) join(l *lane) *round {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.next == nil {
		l.next = &round{make(chan struct{})}
	}
	r := l.next
	if !l.busy {
		l.busy = true
		s.background.Go(func() { s.rounds(l) })
	}
	return r
}

func (s *Store) rounds(l *lane) {
	for {
		l.mu.Lock()
		r := l.next
		if l.next = nil; r == nil {
			l.busy = false
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		s.round(l)
		close(r.done)
	}
}

func (s *Store) round(l *lane) {
	if time.Now().Before(l.alone) {
		return
	}
	s.waiting <- struct{}{}
	defer func() { <-s.waiting }()
	ctx, cancel := context.WithTimeout(context.Background(), s.waitTimeout+time.Second)
	defer cancel()
	there, confirmed, err := s.wait(ctx, l.bucket)
	want := min(there, s.replicas)
	switch {
	case err != nil:
		s.warn(fmt.Sprintf("it is not known whether a replica has the last login, logout or revocation: %v", readFault(err)))
	case there == 0:
		l.alone = time.Now().Add(aloneTime)
	case confirmed < want:
		s.warn(fmt.Sprintf("%d of %d replicas confirmed within %v: a failover now may undo the last login, logout or revocation",
			confirmed, want, s.waitTimeout))
	}
}

// wait returns how many replicas there are, and how many have what was written.
func (s *Store) wait(ctx context.Context, bucket int) (there, confirmed int, err error) {
	for attempt := 0; ; attempt++ {
		there, confirmed, err = s.waitOnce(ctx, bucket)
		if err == nil || !transient(err) || attempt > 5 || !pause(ctx, attempt+3) {
			return there, confirmed, err
		}
	}
}

func (s *Store) waitOnce(ctx context.Context, bucket int) (there, confirmed int, err error) {
	c, release := s.client.Dedicate()
	defer release()
	key := keyspace{s.prefix, "", &s.tags}.in(kindWait, bucket, "")
	replies := c.DoMulti(ctx, c.B().Set().Key(key).Value("").Px(time.Second).Build(), c.B().Role().Build())
	if err := replies[0].Error(); err != nil {
		return 0, 0, err
	}
	role, err := replies[1].ToArray()
	if err != nil {
		return 0, 0, err
	}
	if len(role) == 3 {
		replicas, _ := role[2].ToArray()
		there = len(replicas)
	}
	if there == 0 {
		return 0, 0, nil
	}
	n, err := c.Do(ctx, c.B().Wait().Numreplicas(int64(min(there, s.replicas))).Timeout(s.waitTimeout.Milliseconds()).Build()).AsInt64()
	return there, int(n), err
}
