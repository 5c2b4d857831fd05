package storeurl

import (
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// The engines, as [Opened.Engine] names them.
const (
	PostgreSQL = "postgres"
	MySQL      = "mysql"
	Redis      = "redis"
	SQLite     = "sqlite"
	Memory     = "memory"
)

// scheme says what the beginning of a URL stands for.
type scheme struct {
	engine string
	layout string // of Redis: "cluster", "sentinel", or empty for one server
	tls    bool   // by the scheme's own meaning
}

// schemes are all beginnings of URLs that there are.
func schemes() map[string]scheme {
	return map[string]scheme{
		"postgres":        {engine: PostgreSQL},
		"postgresql":      {engine: PostgreSQL},
		"mysql":           {engine: MySQL},
		"mariadb":         {engine: MySQL},
		"redis":           {engine: Redis},
		"rediss":          {engine: Redis, tls: true},
		"redis+cluster":   {engine: Redis, layout: "cluster"},
		"rediss+cluster":  {engine: Redis, layout: "cluster", tls: true},
		"redis+sentinel":  {engine: Redis, layout: "sentinel"},
		"rediss+sentinel": {engine: Redis, layout: "sentinel", tls: true},
		"sqlite":          {engine: SQLite},
		"memory":          {engine: Memory},
	}
}

// address is a URL, taken apart. net/url is of no use: it knows one host only, and
// its errors repeat what they were given, passwords included.
type address struct {
	scheme
	name             string // of the scheme
	user             string
	password         string
	secret           bool // a password was given, perhaps an empty one
	sentinelPassword string
	hosts            []string // each with or without a port
	path             string   // what follows the hosts, decoded; of SQLite the file's name
	options          options
}

var (
	schemePattern = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+.-]{0,19}$`)
	hostPattern   = regexp.MustCompile(`^([A-Za-z0-9_.-]+|\[[0-9A-Fa-f:.]+(%[A-Za-z0-9_.-]+)?\])$`)
)

// parse takes a URL apart. Its errors name the scheme, hosts and options, and
// nothing that could be a part of a password.
func parse(text string) (a address, err error) {
	name, rest, found := strings.Cut(text, ":")
	if !found || !schemePattern.MatchString(name) {
		return a, errors.New("storeurl: a store's URL begins with its engine, such as postgres://host/database " +
			"or redis://host; a file is sqlite:FILE")
	}
	a.name = strings.ToLower(name)
	if a.scheme, found = schemes()[a.name]; !found {
		return a, unknownScheme(a.name)
	}
	rest, query, _ := strings.Cut(rest, "?")
	if strings.Contains(query, "@") && !strings.Contains(rest, "@") && a.engine != SQLite {
		return a, errUnescaped
	}
	if err := a.parseOptions(query); err != nil {
		return a, err
	}
	switch a.engine {
	case Memory:
		if strings.Trim(rest, "/") != "" {
			return a, errors.New("storeurl: memory: takes nothing after the colon but options; a file is sqlite:FILE")
		}
		return a, nil
	case SQLite:
		return a, a.parseFile(rest)
	}
	rest, found = strings.CutPrefix(rest, "//")
	if !found {
		return a, fmt.Errorf("storeurl: %s: is followed by two slashes and a host: %s://host", a.name, a.name)
	}
	return a, a.parseServer(rest)
}

// errUnescaped is about URLs that end, by their form, within a password. What
// stands there is not repeated.
var errUnescaped = errors.New("storeurl: there is an @ where none belongs: in a user name or password, write " +
	"/ as %2F, ? as %3F, # as %23, @ as %40 and % as %25, or leave the password out and name a file " +
	"that holds it with password-file=")

// parseServer reads user:password@host,host/path.
func (a *address) parseServer(rest string) (err error) {
	authority, path, _ := strings.Cut(rest, "/")
	if strings.Contains(path, "@") || strings.Contains(rest, "#") || strings.Count(authority, "@") > 1 {
		return errUnescaped
	}
	if info, hosts, found := strings.Cut(authority, "@"); found {
		authority = hosts
		if err := a.parseUser(info); err != nil {
			return err
		}
	}
	if a.path, err = url.PathUnescape(path); err != nil || strings.ContainsRune(a.path, 0) {
		return errors.New("storeurl: after the host there is a % that is not followed by two hexadecimal digits; write it as %25")
	}
	if authority == "" {
		if a.options.has("socket") {
			return nil
		}
		return fmt.Errorf("storeurl: there is no host: write %s://host", a.name)
	}
	if a.options.has("socket") {
		return errors.New("storeurl: there is both a host and the option socket; one of them is too much")
	}
	for host := range strings.SplitSeq(authority, ",") {
		if err := checkHost(host); err != nil {
			return err
		}
		a.hosts = append(a.hosts, host)
	}
	return nil
}

// checkHost does not repeat what it was given: without its @, a password looks
// like a port.
func checkHost(text string) error {
	host, port, found := text, "", false
	if i := strings.LastIndex(text, ":"); i > strings.LastIndex(text, "]") {
		host, port, found = text[:i], text[i+1:], true
	}
	if n, err := strconv.ParseUint(port, 10, 16); found && (err != nil || n == 0) {
		return errors.New("storeurl: what follows the colon after a host is not a port; " +
			"user and password go before the host: user:password@host")
	}
	if !hostPattern.MatchString(host) {
		return errors.New("storeurl: a host is a name, an IPv4 address or an IPv6 address in brackets; several are separated by commas")
	}
	return nil
}

func (a *address) parseUser(info string) (err error) {
	name, password, found := strings.Cut(info, ":")
	a.secret = found
	a.user, err = url.PathUnescape(name)
	if err == nil {
		a.password, err = url.PathUnescape(password)
	}
	if err != nil || strings.ContainsRune(a.user+a.password, 0) {
		// That error would show what it does not understand.
		return errors.New("storeurl: in the user name or password there is a % that is not followed by two hexadecimal digits; write it as %25")
	}
	return nil
}

// parseFile reads the name of a file.
func (a *address) parseFile(rest string) (err error) {
	if absolute, found := strings.CutPrefix(rest, "//"); found {
		if !strings.HasPrefix(absolute, "/") {
			return errors.New("storeurl: between sqlite:// and the next slash there would be a host; write sqlite:FILE")
		}
		rest = absolute
	}
	a.path, err = url.PathUnescape(rest)
	switch {
	case err != nil || strings.ContainsRune(a.path, 0):
		return errors.New("storeurl: in the file's name there is a % that is not followed by two hexadecimal digits; write it as %25")
	case a.path == "" || strings.HasSuffix(a.path, "/"):
		return errors.New("storeurl: sqlite: is followed by the name of a file, such as sqlite:/var/lib/shop/sessions.db")
	case strings.HasPrefix(a.path, ":memory:"):
		return errors.New("storeurl: an SQLite database in memory does not work for several connections; write memory: instead")
	}
	return nil
}

// unknownScheme says what would be right.
func unknownScheme(name string) error {
	for _, mistake := range []struct{ names, right string }{
		{"pg pgsql psql pgx cockroach cockroachdb", "postgres://"}, {"sqlite3 file", "sqlite:"}, {"mem inmemory ram", "memory:"},
		{"valkey keydb dragonfly", "redis://"}, {"valkeys", "rediss://"}, {"redis-cluster rediscluster cluster", "redis+cluster://"},
		{"redis-sentinel redissentinel sentinel", "redis+sentinel://"}, {"rediss-cluster redis+cluster+tls", "rediss+cluster://"},
		{"rediss-sentinel redis+sentinel+tls", "rediss+sentinel://"},
	} {
		if slices.Contains(strings.Fields(mistake.names), name) {
			return fmt.Errorf("storeurl: %q is not a kind of store; write %s", name, mistake.right)
		}
	}
	all := slices.Sorted(maps.Keys(schemes()))
	if near := nearest(name, all); near != "" {
		return fmt.Errorf("storeurl: %q is not a kind of store; did you mean %q?", name, near)
	}
	// It could be the user of a URL without its beginning; then the password follows.
	return fmt.Errorf("storeurl: %q is not a kind of store; there are %s", name, strings.Join(all, ", "))
}

// withPort returns a host with its port, or that port.
func withPort(host, port string) string {
	if i := strings.LastIndex(host, ":"); i > strings.LastIndex(host, "]") {
		return host
	}
	return host + ":" + port
}

// split returns a host without its brackets, and its port or the other one.
func split(host, otherwise string) (name, port string) {
	name, port, err := net.SplitHostPort(withPort(host, otherwise))
	if err != nil {
		return host, otherwise
	}
	return name, port
}

// local reports whether a host is this machine, so that nobody is on the way.
func local(host string) bool {
	name, _ := split(host, "")
	return name == "localhost" || net.ParseIP(name).IsLoopback()
}
