package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cloakroom.example/session"
)

// redisMemoryRow asks what a session takes in Redis, by its own books, and whether
// everything that is there has an end of its own.
func redisMemoryRow() row {
	e := redisEngine()
	return row{
		id: "redis-memory", about: "what a session takes in Redis", engine: true,
		lines: []claim{
			{measure: "Redis: memory per session, 100 B payload, all fields and index", goal: "≤ 800 B"},
			{measure: "Redis: keys of ours that nothing removes", goal: "0", correctness: true},
		},
		measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
			lib, p, err := b.openOne(ctx, e, e.open(false))
			if err != nil {
				return nil, err
			}
			defer func() { err = errors.Join(err, lib.close(ctx)) }()
			n := b.scale.storedSessions
			ours, err := redisBytes(ctx, p, n, func() error {
				return logins(lib.(*cloakroom), n, writers, b.progress, func(int) {}, func(int, *session.Session, string) error { return nil })
			})
			if err != nil {
				return nil, err
			}
			n0, err := lastingKeys(ctx, p)
			if err != nil {
				return nil, err
			}
			lasting := outcome{ours: keysEntry(lib, n0), reached: n0 == 0}
			o := outcome{ours: entry{lib.name(), single(ours), "B", digits(ours) + " B"}, reached: ours <= 800}
			for _, open := range e.peers {
				each, keys, err := peerBytes(ctx, b, e, open)
				if err != nil {
					return nil, err
				}
				o.peers, lasting.peers = append(o.peers, each), append(lasting.peers, keys)
			}
			o.ratio = single(ours / o.peers[0].Median)
			o.shown, o.note = fraction(o.ratio), fmt.Sprintf("measured with %d sessions", n)
			return []outcome{o, lasting}, nil
		},
	}
}

// peerBytes fills a peer by requests, as many as it takes to see what each takes.
func peerBytes(ctx context.Context, b *bench, e engine, open func(context.Context, place) (library, error)) (size, lasting entry, err error) {
	lib, p, err := b.openOne(ctx, e, open)
	if err != nil {
		return size, lasting, err
	}
	defer func() { err = errors.Join(err, lib.close(ctx)) }()
	n := max(b.scale.storedSessions/20, 200)
	each, err := redisBytes(ctx, p, n, func() error {
		h := page(lib, func(lib library, w http.ResponseWriter, r *http.Request) error {
			if err := lib.login(w, r, customer); err != nil {
				return err
			}
			return lib.setBytes(w, r, random(payloadSize))
		})
		return inWorkers(writers, n, b.progress, func(next func() (int, bool)) error {
			for _, ok := next(); ok; _, ok = next() {
				if err := newBrowser().visit(h, http.MethodGet, "/login"); err != nil {
					return err
				}
			}
			return nil
		})
	})
	if err != nil {
		return size, lasting, err
	}
	keys, err := lastingKeys(ctx, p)
	return entry{lib.name(), single(each), "B", digits(each) + " B"}, keysEntry(lib, keys), err
}

func keysEntry(lib library, n int) entry {
	return entry{lib.name(), single(float64(n)), "keys", strconv.Itoa(n)}
}

// redisBytes returns by how much the memory of Redis grows for each of n sessions.
func redisBytes(ctx context.Context, p place, n int, fill func() error) (each float64, err error) {
	before, err := redisMemory(ctx, p)
	if err != nil {
		return 0, err
	}
	if err := fill(); err != nil {
		return 0, err
	}
	// What is kept for connections that were busy is given back within a second.
	time.Sleep(time.Second)
	after, err := redisMemory(ctx, p)
	return (after - before) / float64(n), err
}

// redisMemory returns the bytes of the data, without those of connections.
func redisMemory(ctx context.Context, p place) (float64, error) {
	text, err := p.server.Run(ctx, "INFO", "memory")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(strings.TrimSpace(line), "used_memory_dataset:"); found {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, errors.New("INFO does not tell the memory of the data")
}

// lastingScript counts the keys of a prefix that have no lifetime.
const lastingScript = `local n, cursor = 0, '0'
repeat
  local found = redis.call('SCAN', cursor, 'MATCH', ARGV[1], 'COUNT', 1000)
  cursor = found[1]
  for _, key in ipairs(found[2]) do
    if redis.call('PTTL', key) == -1 then n = n + 1 end
  end
until cursor == '0'
return n`

// lastingKeys counts what would be there for ever.
func lastingKeys(ctx context.Context, p place) (n int, err error) {
	text, err := p.server.Run(ctx, "EVAL", lastingScript, "0", p.name+":*")
	if err != nil {
		return 0, err
	}
	if n, err = strconv.Atoi(strings.TrimSpace(text)); err != nil {
		return 0, fmt.Errorf("reading %q: %w", text, err)
	}
	return n, nil
}
