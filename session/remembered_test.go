package session_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// TestRememberedList: each browser is listed once, whether or not it has a session.
func TestRememberedList(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b, away, plain, bob := w.browser(t), w.browser(t), w.browser(t), w.browser(t)
		away.remember("alice")
		w.clock.advance(time.Hour)
		b.remember("alice")
		plain.login("alice")
		bob.remember("bob")
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			var current, others int
			for known, err := range w.Remembered(r.Context(), "alice") {
				if err != nil {
					t.Fatal(err)
				}
				if known.Subject != "alice" || known.Restored || !known.Deadline.Equal(known.Created.Add(90*24*time.Hour)) || known.Last.Agent != "test browser" {
					t.Errorf("got %+v", known)
				}
				snap, _ := session.From(r.Context()).Snapshot()
				if known.Current != (known.Handle == snap.Series) {
					t.Errorf("current %t of series %v, the session's is %v", known.Current, known.Handle, snap.Series)
				}
				if known.Current {
					current++
				} else {
					others++
				}
			}
			if current != 1 || others != 1 {
				t.Errorf("got %d current and %d other remembered logins, want one each", current, others)
			}
			for range w.Remembered(r.Context(), "") {
				t.Error("nobody has a remembered login")
			}
		})
		for known, err := range w.Sessions(context.Background(), "alice") {
			if err != nil || known.Restored {
				t.Errorf("got restored %t, %v", known.Restored, err)
			}
		}
	})
}

// TestRememberMax: one subject can be remembered by so many browsers; the oldest is
// forgotten, and its session goes on.
func TestRememberMax(t *testing.T) {
	w := remembering(t, nil, func(c *session.Config) { c.Remember.Max = 3 })
	browsers := make([]*browser, 5)
	for i := range browsers {
		browsers[i] = w.browser(t)
		browsers[i].remember("alice")
		w.clock.advance(time.Minute)
	}
	if n := len(w.logins(t, "alice")); n != 3 {
		t.Errorf("got %d remembered logins, want 3", n)
	}
	for i, b := range browsers {
		want := map[bool]string{true: "alice||", false: "||"}[i >= 2]
		if got := b.get("/whoami") + b.reopen().get("/whoami"); got != "alice||"+want {
			t.Errorf("browser %d: got %q", i, got)
		}
	}
	w.events.count(t, session.EventForgotten, 2)
}

// TestRememberAfterSecondFactor: the wish of the first step is granted when the login
// is complete, and not before.
func TestRememberAfterSecondFactor(t *testing.T) {
	w := remembering(t, external{memory.New()}, nil)
	for name, asked := range map[string]bool{"asked": true, "not asked": false} {
		b := w.browser(t)
		if err := b.call(w.Manager, func(ctx context.Context) error {
			return w.LoginPending(ctx, session.Identity{Subject: "alice", Methods: []string{"pwd"}, Remember: asked})
		}); err != nil {
			t.Fatal(err)
		}
		if b.cookie(rememberCookie) != "" || len(w.logins(t, "alice")) != 0 {
			t.Fatalf("%s: remembered with one factor", name)
		}
		if err := b.call(w.Manager, func(ctx context.Context) error {
			return w.CompleteLogin(ctx, session.Identity{Methods: []string{"otp"}, Level: 2})
		}); err != nil {
			t.Fatal(err)
		}
		if got := b.cookie(rememberCookie) != ""; got != asked {
			t.Errorf("%s: remembered %t", name, got)
		}
		if !asked {
			continue
		}
		b.reopen()
		b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
			if a := session.From(r.Context()).Assurance(); a.Level != 0 || len(a.Methods) != 1 {
				t.Errorf("came back with %+v", a)
			}
		})
		b.post("/logout", nil)
	}
}

// TestRememberNeedsACookie: native clients are not remembered.
func TestRememberNeedsACookie(t *testing.T) {
	w := remembering(t, nil, nil)
	h := w.BearerHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := w.Login(r.Context(), session.Identity{Subject: "alice", Remember: true}); err == nil {
			t.Error("a native client is remembered")
		}
		if got := session.From(r.Context()).Subject(); got != "" {
			t.Errorf("got %q signed in by a login that failed", got)
		}
	}))
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("POST", "https://shop.example/", nil))
	if len(w.logins(t, "alice")) != 0 {
		t.Error("the failed login is remembered")
	}
}

