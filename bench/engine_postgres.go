package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/pgwatch"
	"cloakroom.example/session/store/sqlstore"
	"github.com/alexedwards/scs/pgxstore"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// postgresEngine is a server that flushes every commit to the disk, as it does by
// default.
func postgresEngine() engine {
	return engine{
		id: "postgres", name: "PostgreSQL", unit: "statements", log: "WAL", databases: true, near: true, goal: 3, nearGoal: 20,
		start: servers.StartPostgreSQL,
		options: servers.Options{Args: []string{
			"-c", "shared_preload_libraries=pg_stat_statements", "-c", "pg_stat_statements.max=10000",
		}},
		ours:  oursOnPostgres,
		peers: []func(context.Context, place) (library, error){scsOnPostgres(scsIdle), scsOnPostgres(0)},
		work:  postgresWork,
	}
}

// oursOnPostgres is configured by defaults alone.
func oursOnPostgres(ctx context.Context, p place, near bool) (*cloakroom, error) {
	config, err := pgx.ParseConfig(p.url)
	if err != nil {
		return nil, err
	}
	db := stdlib.OpenDB(*config)
	s, err := sqlstore.Open(ctx, db, sqlstore.PostgreSQL(), sqlstore.Options{})
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	release := func(ctx context.Context) error { return errors.Join(s.Close(ctx), db.Close()) }
	if p.pushes != "" {
		host, port, err := net.SplitHostPort(p.pushes)
		if err != nil {
			return nil, errors.Join(err, release(ctx))
		}
		config.Host = host
		if _, err := fmt.Sscan(port, &config.Port); err != nil {
			return nil, errors.Join(err, release(ctx))
		}
	}
	return nearBy(nearLabel(near), s, near, pgwatch.New(config), release)
}

// scsOnPostgres has the schema of its README and the pool's own size.
func scsOnPostgres(idle time.Duration) func(context.Context, place) (library, error) {
	return func(ctx context.Context, p place) (library, error) {
		pool, err := pgxpool.New(ctx, p.url)
		if err != nil {
			return nil, err
		}
		if !p.joined {
			_, err = pool.Exec(ctx, `CREATE TABLE sessions (token TEXT PRIMARY KEY, data BYTEA NOT NULL, expiry TIMESTAMPTZ NOT NULL);
				CREATE INDEX sessions_expiry_idx ON sessions (expiry)`)
		}
		if err != nil {
			pool.Close()
			return nil, err
		}
		l := newSCS(idle)
		// The clean-up, every five minutes by default, would outlive the row.
		l.m.Store = pgxstore.NewWithCleanupInterval(pool, 0)
		l.release = func() error { pool.Close(); return nil }
		return l, nil
	}
}

// postgresWork counts statements and the WAL that they wrote, in one database.
func postgresWork(ctx context.Context, p place) (u work, err error) {
	text, err := p.server.Run(ctx, `SET client_min_messages = error`, `CREATE EXTENSION IF NOT EXISTS pg_stat_statements`,
		`SELECT coalesce(sum(calls), 0) || ' ' || coalesce(sum(wal_bytes), 0) FROM pg_stat_statements s JOIN pg_database d ON d.oid = s.dbid WHERE d.datname = '`+p.name+`'`)
	if err != nil {
		return u, err
	}
	if _, err := fmt.Sscan(strings.TrimSpace(text), &u.statements, &u.logBytes); err != nil {
		return u, fmt.Errorf("reading %q: %w", text, err)
	}
	return u, nil
}
