package main

import (
	"fmt"
	"io"
	"runtime/debug"

	"github.com/spf13/cobra"
)

func newVersionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long:  "Version prints the version of cloakroom and what it was built with.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			info, _ := debug.ReadBuildInfo()
			return printVersion(cmd.OutOrStdout(), info)
		},
	}
}

// printVersion prints what the build says about itself; info may be nil.
func printVersion(w io.Writer, info *debug.BuildInfo) error {
	if info == nil {
		_, err := fmt.Fprintln(w, "cloakroom (unknown version)")
		return err
	}
	version := info.Main.Version
	if version == "" || version == "(devel)" {
		version = "development version"
	}
	revision, changed := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = " " + s.Value[:min(12, len(s.Value))]
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = " with changes"
		}
	}
	_, err := fmt.Fprintf(w, "cloakroom %s%s%s (%s)\n", version, revision, changed, info.GoVersion)
	return err
}
