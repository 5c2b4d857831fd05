package main

import (
	"slices"
	"strings"
)

// handlesLast moves handles that begin with a hyphen to the end, behind a "--":
// one in 64 does, and should not be taken for a flag. What follows a flag that
// takes a value is left alone, and so is everything before a handle can stand.
func handlesLast(args []string) []string {
	if len(args) < 2 || args[0] != "sessions" || args[1] != "show" && args[1] != "revoke" || slices.Contains(args, "--") {
		return args
	}
	var rest, handles []string
	valued := false // the argument before waits for a value
	for _, arg := range args {
		if !valued && looksLikeHandle(arg) {
			handles = append(handles, arg)
			continue
		}
		valued = !valued && strings.HasPrefix(arg, "--") && !strings.Contains(arg, "=") &&
			!slices.Contains([]string{"--all", "--yes", "--json", "--help"}, arg)
		rest = append(rest, arg)
	}
	if len(handles) == 0 {
		return args
	}
	return append(append(rest, "--"), handles...)
}

// looksLikeHandle reports whether an argument that begins with a hyphen is a handle
// or the beginning of one, rather than a flag. Flags are words of small letters.
func looksLikeHandle(arg string) bool {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return len(arg) >= shortestPrefix && len(arg) <= 22 && arg[0] == '-' && strings.Trim(arg, alphabet) == "" &&
		(arg[1] != '-' || strings.ToLower(arg) != arg || strings.ContainsAny(arg, "0123456789_"))
}
