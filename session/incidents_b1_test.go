package session_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// forged is a world on a store whose records somebody can change, with alice and
// bob signed in; both have values.
func forged(t *testing.T) (w *world, s *tampered, alice, bob *browser) {
	t.Helper()
	s = &tampered{Store: external{memory.New()}}
	w = newWorld(t, func(c *session.Config) { c.Store, c.EventQueue = s, 1<<16 })
	alice, bob = w.browser(t), w.browser(t)
	for name, b := range map[string]*browser{"alice": alice, "bob": bob} {
		b.post("/login", url.Values{"user": {name}, "role": {"admin"}})
		b.post("/note", url.Values{"note": {name + "'s note"}})
	}
	return w, s, alice, bob
}

// TestIncident_CVE_2026_39324_NoFallbackDecoder: when decryption failed, rack
// decoded the cookie without authentication (also CVE-2025-47275 in Auth0-PHP:
// forgeable sealed sessions).
func TestIncident_CVE_2026_39324_NoFallbackDecoder(t *testing.T) {
	for name, field := range map[string]func(*store.Record) *[]byte{
		"wrap": func(r *store.Record) *[]byte { return &r.Wrap },
		"part": func(r *store.Record) *[]byte {
			if len(r.Parts) == 0 {
				return new([]byte)
			}
			return &r.Parts[0].Sealed
		},
	} {
		t.Run(name, func(t *testing.T) {
			w, s, alice, _ := forged(t)
			var whole int
			s.change = func(r *store.Record) { whole = len(*field(r)) }
			if got := alice.twin().get("/whoami"); got != "alice||alice's note" || whole == 0 {
				t.Fatalf("untouched: got %q", got)
			}
			want := map[string]string{"wrap": "||", "part": "alice||"}[name]
			for i := range whole {
				for _, bit := range []byte{1, 0x80} {
					s.change = func(r *store.Record) {
						b := bytes.Clone(*field(r))
						b[i] ^= bit
						*field(r) = b
					}
					checkUnreadable(t, fmt.Sprintf("%s byte %d ^ %#x", name, i, bit), w, alice, want)
				}
				s.change = func(r *store.Record) { *field(r) = (*field(r))[:i] }
				checkUnreadable(t, fmt.Sprintf("%s cut to %d bytes", name, i), w, alice, want)
			}
			if got := w.reported(t, session.EventUnreadable); got < 3*whole {
				t.Errorf("got %d events %s, want at least %d", got, session.EventUnreadable, 3*whole)
			}
		})
	}
}

func checkUnreadable(t *testing.T, what string, w *world, b *browser, want string) {
	t.Helper()
	resp := present(b.handler, "/whoami", "__Host-id="+b.token())
	if got := body(t, resp); resp.StatusCode != 200 || got != want {
		t.Errorf("%s: got status %d and %q, want 200 and %q", what, resp.StatusCode, got, want)
	}
	if lines := resp.Header["Set-Cookie"]; len(lines) > 0 && resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("%s: clears the cookie with Cache-Control %q", what, resp.Header.Get("Cache-Control"))
	}
}

