package demo_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/demo"
)

func attackNames() []string {
	return []string{"fixation", "replay", "guessing", "csrf", "stolen-database", "tampered-row", "late-request", "rotation"}
}

// witness writes down every token that the shop issues to attacks, and every form
// token that they use.
type witness struct {
	mu     sync.Mutex
	tokens map[string]bool
}

func (wt *witness) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r)
		wt.mu.Lock()
		defer wt.mu.Unlock()
		for _, c := range (&http.Response{Header: w.Header()}).Cookies() {
			wt.tokens[c.Value] = true
		}
		wt.tokens[r.PostFormValue("csrf")] = true
		delete(wt.tokens, "")
	})
}

// wantNone fails the test if a text holds as much of a token as could help
// somebody.
func (wt *witness) wantNone(t testing.TB, where, text string) {
	t.Helper()
	wt.mu.Lock()
	defer wt.mu.Unlock()
	for token := range wt.tokens {
		for i := 0; i+8 <= len(token); i += 4 {
			if part := token[i : i+8]; strings.Contains(text, part) {
				t.Errorf("%s holds %q, a part of a token", where, part)
				break
			}
		}
	}
}

// TestTry runs each attack, for somebody who is signed in and for a visitor.
func TestTry(t *testing.T) {
	for _, user := range []string{"alice", "root", ""} {
		t.Run("user "+user, func(t *testing.T) {
			var db *sql.DB
			w := openWith(t, t.TempDir(), func(o *demo.Options) { db = o.Database })
			wt := &witness{tokens: make(map[string]bool)}
			w.shop.TestOnlyFront(wt.front)
			v := w.visitor(t)
			if user != "" {
				v.signIn(user, w.passwords[user]).wantTo(t, "/")
				v.post("/cart", "item", "hat")
			}
			v.get("/try").want(t, 200, "A planted ticket", "Run all of them")
			ticket, before := v.cookie(), live(t, db)
			if wt.tokens[ticket] = true; ticket == "" {
				delete(wt.tokens, ticket)
			}
			for _, name := range attackNames() {
				if text := v.get("/try/" + name).text; strings.Contains(text, `class="outcome`) {
					t.Errorf("%s has an outcome before it was run", name)
				}
				v.post("/try/"+name).wantTo(t, "/try/"+name)
				page := v.get("/try/" + name)
				page.want(t, 200, `class="outcome refused"`, "Refused. ", "What went over the wire")
				if strings.Contains(page.text, "this was not so") {
					t.Errorf("%s: a claim did not hold:\n%s", name, page.text)
				}
				if again := v.get("/try/" + name); withoutTokens(again.text) != withoutTokens(page.text) {
					t.Errorf("%s: showing the page again changes it", name)
				}
				wt.wantNone(t, name, page.text)
			}
			v.get("/try").want(t, 200, "8 of 8 refused")
			if got := v.cookie(); got != ticket {
				t.Errorf("the ticket is not what it was")
			}
			if got := live(t, db); got != before {
				t.Errorf("got %d live sessions afterwards, want %d", got, before)
			}
			if user != "" {
				v.get("/cart").want(t, 200, "Felt hat", `<td class="number">1</td>`, "€95")
			}
			if len(wt.tokens) < 15 {
				t.Errorf("got %d tokens, which cannot be all", len(wt.tokens))
			}
			w.shut()
			wt.wantNone(t, "the log", w.log.String())
		})
	}
}

// withoutTokens returns a page without what differs each time.
func withoutTokens(text string) string { return tokenField.ReplaceAllString(text, "") }

// live counts the sessions that have not ended.
func live(t testing.TB, db *sql.DB) (n int) {
	t.Helper()
	if err := db.QueryRow(`SELECT COUNT(*) FROM sessions WHERE ended_at = 0`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// TestTryShowsEvents finds the event that each attack has raised on its page.
func TestTryShowsEvents(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	v.post("/try").wantTo(t, "/try")
	for name, event := range map[string]string{
		"fixation": "session_renewed", "replay": "session_use_after_expire", "guessing": "session_unknown_token",
		"csrf": "malicious_csrf", "stolen-database": "session_unknown_token", "tampered-row": "session_unreadable",
		"late-request": "session_logout", "rotation": "session_reuse",
	} {
		v.get("/try/"+name).want(t, 200, "<code>"+event+"</code>", "a guest of the laboratory")
	}
}

// TestTryAtRotation runs attacks when the visitor's own ticket is due to be
// replaced: that happens, and signs nobody out.
func TestTryAtRotation(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	v := w.visitor(t)
	v.signIn("alice", w.passwords["alice"])
	v.post("/cart", "item", "hat")
	form := tokenField.FindStringSubmatch(v.get("/try").text)[1]
	old := v.cookie()
	c.forward(16 * time.Minute)
	v.send("POST", "/try", strings.NewReader("csrf="+form)).wantTo(t, "/try")
	v.get("/try").want(t, 200, "8 of 8 refused")
	c.forward(2 * time.Minute) // beyond the grace of the old one
	v.get("/account").want(t, 200, "alice")
	if v.cookie() == old {
		t.Error("the ticket was not replaced")
	}
}

// TestTryDuringRotation: the visitor's own ticket falls due while an attack shows
// it. The browser has not heard of a new one, and must not come too late with its
// own.
func TestTryDuringRotation(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	var first atomic.Bool
	w.shop.TestOnlyFront(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if first.CompareAndSwap(false, true) {
				c.forward(16 * time.Minute)
			}
			next.ServeHTTP(w, r)
		})
	})
	v := w.visitor(t)
	v.signIn("alice", w.passwords["alice"])
	v.post("/try/csrf").wantTo(t, "/try/csrf")
	c.forward(2 * time.Minute)
	v.get("/account").want(t, 200, "alice")
	v.get("/try/csrf").want(t, 200, "Refused.")
}

