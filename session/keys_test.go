package session_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"strings"
	"testing"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestDeploymentKeys: keys can be replaced without signing anybody out, and what
// was sealed under none, or under another one, does not open.
func TestDeploymentKeys(t *testing.T) {
	key := func(b byte) []byte { return bytes.Repeat([]byte{b}, 32) }
	shared := external{memory.New()}
	node := func(keys ...[]byte) *world {
		return newWorld(t, func(c *session.Config) {
			c.Store, c.Keys, c.Logger = shared, keys, slog.New(slog.DiscardHandler)
		})
	}
	visit := func(b *browser, w *world) string {
		other := b.twin() // the refusal may clear the cookie
		other.handler = w.Handler(w.mux)
		return other.get("/whoami")
	}
	old := node(key(1)).browser(t)
	old.login("alice")
	bare := node().browser(t)
	bare.login("bob")
	for name, c := range map[string]struct {
		b    *browser
		w    *world
		want string
	}{
		"same key":              {old, node(key(1)), "alice||"},
		"new key first":         {old, node(key(2), key(1)), "alice||"},
		"old key dropped":       {old, node(key(2)), "||"},
		"keys taken away":       {old, node(), "||"},
		"none":                  {bare, node(), "bob||"},
		"sealed before any key": {bare, node(key(1)), "||"},
	} {
		if got := visit(c.b, c.w); got != c.want {
			t.Errorf("%s: got %q, want %q", name, got, c.want)
		}
	}
}

// TestForgedRecord: somebody with write access to the store makes up a session
// for root, with a token of his choice and everything derived from it. It must
// not pass where the deployment has a key.
func TestForgedRecord(t *testing.T) {
	for name, c := range map[string]struct {
		keys [][]byte
		want string
	}{
		"with a key": {[][]byte{bytes.Repeat([]byte{7}, 32)}, "||"},
		"without":    {nil, "root||"}, // what the documentation warns of
	} {
		t.Run(name, func(t *testing.T) {
			var log bytes.Buffer
			shared := external{memory.New()}
			w := newWorld(t, func(c2 *session.Config) {
				c2.Store, c2.Keys, c2.Logger = shared, c.keys, slog.New(slog.NewTextHandler(&log, nil))
			})
			if warned := strings.Contains(log.String(), "Keys: none"); warned != (c.keys == nil) {
				t.Errorf("warned of missing keys: %t", warned)
			}
			// The forger runs our own code against his own store, and copies.
			own := external{memory.New()}
			forger := newWorld(t, func(c *session.Config) { c.Store, c.Logger = own, slog.New(slog.DiscardHandler) })
			b := forger.browser(t)
			b.login("root")
			for snap, err := range forger.AllSessions(t.Context()) {
				if err != nil {
					t.Fatal(err)
				}
				r, err := own.Load(t.Context(), store.Key{Handle: snap.Handle}, []string{"app"})
				if err != nil {
					t.Fatal(err)
				}
				if _, err := shared.Create(t.Context(), store.Creation{Record: r, Now: w.clock.Now()}); err != nil {
					t.Fatal(err)
				}
			}
			b.handler = w.Handler(w.mux)
			if got := b.get("/whoami"); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.keys != nil {
				w.events.count(t, session.EventUnreadable, 1)
			}
		})
	}
}

// TestKeysRefused: short keys are refused by name, without showing them.
func TestKeysRefused(t *testing.T) {
	secret := "too short to be a key"
	m, err := session.New(session.Config{Keys: [][]byte{[]byte(secret)}})
	if err == nil {
		_ = m.Close(context.Background())
		t.Fatal("got no error")
	}
	if !strings.Contains(err.Error(), "Config.Keys: number 0 has 21 bytes") || strings.Contains(err.Error(), secret) {
		t.Errorf("got error %q", err)
	}
}

// TestKeyedWrapVector freezes the derivation with a key of the deployment.
func TestKeyedWrapVector(t *testing.T) {
	token, ok := session.TestOnlyParseToken(strings.Repeat("A", 22) + strings.Repeat("B", 42))
	if !ok {
		t.Fatal("token does not parse")
	}
	got := session.TestOnlyWrapKey(token, store.Handle{1}, bytes.Repeat([]byte{3}, 32))
	raw, err := base64.RawURLEncoding.DecodeString(token.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	hashed := sha256.Sum256(append([]byte("cloakroom/1/deployment\x00"), bytes.Repeat([]byte{3}, 32)...))
	handle := store.Handle{1}
	input := append([]byte("cr1d"), handle[:]...)
	input = append(append(input, raw[16:]...), hashed[:]...)
	if want := sha256.Sum256(input); got != want {
		t.Errorf("got %x, want %x", got, want)
	}
}
