package session_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/storetest"
)

// TestIncident_A4_RevokeByListedName: scs lists hashes and hashes them again on
// Destroy: no error, and the session lives.
func TestIncident_A4_RevokeByListedName(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		phone, laptop := w.browser(t), w.browser(t)
		phone.login("alice")
		h := w.handleOf(t, "alice")
		laptop.login("alice")
		if ended, err := w.Revoke(context.Background(), h, "lost"); err != nil || !ended {
			t.Fatalf("Revoke: got %t, %v, want true", ended, err)
		}
		checkRefused(t, "revoked session", phone)
		if got := laptop.get("/whoami"); got != "alice||" {
			t.Errorf("the other session: got %q, want alice", got)
		}
		if ended, err := w.Revoke(context.Background(), h, "lost"); err != nil || ended {
			t.Errorf("second Revoke: got %t, %v, want false", ended, err)
		}
	})
}

// TestIncident_CVE_2019_16782_StoredNames: rack looked sessions up by what the
// client sent; hashed stores kept accepting the stored hash itself.
func TestIncident_CVE_2019_16782_StoredNames(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		h := w.handleOf(t, "alice")
		r, err := s.Load(context.Background(), store.Key{Handle: h}, []string{"app"})
		if err != nil {
			t.Fatal(err)
		}
		token, err := base64.RawURLEncoding.DecodeString(b.token())
		if err != nil || len(token) != 48 {
			t.Fatalf("token: got %d bytes, %v", len(token), err)
		}
		locator, secret := token[:16], token[16:]
		bearer := w.BearerHandler(w.mux)
		for name, raw := range map[string][]byte{
			"handle":                h[:],
			"verifier":              r.Verifier[:],
			"handle and verifier":   slices.Concat(h[:], r.Verifier[:]),
			"locator and verifier":  slices.Concat(locator, r.Verifier[:]),
			"handle and secret":     slices.Concat(h[:], secret),
			"verifier and handle":   slices.Concat(r.Verifier[:], h[:]),
			"locator and zeros":     slices.Concat(locator, make([]byte, 32)),
			"wrap":                  r.Wrap[:48],
			"locator and 32 of key": slices.Concat(locator, r.Wrap[1:33]),
		} {
			text := base64.RawURLEncoding.EncodeToString(raw)
			if got := body(t, present(w.Handler(w.mux), "/whoami", "__Host-id="+text)); got != "||" {
				t.Errorf("cookie of %s: got %q, want nobody", name, got)
			}
			request := httptest.NewRequest("GET", "https://shop.example/whoami", nil)
			request.Header.Set("Authorization", "Bearer "+text)
			rec := httptest.NewRecorder()
			bearer.ServeHTTP(rec, request)
			if got := rec.Body.String(); got != "||" {
				t.Errorf("bearer token of %s: got %q, want nobody", name, got)
			}
		}
		if got := b.get("/whoami"); got != "alice||" {
			t.Errorf("the session itself: got %q, want alice", got)
		}
	})
}

// nodes are managers that share a store and a clock.
func nodes(t *testing.T, s store.Store, n int, change func(*session.Config)) []*world {
	t.Helper()
	all := make([]*world, n)
	for i := range all {
		all[i] = newWorld(t, func(c *session.Config) {
			c.Store, c.EventQueue = s, 1<<14
			if i > 0 {
				c.Now = all[0].clock.Now
			}
			if change != nil {
				change(c)
			}
		})
	}
	return all
}

// TestIncident_A5_LostUpdates: scs, gorilla, gin, fiber, express-session, Django,
// iron-session and ASP.NET write the whole session back: the last request erases
// what parallel ones stored, in some even when it only reads.
func TestIncident_A5_LostUpdates(t *testing.T) {
	bothFaulty(t, func(t *testing.T, f *storetest.Faulty, s store.Store) {
		const writers = 50
		all := nodes(t, s, 2, nil)
		b := all[0].browser(t)
		b.login("alice")
		b.post("/add", url.Values{"item": {"coat"}})
		all[0].clock.advance(5 * time.Minute) // touches are due
		f.Inject(func(op storetest.Op, n int) storetest.Fault {
			return storetest.Fault{Delay: time.Duration(n%5) * 50 * time.Microsecond}
		})
		send := func(i int, do func(context.Context, *session.Session) error) {
			m := all[i%len(all)].Manager
			rec := httptest.NewRecorder()
			m.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				reply(rw, do(r.Context(), session.From(r.Context())), "ok")
			})).ServeHTTP(rec, b.request("GET", "/", nil))
			if rec.Code != 200 {
				t.Errorf("request %d: got status %d: %s", i, rec.Code, rec.Body)
			}
		}
		var wg sync.WaitGroup
		for i := range writers {
			wg.Go(func() { // its own key, stored with the response
				send(i, func(_ context.Context, s *session.Session) error { return ownKey(i).Set(s, i) })
			})
			wg.Go(func() { // one key of all, stored at once
				send(i, func(ctx context.Context, s *session.Session) error {
					return basket.Update(ctx, s, func(b *[]string) error { *b = append(*b, fmt.Sprint(i)); return nil })
				})
			})
			wg.Go(func() { // reads
				send(i, func(_ context.Context, s *session.Session) error { _, _, err := basket.Lookup(s); return err })
			})
		}
		wg.Wait()
		b.with(all[1].Manager, func(_ http.ResponseWriter, r *http.Request) { checkAllStored(t, session.From(r.Context()), writers) })
	})
}

func ownKey(i int) session.Key[int] { return session.NewKey[int](fmt.Sprint("own", i)) }

func checkAllStored(t *testing.T, s *session.Session, writers int) {
	t.Helper()
	items, _ := basket.Get(s)
	if len(items) != writers+1 || items[0] != "coat" {
		t.Errorf("got %d items beginning with %.1q, want %d beginning with coat", len(items), items, writers+1)
	}
	for i := range writers {
		if !slices.Contains(items, fmt.Sprint(i)) {
			t.Errorf("update %d is lost", i)
		}
		if got, ok := ownKey(i).Get(s); !ok || got != i {
			t.Errorf("key %d: got %d, %t", i, got, ok)
		}
	}
}

// TestIncident_A5_StaleOverwrite: a value that was read, changed by somebody else
// and then set is a conflict that somebody hears of, not a silent loss.
func TestIncident_A5_StaleOverwrite(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		b.post("/note", url.Values{"note": {"first"}})
		read := make(chan struct{})
		var once sync.Once
		hold := make(chan struct{})
		answer := make(chan *http.Response, 1)
		request := b.request("GET", "/", nil)
		go func() {
			rec := httptest.NewRecorder()
			w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				text, _ := note.Get(session.From(r.Context()))
				once.Do(func() { close(read) })
				<-hold
				reply(rw, note.Set(session.From(r.Context()), text+"+stale"), page)
			})).ServeHTTP(rec, request)
			answer <- rec.Result()
		}()
		<-read
		b.post("/note", url.Values{"note": {"second"}})
		close(hold)
		if resp := <-answer; resp.StatusCode != 409 {
			t.Errorf("stale overwrite: got status %d, want 409", resp.StatusCode)
		}
		if got := b.get("/whoami"); got != "alice||second" {
			t.Errorf("got %q, want the acknowledged change", got)
		}
	})
}