// TestTryWithoutDatabase: what takes one is not offered, and nothing is made up
// for it.
func TestTryWithoutDatabase(t *testing.T) {
	w := openWith(t, t.TempDir(), func(o *demo.Options) { o.Store, o.Database = nil, nil })
	v := w.visitor(t)
	v.post("/try").wantTo(t, "/try")
	v.get("/try").want(t, 200, "7 of 7 refused", "Needs a database", "its sessions are in its memory")
	v.post("/try/tampered-row").wantTo(t, "/try/tampered-row")
	page := v.get("/try/tampered-row")
	page.want(t, 200, "started without a database")
	if strings.Contains(page.text, "outcome") || strings.Contains(page.text, "Run it") {
		t.Errorf("an attack on the database is offered:\n%s", page.text)
	}
	v.get("/try/stolen-database").want(t, 200, "its sessions are in its memory", "<code>verifier</code>", "Refused.")
}

// TestTryRefusals: nobody runs attacks in somebody else's name, and the
// laboratory's rooms are not to be found from outside.
func TestTryRefusals(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	v.signIn("alice", w.passwords["alice"])
	v.send("POST", "/try", strings.NewReader("")).want(t, 403)
	v.send("POST", "/try/replay", strings.NewReader("")).want(t, 403)
	v.get("/try/robbery").want(t, 404, "Nothing hangs here")
	v.post("/try/robbery").want(t, 404)
	for _, room := range []string{"/lab/sign-in", "/lab/slow", "/lab/take-back", "/lab/handle", "/lab/basket/hat"} {
		v.get(room).want(t, 404)
		v.post(room).want(t, 404)
	}
	if text := v.get("/try").text; strings.Contains(text, `class="outcome`) {
		t.Error("a refused request has run something")
	}
}

// TestTryResultsArePrivate: nobody sees what another one has run.
func TestTryResultsArePrivate(t *testing.T) {
	w := open(t, t.TempDir())
	v, other, stranger := w.visitor(t), w.visitor(t), w.visitor(t)
	v.post("/try/replay")
	other.signIn("alice", w.passwords["alice"])
	for name, who := range map[string]*visitor{"signed in": other, "visitor": stranger} {
		if text := who.get("/try/replay").text; strings.Contains(text, "outcome") {
			t.Errorf("%s sees somebody else's result", name)
		}
	}
	other.post("/try/replay")
	v.signIn("bob", w.passwords["bob"])
	if text := v.get("/try/replay").text; strings.Contains(text, "outcome") {
		t.Error("what a visitor or alice has run belongs to whoever signs in elsewhere")
	}
	other.get("/try/replay").want(t, 200, `class="outcome refused"`)
}

// TestTryOneAtATime refuses a second attack of the same visitor while one runs.
// Others are not concerned.
func TestTryOneAtATime(t *testing.T) {
	w := open(t, t.TempDir())
	under, proceed := make(chan struct{}), make(chan struct{})
	var first atomic.Bool
	w.shop.TestOnlyFront(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if first.CompareAndSwap(false, true) {
				close(under)
				<-proceed
			}
			next.ServeHTTP(w, r)
		})
	})
	v, other := w.visitor(t), w.visitor(t)
	form := tokenField.FindStringSubmatch(v.get("/try").text)[1]
	done := make(chan answer)
	go func() { done <- v.send("POST", "/try/replay", strings.NewReader("csrf="+form)) }()
	<-under
	second := v.post("/try/guessing")
	second.want(t, 429, "One after the other")
	if second.Header.Get("Retry-After") == "" {
		t.Error("nobody says when to come back")
	}
	other.post("/try/replay").wantTo(t, "/try/replay")
	other.get("/try/replay").want(t, 200, "Refused.")
	close(proceed)
	(<-done).wantTo(t, "/try/replay")
	v.get("/try/replay").want(t, 200, "Refused.")
	v.post("/try/guessing").wantTo(t, "/try/guessing")
}

// TestTryTooOften slows down who runs attacks all the time.
func TestTryTooOften(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	refused := answer{Response: new(http.Response)}
	for range 12 {
		if a := v.post("/try"); a.StatusCode != http.StatusSeeOther {
			refused = a
			break
		}
	}
	if refused.StatusCode != http.StatusTooManyRequests || refused.Header.Get("Retry-After") == "" {
		t.Errorf("got status %d after many attacks, want 429", refused.StatusCode)
	}
}

