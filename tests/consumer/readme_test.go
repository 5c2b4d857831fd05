package consumer_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// exampleAddr is where the README's example listens.
const exampleAddr = "127.0.0.1:8080"

// example returns the first Go program of the README's section "Build it in".
func example(t *testing.T, readme string) string {
	t.Helper()
	_, section, found := strings.Cut(readme, "## Build it in\n")
	if !found {
		t.Fatal(`README.md has no section "Build it in"`)
	}
	_, program, found := strings.Cut(section, "```go\npackage main\n")
	program, _, closed := strings.Cut(program, "```\n")
	if !found || !closed {
		t.Fatal(`README.md has no program in its section "Build it in"`)
	}
	return "package main\n" + program
}

// commands returns the shell commands that the section shows for making a module
// that uses a copy of the library.
func commands(t *testing.T, readme string) (lines []string) {
	t.Helper()
	_, section, _ := strings.Cut(readme, "## Build it in\n")
	_, block, found := strings.Cut(section, "```sh\n")
	block, _, closed := strings.Cut(block, "```\n")
	if !found || !closed {
		t.Fatal(`README.md has no commands in its section "Build it in"`)
	}
	for line := range strings.Lines(block) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// TestReadme follows the README in empty folders, with the network's modules out
// of reach, and uses what comes out of it.
func TestReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	program := example(t, string(readme))
	if strings.Count(program, exampleAddr) != 1 {
		t.Fatalf("the README's program does not name %s exactly once", exampleAddr)
	}
	addr := freeAddr(t)
	library, app := filepath.Join(clone(t), "session"), t.TempDir()
	program = strings.Replace(program, exampleAddr, addr, 1)
	if err := os.WriteFile(filepath.Join(app, "main.go"), []byte(program), 0o600); err != nil {
		t.Fatal(err)
	}
	env := append(offline(), "GOWORK=off")
	for _, line := range commands(t, string(readme)) {
		if !strings.HasPrefix(line, "go ") {
			t.Fatalf("the README's command %q is not for go", line)
		}
		if strings.HasPrefix(line, "go run") {
			continue // in a moment
		}
		args := strings.Fields(strings.ReplaceAll(line, "/path/to/cloakroom/session", library))
		run(t, app, env, args[0], args[1:]...)
	}
	binary := filepath.Join(app, "app")
	run(t, app, env, "go", "vet", ".")
	run(t, app, env, "go", "build", "-o", binary, ".")
	start(t, binary, addr)
	use(t, "http://"+addr)
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start runs the program until the test ends, and waits until it answers.
func start(t *testing.T, binary, addr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary)
	output, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(output); lines.Scan(); {
			t.Logf("program: %s", lines.Text())
		}
		_ = cmd.Wait()
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
			return
		}
		select {
		case <-ended:
			t.Fatal("the program has ended")
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("nobody listens: %v", err)
		}
	}
}

var formToken = regexp.MustCompile(`name="csrf" value="([^"]+)"`)

// visitor is a browser that takes Secure cookies over plain HTTP, as browsers do
// on 127.0.0.1.
type visitor struct {
	t       *testing.T
	base    string
	client  http.Client
	cookies map[string]*http.Cookie
}

func (v *visitor) do(method, path string, form url.Values) (status int, page string) {
	v.t.Helper()
	r, err := http.NewRequest(method, v.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		v.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for _, c := range v.cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if v.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(v.cookies, c.Name)
		}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// post sends a form of the first page, with its token.
func (v *visitor) post(path string, form url.Values) {
	v.t.Helper()
	_, page := v.do("GET", "/", nil)
	token := formToken.FindStringSubmatch(page)
	if token == nil {
		v.t.Fatalf("the page has no form token:\n%s", page)
	}
	form.Set("csrf", token[1])
	if status, page := v.do("POST", path, form); status != http.StatusSeeOther {
		v.t.Fatalf("POST %s: got status %d, want 303:\n%s", path, status, page)
	}
}

func (v *visitor) sees(want ...string) {
	v.t.Helper()
	_, page := v.do("GET", "/", nil)
	for _, text := range want {
		if !strings.Contains(page, text) {
			v.t.Errorf("the page does not say %q:\n%s", text, page)
		}
	}
}

// use fills a basket, signs in, and signs out.
func use(t *testing.T, base string) {
	t.Helper()
	v := &visitor{t: t, base: base, cookies: make(map[string]*http.Cookie)}
	v.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	v.client.Timeout = 10 * time.Second

	v.sees("Nobody is signed in")
	if v.cookies["__Host-id"] != nil {
		t.Error("a visitor who has stored nothing has a session cookie")
	}
	if status, _ := v.do("POST", "/login", url.Values{"user": {"alice"}, "password": {"coat"}}); status != http.StatusForbidden {
		t.Errorf("a login without form token: got status %d, want 403", status)
	}
	v.post("/basket", url.Values{"item": {"umbrella"}})
	before := v.session()
	v.post("/login", url.Values{"user": {"alice"}, "password": {"coat"}})
	after := v.session()
	if before.Value == after.Value {
		t.Error("the login kept the token")
	}
	v.sees("alice", "umbrella")
	v.post("/logout", url.Values{})
	if v.cookies["__Host-id"] != nil {
		t.Error("the logout left the cookie")
	}
	v.cookies["__Host-id"] = after
	v.sees("Nobody is signed in")
}

// session returns the session's cookie as it must be.
func (v *visitor) session() *http.Cookie {
	v.t.Helper()
	c := v.cookies["__Host-id"]
	if c == nil {
		v.t.Fatal("no cookie __Host-id was set")
	}
	if !c.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge != 0 || len(c.Value) != 64 {
		v.t.Error("the cookie is not Secure, HttpOnly, SameSite=Lax, Path=/, without Domain and lifetime")
	}
	return c
}
