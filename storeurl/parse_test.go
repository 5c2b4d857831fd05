package storeurl_test

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"cloakroom.example/storeurl"
)

// TestConnections: what a URL says reaches the driver, decoded, and encryption is
// what is used unless nobody is on the way or the URL says otherwise.
func TestConnections(t *testing.T) {
	for _, c := range []struct {
		url  string
		want []string
	}{
		{"postgres://shop:p%40ss%2Fw%3Ard@db.example.org/sh%C3%B6p", []string{"shop", "p@ss/w:rd", "shöp", "db.example.org 5432 verified as db.example.org"}},
		{"postgresql://shop:x@127.0.0.1:5433/shop", []string{"shop", "x", "shop", "127.0.0.1 5433 plain"}},
		{"postgres://it's:a%5Cb@[::1]/o'clock", []string{"it's", `a\b`, "o'clock", "::1 5432 plain"}},
		{"postgres://u:p@one,two:6000/d?tls=verify", []string{"u", "p", "d", "one 5432 verified as one", "two 6000 verified as two"}},
		{"postgres://u:p@one/d?sslmode=verify-ca", []string{"u", "p", "d", "one 5432 issuer"}},
		{"postgres://u:p@one/d?sslmode=require", []string{"u", "p", "d", "one 5432 unverified"}},
		{"postgres://u:p@one/d?sslmode=disable", []string{"u", "p", "d", "one 5432 plain"}},
		{"postgres://u:p@127.0.0.1,one/d", []string{"u", "p", "d", "127.0.0.1 5432 verified as 127.0.0.1", "one 5432 verified as one"}},
		{"postgres://u:p@one/d?tls=verify&tls-name=other", []string{"u", "p", "d", "one 5432 verified as other"}},
		{"postgres://u:p@/d?socket=/run/postgresql", []string{"u", "p", "d", "/run/postgresql 5432 plain"}},
		{"mysql://shop:p%25@db/shop", []string{"shop", "p%", "shop", "tcp db:3306 verified as db"}},
		{"mariadb://shop@localhost/shop", []string{"shop", "", "shop", "tcp localhost:3306 plain"}},
		{"mysql://shop@db:3307/shop?tls=unverified", []string{"shop", "", "shop", "tcp db:3307 unverified"}},
		{"mysql://shop@/shop?socket=/run/mysqld.sock", []string{"shop", "", "shop", "unix /run/mysqld.sock plain"}},
		{"redis://cache", []string{"", "", "0 ", "cache:6379 plain"}},
		{"REDIS://:p%3Aw@cache:6380/3", []string{"", "p:w", "3 ", "cache:6380 plain"}},
		{"rediss://u:p@cache?db=2", []string{"u", "p", "2 ", "cache:6379 verified"}},
		{"redis+cluster://a:7000,[::1]:7001,c", []string{"", "", "0 ", "a:7000 plain", "[::1]:7001 plain", "c:6379 plain"}},
		{"rediss+cluster://a,b?tls-name=cluster", []string{"", "", "0 ", "a:6379 verified as cluster", "b:6379 verified as cluster"}},
		{"redis+sentinel://a,b:1/shop?db=4", []string{"", "", "4 shop", "a:26379 plain", "b:1 plain"}},
		{"redis://?socket=/run/redis.sock", []string{"", "", "0 ", "/run/redis.sock plain"}},
		{"sqlite:sessions.db", []string{"sessions.db"}},
		{"sqlite:/var/lib/a%20b%3Fc.db?pool=4", []string{"/var/lib/a b?c.db"}},
		{"sqlite:///var/lib/s.db", []string{"/var/lib/s.db"}},
		{"sqlite:me@home.db", []string{"me@home.db"}},
		{storeurl.File("/a?b%c d"), []string{"/a?b%c d"}},
		{"memory:", []string{""}},
		{"memory://", []string{""}},
	} {
		t.Run(c.url, func(t *testing.T) {
			got, err := storeurl.Connections(c.url)
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

// marker is a password that is found wherever it gets.
const marker = "Tr0ub4dor-3"

// wrong are URLs that are refused, and what is said about them.
func wrong() map[string][]string {
	return map[string][]string{
		"":                                 {"begins with its engine", "sqlite:FILE"},
		"sessions.db":                      {"a file is sqlite:FILE"},
		"/var/lib/s.db":                    {"a file is sqlite:FILE"},
		"host=db password=" + marker:       {"begins with its engine"},
		"postgress://db":                   {`did you mean "postgres"?`},
		"pg://u:" + marker + "@db":         {"write postgres://"},
		"sqlite3:x.db":                     {"write sqlite:"},
		"valkey://db":                      {"write redis://"},
		"redis-cluster://a,b":              {"write redis+cluster://"},
		"http://db":                        {`"http" is not a kind of store`, "postgres, postgresql, redis"},
		"shop:" + marker + "@tcp(db)/shop": {`"shop" is not a kind of store`},

		"postgres:db":      {"two slashes", "postgres://host"},
		"postgres:///shop": {"there is no host"},
		"postgres://" + marker + ":x@db:port/shop":    {"not a port", "user:password@host"},
		"postgres://shop:" + marker:                   {"not a port", "user:password@host"},
		"postgres://shop:" + marker + "/x@db/shop":    {"/ as %2F", "password-file="},
		"postgres://shop:" + marker + "?x@db/shop":    {"? as %3F"},
		"postgres://shop:" + marker + "#x@db/shop":    {"# as %23"},
		"postgres://shop:" + marker + "@x@db/shop":    {"@ as %40"},
		"postgres://shop:" + marker + "%zz@db/shop":   {"write it as %25"},
		"postgres://db/shop%z":                        {"write it as %25"},
		"postgres://a b/shop":                         {"a host is a name"},
		"postgres://::1/shop":                         {"IPv6 address in brackets"},
		"postgres://a,,b/shop":                        {"several are separated by commas"},
		"postgres://db/shop?sslmod=disable":           {"option sslmod is unknown to postgres", "did you mean sslmode?"},
		"postgres://db/shop?" + marker:                {"not name=value"},
		"postgres://db/shop?x=%zz":                    {"not name=value"},
		"postgres://db/shop?colour=red":               {"option colour", "there are password-file, socket"},
		"postgres://db/shop?password=" + marker:       {"goes before the host", "password-file="},
		"postgres://db/shop?pool=4&pool=5":            {"option pool is given twice"},
		"postgres://db/shop?pool=":                    {"option pool has no value"},
		"postgres://db/shop?tls=maybe":                {`"maybe" is not one of verify, unverified, off`},
		"postgres://db/shop?sslmode=prefer":           {"encrypts only if nobody on the way objects"},
		"postgres://db/shop?tls=off&sslmode=disable":  {"one of them is too much"},
		"postgres://db/shop?tls=off&tls-name=x":       {"tls-name has no effect", "add tls=verify"},
		"postgres://db/shop?tls=unverified&tls-ca=/x": {"tls-ca has no effect"},
		"postgres://db/shop?tls-ca=/nonexistent":      {"reading tls-ca", "/nonexistent"},
		"postgres://db/shop?tls-cert=/x":              {"tls-cert and tls-key go together"},
		"postgres://db/shop?socket=/run":              {"both a host and the option socket"},
		"postgres://db/shop?connect-timeout=5":        {`"5" is not a time`},
		"mysql://db":                                  {"needs the name of a database"},
		"mysql://a,b/shop":                            {"takes one host"},
		"mysql://db/shop?near-cache=64MB":             {"near-cache is unknown to mysql"},
		"redis://a,b":                                 {"redis+cluster://", "redis+sentinel://"},
		"redis://a/shop":                              {"the number of a database"},
		"redis://a?tls-ca=/x":                         {"begin the URL with rediss://"},
		"redis+cluster://a?tls-name=x":                {"begin the URL with rediss+cluster://"},
		"redis+cluster://a/1":                         {"a Cluster has one database"},
		"redis+sentinel://a":                          {"needs the name that the sentinels know"},
		"redis+cluster://?socket=/x":                  {"a socket reaches one server"},
		"redis://a?near-cache=lots":                   nil, // said when it is opened
		"sqlite:":                                     {"followed by the name of a file"},
		"sqlite:/var/lib/":                            {"followed by the name of a file"},
		"sqlite://sessions.db":                        {"write sqlite:FILE"},
		"sqlite::memory:":                             {"write memory: instead"},
		"sqlite:a%zz":                                 {"write it as %25"},
		"sqlite:a?mode=ro":                            {"option mode is unknown to sqlite"},
		"memory:here":                                 {"takes nothing after the colon"},
		"memory:?pool=3":                              {"memory: has no options"},
	}
}

// TestWrongURLs: whoever gets a URL wrong is told what would be right, and nothing
// that may be a password is repeated.
func TestWrongURLs(t *testing.T) {
	for text, want := range wrong() {
		t.Run(text, func(t *testing.T) {
			_, err := storeurl.Connections(text)
			if want == nil {
				return
			}
			if err == nil {
				t.Fatal("got no error")
			}
			for _, want := range want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want %q in it", err, want)
				}
			}
			if strings.Contains(err.Error(), marker) || strings.Contains(storeurl.Redacted(text), marker) {
				t.Errorf("the password is in %q or %q", err, storeurl.Redacted(text))
			}
		})
	}
}

func TestRedacted(t *testing.T) {
	for text, want := range map[string]string{
		"postgres://shop:secret@db/shop?pool=3": "postgres://shop:***@db/shop?pool=3",
		"postgres://shop:@db/shop":              "postgres://shop:***@db/shop",
		"postgres://shop@db/shop":               "postgres://shop@db/shop",
		"redis://:secret@a":                     "redis://:***@a",
		"redis+cluster://u:se%40cret@a,b":       "redis+cluster://u:***@a,b",
		"sqlite:/a:b@c":                         "sqlite:/a:b@c",
		"memory:":                               "memory:",
		"postgres://shop:sec/ret@db":            "postgres:***",
		"Postgres://shop:secret":                "postgres:***",
		"secret":                                "***",
		"shop:secret@tcp(db)/shop":              "***",
		"":                                      "***",
	} {
		if got := storeurl.Redacted(text); got != want {
			t.Errorf("%q: got %q, want %q", text, got, want)
		}
	}
}

// FuzzSecrets: whatever stands around a password, neither an error nor what is
// shown of the URL holds it. What is shown can be shown again.
func FuzzSecrets(f *testing.F) {
	for text := range wrong() {
		before, after, _ := strings.Cut(text, marker)
		f.Add(before, after, true)
	}
	f.Add("postgres://shop:", "@db/shop?pool=3", true)
	f.Add("redis://:", "@a", false)
	f.Add("rediss+cluster://u:x", "@a:1,b", false)
	f.Fuzz(func(t *testing.T, before, after string, plain bool) {
		// Where there is no place for a password, it is none: a host, a name, an option.
		i := strings.Index(before, "://")
		if i < 0 || strings.Contains(before, marker) || strings.Contains(after, marker) ||
			strings.ContainsAny(before[i+3:], "/?") || !strings.Contains(before[i+3:], ":") || strings.Contains(before[i+3:], "@") {
			return
		}
		secret := marker
		if !plain {
			secret = url.QueryEscape(marker + "@/?#")
		}
		text := before + secret + after
		shown := storeurl.Redacted(text)
		_, err := storeurl.Connections(text)
		if err != nil && strings.Contains(err.Error(), marker) {
			t.Errorf("%q: the error holds the password: %v", text, err)
		}
		if strings.Contains(shown, marker) {
			t.Errorf("%q: %q holds the password", text, shown)
		}
		if again := storeurl.Redacted(shown); again != shown {
			t.Errorf("%q: shown as %q, and that as %q", text, shown, again)
		}
	})
}