// TestTryTogether lets several visitors run everything at once.
func TestTryTogether(t *testing.T) {
	w := open(t, t.TempDir())
	w.shop.TestOnlyPatience(time.Minute)
	var wg sync.WaitGroup
	for _, user := range []string{"alice", "bob", "", "alice"} {
		v := w.visitor(t)
		if user != "" {
			v.signIn(user, w.passwords[user])
		}
		form := tokenField.FindStringSubmatch(v.get("/try").text)[1]
		wg.Go(func() {
			v.send("POST", "/try", strings.NewReader("csrf="+form)).wantTo(t, "/try")
			v.get("/try").want(t, 200, "8 of 8 refused")
		})
	}
	wg.Wait()
}

// TestTryAgents: whatever a browser says it is, or if it says nothing, the events
// find the requests that caused them.
func TestTryAgents(t *testing.T) {
	w := open(t, t.TempDir())
	for name, agent := range map[string]string{
		"none": " ", "long": strings.Repeat("ü", 300), "not text": strings.Repeat("\xff", 150), "of another run": "x try/AAAAAAAAAAAA-1",
	} {
		t.Run(name, func(t *testing.T) {
			v := w.visitor(t)
			v.agent = agent
			v.post("/try/fixation").wantTo(t, "/try/fixation")
			v.get("/try/fixation").want(t, 200, "Refused.", "<code>session_renewed</code>")
		})
	}
}

// TestTryHangUp: somebody who does not wait for the end of an attack on the
// database leaves no row behind that was tampered with.
func TestTryHangUp(t *testing.T) {
	for i, column := range []string{"role", "subject", "deadline"} {
		t.Run(column, func(t *testing.T) {
			var db *sql.DB
			w := openWith(t, t.TempDir(), func(o *demo.Options) { db = o.Database })
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			v := w.visitor(t)
			var rows []string // as the first request for the account finds it, and the one after the change
			var asked atomic.Int32
			gone := make(chan struct{})
			w.shop.TestOnlyFront(func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/account" {
						n := int(asked.Add(1))
						if n == 1 || n == i+2 {
							rows = append(rows, onlyRow(t, db))
						}
						if n == i+2 {
							hangUp()
							<-r.Context().Done()
							close(gone)
							return
						}
					}
					next.ServeHTTP(w, r)
				})
			})
			form := tokenField.FindStringSubmatch(v.get("/try").text)[1]
			if resp, err := v.postUntil(ctx, "/try/tampered-row", "csrf="+form); err == nil {
				resp.Body.Close()
				t.Fatal("got an answer before hanging up")
			}
			<-gone
			w.Server.Close() // waits for what is under way
			if len(rows) != 2 || rows[0] == rows[1] {
				t.Fatalf("got rows %q: nothing was changed", rows)
			}
			if got := onlyRow(t, db); got != rows[0] {
				t.Errorf("got row %s afterwards, want %s as before", got, rows[0])
			}
			if n := live(t, db); n != 0 {
				t.Errorf("got %d live sessions afterwards, want none", n)
			}
		})
	}
}

// TestTryHangUpBasket: somebody who does not wait for the end of the forged forms
// finds in the basket what was in it.
func TestTryHangUpBasket(t *testing.T) {
	w := open(t, t.TempDir())
	ctx, hangUp := context.WithCancel(t.Context())
	defer hangUp()
	gone := make(chan struct{})
	w.shop.TestOnlyFront(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec, _ := ask(next, r)
			if r.URL.Path == "/cart" && rec.Code == http.StatusSeeOther && !strings.HasPrefix(r.UserAgent(), "curl") {
				hangUp() // the scarf is in there
				<-r.Context().Done()
				close(gone)
				return
			}
			reply(w, rec)
		})
	})
	v := w.visitor(t)
	v.signIn("alice", w.passwords["alice"])
	v.post("/cart", "item", "scarf").wantTo(t, "/")
	form := tokenField.FindStringSubmatch(v.get("/try").text)[1]
	if resp, err := v.postUntil(ctx, "/try/csrf", "csrf="+form); err == nil {
		resp.Body.Close()
		t.Fatal("got an answer before hanging up")
	}
	<-gone
	for a := v.post("/try/guessing"); a.StatusCode == http.StatusTooManyRequests; a = v.post("/try/guessing") {
		time.Sleep(10 * time.Millisecond) // the first one is still clearing up
	}
	v.get("/cart").want(t, 200, `<td class="number">1</td>`, "€54")
}

// postUntil sends a form, and gives up when the context ends.
func (v *visitor) postUntil(ctx context.Context, path, form string) (*http.Response, error) {
	v.t.Helper()
	r, err := http.NewRequestWithContext(ctx, "POST", v.url+path, strings.NewReader(form))
	if err != nil {
		v.t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return v.client.Do(r)
}

// onlyRow returns who the only session is, in what role and until when.
func onlyRow(t testing.TB, db *sql.DB) string {
	var subject, role string
	var deadline int64
	if err := db.QueryRow(`SELECT subject, role, deadline FROM sessions`).Scan(&subject, &role, &deadline); err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("%s %q %d", subject, role, deadline)
}
