package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes are part of the interface. A goal that is missed has a code of
// its own: it can be the machine's fault, a broken promise cannot.
const (
	exitReached = 0
	exitFailed  = 1
	exitUsage   = 2
	exitMissed  = 3
)

const help = `Bench compares cloakroom with scs and gorilla/sessions: what a session costs,
how many requests a server answers, what a million sessions take, what a
database is asked for a request, and whether changes and logouts survive requests
that run at the same time.

Everything is measured in this one run, cloakroom and its peers taking turns in
short rounds. The numbers of two machines cannot be compared, nor those of two
runs on a busy one; the ratios can. A ratio is the median over all rounds, in
brackets its quartiles. "Session cost" is what a request takes above the same
request to a bare handler.

The whole run takes some forty minutes and up to 16 GB of memory; it measures
less where there is less, and says so. Rows with Redis, PostgreSQL and MariaDB
start servers of their own; those that are not installed are skipped. Close what
else keeps the machine busy.

Rows:
`

const examples = `  go run ./bench                        everything
  go run ./bench --quick                everything, smaller, in ten minutes
  go run ./bench --quick --only '^read' what a reading request costs
  go run ./bench --only 'redis-|commands'  what databases are asked
  go run ./bench --only 'logout|change' whether promises are kept
  go run ./bench --json > run.json      every number, for programs`

const exitHelp = `
Exit codes:
  0  cloakroom keeps its promises and reaches every goal
  1  a promise is broken (a change lost, a logout undone, a write too many), or
     something could not be measured; the reason is on stderr
  2  wrong usage; nothing was done
  3  a goal of speed or size is missed; the table says which
`

// options are what the command line says.
type options struct {
	quick, tiny, json, markdown bool
	only                        string
}

func (o options) scale() scale {
	switch {
	case o.tiny:
		return tiny()
	case o.quick:
		return quick()
	}
	return full()
}

// chosen returns the rows that --only names: all without it.
func (o options) chosen() (out []row, err error) {
	if o.json && o.markdown {
		return nil, errors.New("--json and --markdown exclude each other")
	}
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return nil, fmt.Errorf("--only: %w", err)
	}
	for _, r := range rows() {
		if pattern.MatchString(r.id) {
			out = append(out, r)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("--only %q fits none of the rows", o.only)
	}
	return out, nil
}

// exitError ends the program with a code. Its text, if there is one, goes to
// stderr.
type exitError struct {
	code int
	text string
}

func (e exitError) Error() string { return e.text }

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if len(args) > 0 && args[0] == childArgument {
		return runChild(ctx, args[1:], os.Stdin, stdout, stderr)
	}
	started := false
	root := newCommand()
	// Whatever goes wrong before the command starts is wrong usage.
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	code := codeOf(err, started)
	if err != nil && err.Error() != "" {
		fmt.Fprintf(stderr, "bench: %s\n", strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	if code == exitUsage {
		fmt.Fprintln(stderr, `Try "go run ./bench --help".`)
	}
	return code
}

// codeOf returns the exit code for the error that the command ended with. Several
// count as the worst of them: what failed before what was missed.
func codeOf(err error, started bool) int {
	var exit exitError
	switch {
	case err == nil:
		return exitReached
	case !started:
		return exitUsage
	case errors.As(err, &exit):
		return exit.code
	}
	return exitFailed
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:           "bench",
		Short:         "Compare cloakroom with its peers",
		Long:          help + listRows(),
		Example:       examples,
		Args:          cobra.NoArgs,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			chosen, err := o.chosen()
			if err != nil {
				return exitError{exitUsage, err.Error()}
			}
			return compare(cmd.Context(), o, chosen, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.quick, "quick", false, "measure less: fewer rounds, fewer sessions")
	f.StringVar(&o.only, "only", "", "measure the rows whose name fits the regular `expression`")
	f.BoolVar(&o.json, "json", false, "print every number as JSON")
	f.BoolVar(&o.markdown, "markdown", false, "print the table as Markdown")
	f.BoolVar(&o.tiny, "tiny", false, "measure next to nothing, for tests")
	_ = f.MarkHidden("tiny") // it is there
	cmd.SetUsageTemplate(cmd.UsageTemplate() + exitHelp)
	cmd.CompletionOptions.DisableDefaultCmd = true
	return cmd
}

func listRows() string {
	var b strings.Builder
	for _, r := range rows() {
		fmt.Fprintf(&b, "  %-13s %s\n", r.id, r.about)
	}
	return b.String()
}
