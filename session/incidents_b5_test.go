package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// TestIncident_GHSA_wc43_StepUpFromFacts: Kratos decided on step-up by a level it
// had once written down.
func TestIncident_GHSA_wc43_StepUpFromFacts(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		stepUp := false
		w := newWorld(t, func(c *session.Config) {
			c.Store = s
			c.Admit = func(*http.Request, session.Snapshot) session.Verdict {
				if stepUp {
					return session.StepUp
				}
				return session.Allow
			}
		})
		b := w.browser(t)
		fresh := func(want error) { t.Helper(); checkFresh(t, w, b, want) }
		verb := func(do func(context.Context) error) {
			t.Helper()
			if err := b.call(w.Manager, do); err != nil {
				t.Fatal(err)
			}
		}
		fresh(session.ErrLoginRequired)
		b.login("alice")
		fresh(nil)
		w.clock.advance(5*time.Minute + time.Second)
		fresh(session.ErrStale)
		verb(func(ctx context.Context) error {
			return w.Elevate(ctx, func(a *store.Assurance) { a.Level, a.At = 3, w.clock.Now() })
		})
		fresh(session.ErrStale) // a new token and a higher level, but nobody authenticated
		_ = b.get("/csrf")
		w.clock.advance(16 * time.Minute)
		_ = b.get("/csrf") // rotation
		fresh(session.ErrStale)
		verb(func(ctx context.Context) error { return w.Reauthenticate(ctx, "pwd") })
		fresh(nil)
		stepUp = true
		fresh(session.ErrStale)
		stepUp = false
		fresh(nil)
		verb(func(ctx context.Context) error {
			return w.Login(ctx, session.Identity{Subject: "alice", AuthenticatedAt: w.clock.Now().Add(-time.Hour)})
		})
		fresh(session.ErrStale) // the provider authenticated her an hour ago
		if resp := b.with(w.Manager, w.RequireFresh(5*time.Minute, http.HandlerFunc(showPage)).ServeHTTP); resp.StatusCode != 403 {
			t.Errorf("RequireFresh: got status %d, want 403", resp.StatusCode)
		}
	})
}

func checkFresh(t *testing.T, w *world, b *browser, want error) {
	t.Helper()
	if err := b.call(w.Manager, func(ctx context.Context) error {
		return session.From(ctx).CheckFresh(5 * time.Minute)
	}); !errors.Is(err, want) || (err == nil) != (want == nil) {
		t.Errorf("CheckFresh: got %v, want %v", err, want)
	}
}

// TestIncident_GHSA_8fpg_ConfigErrors: next-auth let everybody in when its
// configuration was wrong. New refuses, and names the field.
func TestIncident_GHSA_8fpg_ConfigErrors(t *testing.T) {
	for field, c := range map[string]session.Config{
		"Limits.Idle":          {Limits: session.Limits{Idle: -time.Second}},
		"Limits.Absolute":      {Limits: session.Limits{Absolute: 401 * 24 * time.Hour}},
		"Limits.Rotate":        {Limits: session.Limits{Rotate: time.Second}},
		"PendingTimeout":       {PendingTimeout: time.Hour},
		"MaxSessions":          {MaxSessions: -1},
		"EndOldest":            {EndOldest: true},
		"MaxValues":            {MaxValues: -1},
		"AnonymousPerMinute":   {AnonymousPerMinute: -1},
		"AnonymousMax":         {AnonymousMax: -1},
		"StoreTimeout":         {StoreTimeout: -1},
		"Namespace":            {Namespace: "Ä"},
		"CookieName":           {CookieName: "id"},
		"SameSite":             {SameSite: http.SameSiteNoneMode},
		"InsecureSameSiteNone": {InsecureSameSiteNone: "why not"},
		"TrustedOrigins":       {TrustedOrigins: []string{"https://shop.example/path"}},
		"ReferrerPolicy":       {ReferrerPolicy: "none"},
		"Observers":            {Observers: []func(session.Event){nil}},
		"EventQueue":           {EventQueue: -1},
	} {
		m, err := session.New(c)
		if err == nil || m != nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("%s: got manager %t and error %v, want an error that names the field", field, m != nil, err)
		}
	}
}

// TestIncident_GHSA_8fpg_FailClosedAdmission: what Admit decides holds even if the
// store does not take it.
func TestIncident_GHSA_8fpg_FailClosedAdmission(t *testing.T) {
	for name, verdict := range map[string]session.Verdict{"lock": session.Lock, "end": session.End} {
		t.Run(name, func(t *testing.T) {
			bothStores(t, func(t *testing.T, s store.Store) {
				verdictNow := session.Allow
				readOnly := &noRevoke{Store: s}
				w := newWorld(t, func(c *session.Config) {
					c.Store = readOnly
					c.Admit = func(*http.Request, session.Snapshot) session.Verdict { return verdictNow }
				})
				b := w.browser(t)
				b.login("alice")
				verdictNow, readOnly.down = verdict, true
				rec := httptest.NewRecorder()
				w.Handler(w.RequireLogin(http.HandlerFunc(showPage))).ServeHTTP(rec, b.request("GET", "/", nil))
				if rec.Code != 503 || strings.Contains(rec.Body.String(), page) {
					t.Errorf("got status %d and %q, want 503", rec.Code, rec.Body)
				}
			})
		})
	}
}

// noRevoke is a store whose Revoke fails while it is down.
type noRevoke struct {
	store.Store
	down bool
}

func (s *noRevoke) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	if s.down {
		return store.Revoked{}, store.ErrUnavailable
	}
	return s.Store.Revoke(ctx, v)
}

