package main

import (
	"context"
	"errors"
	"fmt"

	"cloakroom.example/servers"
)

// engine is a database server that sessions are kept in. Each run starts servers of
// its own; rows share them, and every library gets a place of its own there.
type engine struct {
	id      string // for names of rows
	name    string // for people
	start   func(context.Context, servers.Options) (*servers.Server, error)
	options servers.Options
	// databases says that a place is a database of its own.
	databases bool
	// ours opens our library, with a near-cache if that is wanted and there is one.
	ours func(ctx context.Context, p place, near bool) (*cloakroom, error)
	near bool
	// peers open those of others. The goals speak of the first, which has an idle
	// timeout as ours has.
	peers []func(context.Context, place) (library, error)
	// work asks the server what it has done so far.
	work func(context.Context, place) (work, error)
	// unit is what it is asked to do, and log what it writes for durability.
	unit, log string
	// How many times as many reading requests as the first peer it is to answer,
	// without a near-cache and with it.
	goal, nearGoal float64
}

// engines are all there are.
func engines() []engine { return []engine{redisEngine(), postgresEngine(), mariadbEngine()} }

// place is where a library keeps its sessions: a server, and a name there that
// nobody else uses.
type place struct {
	server *servers.Server
	name   string
	url    string // of its database
	joined bool   // somebody has made the tables already
	// pushes, if set, is where changes are watched, instead of the server itself.
	pushes string
}

// work counts what a server has done.
type work struct {
	statements float64
	logBytes   float64 // −1 where that is not counted
}

// place returns a new place on the engine's server, which is started first if it
// is not there.
func (b *bench) place(ctx context.Context, e engine) (place, error) {
	if b.servers[e.id] == nil {
		s, err := e.start(ctx, e.options)
		if errors.Is(err, servers.ErrMissing) {
			return place{}, skipped{err.Error()}
		}
		if err != nil {
			return place{}, fmt.Errorf("starting %s: %w", e.name, err)
		}
		if b.servers == nil {
			b.servers = map[string]*servers.Server{}
		}
		b.servers[e.id] = s
	}
	b.places++
	p := place{server: b.servers[e.id], name: fmt.Sprintf("bench%d", b.places)}
	if e.databases {
		var err error
		if p.url, err = p.server.NewDatabase(ctx, p.name); err != nil {
			return place{}, fmt.Errorf("making a database on %s: %w", e.name, err)
		}
	}
	return p, nil
}

// closeServers ends the servers that rows have started.
func (b *bench) closeServers() (err error) {
	for _, s := range b.servers {
		err = errors.Join(err, s.Close())
	}
	return err
}

// skipped is why a row cannot be measured on this machine.
type skipped struct{ reason string }

func (s skipped) Error() string { return s.reason }

// openers are the libraries on an engine, ours first, each to be opened in a place
// of its own.
func (e engine) openers() (all []func(context.Context, place) (library, error)) {
	all = append(all, e.open(false))
	if e.near {
		all = append(all, e.open(true))
	}
	return append(all, e.peers...)
}

// open returns the opener of ours.
func (e engine) open(near bool) func(context.Context, place) (library, error) {
	return func(ctx context.Context, p place) (library, error) {
		c, err := e.ours(ctx, p, near)
		if err != nil {
			return nil, err // not a nil library in an interface
		}
		return c, nil
	}
}

// openAll opens the libraries that are given.
func (b *bench) openAll(ctx context.Context, e engine, all []func(context.Context, place) (library, error)) (libs []library, err error) {
	for _, open := range all {
		p, err := b.place(ctx, e)
		if err != nil {
			return nil, errors.Join(err, closeAll(ctx, libs))
		}
		lib, err := open(ctx, p)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("opening a library on %s: %w", e.name, err), closeAll(ctx, libs))
		}
		libs = append(libs, lib)
	}
	return libs, nil
}

// nearLabel names ours with a near-cache.
func nearLabel(near bool) string {
	if near {
		return "cloakroom near-cache"
	}
	return "cloakroom"
}
