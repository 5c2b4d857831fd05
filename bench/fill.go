package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session"
	"github.com/alexedwards/scs/v2"
)

// payload is what the sessions of the rows with very many of them hold, besides
// their user.
var payload = session.NewKey[[]byte]("payload")

const payloadSize = 100

// fillClock is a clock that somebody sets.
type fillClock struct{ now atomic.Int64 }

func (c *fillClock) set(t time.Time)      { c.now.Store(t.UnixNano()) }
func (c *fillClock) Now() time.Time       { return time.Unix(0, c.now.Load()) }
func newFillClock(t time.Time) *fillClock { c := new(fillClock); c.set(t); return c }

// logins signs in so many users, each from an address and with a browser of his
// own, through the handler, as they would come. Keep gets the number of each
// login, its session and the cookie. It is called in parallel.
func logins(c *cloakroom, n, workers int, progress func(done, all int), clock func(i int), keep func(i int, s *session.Session, cookie string) error) error {
	return inWorkers(workers, n, progress, func(next func() (int, bool)) error {
		var requests []*http.Request
		for _, agent := range agents() {
			b := newBrowser()
			b.agent = agent
			r, err := b.request(http.MethodGet, "/login")
			if err != nil {
				return err
			}
			requests = append(requests, r)
		}
		number, w := 0, newAnswer()
		var signedIn *session.Session
		h := page(c, func(lib library, w http.ResponseWriter, r *http.Request) error {
			if err := lib.login(w, r, fmt.Sprintf("user-%d", number)); err != nil {
				return err
			}
			signedIn = session.From(r.Context())
			return payload.Set(signedIn, random(payloadSize))
		})
		for i, ok := next(); ok; i, ok = next() {
			number = i
			clock(i)
			w.reset()
			r := requests[i%len(requests)].WithContext(context.Background())
			r.RemoteAddr = addressOf(i)
			h.ServeHTTP(w, r)
			cookie, _, _ := strings.Cut(w.header.Get("Set-Cookie"), ";")
			if w.status >= 400 || cookie == "" {
				return fmt.Errorf("signing in: got status %d, cookie %q: %s", w.status, cookie, w.body)
			}
			if err := keep(i, signedIn, cookie); err != nil {
				return err
			}
		}
		return nil
	})
}

// addressOf is where the browser of a user is.
func addressOf(i int) string {
	return fmt.Sprintf("198.%d.%d.%d:49152", 18+i>>16&1, i>>8&255, i&255)
}

// scsSessions stores so many sessions with the same content in scs, as its
// manager encodes them, but without the requests.
func scsSessions(m *scs.SessionManager, n, workers int, progress func(done, all int), expiry func(i int) time.Time, keep func(i int, token string) error) error {
	deadline := time.Now().Add(m.Lifetime).UTC()
	return inWorkers(workers, n, progress, func(next func() (int, bool)) error {
		for i, ok := next(); ok; i, ok = next() {
			token := base64.RawURLEncoding.EncodeToString(random(32))
			encoded, err := m.Codec.Encode(deadline, map[string]any{
				"userID": fmt.Sprintf("user-%d", i), "payload": random(payloadSize),
			})
			if err != nil {
				return err
			}
			if err := commit(m, token, encoded, expiry(i)); err != nil {
				return err
			}
			if err := keep(i, token); err != nil {
				return err
			}
		}
		return nil
	})
}

// inWorkers runs work several times at once; next hands out the numbers below n.
func inWorkers(workers, n int, progress func(done, all int), work func(next func() (int, bool)) error) error {
	var taken atomic.Int64
	next := func() (int, bool) {
		i := int(taken.Add(1)) - 1
		if i%1024 == 0 {
			progress(min(i, n), n)
		}
		return i, i < n
	}
	var all sync.WaitGroup
	errs := make(chan error, workers)
	for range cap(errs) {
		all.Go(func() { errs <- work(next) })
	}
	all.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func random(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}

// tickets are cookies or tokens of one length, kept so that the collector does
// not look at each.
type tickets struct {
	length int
	all    []byte
}

func newTickets(n, length int) *tickets { return &tickets{length, make([]byte, n*length)} }

func (t *tickets) set(i int, ticket string) error {
	if len(ticket) != t.length {
		return fmt.Errorf("got a ticket of %d characters, want %d", len(ticket), t.length)
	}
	copy(t.all[i*t.length:], ticket)
	return nil
}

func (t *tickets) get(i int) string { return string(t.all[i*t.length : (i+1)*t.length]) }
func (t *tickets) count() int       { return len(t.all) / t.length }

// commit stores a session as the manager of scs does.
func commit(m *scs.SessionManager, token string, encoded []byte, expiry time.Time) error {
	if s, ok := m.Store.(scs.CtxStore); ok {
		return s.CommitCtx(context.Background(), token, encoded, expiry)
	}
	return m.Store.Commit(token, encoded, expiry)
}
