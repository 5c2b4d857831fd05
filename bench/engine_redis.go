package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/nearcache"
	scsredis "github.com/alexedwards/scs/redisstore"
	"github.com/boj/redistore"
	redigo "github.com/gomodule/redigo/redis"
	"github.com/gorilla/sessions"
	"github.com/redis/rueidis"
)

// redisEngine is a single server with an append-only file that is flushed once a
// second, as its manual recommends.
func redisEngine() engine {
	return engine{
		id: "redis", name: "Redis", unit: "commands", near: true, goal: 2.5, nearGoal: 15,
		start: func(ctx context.Context, o servers.Options) (*servers.Server, error) {
			return servers.StartRedis(ctx, o)
		},
		options: servers.Options{Unsynced: true},
		ours:    oursOnRedis,
		peers: []func(context.Context, place) (library, error){
			scsOnRedis(scsIdle), scsOnRedis(0), gorillaOnRedis,
		},
		work: redisWork,
	}
}

// oursOnRedis is configured by defaults alone.
func oursOnRedis(ctx context.Context, p place, near bool) (*cloakroom, error) {
	open := func(addr string) (*redisstore.Store, error) {
		client := rueidis.ClientOption{InitAddress: []string{addr}, Password: p.server.Password()}
		return redisstore.Open(ctx, client, redisstore.Options{Prefix: p.name + ":"})
	}
	s, err := open(p.server.Addr())
	if err != nil {
		return nil, err
	}
	release := func(context.Context) error { return s.Close() }
	if !near || p.pushes == "" {
		return nearBy(nearLabel(near), s, near, nil, release)
	}
	watcher, err := open(p.pushes)
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return nearBy(nearLabel(near), s, near, watcher, func(context.Context) error { return errors.Join(watcher.Close(), s.Close()) })
}

// nearBy returns ours on a store, with a near-cache in front of it if that is
// wanted. Without a watcher the store itself tells what changes.
func nearBy(label string, s store.Store, near bool, w store.Watcher, release func(context.Context) error) (*cloakroom, error) {
	c := &cloakroom{label: label, store: s, release: release}
	if near {
		copies, err := nearcache.New(s, nearcache.Options{Watcher: w, Logger: slog.New(slog.DiscardHandler)})
		if err != nil {
			return nil, errors.Join(err, release(context.Background()))
		}
		c.store, c.release = copies, func(ctx context.Context) error { return errors.Join(copies.Close(ctx), release(ctx)) }
	}
	var err error
	if c.m, err = newManager(c.store, nil); err != nil {
		return nil, errors.Join(err, c.release(context.Background()))
	}
	return c, nil
}

// redigoPool is the pool of scs's README, but with an idle connection for each of
// the requests in parallel: with its ten, most of them would connect anew.
func redigoPool(p place) *redigo.Pool {
	return &redigo.Pool{MaxIdle: writers, Dial: func() (redigo.Conn, error) {
		return redigo.Dial("tcp", p.server.Addr(), redigo.DialPassword(p.server.Password()))
	}}
}

func scsOnRedis(idle time.Duration) func(context.Context, place) (library, error) {
	return func(_ context.Context, p place) (library, error) {
		l, pool := newSCS(idle), redigoPool(p)
		l.m.Store, l.release = scsredis.NewWithPrefix(pool, p.name+":"), pool.Close
		return l, nil
	}
}

// gorillaOnRedis is boj/redistore, whose sessions live a fixed time after each
// change.
func gorillaOnRedis(_ context.Context, p place) (library, error) {
	registerProfile()
	s, err := redistore.NewRediStoreWithPool(redigoPool(p), []byte(strings.Repeat("k", 32)))
	if err != nil {
		return nil, err
	}
	s.SetKeyPrefix(p.name + ":")
	return &gorilla{label: "gorilla", store: s, server: true, release: s.Close}, nil
}

var _ sessions.Store = (*redistore.RediStore)(nil)

// redisWork counts commands, but for those that connections begin with and our
// own question. Commands that scripts call are counted too.
func redisWork(ctx context.Context, p place) (u work, err error) {
	text, err := p.server.Run(ctx, "INFO", "commandstats")
	if err != nil {
		return u, err
	}
	u.logBytes = -1
	for line := range strings.Lines(text) {
		name, rest, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		name, _, _ = strings.Cut(name, "|")
		switch name {
		case "info", "auth", "hello", "client", "select":
			continue
		}
		if calls, _, _ := strings.Cut(rest, ","); found {
			n, err := strconv.Atoi(calls)
			if err != nil {
				return u, fmt.Errorf("reading the count of %s: %w", name, err)
			}
			u.statements += float64(n)
		}
	}
	return u, nil
}