// TestIncident_CVE_2025_47275_ForgedFacts: whoever can write to the database
// cannot make himself somebody else, or more, or live longer.
func TestIncident_CVE_2025_47275_ForgedFacts(t *testing.T) {
	w, s, alice, bob := forged(t)
	ctx := context.Background()
	bobs, err := s.Store.Load(ctx, store.Key{Handle: w.handleOf(t, "bob")}, []string{"app"})
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(*store.Record){
		"subject":              func(r *store.Record) { r.Subject = "bob" },
		"role":                 func(r *store.Record) { r.Assurance.Role = "root" },
		"tenant":               func(r *store.Record) { r.Assurance.Tenant = "other" },
		"role becomes tenant":  func(r *store.Record) { r.Assurance.Role, r.Assurance.Tenant = "", "admin" },
		"role leaks to tenant": func(r *store.Record) { r.Assurance.Role, r.Assurance.Tenant = "ad", "min" },
		"level":                func(r *store.Record) { r.Assurance.Level = 3 },
		"methods":              func(r *store.Record) { r.Assurance.Methods = []string{"pwd", "hwk"} },
		"method names joined":  func(r *store.Record) { r.Assurance.Methods = []string{"p", "wd"} },
		"authenticated at":     func(r *store.Record) { r.Assurance.At = r.Assurance.At.Add(time.Second) },
		"deadline":             func(r *store.Record) { r.Deadline = r.Deadline.Add(time.Hour) },
		"no deadline":          func(r *store.Record) { r.Deadline = time.Time{} },
		"idle":                 func(r *store.Record) { r.Idle *= 2 },
		"no idle":              func(r *store.Record) { r.Idle = 0 },
		"idle locks":           func(r *store.Record) { r.IdleLocks = true },
		"absolute":             func(r *store.Record) { r.Absolute *= 2 },
		"state":                func(r *store.Record) { r.State = store.Anonymous },
		"namespace":            func(r *store.Record) { r.Namespace = "other" },
		"the other's wrap":     func(r *store.Record) { r.Wrap = bobs.Wrap },
		"the other's record":   func(r *store.Record) { v, h := r.Verifier, r.Handle; *r = bobs; r.Verifier, r.Handle = v, h },
		"the other's verifier": func(r *store.Record) { r.Verifier = bobs.Verifier },
		"no wrap":              func(r *store.Record) { r.Wrap = nil },
	} {
		s.change = change
		checkUnreadable(t, name, w, alice, "||")
	}
	s.change = func(r *store.Record) { r.Parts = slices.Clone(bobs.Parts) }
	checkUnreadable(t, "the other's values", w, alice, "alice||")
	s.change = func(r *store.Record) { r.Parts[0].Generation++ }
	checkUnreadable(t, "another generation", w, alice, "alice||")
	s.change = nil
	if got := alice.get("/whoami") + " " + bob.get("/whoami"); got != "alice||alice's note bob||bob's note" {
		t.Errorf("untouched again: got %q", got)
	}
}

// TestIncident_CVE_2025_47275_ForgedState: a half-open login that somebody marks
// active in the database is none.
func TestIncident_CVE_2025_47275_ForgedState(t *testing.T) {
	w, s, _, _ := forged(t)
	b := w.browser(t)
	if err := b.call(w.Manager, func(ctx context.Context) error {
		return w.LoginPending(ctx, session.Identity{Subject: "carol"})
	}); err != nil {
		t.Fatal(err)
	}
	half := b.cookies["__Host-id-pending"]
	for _, state := range []store.State{store.Anonymous, store.Active, 0, 9} {
		s.change = func(r *store.Record) { r.State = state }
		checkAnonymousBody(t, fmt.Sprint("half-open record as ", state), present(b.handler, "/whoami", "__Host-id="+half))
	}
}

func checkAnonymousBody(t *testing.T, what string, resp *http.Response) {
	t.Helper()
	if got := body(t, resp); resp.StatusCode != 200 || got != "||" {
		t.Errorf("%s: got status %d and %q, want nobody", what, resp.StatusCode, got)
	}
}

// recorder remembers what a store was asked for.
type recorder struct {
	store.Store
	keys *[]store.Key
}

func (s recorder) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	*s.keys = append(*s.keys, k)
	return s.Store.Load(ctx, k, parts)
}