// TestRememberConfig refuses what contradicts itself, naming the field.
func TestRememberConfig(t *testing.T) {
	readmit := func(context.Context, session.Snapshot) (session.Identity, error) { return session.Identity{}, nil }
	for name, c := range map[string]struct {
		config session.Config
		want   string
	}{
		"without Readmit": {session.Config{Remember: session.Remember{Idle: month}}, "Config.Remember: has no effect"},
		"idle too long":   {session.Config{Remember: session.Remember{Readmit: readmit, Idle: 2 * month, Absolute: month}}, "Config.Remember.Idle"},
		"idle too short":  {session.Config{Remember: session.Remember{Readmit: readmit, Idle: time.Minute}}, "Config.Remember.Idle"},
		"too long":        {session.Config{Remember: session.Remember{Readmit: readmit, Absolute: 401 * 24 * time.Hour}}, "Config.Remember.Absolute"},
		"negative":        {session.Config{Remember: session.Remember{Readmit: readmit, Max: -1}}, "Config.Remember.Max"},
		"locking":         {session.Config{Remember: session.Remember{Readmit: readmit}, Limits: session.Limits{IdleLocks: true}}, "contradicts Limits.IdleLocks"},
		"cookie name":     {session.Config{CookieName: "__Host-id-remember"}, "Config.CookieName"},
	} {
		if _, err := session.New(c.config); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	for name, p := range map[string]session.Remember{
		"short": {Readmit: readmit, Absolute: 24 * time.Hour}, "long idle": {Readmit: readmit, Idle: 200 * 24 * time.Hour},
	} {
		m, err := session.New(session.Config{Remember: p})
		if err != nil {
			t.Errorf("%s: got %v", name, err)
			continue
		}
		if err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}
}

// TestRememberSameSite: the cookie that outlives the browser is not for other sites,
// whatever the session's is for.
func TestRememberSameSite(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*session.Config)
		want   string
	}{
		"strict": {func(c *session.Config) { c.SameSite = http.SameSiteStrictMode }, "; SameSite=Strict"},
		"none": {func(c *session.Config) {
			c.SameSite, c.InsecureSameSiteNone = http.SameSiteNoneMode, "test"
		}, "; SameSite=Lax"},
	} {
		w := remembering(t, nil, c.change)
		if got := line(w.browser(t).remember("alice"), rememberCookie); !strings.HasSuffix(got, c.want) {
			t.Errorf("%s: got %q", name, got[len(got)-40:])
		}
	}
}

// TestRememberCostsNothing: a request of a live session asks no more of the store, and
// takes no more memory, for being remembered.
func TestRememberCostsNothing(t *testing.T) {
	type cost struct {
		allocations float64
		calls       int
	}
	costs := map[string]cost{}
	for name, remember := range map[string]bool{"not remembered": false, "remembered": true} {
		f := sessiontest.NewFaultyStore(external{memory.New()})
		w := remembering(t, f, nil)
		b := w.browser(t)
		if b.login("alice"); remember {
			b.remember("alice")
			b.reopen().get("/whoami")
			b.get("/whoami")
		}
		h := w.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		r := b.request("GET", "/", nil)
		r.Header.Set("Cookie", idCookie+"="+b.token()+"; "+rememberCookie+"="+strings.Repeat("A", 64))
		calls := func() (n int) {
			for _, op := range []storetest.Op{storetest.OpLoad, storetest.OpSwap, storetest.OpCreate, storetest.OpRevoke, storetest.OpList} {
				n += f.Calls(op)
			}
			return n
		}
		before := calls()
		rec := httptest.NewRecorder()
		const runs = 100
		allocations := testing.AllocsPerRun(runs, func() { h.ServeHTTP(rec, r) })
		costs[name] = cost{allocations, (calls() - before) / (runs + 1)}
	}
	if costs["remembered"].calls != 1 || costs["not remembered"].calls != 1 {
		t.Errorf("got %v, want one call of the store each", costs)
	}
	// The extension that names the series is read with the record.
	if more := costs["remembered"].allocations - costs["not remembered"].allocations; more > 4 {
		t.Errorf("got %v, want no more allocations than the record's own", costs)
	}
}

