package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"cloakroom.example/storeurl"
)

// storeVariable is the environment variable that names the store of all commands
// that work on one.
const storeVariable = "CLOAKROOM_STORE"

// storePatience is how long one question to a store may take.
const storePatience = 30 * time.Second

const storeURLHelp = `
A store is named by its URL, with --store or in the environment variable
` + storeVariable + `:

  sqlite:/var/lib/shop/sessions.db
  postgres://shop@db.example.org/shop
  mysql://shop@db.example.org/shop
  redis://redis.example.org
  redis+cluster://node1:7000,node2:7000
  redis+sentinel://watch1,watch2,watch3/shop
  rediss://…, rediss+cluster://…, rediss+sentinel://…   encrypted

Leave passwords out of it: name a file that holds it with ?password-file=FILE, or
set ` + storeurl.PasswordVariable + `.`

// storeFlags name a store.
type storeFlags struct {
	url string
}

func (f *storeFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.url, "store", "", "`URL` of the store (default: $"+storeVariable+")")
}

// resolve returns the URL that was given.
func (f storeFlags) resolve() (string, error) {
	if f.url != "" {
		return f.url, nil
	}
	if url := os.Getenv(storeVariable); url != "" {
		return url, nil
	}
	return "", usageError{fmt.Errorf("no store is named; say --store URL or set %s", storeVariable)}
}

// open opens a store that exists already.
func (f storeFlags) open(ctx context.Context) (*storeurl.Opened, error) {
	url, err := f.resolve()
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(strings.ToLower(url), storeurl.Memory+":") {
		return nil, usageError{errors.New("memory: is forgotten with the process that holds it; there is nothing to look at from outside")}
	}
	ctx, cancel := context.WithTimeout(ctx, storePatience)
	defer cancel()
	return storeurl.Open(ctx, url, storeurl.Options{Existing: true})
}

// closeStore closes a store and adds what went wrong with that to an error.
func closeStore(opened *storeurl.Opened, err *error) {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	*err = errors.Join(*err, opened.Close(ctx))
}

func newStoreCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "store",
		Short: "Prepare and check the place where sessions are kept",
		Long: `Store prepares the tables of a database for sessions, and checks whether an
engine is fit to keep them.
` + storeURLHelp,
		Example: `  cloakroom store migrate postgres://shop@db.example.org/shop
  cloakroom store check redis://redis.example.org`,
		Args: cobra.NoArgs,
	}
	cmd.AddCommand(newStoreMigrateCommand(), newStoreCheckCommand())
	return cmd
}

// newStoreSubcommand returns a command that takes the store's URL as an argument,
// or as the others do.
func newStoreSubcommand(cmd *cobra.Command, run func(cmd *cobra.Command, f storeFlags) error) *cobra.Command {
	var f storeFlags
	f.add(cmd)
	cmd.Args = cobra.MaximumNArgs(1)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := checkGiven(cmd.Flags()); err != nil {
			return usageError{err}
		}
		if len(args) == 1 {
			if f.url != "" {
				return usageError{errors.New("two stores are named, one by --store")}
			}
			f.url = args[0]
		}
		return run(cmd, f)
	}
	return cmd
}
