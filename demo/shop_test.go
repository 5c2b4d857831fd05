package demo_test

import (
	"context"
	"database/sql"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"
	_ "modernc.org/sqlite"

	"cloakroom.example/demo"
	"cloakroom.example/session/store/sqlstore"
)

// world is a shop on an SQLite file, behind HTTPS.
type world struct {
	*httptest.Server
	shop      *demo.Shop
	passwords map[string]string
	log       *lines
	shut      func()
}

// lines is a log that tests read while the shop writes.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// open opens a shop on a folder, until shut is called or the test ends.
func open(t testing.TB, dir string) *world {
	t.Helper()
	return openWith(t, dir, func(*demo.Options) {})
}

// openWith is open with other options.
func openWith(t testing.TB, dir string, change func(*demo.Options)) *world {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(dir, "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	second, err := sql.Open("sqlite", filepath.Join(dir, "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	s, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite(), sqlstore.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{log: new(lines), passwords: make(map[string]string)}
	key, err := demo.Key(dir)
	if err != nil {
		t.Fatal(err)
	}
	options := demo.Options{Store: s, Database: second, Keys: [][]byte{key}, Log: w.log, HashCost: bcrypt.MinCost}
	change(&options)
	shop, err := demo.New(options)
	if err != nil {
		t.Fatal(err)
	}
	w.shop = shop
	for _, a := range shop.Accounts() {
		w.passwords[a.Name] = a.Password
	}
	w.Server = httptest.NewTLSServer(shop.Handler())
	w.shut = sync.OnceFunc(func() {
		w.Server.Close()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		for _, err := range []error{shop.Close(ctx), second.Close(), s.Close(ctx), db.Close()} {
			if err != nil {
				t.Errorf("closing: %v", err)
			}
		}
	})
	t.Cleanup(w.shut)
	return w
}

// visitor is somebody with a cookie jar who does not follow redirects.
type visitor struct {
	t      testing.TB
	client *http.Client
	url    string
	agent  string // what the client says it is
}

func (w *world) visitor(t testing.TB) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.visitorWith(t, jar)
}

func (w *world) visitorWith(t testing.TB, jar http.CookieJar) *visitor {
	return &visitor{t: t, url: w.URL, client: &http.Client{
		Transport: w.Client().Transport, Jar: jar,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a response, read to its end.
type answer struct {
	*http.Response
	text string
}

func (v *visitor) send(method, path string, body io.Reader) answer {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), method, v.url+path, body)
	if err != nil {
		v.t.Fatal(err)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if v.agent != "" {
		r.Header.Set("User-Agent", v.agent)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return answer{resp, string(text)}
}

func (v *visitor) get(path string) answer { v.t.Helper(); return v.send("GET", path, nil) }

var tokenField = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// post sends a form with the token of the login or, signed in, the shop's page.
func (v *visitor) post(path string, fields ...string) answer {
	v.t.Helper()
	token := tokenField.FindStringSubmatch(v.get("/").text)
	if token == nil {
		v.t.Fatal("the shop has no form token")
	}
	form := url.Values{"csrf": {token[1]}}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	return v.send("POST", path, strings.NewReader(form.Encode()))
}

func (v *visitor) signIn(name, password string) answer {
	v.t.Helper()
	return v.post("/login", "username", name, "password", password)
}

// cookie returns the session cookie.
func (v *visitor) cookie() string {
	u, err := url.Parse(v.url)
	if err != nil {
		v.t.Fatal(err)
	}
	for _, c := range v.client.Jar.Cookies(u) {
		if c.Name == "__Host-id" {
			return c.Value
		}
	}
	return ""
}

func (a answer) want(t testing.TB, status int, parts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Errorf("%s %s: got status %d, want %d", a.Request.Method, a.Request.URL.Path, a.StatusCode, status)
	}
	for _, part := range parts {
		if !strings.Contains(a.text, part) {
			t.Errorf("%s %s: got no %q in\n%s", a.Request.Method, a.Request.URL.Path, part, a.text)
		}
	}
}

func (a answer) wantTo(t testing.TB, path string) {
	t.Helper()
	a.want(t, http.StatusSeeOther)
	if got := a.Header.Get("Location"); got != path {
		t.Errorf("%s %s: got sent to %q, want %q", a.Request.Method, a.Request.URL.Path, got, path)
	}
}