// TestSweepForgets: what has run out is swept, and reported by its own name.
func TestSweepForgets(t *testing.T) {
	s := memory.New()
	w := remembering(t, s, nil)
	w.browser(t).remember("alice")
	w.clock.advance(31 * 24 * time.Hour)
	done, err := s.Sweep(context.Background(), store.Sweeping{Namespace: ".remember", Now: w.clock.Now()})
	if err != nil || len(done.Expired) != 1 || done.Expired[0].Subject != "alice" {
		t.Errorf("got %+v, %v", done, err)
	}
}

// TestRememberedBlind: neither the store nor an event holds a token of a remembered
// login.
func TestRememberedBlind(t *testing.T) {
	log := storetest.NewFaulty(memory.New())
	w := remembering(t, log, nil)
	b := w.browser(t)
	b.remember("alice")
	tokens := []string{b.cookie(rememberCookie)}
	b.reopen().get("/whoami")
	tokens = append(tokens, b.cookie(rememberCookie), b.token())
	page, err := log.Inner().List(context.Background(), store.Query{Namespace: ".remember", Now: w.clock.Now(), Ended: true})
	if err != nil || len(page.Records) != 1 {
		t.Fatalf("got %d records, %v", len(page.Records), err)
	}
	r, err := log.Inner().Load(context.Background(), page.Records[0].Key(), []string{"session"})
	if err != nil || len(r.Parts) != 1 {
		t.Fatalf("got parts %v, %v", r.Parts, err)
	}
	var secrets []string
	for _, token := range tokens {
		secrets = append(secrets, token, rawOf(t, token)[16:])
	}
	w.events.mu.Lock()
	defer w.events.mu.Unlock()
	all := fmt.Sprintf("%+v %s", w.events.all, r.Wrap) + string(r.Parts[0].Sealed) + string(r.Predecessor.Successor)
	for i, secret := range secrets {
		if strings.Contains(all, secret) {
			t.Errorf("secret %d lies open", i)
		}
	}
}

// rawOf returns the bytes of a token.
func rawOf(t *testing.T, token string) string {
	t.Helper()
	if _, ok := session.TestOnlyParseToken(token); !ok {
		t.Fatal("not a token")
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// FuzzRememberCookie: whatever comes as the cookie of a remembered login, there is no
// panic, no session, and no cookie.
func FuzzRememberCookie(f *testing.F) {
	w := remembering(f, nil, nil)
	b := w.browser(f)
	b.remember("alice")
	own := b.cookie(rememberCookie)
	for _, seed := range []string{"", "x", own[:63], own[:32] + strings.Repeat("A", 32), own + "=", strings.Repeat("A", 64), "a\r\nb", own[:22] + "%3d"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		if strings.Contains(value, own) {
			return
		}
		r := httptest.NewRequest("GET", "https://shop.example/whoami", nil)
		r.Header["Cookie"] = []string{rememberCookie + "=" + value}
		rec := httptest.NewRecorder()
		b.handler.ServeHTTP(rec, r)
		if got := rec.Body.String(); got != "||" || rec.Code != 200 || len(rec.Header()["Set-Cookie"]) != 0 {
			t.Errorf("got status %d, %q, Set-Cookie %q", rec.Code, got, redact(rec.Header()["Set-Cookie"]))
		}
	})
}

// TestLateAnswerKeepsNewerCookies: an answer that comes late sets no cookies over
// those that came since.
func TestLateAnswerKeepsNewerCookies(t *testing.T) {
	bothStores(t, func(t *testing.T, s store.Store) {
		w := remembering(t, s, nil)
		b := w.browser(t)
		b.remember("alice")
		slow := takeOff(b.reopen().twin(), w.Manager, showPage) // restores, and waits
		b.get("/whoami")                                        // the same answer, in time
		b.get("/whoami")
		b.reopen().get("/whoami") // and the next one
		b.get("/whoami")
		resp := slow.land()
		if lines := resp.Header["Set-Cookie"]; len(lines) != 0 {
			t.Errorf("got Set-Cookie %q", redact(lines))
		}
		out := takeOff(b.reopen().twin(), w.Manager, showPage)
		b.get("/whoami")
		if resp := b.post("/logout", url.Values{}); resp.StatusCode != 200 {
			t.Fatalf("logout: got status %d", resp.StatusCode)
		}
		if lines := out.land().Header["Set-Cookie"]; len(lines) != 0 {
			t.Errorf("after logout: got Set-Cookie %q", redact(lines))
		}
		w.events.count(t, session.EventReuse, 0)
	})
}
