package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"cloakroom.example/storeurl"
)

// url returns the URL of the store, and whether it is the shop's own file.
func (o demoOptions) url(dir string) (url string, own bool) {
	if o.store != "" {
		return o.store, false
	}
	return storeurl.File(filepath.Join(dir, "sessions.db")), true
}

// openStore opens the sessions, or makes them.
func (o demoOptions) openStore(ctx context.Context, dir string) (*storeurl.Opened, error) {
	url, own := o.url(dir)
	opened, err := storeurl.Open(ctx, url, storeurl.Options{})
	if err != nil && own {
		err = fmt.Errorf("opening sessions in %s: %w; name another folder with --data", dir, err)
	}
	return opened, err
}

// kept says where the sessions are, and how to open another shop on them.
func (o demoOptions) kept(opened *storeurl.Opened, dir string) string {
	if o.store == "" {
		return fmt.Sprintf("Sessions are kept in %s\n", dir)
	}
	if opened.Engine == storeurl.Memory {
		return "Sessions are kept in memory, and forgotten when the shop closes.\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "Sessions are kept in %s\n", opened.URL)
	fmt.Fprintf(&b, "The key that seals them is %s\n", filepath.Join(dir, "session.key"))
	b.WriteString("\nA second shop on the same sessions, in another terminal:\n  cloakroom demo --addr 127.0.0.1:0")
	fmt.Fprintf(&b, " --store %s", quoted(opened.URL))
	if o.data != "" {
		fmt.Fprintf(&b, " --data %s", quoted(dir))
	}
	b.WriteString("\nOn another machine it needs a copy of the key, in the folder that --data names. A\n" +
		"browser that is signed in to one of them on 127.0.0.1 is signed in to all: cookies\nknow no ports. Each shop has passwords of its own.\n")
	if opened.URL != o.store {
		b.WriteString("*** stands for the password.\n")
	} else if os.Getenv(storeurl.PasswordVariable) != "" {
		fmt.Fprintf(&b, "It needs %s, too.\n", storeurl.PasswordVariable)
	}
	return b.String()
}

// quoted returns a word as a shell takes it for one.
func quoted(word string) string {
	if strings.Trim(word, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:@+,=%") == "" {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}
