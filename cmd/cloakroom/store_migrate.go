package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"cloakroom.example/storeurl"
)

const migrateHelp = `Migrate creates the tables for sessions, or brings them up to date, and says what
it did. It can run as often as you like, on several machines at once, and while
servers of the version before use the same tables. There is no way back: an older
program refuses newer tables.

Servers do the same when they start. Run it beforehand where they may not change
tables, or where a deployment should fail before the first server does.

Redis has no tables: there is nothing to migrate.`

func newStoreMigrateCommand() *cobra.Command {
	return newStoreSubcommand(&cobra.Command{
		Use:   "migrate [URL]",
		Short: "Create the tables for sessions, or bring them up to date",
		Long:  migrateHelp + "\n" + storeURLHelp,
		Example: `  cloakroom store migrate postgres://owner@db.example.org/shop
  cloakroom store migrate sqlite:/var/lib/shop/sessions.db`,
	}, func(cmd *cobra.Command, f storeFlags) error {
		return runMigrate(cmd.Context(), f, cmd.OutOrStdout())
	})
}

func runMigrate(ctx context.Context, f storeFlags, stdout io.Writer) error {
	url, err := f.resolve()
	if err != nil {
		return err
	}
	done, err := storeurl.Migrate(ctx, url, storeurl.Options{})
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(stdout, migrated(done))
	return err
}

// migrated says what was done.
func migrated(m storeurl.Migrated) string {
	switch {
	case m.To == 0:
		return m.URL + " has no tables; there is nothing to migrate"
	case m.From == m.To:
		return fmt.Sprintf("%s is up to date: its tables have version %d", m.URL, m.To)
	case m.From == 0:
		return fmt.Sprintf("%s: made the tables for sessions, version %d", m.URL, m.To)
	}
	return fmt.Sprintf("%s: migrated the tables from version %d to %d", m.URL, m.From, m.To)
}
