package demo_test

import (
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// jarOf returns a jar with one session cookie.
func jarOf(t testing.TB, address, value string) http.CookieJar {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	jar.SetCookies(u, []*http.Cookie{{Name: "__Host-id", Value: value, Path: "/", Secure: true}})
	return jar
}

func TestRefusals(t *testing.T) {
	w := open(t, t.TempDir())
	for _, c := range []struct {
		name string
		do   func(*visitor) answer
		want int
		text string
	}{
		{"unknown item", func(v *visitor) answer { return v.post("/cart", "item", "yacht") }, 400, "We have no such thing"},
		{"no item", func(v *visitor) answer { return v.post("/cart") }, 400, "We have no such thing"},
		{"no token", func(v *visitor) answer { return v.send("POST", "/cart", strings.NewReader("item=hat")) }, 403, "out of date"},
		{"login without token", func(v *visitor) answer {
			return v.send("POST", "/login", strings.NewReader("username=alice&password=x"))
		}, 403, "out of date"},
		{"wrong token", func(v *visitor) answer { return v.post("/cart", "item", "hat", "csrf", strings.Repeat("A", 64)) }, 403, "out of date"},
		{"large body", func(v *visitor) answer { return v.post("/cart", "item", strings.Repeat("x", 100<<10)) }, 413, "That is too much"},
		{"no page", func(v *visitor) answer { return v.get("/coats") }, 404, "Nothing hangs here"},
		{"no file", func(v *visitor) answer { return v.get("/static/nothing.css") }, 404, ""},
		{"no such method", func(v *visitor) answer { return v.get("/logout") }, 405, "Not this way"},
		{"path tricks", func(v *visitor) answer { return v.get("/static/../account") }, 307, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := w.visitor(t)
			c.do(v).want(t, c.want, c.text)
			v.get("/cart").want(t, 200, "Nothing on your peg")
		})
	}
}

// TestWrongPassword answers an unknown name as it answers a wrong password.
func TestWrongPassword(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	known, unknown := v.signIn("alice", "wrong"), v.signIn("mallory", w.passwords["alice"])
	known.want(t, 401, "do not belong together", `value="alice"`)
	unknown.want(t, 401, "do not belong together", `value="mallory"`)
	plain := func(a answer, name string) string {
		return tokenField.ReplaceAllString(strings.ReplaceAll(a.text, `value="`+name+`"`, ""), "")
	}
	if plain(known, "alice") != plain(unknown, "mallory") {
		t.Errorf("the pages differ:\n%s\n%s", known.text, unknown.text)
	}
	if v.cookie() != "" {
		t.Error("a failed login left a session")
	}
	long := v.signIn(strings.Repeat("x", 10_000), "wrong")
	long.want(t, 401)
	if strings.Contains(long.text, "xxxx") {
		t.Error("an endless name is shown again")
	}
}

// TestTooManyTries slows down the guessing of one password, without keeping
// others out.
func TestTooManyTries(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	v.signIn("alice", w.passwords["alice"]).wantTo(t, "/") // does not count
	v = w.visitor(t)
	for range 20 {
		v.signIn("alice", "wrong").want(t, 401)
	}
	refused := v.signIn("alice", w.passwords["alice"])
	refused.want(t, 429, "Too many tries", `value="alice"`)
	if s, err := strconv.Atoi(refused.Header.Get("Retry-After")); err != nil || s < 1 || s > 11 {
		t.Errorf("got Retry-After %q, want about 10", refused.Header.Get("Retry-After"))
	}
	v.signIn("bob", w.passwords["bob"]).wantTo(t, "/")
}

// TestSpraying slows down one password tried on many names.
func TestSpraying(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	refused := 0
	for n := range 120 {
		if v.signIn("user"+strconv.Itoa(n), "Winter2026").StatusCode == 429 {
			refused++
		}
	}
	if refused == 0 {
		t.Error("nobody minded 120 names from one address")
	}
}

// TestNext sends nobody elsewhere.
func TestNext(t *testing.T) {
	w := open(t, t.TempDir())
	for next, want := range map[string]string{
		"/account": "/account", "/cart": "/cart", "": "/", "/": "/", "/logout": "/", "//evil.example": "/",
		"https://evil.example/": "/", `/\evil.example`: "/", "/account\r\nX: y": "/", "javascript:alert(1)": "/",
	} {
		t.Run(next, func(t *testing.T) {
			v := w.visitor(t)
			v.post("/login", "username", "alice", "password", w.passwords["alice"], "next", next).wantTo(t, want)
			v.get("/login?next="+url.QueryEscape(next)).wantTo(t, want)
		})
	}
}

// scriptFile is a script that is a file of ours.
var scriptFile = regexp.MustCompile(`<script src="/static/[^"]+"(?: defer)?></script>`)

var reference = regexp.MustCompile(`(?:href|src|action|srcset|url\()\s*=?\s*["']?([^"'\s>)]*)`)

// TestHeaders looks at every page, errors included: the policy is there, and
// nothing points to another host.
func TestHeaders(t *testing.T) {
	w := open(t, t.TempDir())
	v, alice := w.visitor(t), w.visitor(t)
	alice.signIn("alice", w.passwords["alice"])
	files := make(map[string]bool)
	for _, a := range []answer{
		v.get("/"), v.get("/cart"), v.get("/login"), v.get("/account"), v.get("/nothing"), v.get("/static/nothing"),
		v.post("/cart"), v.signIn("alice", "wrong"), v.send("POST", "/cart", strings.NewReader("")), v.post("/logout"),
		v.send("DELETE", "/", nil), alice.get("/"), alice.get("/cart"), alice.get("/account"),
		alice.get("/account/password"), alice.get("/account/second-factor"), alice.get("/account/confirm"), alice.get("/account/code"),
		alice.get("/session"), v.get("/session"),
		v.get("/try"), alice.post("/try/rotation"), alice.get("/try/rotation"), alice.get("/try"),
	} {
		name := a.Request.Method + " " + a.Request.URL.Path
		policy := a.Header.Get("Content-Security-Policy")
		if !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; ") ||
			strings.Contains(policy, "unsafe") {
			t.Errorf("%s: got policy %q", name, policy)
		}
		if got := a.Header["X-Content-Type-Options"]; len(got) != 1 || got[0] != "nosniff" || a.Header.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s: got headers %v", name, a.Header)
		}
		if strings.Contains(scriptFile.ReplaceAllString(a.text, ""), "<script") || strings.Contains(a.text, " onclick=") || strings.Contains(a.text, " style=") || strings.Contains(a.text, "<style") {
			t.Errorf("%s: has inline code:\n%s", name, a.text)
		}
		for _, m := range reference.FindAllStringSubmatch(a.text, -1) {
			if !strings.HasPrefix(m[1], "/") && m[1] != "#main" || strings.HasPrefix(m[1], "//") {
				t.Errorf("%s: refers to %q", name, m[1])
			}
			if strings.HasPrefix(m[1], "/static/") {
				files[m[1]] = true
			}
		}
	}
	if len(files) < 10 {
		t.Errorf("got %d files, want the style sheet and the drawings", len(files))
	}
	for file := range files {
		a := v.get(file)
		a.want(t, 200)
		if got := a.Header.Get("Cache-Control"); !strings.Contains(got, "immutable") {
			t.Errorf("%s: got Cache-Control %q, want it kept for good", file, got)
		}
		if len(a.Header["Set-Cookie"]) > 0 || strings.Contains(strings.ReplaceAll(a.text, "http://www.w3.org/2000/svg", ""), "://") {
			t.Errorf("%s: sets a cookie or names another host", file)
		}
	}
}
