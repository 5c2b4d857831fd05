package demo_test

import (
	"crypto/rand"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cloakroom.example/demo"
)

// TestTryUnclear: what cannot be answered is no success, and no refusal.
func TestTryUnclear(t *testing.T) {
	for _, c := range []struct {
		name, text string
		patience   time.Duration
		shop       http.HandlerFunc
	}{
		{"broken shop", "No verdict: ", 10 * time.Second, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
		{"shop that hangs", "so busy", 100 * time.Millisecond, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{"shop that hangs up", "something failed", 10 * time.Second, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := open(t, t.TempDir())
			w.shop.TestOnlyPatience(c.patience)
			w.shop.TestOnlyFront(func(http.Handler) http.Handler { return c.shop })
			v := w.visitor(t)
			for _, name := range attackNames() {
				v.post("/try/"+name).wantTo(t, "/try/"+name)
				page := v.get("/try/" + name)
				page.want(t, 200, `class="outcome unclear"`, c.text)
			}
		})
	}
}

// TestTryNotices puts bad sessions before the shop, of the kind that each attack
// is about: the page says that it worked.
func TestTryNotices(t *testing.T) {
	for _, c := range []struct {
		attack string
		claim  string // that must not have held
		front  func(http.Handler) http.Handler
	}{
		{"fixation", "The planted ticket opens nothing", keepsTicketAtLogin},
		{"fixation", "The made-up ticket opens nothing", keepsTicketAtLogin},
		{"replay", "The copy does not open the account", forgetsLogout},
		{"replay", "The copy does not change the basket", forgetsLogout},
		{"late-request", "The session stays ended", forgetsLogout},
		{"late-request", "The second late writer is told that the session has ended", forgetsLogout},
		{"guessing", "Refused: your first third, and another secret", looksAtBeginning},
		{"guessing", "Refused: yours, in quotes", looksAtBeginning},
		{"csrf", "A form from another site is refused", believesForms},
		{"csrf", "Nothing was put into your basket", believesForms},
		{"stolen-database", "Refused: the handle, as it stands there", acceptsHandles},
		{"tampered-row", "The role that was written in is not believed", nil},
		{"tampered-row", "The name that was written in is not believed", nil},
		{"rotation", "No tab is signed out", losesTabs},
		{"rotation", "All tabs have got the same new ticket", givesEachItsOwn},
	} {
		t.Run(c.attack+"/"+c.claim, func(t *testing.T) {
			t.Parallel()
			var db *sql.DB
			w := openWith(t, t.TempDir(), func(o *demo.Options) { db = o.Database })
			if c.front == nil {
				c.front = believesRows(db)
			}
			w.shop.TestOnlyFront(c.front)
			v := w.visitor(t)
			v.post("/try/"+c.attack).wantTo(t, "/try/"+c.attack)
			page := v.get("/try/" + c.attack)
			page.want(t, 200, `class="outcome worked"`, "It worked. ", c.claim+" <strong>– this was not so</strong>")
			v.get("/try").want(t, 200, "0 of 1 refused", `class="outcome worked"`)
		})
	}
}

const ticketCookie = "__Host-id"

// ticketOf returns the ticket that a request shows.
func ticketOf(r *http.Request) string {
	if c, err := r.Cookie(ticketCookie); err == nil {
		return c.Value
	}
	return ""
}

// show replaces the ticket of a request.
func show(r *http.Request, ticket string) {
	others := slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool { return c.Name == ticketCookie })
	r.Header.Del("Cookie")
	r.AddCookie(&http.Cookie{Name: ticketCookie, Value: ticket})
	for _, c := range others {
		r.AddCookie(c)
	}
}

// ask answers a request into memory, and returns the ticket that was set with it.
func ask(h http.Handler, r *http.Request) (rec *httptest.ResponseRecorder, ticket string) {
	rec = httptest.NewRecorder()
	h.ServeHTTP(rec, r)
	for _, c := range rec.Result().Cookies() {
		if c.Name == ticketCookie && c.Value != "" {
			ticket = c.Value
		}
	}
	return rec, ticket
}

func reply(w http.ResponseWriter, rec *httptest.ResponseRecorder) {
	for name, values := range rec.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(rec.Code)
	_, _ = rec.Body.WriteTo(w)
}

