package storeurl

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Option is one thing that can be said in the query of a URL.
type Option struct {
	Name string
	// Example is a value that it can have.
	Example string
	About   string
}

// Known lists the options that URLs of an engine may have.
func Known(engine string) []Option {
	var (
		near = Option{"near-cache", "64MB", "keep copies of sessions in this much memory of the process, dropped by push"}
		pool = Option{"pool", "16", "connections, at most"}

		server = []Option{
			{"password-file", "/run/secrets/db", "file that holds the password"},
			{"socket", "/run/db.sock", "Unix socket, in place of a host"},
			{"connect-timeout", "5s", "how long connecting may take"},
		}
		secure = []Option{
			{"tls-ca", "/etc/ca.pem", "certificates that vouch for the server, in place of the system's"},
			{"tls-cert", "/etc/me.pem", "certificate to show to the server"},
			{"tls-key", "/etc/me.key", "its key"},
			{"tls-name", "db.example.org", "the name that the server's certificate must have, if not the host"},
		}
		tlsMode = Option{"tls", "verify", "verify, unverified (anybody may be the server) or off; without it: off for this machine, otherwise verify"}
		busy    = Option{"busy-timeout", "5s", "how long to wait for somebody else's lock"}
	)
	switch engine {
	case PostgreSQL:
		return slices.Concat(server, []Option{pool, near, tlsMode, {"sslmode", "verify-full", "the same in PostgreSQL's words"}}, secure, []Option{busy})
	case MySQL:
		return slices.Concat(server, []Option{pool, tlsMode}, secure, []Option{busy})
	case Redis:
		return slices.Concat(server, []Option{
			near, {"db", "0", "number of the database"}, {"prefix", "shop", "what the names of the keys begin with"},
			{"wait", "250ms", "how long logins, logouts and revocations wait for replicas"},
			{"wait-replicas", "1", "how many replicas they wait for, if there are as many; 0 means none"},
			{"sentinel-user", "watch", "user at the sentinels"}, {"sentinel-password-file", "/run/secrets/s", "file that holds their password"},
		}, secure)
	case SQLite:
		return []Option{pool, near, busy}
	}
	return nil
}

// options are those of one URL.
type options map[string]string

// errOptions does not repeat the query: it can be the rest of a password.
var errOptions = errors.New("storeurl: what follows the question mark is not name=value&name=value, with % written as %25")

// parseOptions reads the query, and refuses what the engine does not know.
func (a *address) parseOptions(query string) error {
	a.options = make(options)
	known := Known(a.engine)
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		name, value, found := strings.Cut(pair, "=")
		value, err := url.QueryUnescape(value)
		if err != nil || !found || strings.ContainsRune(value, 0) {
			return errOptions
		}
		if !slices.ContainsFunc(known, func(o Option) bool { return o.Name == name }) {
			return unknownOption(a.name, name, known)
		}
		if a.options.has(name) {
			return fmt.Errorf("storeurl: option %s is given twice", name)
		}
		if value == "" {
			return fmt.Errorf("storeurl: option %s has no value", name)
		}
		a.options[name] = value
	}
	return nil
}

// unknownOption lists what there is. A name that is not made of letters is not
// repeated.
func unknownOption(scheme, name string, known []Option) error {
	if name == "password" {
		return errors.New("storeurl: a password goes before the host, as in user:password@host, or into a file that password-file= names")
	}
	if len(known) == 0 {
		return fmt.Errorf("storeurl: %s: has no options", scheme)
	}
	var names []string
	for _, o := range known {
		names = append(names, o.Name)
	}
	shown := "there is an option that"
	if len(name) <= 24 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == "" {
		shown = "option " + name
	}
	if near := nearest(name, names); near != "" {
		return fmt.Errorf("storeurl: %s is unknown to %s; did you mean %s?", shown, scheme, near)
	}
	return fmt.Errorf("storeurl: %s is unknown to %s; there are %s", shown, scheme, strings.Join(names, ", "))
}

func (o options) has(name string) bool { _, found := o[name]; return found }

// duration returns an option that is a time, or zero.
func (o options) duration(name string) (time.Duration, error) {
	if !o.has(name) {
		return 0, nil
	}
	d, err := time.ParseDuration(o[name])
	if err != nil || d <= 0 || d > time.Hour {
		return 0, fmt.Errorf("storeurl: option %s: %q is not a time between 1ns and 1h, such as 5s", name, o[name])
	}
	return d, nil
}

// count returns an option that is a number from least on, or otherwise.
func (o options) count(name string, least, otherwise int) (int, error) {
	if !o.has(name) {
		return otherwise, nil
	}
	n, err := strconv.ParseUint(o[name], 10, 16)
	if err != nil || int(n) < least {
		return 0, fmt.Errorf("storeurl: option %s: %q is not a number from %d to 65535", name, o[name], least)
	}
	return int(n), nil
}

// size returns an option that is an amount of memory in bytes, or zero.
func (o options) size(name string) (int64, error) {
	if !o.has(name) {
		return 0, nil
	}
	number, unit := o[name], int64(1)
	for _, u := range []struct {
		name  string
		bytes int64
	}{
		{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"KB", 1000}, {"MB", 1000_000}, {"GB", 1000_000_000},
		{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30},
	} {
		if digits, found := strings.CutSuffix(number, u.name); found {
			number, unit = digits, u.bytes
			break
		}
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if size := int64(n) * unit; err == nil && size >= 1<<20 && size <= 1<<40 {
		return size, nil
	}
	return 0, fmt.Errorf("storeurl: option %s: %q is not an amount of memory between 1MiB and 1TiB, such as 64MB", name, o[name])
}

// nearest returns the name that differs from what was written by a slip or two, or
// an empty string.
func nearest(written string, names []string) string {
	best, distance := "", 3
	for _, name := range names {
		if d := edits(strings.ToLower(written), name); d < distance && d < len(name)/2+1 {
			best, distance = name, d
		}
	}
	return best
}

// edits returns how many letters have to be changed, added or removed.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}
