package session_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// TestValuesAfterTheRequest lets handlers of several users leave goroutines behind
// that read and change values while requests of the others run: everybody meets
// what is his own, and nothing else.
func TestValuesAfterTheRequest(t *testing.T) {
	w := newWorld(t, nil)
	visits := session.NewKey[int]("visits")
	var left sync.WaitGroup
	defer left.Wait()
	w.mux.HandleFunc("GET /leave", func(rw http.ResponseWriter, r *http.Request) {
		s := session.From(r.Context())
		want := secretOf(s.Subject())
		for range 3 {
			left.Go(func() {
				for range 20 {
					if got, ok, err := note.Lookup(s); got != want || !ok || err != nil {
						t.Errorf("left behind by %q: got %q, %v, %v; want %q", s.Subject(), got, ok, err, want)
					}
				}
				if err := visits.Update(context.WithoutCancel(r.Context()), s, func(n *int) error { *n++; return nil }); err != nil {
					t.Errorf("left behind by %q: %v", s.Subject(), err)
				}
			})
		}
		got, _ := note.Get(s)
		reply(rw, nil, got)
	})
	w.mux.HandleFunc("GET /visits", func(rw http.ResponseWriter, r *http.Request) {
		n, _ := visits.Get(session.From(r.Context()))
		reply(rw, nil, fmt.Sprint(n))
	})
	users := make([]*browser, 4)
	for i := range users {
		users[i] = w.browser(t)
		users[i].login(fmt.Sprint("user", i))
		users[i].post("/note", url.Values{"note": {secretOf(fmt.Sprint("user", i))}})
	}
	const rounds = 25
	var all sync.WaitGroup
	for i, b := range users {
		all.Go(func() {
			for range rounds {
				if got, want := b.get("/leave"), secretOf(fmt.Sprint("user", i)); got != want {
					t.Errorf("user %d: got %q, want %q", i, got, want)
				}
			}
		})
	}
	all.Wait()
	left.Wait()
	for i, b := range users {
		if got, want := b.get("/visits"), fmt.Sprint(3*rounds); got != want {
			t.Errorf("user %d: got %s changes, want %s", i, got, want)
		}
	}
}

// secretOf is a value that is as long for everybody.
func secretOf(user string) string { return strings.Repeat(user+" ", 50) }

// TestHandedOutValues: what a handler was given stays as it is, whatever other
// requests do, and what it gave may change afterwards.
func TestHandedOutValues(t *testing.T) {
	w := newWorld(t, nil)
	codec := new(keepingCodec)
	raw, kept := session.NewKey[[]byte]("raw"), session.NewKey[string]("kept", session.WithCodec(codec))
	var handedOut [][]byte
	w.mux.HandleFunc("GET /set", func(_ http.ResponseWriter, r *http.Request) {
		s, value := session.From(r.Context()), []byte(secretOf(r.FormValue("user")))
		if err := raw.Set(s, value); err != nil {
			t.Error(err)
		}
		clear(value)
		if err := kept.Set(s, secretOf(r.FormValue("user"))); err != nil {
			t.Error(err)
		}
	})
	w.mux.HandleFunc("GET /value", func(_ http.ResponseWriter, r *http.Request) {
		got, _ := raw.Get(session.From(r.Context()))
		handedOut = append(handedOut, got)
	})
	w.mux.HandleFunc("GET /kept", func(rw http.ResponseWriter, r *http.Request) {
		got, _ := kept.Get(session.From(r.Context()))
		reply(rw, nil, got)
	})
	users := []*browser{w.browser(t), w.browser(t)}
	for i, b := range users {
		b.get("/set?user=" + fmt.Sprint(i))
	}
	for range 3 {
		for i, b := range users {
			b.get("/value")
			if got, want := b.get("/kept"), secretOf(fmt.Sprint(i)); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	for i := range handedOut {
		want := secretOf(fmt.Sprint(i % len(users)))
		if string(handedOut[i]) != want || string(codec.kept[i]) != want {
			t.Errorf("value %d: got %q from the key and %q from the codec, want %q", i, handedOut[i], codec.kept[i], want)
		}
	}
}

// keepingCodec keeps what it is given to decode.
type keepingCodec struct{ kept [][]byte }

func (*keepingCodec) ID() byte                     { return 200 }
func (*keepingCodec) Encode(v any) ([]byte, error) { return []byte(v.(string)), nil }
func (c *keepingCodec) Decode(data []byte, v any) error {
	c.kept = append(c.kept, data)
	*v.(*string) = string(data)
	return nil
}

// slowStore gives up on a change while it still reads what it was given.
type slowStore struct {
	*memory.Store
	giveUp bool
	given  []store.Part
	sealed []byte
}

func (s *slowStore) Swap(ctx context.Context, r store.Record, now time.Time) error {
	if s.giveUp && len(r.Parts) > 0 {
		s.giveUp, s.given, s.sealed = false, r.Parts, bytes.Clone(r.Parts[0].Sealed)
		return fmt.Errorf("test: %w", store.ErrUnknownOutcome)
	}
	return s.Store.Swap(ctx, r, now)
}

// TestStoreThatGaveUp: it finds what it was given, whatever other requests do.
func TestStoreThatGaveUp(t *testing.T) {
	s := &slowStore{Store: memory.New()}
	w := newWorld(t, func(c *session.Config) { c.Store = s })
	alice, bob := w.browser(t), w.browser(t)
	alice.login("alice")
	bob.login("bob")
	s.giveUp = true
	if resp := alice.post("/note", url.Values{"note": {secretOf("alice")}}); resp.StatusCode != http.StatusServiceUnavailable {
		t.Fatalf("got status %d, want 503", resp.StatusCode)
	}
	for range 10 {
		bob.post("/note", url.Values{"note": {secretOf("bobby")}})
		if len(s.given) != 1 || s.given[0].Name != "app" || !bytes.Equal(s.given[0].Sealed, s.sealed) {
			t.Fatalf("got parts %+v, want what was given", s.given)
		}
	}
}

// TestScratchIsClear: nothing of one request is left for another.
func TestScratchIsClear(t *testing.T) {
	w := newWorld(t, nil)
	b := w.browser(t)
	b.login("alice")
	used := 0
	for i := range 20 {
		b.post("/note", url.Values{"note": {strings.Repeat("secret", 100-4*i)}})
		b.post("/add", url.Values{"item": {"secret"}})
		b.get("/whoami")
		room, clean := session.TestOnlyScratch(w.Manager)
		if !clean {
			t.Fatalf("after %d rounds: something is left", i)
		}
		if room > 0 {
			used++
		}
	}
	if used == 0 {
		t.Error("no memory was used again")
	}
}
