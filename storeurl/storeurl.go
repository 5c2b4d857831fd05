// Package storeurl opens session stores by URL, for programs that let their
// operators choose the engine. It links the drivers of all engines; a program
// that needs one only opens that itself.
//
//	opened, err := storeurl.Open(ctx, os.Getenv("SESSION_STORE"), storeurl.Options{})
//	…
//	defer opened.Close(ctx)
//	sessions, err := session.New(session.Config{Store: opened.Store, …})
//
// The URLs:
//
//	memory:                                         this process, forgotten with it
//	sqlite:/var/lib/shop/sessions.db                one machine
//	postgres://shop@db.example.org/shop             PostgreSQL 13 or later
//	mysql://shop@db.example.org/shop                MySQL 8, MariaDB 10.6 or later
//	redis://redis.example.org                       Redis 6.2 or later, Valkey
//	rediss://…                                      the same, encrypted
//	redis+cluster://node1:7000,node2:7000           a Cluster, named by some of its nodes
//	redis+sentinel://watch1,watch2,watch3/shop      a primary, as its sentinels name it
//	rediss+cluster://…, rediss+sentinel://…         the same, encrypted
//
// Several hosts of PostgreSQL, separated by commas, are tried until one takes
// writes. In user names and passwords /, ?, #, @ and % are percent-encoded.
//
// # Passwords
//
// A password in a URL stands in process lists and shell histories. It can be left
// out, and then comes from the file that the option password-file names, or from
// the environment variable CLOAKROOM_STORE_PASSWORD; for PostgreSQL also from
// PGPASSWORD or the file ~/.pgpass. No error of this package and of what it opens
// holds a password, and [Redacted] makes a URL fit to be shown.
//
// # Encryption
//
// Connections of PostgreSQL and MySQL to other machines are encrypted, and the
// server has to prove that it is the one named, unless the URL says tls=off. Redis
// is encrypted if its scheme says so. [Known] lists all options; one that is not
// known is refused.
package storeurl

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/nearcache"
)

// Options says what the URL does not. The zero value is right for servers.
type Options struct {
	// Existing refuses to create or migrate anything, and keeps no copies: for
	// programs that look at what others keep.
	Existing bool
	// Logger receives warnings about settings of the engine that endanger
	// sessions. If nil, [slog.Default].
	Logger *slog.Logger
	// Getenv finds the password where the URL has none. If nil, [os.Getenv].
	Getenv func(name string) string
}

func (o Options) withDefaults() Options {
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	return o
}

// Opened is a store that was opened by URL.
type Opened struct {
	// Store is to be given to [session.Config].
	Store store.Store
	// Engine is one of the constants of this package.
	Engine string
	// URL is the redacted URL.
	URL string
	// DB is a handle on the database behind the store, beside the store's own,
	// which may keep all of its connections. It is nil for Redis and memory.
	DB *sql.DB
	// Watcher reports what changes in the store. It is nil where the engine does
	// not push that.
	Watcher store.Watcher

	inspect func(ctx context.Context, r *Report) error
	closers []func(ctx context.Context) error // in the order of opening
	scrub   scrubber
}

// Open opens the store that a URL names, with its tables brought up to date.
func Open(ctx context.Context, text string, o Options) (*Opened, error) {
	o = o.withDefaults()
	a, secrets, err := prepare(text, o)
	if err != nil {
		return nil, err
	}
	opened := &Opened{Engine: a.engine, URL: Redacted(text), scrub: secrets}
	if err := opened.open(ctx, a, o); err != nil {
		err = errors.Join(err, opened.Close(ctx))
		return nil, secrets.clean(fmt.Errorf("opening %s: %w", opened.URL, err))
	}
	return opened, nil
}

// prepare takes a URL apart and finds its password.
func prepare(text string, o Options) (address, scrubber, error) {
	a, err := parse(text)
	if err != nil {
		return a, nil, err
	}
	if err := a.findPassword(o.Getenv); err != nil {
		return a, nil, err
	}
	return a, newScrubber(Redacted(text), a.password, a.sentinelPassword), nil
}

func (s *Opened) open(ctx context.Context, a address, o Options) error {
	switch d, ok, err := a.database(o); {
	case err != nil:
		return err
	case ok:
		if err := s.openSQL(ctx, a, d, o); err != nil {
			return err
		}
	case a.engine == Redis:
		if err := s.openRedis(ctx, a, o); err != nil {
			return err
		}
	default:
		s.openMemory()
	}
	if w, ok := s.Store.(store.Watcher); ok && s.Watcher == nil && s.Engine != MySQL {
		s.Watcher = w
	}
	return s.keepCopies(a, o)
}

// keepCopies puts copies near the program in front of the store, if the URL asks
// for that.
func (s *Opened) keepCopies(a address, o Options) error {
	bytes, err := a.options.size("near-cache")
	if err != nil || bytes == 0 || o.Existing {
		return err
	}
	near, err := nearcache.New(s.Store, nearcache.Options{Watcher: s.Watcher, MaxBytes: int(bytes), Logger: o.Logger})
	if err != nil {
		return err
	}
	s.onClose(near.Close)
	s.Store = near
	return nil
}

func (s *Opened) openMemory() {
	s.Store = memory.New()
	s.inspect = func(_ context.Context, r *Report) error {
		r.Product, r.Durability = "memory of this process", "nothing survives the end of the process"
		return nil
	}
}

// onClose adds a step to closing.
func (s *Opened) onClose(step func(ctx context.Context) error) { s.closers = append(s.closers, step) }

// Close finishes what was accepted and lets go of the engine. What works with the
// store, such as a manager, is closed before.
func (s *Opened) Close(ctx context.Context) error {
	var errs []error
	for _, step := range slices.Backward(s.closers) {
		errs = append(errs, step(ctx))
	}
	s.closers = nil
	if err := errors.Join(errs...); err != nil {
		return s.scrub.clean(fmt.Errorf("closing %s: %w", s.URL, err))
	}
	return nil
}
