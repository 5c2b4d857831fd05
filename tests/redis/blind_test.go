package redis_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"cloakroom.example/session"
	"cloakroom.example/session/redisstore"
	"cloakroom.example/session/store"
)

// everything returns all keys and values of a store, as the engine has them.
func everything(t *testing.T, s opened) string {
	t.Helper()
	var all strings.Builder
	keys := everyKey(t, s)
	eachNode(t, s, func(ctx context.Context, n rueidis.Client) {
		for key := range keys {
			kind, err := n.Do(ctx, n.B().Type().Key(key).Build()).ToString()
			if err != nil || kind == "none" {
				continue
			}
			all.WriteString(key + "\n")
			switch kind {
			case "string":
				v, _ := n.Do(ctx, n.B().Get().Key(key).Build()).ToString()
				all.WriteString(v + "\n")
			case "hash":
				v, _ := n.Do(ctx, n.B().Hgetall().Key(key).Build()).AsStrMap()
				for field, value := range v {
					all.WriteString(field + "\n" + value + "\n")
				}
			case "list":
				v, _ := n.Do(ctx, n.B().Lrange().Key(key).Start(0).Stop(-1).Build()).AsStrSlice()
				all.WriteString(strings.Join(v, "\n"))
			}
		}
	})
	return all.String()
}

// TestBlind: neither a token nor a value is in the engine, in any form in which it
// would be of use, after a user has signed in and changed values.
func TestBlind(t *testing.T) {
	for _, e := range []engine{engines()[0], engines()[2]} {
		t.Run(e.name, func(t *testing.T) {
			s := e.open(t)
			const value = "the value nobody may read"
			tokens := visit(t, s, value)
			stored := everything(t, s)
			if !strings.Contains(stored, "alice") {
				t.Fatal("the user's name is not found, so the test proves nothing")
			}
			secrets := []string{value, base64.StdEncoding.EncodeToString([]byte(value)), hex.EncodeToString([]byte(value))}
			for _, token := range tokens {
				raw, err := base64.RawURLEncoding.DecodeString(token)
				if err != nil || len(raw) != 48 {
					t.Fatalf("token of %d bytes, error %v", len(raw), err)
				}
				for _, half := range [][]byte{raw[:16], raw[16:]} {
					secrets = append(secrets, string(half), hex.EncodeToString(half), base64.RawURLEncoding.EncodeToString(half))
				}
			}
			for i, secret := range secrets {
				if strings.Contains(stored, secret) {
					t.Errorf("secret %d of %d is in the engine", i, len(secrets))
				}
			}
		})
	}
}

// visit changes a value, signs in and changes it again, in two browsers, and
// returns the tokens.
func visit(t *testing.T, s store.Store, value string) (tokens []string) {
	t.Helper()
	m, err := session.New(session.Config{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(t.Context())
	note := session.NewKey[string]("note")
	mux := http.NewServeMux()
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), session.Identity{Subject: "alice", Methods: []string{"pwd"}}); err != nil {
			t.Error(err)
		}
	})
	mux.HandleFunc("GET /note", func(w http.ResponseWriter, r *http.Request) {
		if err := note.Set(m.From(r.Context()), value); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewTLSServer(m.Handler(mux))
	defer server.Close()
	site, _ := url.Parse(server.URL)
	for range 2 {
		client := server.Client()
		client.Jar, _ = cookiejar.New(nil)
		for _, path := range []string{"/note", "/login", "/note"} {
			get(t, client, server.URL+path)
			for _, c := range client.Jar.Cookies(site) {
				if c.Name == "__Host-id" {
					tokens = append(tokens, c.Value)
				}
			}
		}
	}
	if len(tokens) != 6 {
		t.Fatalf("got %d tokens, want 6", len(tokens))
	}
	return tokens
}

func get(t *testing.T, client *http.Client, to string) {
	t.Helper()
	resp, err := client.Get(to)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if text, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("GET %s: %s: %s", to, resp.Status, text)
	}
}

// TestTombstoneKeepsNothing: of a session that has ended nothing is left that
// opens anything.
func TestTombstoneKeepsNothing(t *testing.T) {
	s := engines()[0].open(t)
	r := typical("shop", 0, 0)
	r.Wrap, r.Label = []byte("MARK-wrap"), "MARK-label"
	r.Predecessor = &store.Predecessor{Successor: []byte("MARK-successor")}
	r.Parts = []store.Part{{Name: "MARK-part", Generation: 1, Sealed: []byte("MARK-sealed")}}
	if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(everything(t, s), "MARK-sealed") {
		t.Fatal("the living session is not found, so the test proves nothing")
	}
	v := store.Revocation{Namespace: "shop", Handle: r.Handle, Cause: "logout", Now: r.Created}
	if _, err := s.Revoke(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(everything(t, s), "MARK-") {
		t.Errorf("something of the session is left after its end")
	}
}

// TestErrorsHoldNoPassword: whatever is wrong with the way to the engine.
func TestErrorsHoldNoPassword(t *testing.T) {
	c, err := single()
	if err != nil {
		t.Fatal(err)
	}
	const password = "a password that is wrong"
	c.Password = password
	for _, addr := range []string{c.InitAddress[0], "127.0.0.1:1"} {
		c.InitAddress = []string{addr}
		_, err := redisstore.Open(t.Context(), c, redisstore.Options{})
		if err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("opening with a wrong password: got error %v", err)
		}
	}
}
