package session_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/sessiontest"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
	"cloakroom.example/session/store/storetest"
)

// only plans a fault for one call, by its number.
func only(op storetest.Op, number int, fault storetest.Fault) func(storetest.Op, int) storetest.Fault {
	return func(o storetest.Op, n int) storetest.Fault {
		if o == op && n == number {
			return fault
		}
		return storetest.Fault{}
	}
}

// TestFaultsAtRestore fails every operation of the store that coming back takes, one
// at a time: the browser is signed in, or told that sessions are unavailable with
// its cookies left alone; and then it comes back all the same, without ever looking
// like a thief.
func TestFaultsAtRestore(t *testing.T) {
	faults := map[string]storetest.Fault{
		"before": {Before: store.ErrUnavailable}, "after": {After: store.ErrUnknownOutcome}, "twice": {Twice: true},
		"conflict": {Before: store.ErrConflict}, "cancelled": {Cancel: true},
	}
	for name, fault := range faults {
		for _, op := range []storetest.Op{storetest.OpLoad, storetest.OpList, storetest.OpSwap, storetest.OpRevoke, storetest.OpCreate} {
			for n := 1; n <= 4; n++ {
				t.Run(fmt.Sprintf("%s %s %d", name, op, n), func(t *testing.T) {
					f := sessiontest.NewFaultyStore(external{memory.New()})
					w := remembering(t, f, nil)
					b := w.browser(t)
					b.remember("alice")
					before := cookiesOf(b.reopen())
					calls := f.Calls(op)
					f.Inject(only(op, calls+n, fault))
					resp := b.do(b.request("GET", "/whoami", nil))
					got := body(t, resp)
					switch {
					case got == "alice||" && cookiesOf(b)[1] != before[1]:
					case got == "||" && cookiesOf(b) == before:
					default:
						t.Errorf("got %q, cookies touched: %t", got, cookiesOf(b) != before)
					}
					if f.Calls(op) < calls+n && got != "alice||" {
						t.Errorf("got %q without a fault", got)
					}
					f.Inject(nil)
					for range 2 {
						w.clock.advance(time.Minute)
						if got := b.reopen().get("/whoami"); got != "alice||" {
							t.Errorf("afterwards: got %q", got)
						}
						b.get("/whoami")
					}
					if n := w.alive(t, "alice"); n != 1 {
						t.Errorf("got %d sessions, want 1", n)
					}
					w.events.count(t, session.EventReuse, 0)
				})
			}
		}
	}
}

// TestFaultsAtForgetting: a logout or revocation that could not be carried out says
// so; nothing is half-forgotten by then that could come back.
func TestFaultsAtForgetting(t *testing.T) {
	verbs := map[string]func(w *world, ctx context.Context) error{
		"subject": func(w *world, ctx context.Context) error { _, err := w.RevokeSubject(ctx, "alice", "test"); return err },
		"all":     func(w *world, ctx context.Context) error { return w.RevokeAll(ctx, "test") },
		"session": func(w *world, ctx context.Context) error {
			_, err := w.Revoke(ctx, session.From(ctx).Handle(), "test")
			return err
		},
	}
	for name, verb := range verbs {
		for _, op := range []storetest.Op{storetest.OpLoad, storetest.OpRevoke} {
			for n := 1; n <= 4; n++ {
				t.Run(fmt.Sprintf("%s %s %d", name, op, n), func(t *testing.T) {
					f := sessiontest.NewFaultyStore(external{memory.New()})
					w := remembering(t, f, nil)
					b := w.browser(t)
					b.remember("alice")
					var err error
					calls := 0
					b.with(w.Manager, func(_ http.ResponseWriter, r *http.Request) {
						calls = f.Calls(op)
						f.Inject(only(op, calls+n, storetest.Fault{Before: store.ErrUnavailable}))
						err = verb(w, r.Context())
						if hit := f.Calls(op) >= calls+n; hit != (err != nil) {
							t.Errorf("got %v, failed: %t", err, hit)
						}
						f.Inject(nil)
						if err != nil {
							err = verb(w, r.Context())
						}
					})
					if err != nil {
						t.Fatalf("again: %v", err)
					}
					w.wantForgotten(t, "alice", b)
				})
			}
		}
	}
}

// TestFaultsAtRememberedLogin: a login that failed leaves nothing that could sign
// anybody in.
func TestFaultsAtRememberedLogin(t *testing.T) {
	for name, fault := range map[string]storetest.Fault{"before": {Before: store.ErrUnavailable}, "after": {After: store.ErrUnknownOutcome}} {
		for n := 1; n <= 2; n++ {
			t.Run(fmt.Sprintf("%s Create %d", name, n), func(t *testing.T) {
				f := sessiontest.NewFaultyStore(external{memory.New()})
				w := remembering(t, f, nil)
				b := w.browser(t)
				form := b.get("/csrf")
				f.Inject(only(storetest.OpCreate, f.Calls(storetest.OpCreate)+n, fault))
				resp := b.do(b.request("POST", "/login", url.Values{"user": {"alice"}, "remember": {"on"}, "csrf": {form}}))
				if resp.StatusCode != 503 || b.cookie(rememberCookie) != "" || b.token() != "" {
					t.Errorf("got status %d, cookies %v", resp.StatusCode, redact(resp.Header["Set-Cookie"]))
				}
				f.Inject(nil)
				if got := b.get("/whoami"); got != "||" {
					t.Errorf("afterwards: got %q", got)
				}
				if left := len(w.logins(t, "alice")); n == 2 && left != 0 {
					t.Errorf("got %d remembered logins, want none", left)
				}
				b.remember("alice")
			})
		}
	}
}

// TestStoreDownWhileAway: without the store nobody comes back, and nothing is lost.
func TestStoreDownWhileAway(t *testing.T) {
	w, f := faulty(t, func(c *session.Config) {
		c.Remember.Readmit = func(context.Context, session.Snapshot) (session.Identity, error) { return session.Identity{}, nil }
	})
	w.mux.Handle("GET /private", w.RequireLogin(http.HandlerFunc(showPage)))
	b := w.browser(t)
	b.remember("alice")
	before := cookiesOf(b.reopen())
	f.Down(nil)
	resp := b.do(b.request("GET", "/private", nil))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || cookiesOf(b) != before {
		t.Errorf("got status %d, cookies touched: %t", resp.StatusCode, cookiesOf(b) != before)
	}
	f.Up()
	if resp := b.do(b.request("GET", "/private", nil)); resp.StatusCode != 200 {
		t.Errorf("store back: got status %d", resp.StatusCode)
	}
}
