package session_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
)

func TestConfigRefusals(t *testing.T) {
	for field, c := range map[string]session.Config{
		"Limits.Idle: -1s":                     {Limits: session.Limits{Idle: -time.Second}},
		"Limits.Idle: 2h0m0s is longer":        {Limits: session.Limits{Idle: 2 * time.Hour, Absolute: time.Hour}},
		"Limits.Absolute: 9624h0m0s":           {Limits: session.Limits{Absolute: 401 * 24 * time.Hour}},
		"Limits.Rotate: 1m0s":                  {Limits: session.Limits{Rotate: time.Minute}},
		"PendingTimeout: 11m0s":                {PendingTimeout: 11 * time.Minute},
		"MaxSessions: -1":                      {MaxSessions: -1},
		"EndOldest: has no effect":             {EndOldest: true},
		"MaxValues: -1":                        {MaxValues: -1},
		"AnonymousPerMinute: -1":               {AnonymousPerMinute: -1},
		"AnonymousMax: -1":                     {AnonymousMax: -1},
		"StoreTimeout: 1h0m0s":                 {StoreTimeout: time.Hour},
		"EventQueue: -1":                       {EventQueue: -1},
		`Namespace: "Shop"`:                    {Namespace: "Shop"},
		`CookieName: "id" does not begin`:      {CookieName: "id"},
		`CookieName: "__Host-a b" is not`:      {CookieName: "__Host-a b"},
		`CookieName: "__Host-id" has a prefix`: {CookieName: "__Host-id", InsecureHTTP: true},
		"SameSite: None lets":                  {SameSite: http.SameSiteNoneMode},
		"SameSite: None is refused":            {SameSite: http.SameSiteNoneMode, InsecureHTTP: true, InsecureSameSiteNone: "embedded"},
		"SameSite: 9 is not":                   {SameSite: 9},
		"InsecureSameSiteNone: is set":         {InsecureSameSiteNone: "embedded"},
		"TrustedOrigins: shop.example":         {TrustedOrigins: []string{"shop.example"}},
		`ReferrerPolicy: "none"`:               {ReferrerPolicy: "none"},
		"Observers: number 0 is nil":           {Observers: []func(session.Event){nil}},
	} {
		t.Run(field, func(t *testing.T) {
			m, err := session.New(c)
			if err == nil {
				_ = m.Close(context.Background())
				t.Fatal("got no error")
			}
			if want := "session: Config." + field; !strings.Contains(err.Error(), want) {
				t.Errorf("got error %q, want it to contain %q", err, want)
			}
		})
	}
}

func TestConfigReportsEveryReason(t *testing.T) {
	_, err := session.New(session.Config{MaxSessions: -1, Namespace: "Ü", StoreTimeout: time.Hour})
	for _, field := range []string{"MaxSessions", "Namespace", "StoreTimeout"} {
		if err == nil || !strings.Contains(err.Error(), "Config."+field) {
			t.Errorf("got error %v, want it to name %s too", err, field)
		}
	}
}

func TestProfiles(t *testing.T) {
	for name, c := range map[string]struct {
		limits         session.Limits
		idle, absolute time.Duration
	}{
		"default": {session.Limits{}, 30 * time.Minute, 12 * time.Hour},
		"AAL1":    {session.AAL1(), 30 * 24 * time.Hour, 30 * 24 * time.Hour},
		"AAL2":    {session.AAL2(), time.Hour, 24 * time.Hour},
		"AAL3":    {session.AAL3(), 15 * time.Minute, 12 * time.Hour},
		"PCI":     {session.PCI(), 15 * time.Minute, 12 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *session.Config) { cfg.Limits = c.limits })
			idle, active := w.browser(t), w.browser(t)
			idle.login("idle")
			active.login("active")
			w.clock.advance(c.idle - time.Second)
			if got := idle.get("/whoami"); got != "idle||" {
				t.Errorf("just before the idle timeout: got %q", got)
			}
			active.get("/whoami")
			for left := c.absolute - c.idle; left > 0; left -= c.idle / 2 {
				w.clock.advance(min(left, c.idle/2))
				if got := active.get("/whoami"); got != "active||" {
					t.Fatalf("%v before the absolute timeout: got %q", left, got)
				}
			}
			if got := idle.get("/whoami"); c.absolute > c.idle && got != "||" {
				t.Errorf("after the idle timeout: got %q, want nobody", got)
			}
			w.clock.advance(2 * time.Second)
			if got := active.get("/whoami"); got != "||" {
				t.Errorf("after the absolute timeout: got %q, want nobody", got)
			}
		})
	}
}

func TestInsecureSettings(t *testing.T) {
	var log bytes.Buffer
	w := newWorld(t, func(c *session.Config) {
		c.InsecureHTTP, c.InsecureNoRotation = true, true
		c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	})
	for _, want := range []string{"InsecureHTTP", "InsecureNoRotation"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("log at start %q does not report %s", log.String(), want)
		}
	}
	b := w.browser(t)
	b.login("alice")
	before := b.cookies["id"]
	w.clock.advance(20 * time.Minute)
	if got := b.get("/whoami"); got != "alice||" || b.cookies["id"] != before || before == "" {
		t.Errorf("got %q, cookie changed: %t; want alice with the same cookie", got, b.cookies["id"] != before)
	}
}

func TestCookieAttributes(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*session.Config)
		want   string
	}{
		"default":   {func(*session.Config) {}, "__Host-id=%; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"strict":    {func(c *session.Config) { c.SameSite = http.SameSiteStrictMode }, "__Host-id=%; Path=/; HttpOnly; Secure; SameSite=Strict"},
		"namespace": {func(c *session.Config) { c.Namespace = "shop" }, "__Host-id-shop=%; Path=/; HttpOnly; Secure; SameSite=Lax"},
		"none": {func(c *session.Config) {
			c.SameSite, c.InsecureSameSiteNone = http.SameSiteNoneMode, "embedded by partners"
		}, "__Host-id=%; Path=/; HttpOnly; Secure; SameSite=None"},
		"http": {func(c *session.Config) { c.InsecureHTTP = true }, "id=%; Path=/; HttpOnly; SameSite=Lax"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *session.Config) {
				cfg.Logger = slog.New(slog.DiscardHandler)
				c.change(cfg)
			})
			rec := httptest.NewRecorder()
			w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				reply(rw, w.Login(r.Context(), session.Identity{Subject: "alice"}), "ok")
			})).ServeHTTP(rec, httptest.NewRequest("GET", "/", nil))
			lines := rec.Result().Header["Set-Cookie"]
			before, after, _ := strings.Cut(c.want, "%")
			if len(lines) != 1 || !strings.HasPrefix(lines[0], before) || !strings.HasSuffix(lines[0], after) ||
				len(lines[0]) != len(before)+64+len(after) {
				t.Errorf("got Set-Cookie %q, want one like %q", lines, c.want)
			}
		})
	}
}
