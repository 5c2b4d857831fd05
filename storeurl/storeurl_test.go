package storeurl_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/storeurl"
)

// open opens a store and closes it with the test.
func open(t testing.TB, url string, o storeurl.Options) *storeurl.Opened {
	t.Helper()
	s, err := storeurl.Open(t.Context(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Close(ctx); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return s
}

// create puts a session into a store.
func create(t testing.TB, s store.Store) store.Key {
	t.Helper()
	now := time.Now().UTC()
	r := store.Record{
		Handle: store.Handle{1, 2, 3}, State: store.Anonymous, Transport: store.Cookie, Created: now, Seen: now,
		Deadline: now.Add(time.Hour), Wrap: []byte("wrap"),
	}
	if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: now}); err != nil {
		t.Fatal(err)
	}
	return r.Key()
}

func TestSQLite(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a b?c%.db")
	url := storeurl.File(file)
	_, err := storeurl.Open(t.Context(), url, storeurl.Options{Existing: true})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "cloakroom store migrate") {
		t.Errorf("a file that is not there: got %v", err)
	}
	if _, err := os.Stat(file); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("somebody who only looks has made the file: %v", err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = storeurl.Open(t.Context(), url, storeurl.Options{Existing: true}); err == nil || !strings.Contains(err.Error(), "migrating with \"cloakroom store migrate\"") {
		t.Errorf("a file without tables: got %v", err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	s := open(t, url, storeurl.Options{})
	k := create(t, s.Store)
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v; want it for the owner only", info.Mode(), err)
	}
	second := open(t, url, storeurl.Options{Existing: true})
	if _, err := second.Store.Load(t.Context(), k, nil); err != nil {
		t.Errorf("from another store on the file: %v", err)
	}
	m, err := storeurl.Migrate(t.Context(), url, storeurl.Options{})
	if err != nil || m.From != m.To || m.To == 0 || m.URL != url {
		t.Errorf("migrating what is up to date: got %+v, %v", m, err)
	}
	r, err := s.Inspect(t.Context())
	if err != nil || r.Product != "SQLite" || r.Schema != m.To || r.Bytes == 0 || r.Durability == "" {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestMemory(t *testing.T) {
	s := open(t, "memory:", storeurl.Options{})
	if _, err := s.Store.Load(t.Context(), create(t, s.Store), nil); err != nil {
		t.Error(err)
	}
	if s.DB != nil || s.Engine != storeurl.Memory {
		t.Errorf("got engine %s, database %v", s.Engine, s.DB)
	}
}

// TestPasswords: they come from one place, are not in the way if they are not
// needed, and a file that holds none is not shown.
func TestPasswords(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(dir, name)
	}
	good, lines, empty := file("good", marker+"\n"), file("lines", marker+"\nmore\n"), file("empty", "\n")
	for name, c := range map[string]struct{ url, want string }{
		"two":        {"postgres://u:" + marker + "@127.0.0.1:1/d?password-file=" + good, "one of them is too much"},
		"no file":    {"redis://127.0.0.1:1?password-file=/nonexistent", "reading password-file"},
		"lines":      {"mysql://u@127.0.0.1:1/d?password-file=" + lines, "does not hold one line"},
		"empty":      {"mysql://u@127.0.0.1:1/d?password-file=" + empty, "does not hold one line"},
		"sentinel's": {"redis+sentinel://127.0.0.1:1/x?sentinel-password-file=" + lines, "reading sentinel-password-file"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := storeurl.Open(t.Context(), c.url, storeurl.Options{Getenv: func(string) string { return "" }})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), marker) {
				t.Errorf("got %v, want %q in it, and no password", err, c.want)
			}
		})
	}
	env := storeurl.Options{Getenv: func(name string) string { return map[string]string{storeurl.PasswordVariable: marker}[name] }}
	open(t, storeurl.File(filepath.Join(dir, "x.db")), env)
}