// TestIncident_GO_2024_2730_KeysFromClients: gorilla's FilesystemStore and CherryPy
// (CVE-2008-0252) made file names of session ids; with Jetty (CVE-2018-12538) a
// crafted id reached another session. Our stores get hashes, or nothing.
func TestIncident_GO_2024_2730_KeysFromClients(t *testing.T) {
	var keys []store.Key
	w := newWorld(t, func(c *session.Config) { c.Store = recorder{memory.New(), &keys} })
	h := w.Handler(w.mux)
	pad := func(s string) string { return s + strings.Repeat("A", max(0, 64-len(s))) }
	for _, bad := range []string{
		"../../../../etc/passwd", pad("../../../../etc/passwd"), pad("..%2f..%2f"), "", "a", "'", pad("' OR 1=1 --"), pad("*"),
		strings.Repeat("A", 63), strings.Repeat("A", 65), strings.Repeat("A", 63) + "=", strings.Repeat("A", 63) + "+",
		strings.Repeat("A", 63) + "\x00", strings.Repeat("A", 1<<16), pad("\n"), pad("\r"), `"` + strings.Repeat("A", 62) + `"`,
		strings.Repeat("é", 32),
	} {
		checkAnonymousBody(t, fmt.Sprintf("token %.70q", bad), present(h, "/whoami", "__Host-id="+bad))
		checkAnonymousBody(t, fmt.Sprintf("half-open token %.70q", bad), present(h, "/whoami", "__Host-id-pending="+bad))
	}
	if len(keys) != 0 {
		t.Errorf("malformed tokens: the store was asked for %v, want nothing", keys)
	}
	checkAnonymousBody(t, "well-formed token", present(h, "/whoami", "__Host-id="+strings.Repeat("Q", 64)))
	if len(keys) != 1 || keys[0].Namespace != "" || bytes.Contains(keys[0].Handle[:], []byte{0x41, 0x04}) {
		t.Errorf("well-formed token: the store was asked for %v, want one hash", keys)
	}
}

// TestIncident_CVE_2026_45364_AddressKeys: better-auth's rate limiter counted
// every spelling of an IPv6 address apart; here it is the visitors' budget.
func TestIncident_CVE_2026_45364_AddressKeys(t *testing.T) {
	proxy := session.Forwarded(netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8"))
	const allowed = 3
	for name, c := range map[string]struct {
		spellings []string // of one source
		forwarded string
		trust     bool
	}{
		"one /64":            {[]string{"[2001:db8:1:2::1]:1", "[2001:db8:1:2:ffff::9]:2", "[2001:0DB8:1:2:0:0:0:1]:3", "[2001:db8:1:2::1%eth0]:4"}, "", false},
		"mapped IPv4":        {[]string{"192.0.2.9:1", "[::ffff:192.0.2.9]:2", "[::ffff:c000:209]:3", "192.0.2.9:4"}, "", false},
		"header, no trust":   {[]string{"192.0.2.7:1", "192.0.2.7:2", "192.0.2.7:3", "192.0.2.7:4"}, "203.0.113.%d", false},
		"header from client": {[]string{"192.0.2.7:1", "192.0.2.7:2", "192.0.2.7:3", "192.0.2.7:4"}, "203.0.113.%d", true},
		"spoofed before":     {[]string{"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.1:4"}, "203.0.113.%d, 198.51.100.4", true},
		"mapped in header":   {[]string{"10.0.0.1:1", "10.0.0.1:2", "[::ffff:10.0.0.1]:3", "[fd00::1]:4"}, "%d, ::ffff:198.51.100.4", true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(cfg *session.Config) {
				cfg.AnonymousPerMinute = allowed
				if c.trust {
					cfg.ClientAddr = proxy
				}
			})
			for i, addr := range c.spellings {
				got := visit(w, t, addr, c.forwarded, i)
				if want := map[bool]int{true: 200, false: 429}[i < allowed]; got != want {
					t.Errorf("visit %d from %s: got status %d, want %d", i, addr, got, want)
				}
			}
			// Others are not affected; two of eight may share its bucket.
			others := 0
			for i := range 8 {
				if visit(w, t, fmt.Sprintf("[2001:db8:9:%d::1]:1", i), "", 0) == 200 {
					others++
				}
			}
			if others < 7 {
				t.Errorf("other sources: got %d of 8 served", others)
			}
		})
	}
}

// visit makes a new visitor's session and returns the status.
func visit(w *world, t *testing.T, addr, forwarded string, i int) int {
	b := w.browser(t)
	b.addr = addr
	r := b.request("GET", "/", nil)
	if forwarded != "" {
		r.Header.Set("X-Forwarded-For", strings.ReplaceAll(forwarded, "%d", fmt.Sprint(i)))
		r.Header.Set("X-Real-Ip", fmt.Sprintf("203.0.113.%d", i))
		r.Header.Set("Forwarded", fmt.Sprintf("for=203.0.113.%d", i))
		r.Header.Set("X-Forwarded-Uri", "/static/skipped")
	}
	visitor := newBrowser(t, w.Handler(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		_ = note.Set(session.From(r.Context()), "x")
	})))
	return visitor.do(r).StatusCode
}