// keepsTicketAtLogin is a shop that writes the name on the ticket that is there.
func keepsTicketAtLogin(next http.Handler) http.Handler {
	var aliases sync.Map
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := ticketOf(r)
		if real, ok := aliases.Load(shown); ok {
			show(r, real.(string))
		}
		rec, set := ask(next, r)
		if r.URL.Path == "/lab/sign-in" && shown != "" && set != "" {
			aliases.Store(shown, set)
			rec.Header().Set("Set-Cookie", strings.Replace(rec.Header().Get("Set-Cookie"), set, shown, 1))
		}
		reply(w, rec)
	})
}

// forgetsLogout is a shop that signs out by deleting the cookie.
func forgetsLogout(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/logout" {
			http.SetCookie(w, &http.Cookie{Name: ticketCookie, Path: "/", MaxAge: -1})
			http.Redirect(w, r, "/", http.StatusSeeOther)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// looksAtBeginning is a shop that compares less than the whole ticket.
func looksAtBeginning(next http.Handler) http.Handler {
	var known sync.Map // :: beginning → ticket
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		shown := strings.Trim(ticketOf(r), `"`)
		for _, line := range r.Header["Cookie"] { // the standard library drops some values
			if _, value, found := strings.Cut(line, ticketCookie+"="); found && shown == "" {
				shown = strings.Trim(value, `"`)
			}
		}
		if len(shown) >= 20 {
			if real, ok := known.Load(shown[:20]); ok {
				show(r, real.(string))
			}
		}
		rec, set := ask(next, r)
		if set != "" {
			known.Store(set[:20], set)
		} else if rec.Code == http.StatusOK && len(shown) >= 20 {
			known.Store(shown[:20], ticketOf(r))
		}
		reply(w, rec)
	})
}

// believesForms is a shop that acts on every form that comes with a ticket.
func believesForms(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && ticketOf(r) != "" {
			page := httptest.NewRequestWithContext(r.Context(), "GET", "/", nil)
			page.Header["Cookie"] = r.Header["Cookie"]
			rec, _ := ask(next, page)
			if token := tokenField.FindStringSubmatch(rec.Body.String()); token != nil {
				r.Header.Set("X-CSRF-Token", token[1])
			}
			r.Header.Del("Origin")
			r.Header.Del("Sec-Fetch-Site")
		}
		next.ServeHTTP(w, r)
	})
}

// acceptsHandles is a shop that finds sessions by what stands in the database.
func acceptsHandles(next http.Handler) http.Handler {
	var tickets sync.Map // :: handle → ticket
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if real, ok := tickets.Load(ticketOf(r)); ok {
			show(r, real.(string))
		}
		rec, set := ask(next, r)
		for _, ticket := range []string{set, ticketOf(r)} {
			question := httptest.NewRequestWithContext(r.Context(), "GET", "/lab/handle", nil)
			show(question, ticket)
			found, _ := ask(next, question)
			tickets.Store(strings.TrimSpace(found.Body.String()), ticket)
		}
		reply(w, rec)
	})
}

// losesTabs is a shop that takes parallel tabs for thieves.
func losesTabs(next http.Handler) http.Handler {
	var mu sync.Mutex
	replaced := 0
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, set := ask(next, r)
		mu.Lock()
		defer mu.Unlock()
		if set != "" && r.URL.Path == "/account" {
			if replaced++; replaced == 3 {
				http.Redirect(w, r, "/login", http.StatusSeeOther)
				return
			}
		}
		reply(w, rec)
	})
}

// givesEachItsOwn is a shop that gives each of parallel tabs a ticket of its own.
func givesEachItsOwn(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		rec, set := ask(next, r)
		if set != "" && r.URL.Path == "/account" {
			rec.Header().Set("Set-Cookie", strings.Replace(rec.Header().Get("Set-Cookie"), set, rand.Text(), 1))
		}
		reply(w, rec)
	})
}

// believesRows is a shop that takes for true what stands in its database.
func believesRows(db *sql.DB) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		var handles sync.Map // :: ticket → handle
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			rec, set := ask(next, r)
			if set != "" {
				question := httptest.NewRequestWithContext(r.Context(), "GET", "/lab/handle", nil)
				show(question, set)
				found, _ := ask(next, question)
				handles.Store(set, strings.TrimSpace(found.Body.String()))
			}
			if h, known := handles.Load(ticketOf(r)); known && r.URL.Path == "/account" {
				var subject, role string
				err := db.QueryRow(`SELECT subject, role FROM sessions WHERE handle = ?`, h).Scan(&subject, &role)
				if err == nil {
					fmt.Fprintf(w, "Welcome, %s, in the role %q.", subject, role)
					return
				}
			}
			reply(w, rec)
		})
	}
}
