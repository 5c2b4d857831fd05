package faults_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"cloakroom.example/servers"
	"cloakroom.example/session/store"
	"cloakroom.example/storeurl"
)

// engine is where sessions are kept, with what can happen to it.
type engine struct {
	name  string
	start func(t *testing.T) *place
	// options are added to the URL by each of the two nodes.
	options [2]string
	faults  []fault
}

// place is a running engine; one of its fields beside the URL is set.
type place struct {
	url      string
	server   *servers.Server
	cluster  *servers.Cluster
	sentinel *servers.Sentinel
}

func engines() []engine {
	const near = "near-cache=8MB"
	var (
		none, one = [2]string{}, [2]string{"", near}

		single   = []fault{killed(), frozen(), connectionsCut(), swallowed()}
		postgres = oneServer(servers.StartPostgreSQL)
		redis    = oneServer(func(ctx context.Context, o servers.Options) (*servers.Server, error) {
			return servers.StartRedis(ctx, o)
		})
	)
	return []engine{
		{"PostgreSQL", postgres, none, []fault{killed(), connectionsCut(), restarted()}},
		{"PostgreSQL_with_copies", postgres, one, append(single, restarted())},
		{"MariaDB", oneServer(servers.StartMariaDB), none, append(single, restarted())},
		{"Redis", redis, one, single},
		{"Redis_Cluster", startCluster, one, []fault{slotsMoved(), primaryFrozen(), primaryKilled()}},
		{"Redis_Sentinel", startSentinel, one, []fault{watchedPrimaryKilled()}},
	}
}

func oneServer(start func(context.Context, servers.Options) (*servers.Server, error)) func(t *testing.T) *place {
	return func(t *testing.T) *place {
		s, err := start(t.Context(), servers.Options{})
		closeAfter(t, s, err)
		return &place{url: s.URL(), server: s}
	}
}

func startCluster(t *testing.T) *place {
	c, err := servers.StartRedisCluster(t.Context(), servers.Options{})
	closeAfter(t, c, err)
	return &place{url: c.URL(), cluster: c}
}

func startSentinel(t *testing.T) *place {
	s, err := servers.StartSentinel(t.Context(), servers.Options{})
	closeAfter(t, s, err)
	return &place{url: s.URL(), sentinel: s}
}

func closeAfter(t *testing.T, s interface{ Close() error }, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// proxied returns the URL of a proxy before the server.
func (p *place) proxied(t *testing.T) (string, *servers.Proxy) {
	t.Helper()
	proxy, err := servers.NewProxy(p.server.Addr())
	closeAfter(t, proxy, err)
	return strings.ReplaceAll(p.url, p.server.Addr(), proxy.Addr()), proxy
}

// openURL opens a store and returns a function that closes it.
func openURL(t *testing.T, url string) (store.Store, func()) {
	t.Helper()
	opened, err := storeurl.Open(t.Context(), url, storeurl.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return opened.Store, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		if err := opened.Close(ctx); err != nil {
			t.Errorf("closing the store: %v", err)
		}
	}
}

// with adds an option to a URL.
func with(url, option string) string {
	switch {
	case option == "":
		return url
	case strings.Contains(url, "?"):
		return url + "&" + option
	}
	return url + "?" + option
}
