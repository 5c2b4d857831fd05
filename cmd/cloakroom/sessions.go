package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"cloakroom.example/session/store"
	"cloakroom.example/storeurl"
)

const sessionsHelp = `Sessions shows and ends sessions in the store that servers use, while they run:
what it ends, they refuse with the next request.

A session is named by its handle, or by the first letters of it. A handle is
public: it opens nothing.
` + storeURLHelp

// namespaceHelp describes the flag of all commands about sessions.
const namespaceHelp = "`name` that the servers give their sessions (session.Config.Namespace)"

func newSessionsCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "sessions",
		Short: "List, show, end and watch the sessions in a store",
		Long:  sessionsHelp,
		Example: `  export CLOAKROOM_STORE=postgres://shop@db.example.org/shop?password-file=/run/secrets/db
  cloakroom sessions list --user alice
  cloakroom sessions revoke --user alice --reason "phone lost"
  cloakroom sessions watch`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newListCommand(), newShowCommand(), newRevokeCommand(), newStatsCommand(), newWatchCommand())
	return cmd
}

// sessionsFlags are those of all commands about sessions.
type sessionsFlags struct {
	storeFlags
	namespace string
	json      bool
}

func (f *sessionsFlags) add(cmd *cobra.Command, asJSON string) {
	f.storeFlags.add(cmd)
	cmd.Flags().StringVar(&f.namespace, "namespace", "", namespaceHelp)
	cmd.Flags().BoolVar(&f.json, "json", false, asJSON)
}

// desk is an open store, with what a command about sessions needs beside it.
type desk struct {
	*terminal
	opened    *storeurl.Opened
	store     store.Store
	namespace string
	json      bool
}

// withDesk opens the store, runs a command, and closes the store.
func withDesk(cmd *cobra.Command, f sessionsFlags, run func(ctx context.Context, d *desk) error) (err error) {
	ctx := cmd.Context()
	if err := checkGiven(cmd.Flags()); err != nil {
		return usageError{err}
	}
	opened, err := f.open(ctx)
	if err != nil {
		return err
	}
	defer closeStore(opened, &err)
	d := &desk{
		terminal: newTerminal(cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr()),
		opened:   opened, store: opened.Store, namespace: f.namespace, json: f.json,
	}
	defer d.progressOver()
	return run(ctx, d)
}

// checkGiven refuses flags that were given without a value, as by a script whose
// variable is not set: they would name everybody, or spare nobody. Only a namespace
// may be empty.
func checkGiven(flags *pflag.FlagSet) (err error) {
	flags.Visit(func(f *pflag.Flag) {
		if f.Value.String() == "" && f.Name != "namespace" {
			err = fmt.Errorf("--%s is given without a value; leave it out", f.Name)
		}
	})
	return err
}

// rememberedSuffix makes the namespace of the logins that are remembered.
const rememberedSuffix = ".remember"

// namespaces are those of the sessions, and of the logins that are remembered.
func (d *desk) namespaces() []string { return []string{d.namespace, d.namespace + rememberedSuffix} }

// page asks for one page of a list.
func (d *desk) page(ctx context.Context, q store.Query) (store.Page, error) {
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	page, err := d.store.List(ctx, q)
	if err != nil {
		return page, fmt.Errorf("listing sessions: %w", err)
	}
	return page, nil
}

// scanPage is how many sessions are asked for at once where all are looked at.
const scanPage = 1000

// scan hands over all sessions that a query names, page by page, until take
// returns false. The query's time decides what has expired.
func (d *desk) scan(ctx context.Context, q store.Query, take func(r *store.Record) bool) error {
	if q.Max == 0 {
		q.Max = scanPage
	}
	for looked := 0; ; {
		page, err := d.page(ctx, q)
		if err != nil {
			return err
		}
		for i := range page.Records {
			if !take(&page.Records[i]) {
				return nil
			}
		}
		looked += len(page.Records)
		d.progress("looked at %s", counted(looked, "session"))
		if q.Cursor = page.Next; q.Cursor == "" {
			return nil
		}
	}
}

// load returns one session.
func (d *desk) load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	ctx, cancel := context.WithTimeout(store.Fresh(ctx), storePatience)
	defer cancel()
	return d.store.Load(ctx, k, parts)
}

// shortestPrefix is how many letters of a handle are needed at least.
const shortestPrefix = 4

// find returns the session that a handle or the beginning of one names.
func (d *desk) find(ctx context.Context, text string) (found store.Record, err error) {
	if h, err := store.ParseHandle(text); err == nil {
		return d.findExact(ctx, h)
	}
	if len(text) < shortestPrefix || len(text) >= len(store.Handle{}.String()) {
		return found, usageError{fmt.Errorf("%q is not a handle; give its %d letters, or the first %d or more",
			text, len(store.Handle{}.String()), shortestPrefix)}
	}
	matches := 0
	for _, namespace := range d.namespaces() {
		q := store.Query{Namespace: namespace, Ended: true, Now: time.Now().UTC()}
		err := d.scan(ctx, q, func(r *store.Record) bool {
			if r.Handle.String()[:len(text)] == text && (matches == 0 || r.Key() != found.Key()) { // what ends meanwhile may come twice
				found = *r
				matches++
			}
			return matches < 2
		})
		if err != nil {
			return found, err
		}
	}
	d.progressOver()
	switch matches {
	case 0:
		return found, fmt.Errorf("no session's handle begins with %q", text)
	case 1:
		return found, nil
	}
	return found, fmt.Errorf("several handles begin with %q; give more of it", text)
}

// findExact looks for a session, and for a login that is remembered.
func (d *desk) findExact(ctx context.Context, h store.Handle) (found store.Record, err error) {
	for _, namespace := range d.namespaces() {
		found, err = d.load(ctx, store.Key{Namespace: namespace, Handle: h}, nil)
		if !errors.Is(err, store.ErrNotFound) {
			break
		}
	}
	if errors.Is(err, store.ErrNotFound) {
		return found, fmt.Errorf("there is no session %s; what ended long ago is forgotten", h)
	}
	if err != nil {
		return found, fmt.Errorf("looking for session %s: %w", h, err)
	}
	return found, nil
}