// TestUnreachable: nobody is there, or somebody who does not understand. The
// error comes in time, says what was to be opened, and holds no password.
func TestUnreachable(t *testing.T) {
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := nobody.Addr().String()
	nobody.Close()
	babbler, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer babbler.Close()
	go func() {
		for {
			c, err := babbler.Accept()
			if err != nil {
				return
			}
			_, _ = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n"))
			c.Close()
		}
	}()
	for _, address := range []string{free, babbler.Addr().String()} {
		for _, url := range []string{
			"postgres://shop:" + marker + "@" + address + "/shop", "mysql://shop:" + marker + "@" + address + "/shop",
			"redis://shop:" + marker + "@" + address, "redis+cluster://:" + marker + "@" + address,
			"redis+sentinel://:" + marker + "@" + address + "/shop",
			"postgres://shop:" + marker + "@" + address + "/shop?tls=verify", "mysql://shop:" + marker + "@" + address + "/shop?tls=unverified",
			"rediss://:" + marker + "@" + address,
		} {
			t.Run(storeurl.Redacted(url), func(t *testing.T) {
				var log bytes.Buffer
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				for _, existing := range []bool{false, true} {
					_, err := storeurl.Open(ctx, url, storeurl.Options{Existing: existing, Logger: slog.New(slog.NewTextHandler(&log, nil))})
					if err == nil || !strings.Contains(err.Error(), "opening "+storeurl.Redacted(url)) {
						t.Fatalf("got %v, want what was to be opened", err)
					}
					if strings.Contains(err.Error(), marker) || strings.Contains(log.String(), marker) {
						t.Errorf("the password is in %q or in the log %q", err, log.String())
					}
				}
				if ctx.Err() != nil {
					t.Error("it took 20 s")
				}
			})
		}
	}
}

// TestKnown: what is listed can be used, and everything else is refused.
func TestKnown(t *testing.T) {
	bases := map[string]string{
		storeurl.PostgreSQL: "postgres://u@127.0.0.1:1/d", storeurl.MySQL: "mysql://u@127.0.0.1:1/d",
		storeurl.Redis: "redis://127.0.0.1:1", storeurl.SQLite: "sqlite:x.db", storeurl.Memory: "memory:",
	}
	for engine, base := range bases {
		for _, o := range storeurl.Known(engine) {
			if o.Example == "" || o.About == "" {
				t.Errorf("%s: option %s is not described", engine, o.Name)
			}
			if _, err := storeurl.Connections(base + "?" + o.Name + "=" + o.Example); err != nil && strings.Contains(err.Error(), "unknown") {
				t.Errorf("%s: option %s: %v", engine, o.Name, err)
			}
		}
	}
}

// TestDriversThatTalk: a driver that writes its configuration into an error is
// silenced, however it spells the password, and the error can still be told.
func TestDriversThatTalk(t *testing.T) {
	const secret = `p@ss"w/rd ü`
	for name, text := range map[string]string{
		"plain": secret, "in a URL": "p%40ss%22w%2Frd%20%C3%BC", "in a query": "p%40ss%22w%2Frd+%C3%BC", "quoted": `p@ss\"w/rd ü`,
	} {
		t.Run(name, func(t *testing.T) {
			err := storeurl.Clean(fmt.Errorf("connecting with u:%s@db: %w", text, store.ErrUnavailable), "postgres://u:***@db", secret)
			for _, got := range []string{err.Error(), fmt.Sprintf("%+v", err), fmt.Sprintf("%#v", err), fmt.Sprintf("%q", err)} {
				if !strings.Contains(got, "u:***@db") || strings.Contains(got, text) {
					t.Errorf("got %s, want *** for the password", got)
				}
			}
			if !errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrNotFound) || errors.Unwrap(err) != nil {
				t.Errorf("got %v, want it to be ErrUnavailable and to hide its cause", err)
			}
		})
	}
	// A user who is his own password would be shown by what is missing.
	err := storeurl.Clean(errors.New("user postgres: refused"), "postgres://postgres:***@db/x", "postgres")
	if err.Error() != "user postgres: refused" {
		t.Errorf("got %v", err)
	}
}
