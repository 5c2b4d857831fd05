package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"cloakroom.example/plain"
)

// Manners: results go to stdout, errors to stderr, as one line that says what to
// do. Exit codes are part of the interface.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
	// exitAdvised: it works, but something should be put right.
	exitAdvised = 3
)

const rootHelp = `cloakroom is web-session management done right: leave your coat, carry only a
ticket. The ticket is a random token in a cookie; everything else stays on the
server.

Begin with "cloakroom demo": a small shop to click through, with every session
event in the terminal.`

const exitHelp = `
Exit codes:
  0  ok
  1  failed; the reason is on stderr
  2  wrong usage; nothing was done
`

// usageError is a wrong use of a command that only its own code can see.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// run runs the program and returns its exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	started := false
	root := newRootCommand()
	// Whatever goes wrong before a command starts is wrong usage.
	root.PersistentPreRun = func(*cobra.Command, []string) { started = true }
	root.SetArgs(handlesLast(args))
	root.SetOut(stdout)
	root.SetErr(stderr)
	command, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintf(stderr, "cloakroom: %s\n", plain.Text(oneLine(err)))
	if errors.Is(err, errAdvised) {
		return exitAdvised
	}
	if usage := (usageError{}); started && !errors.As(err, &usage) {
		return exitFailed
	}
	fmt.Fprintf(stderr, "Try %q.\n", command.CommandPath()+" --help")
	return exitUsage
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "cloakroom",
		Short:         "Web-session management done right",
		Long:          rootHelp,
		Example:       "  cloakroom demo\n  cloakroom demo --help",
		SilenceErrors: true,
		SilenceUsage:  true,

		DisableSuggestions: true, // they take several lines
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetUsageTemplate(root.UsageTemplate() + exitHelp)
	root.AddCommand(newDemoCommand(), newSessionsCommand(), newStoreCommand(), newVersionCommand())
	return root
}

// oneLine returns the text of an error, which may be several joined ones.
func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