// TestIncident_SpringJDBC_NeverExpiring: in Spring Session JDBC sessions without an
// expiry could not be logged out.
func TestIncident_SpringJDBC_NeverExpiring(t *testing.T) {
	const longest = 400 * 24 * time.Hour
	for name, limits := range map[string]session.Limits{
		"longest":         {Idle: longest, Absolute: longest, Rotate: longest},
		"longest, locks":  {Idle: longest, Absolute: longest, IdleLocks: true},
		"idle = absolute": {Idle: time.Hour, Absolute: time.Hour},
		"shortest":        {Idle: time.Second, Absolute: time.Second},
		"AAL1":            session.AAL1(),
	} {
		for _, ending := range endings {
			t.Run(name+"/"+ending.name, func(t *testing.T) {
				bothStores(t, func(t *testing.T, s store.Store) {
					w := newWorld(t, func(c *session.Config) { c.Store, c.Limits = s, limits })
					b := w.browser(t)
					b.login("alice")
					old, h := b.twin(), w.handleOf(t, "alice")
					ending.end(t, w, b, h)
					checkRefused(t, "token from before", old)
					r, err := s.Load(context.Background(), store.Key{Handle: h}, nil)
					if err != nil || !r.Ended() {
						t.Errorf("stored record: got %v and ended %t, want a tombstone", err, r.Ended())
					}
				})
			})
		}
	}
}

// moody is a codec that stops decoding.
type moody struct{ broken *bool }

func (moody) ID() byte                     { return 99 }
func (moody) Encode(v any) ([]byte, error) { return json.Marshal(v) }
func (c moody) Decode(data []byte, v any) error {
	if *c.broken {
		return errors.New("type not registered: secret " + string(data))
	}
	return json.Unmarshal(data, v)
}

// TestIncident_Scs_UndecodableValue: in scs a value that no longer decodes made
// every later request of its cookie fail with status 500, for good.
func TestIncident_Scs_UndecodableValue(t *testing.T) {
	broken := false
	key := session.NewKey[int]("number", session.WithCodec(moody{&broken}))
	other := session.NewKey[string]("number")
	bothStores(t, func(t *testing.T, s store.Store) {
		broken = false
		w := newWorld(t, func(c *session.Config) { c.Store = s })
		b := w.browser(t)
		b.login("alice")
		do := func(f func(context.Context, *session.Session)) {
			t.Helper()
			resp := b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) { f(r.Context(), session.From(r.Context())) })
			if resp.StatusCode != 200 {
				t.Errorf("got status %d, want 200", resp.StatusCode)
			}
		}
		do(func(_ context.Context, s *session.Session) { _, _ = key.Set(s, 7), note.Set(s, "fine") })
		broken = true
		do(func(ctx context.Context, s *session.Session) {
			_, ok, err := key.Lookup(s)
			if ok || !errors.Is(err, session.ErrUndecodable) || strings.Contains(fmt.Sprint(err), "secret") {
				t.Errorf("Lookup: got %t, %v, want ErrUndecodable without the value", ok, err)
			}
			if err := key.Update(ctx, s, func(*int) error { return nil }); !errors.Is(err, session.ErrUndecodable) {
				t.Errorf("Update: got %v, want ErrUndecodable", err)
			}
			if _, _, err := other.Lookup(s); !errors.Is(err, session.ErrUndecodable) {
				t.Errorf("another codec: got %v, want ErrUndecodable", err)
			}
		})
		if got := b.get("/whoami"); got != "alice||fine" {
			t.Errorf("the rest: got %q, want it unharmed", got)
		}
		broken = false
		do(func(_ context.Context, s *session.Session) {
			if got, _ := key.Get(s); got != 7 {
				t.Errorf("decodes again: got %d, want 7: nothing was thrown away", got)
			}
		})
		broken = true
		do(func(_ context.Context, s *session.Session) { _ = other.Set(s, "new") })
		do(func(_ context.Context, s *session.Session) {
			if got, _ := other.Get(s); got != "new" || s.Subject() != "alice" {
				t.Errorf("replaced: got %q, want new", got)
			}
		})
	})
}

// TestIncident_Scs_UndecodableRecord: nor does a record that this version cannot
// read; it is nobody's session, and a new one can begin.
func TestIncident_Scs_UndecodableRecord(t *testing.T) {
	w, s, alice, _ := forged(t)
	s.change = func(r *store.Record) { r.Extensions = []store.Extension{{Name: "new", Critical: true}} }
	checkUnreadable(t, "unknown critical extension", w, alice, "||")
	s.change = func(r *store.Record) { r.Extensions = []store.Extension{{Name: "new", Value: []byte("x")}} }
	checkUnreadable(t, "unknown extension", w, alice, "alice||alice's note")
	for name, version := range map[string]byte{"newer seal": 2, "older seal": 0} {
		s.change = func(r *store.Record) { r.Wrap[0] = version }
		resp := present(alice.handler, "/whoami", "__Host-id="+alice.token())
		if got := body(t, resp); got != "||" || len(resp.Header["Set-Cookie"]) > 0 {
			t.Errorf("%s: got %q and %q, want nobody, and the cookie left to nodes that can read it", name, got, redact(resp.Header["Set-Cookie"]))
		}
	}
	s.change = func(r *store.Record) {
		if r.Subject == "alice" {
			r.Wrap[1] ^= 1
		}
	}
	alice.get("/whoami")
	if alice.token() != "" {
		t.Error("the cookie of a record that does not open is not cleared")
	}
	alice.login("carol")
	if got := alice.get("/whoami"); got != "carol||" {
		t.Errorf("login after that: got %q, want carol", got)
	}
}
