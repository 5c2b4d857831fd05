package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// asCommand makes the test binary behave as the program.
const asCommand = "CLOAKROOM_TEST_AS_COMMAND"

func TestMain(m *testing.M) {
	if os.Getenv(asCommand) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// command returns the program with arguments, not yet started.
func command(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asCommand+"=1", "XDG_CACHE_HOME="+t.TempDir(), "HOME="+t.TempDir())
	return cmd
}

// shop is a running "cloakroom demo".
type shop struct {
	t         testing.TB
	cmd       *exec.Cmd
	url       string
	passwords map[string]string
	stderr    bytes.Buffer
	rest      sync.WaitGroup

	output strings.Builder // all of stdout, once it has ended
}

// start starts the shop and reads what it prints until it is open.
func start(t testing.TB, args ...string) *shop {
	t.Helper()
	s := &shop{t: t, cmd: command(t, append([]string{"demo"}, args...)...), passwords: make(map[string]string)}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = &s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	user := regexp.MustCompile(`^user (\S+)  password (\S+)$`)
	lines := bufio.NewScanner(stdout)
	for !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		if !lines.Scan() {
			s.cmd.Wait()
			t.Fatalf("the shop did not open: %s", s.stderr.String())
		}
		fmt.Fprintln(&s.output, lines.Text())
		if _, at, found := strings.Cut(lines.Text(), "open at "); found {
			s.url = strings.TrimSuffix(at, "/")
		} else if m := user.FindStringSubmatch(lines.Text()); m != nil {
			s.passwords[m[1]] = m[2]
		}
	}
	s.rest.Go(func() {
		for lines.Scan() {
			fmt.Fprintln(&s.output, lines.Text())
		}
	})
	return s
}

// interrupt ends the shop and returns all it has printed.
func (s *shop) interrupt(how os.Signal) string {
	s.t.Helper()
	if err := s.cmd.Process.Signal(how); err != nil {
		s.t.Fatal(err)
	}
	s.rest.Wait()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("after %v: got %v, want exit code 0", how, err)
	}
	if s.stderr.Len() > 0 {
		s.t.Errorf("got on stderr: %s", s.stderr.String())
	}
	return s.output.String()
}

// client keeps cookies as browsers do on 127.0.0.1, where they send Secure
// cookies over plain HTTP. It follows no redirects.
type client struct {
	t         testing.TB
	cookies   map[string]string
	transport http.Transport
}

func newClient(t testing.TB) *client {
	c := &client{t: t, cookies: make(map[string]string)}
	t.Cleanup(c.transport.CloseIdleConnections)
	return c
}

func (c *client) send(method, address string, form url.Values) (int, string) {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		c.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range c.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := c.transport.RoundTrip(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, ck := range resp.Cookies() {
		if c.cookies[ck.Name] = ck.Value; ck.MaxAge < 0 {
			delete(c.cookies, ck.Name)
		}
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

func (c *client) signIn(s *shop, name string) {
	c.t.Helper()
	_, text := c.send("GET", s.url+"/login", nil)
	_, token, _ := strings.Cut(text, `name="csrf" value="`)
	token, _, _ = strings.Cut(token, `"`)
	status, text := c.send("POST", s.url+"/login", url.Values{
		"username": {name}, "password": {s.passwords[name]}, "csrf": {token},
	})
	if status != http.StatusSeeOther {
		c.t.Fatalf("signing in: got status %d:\n%s", status, text)
	}
}

func (c *client) wantSignedIn(s *shop, name string) {
	c.t.Helper()
	if status, text := c.send("GET", s.url+"/account", nil); status != 200 || !strings.Contains(text, name) {
		c.t.Errorf("account: got status %d, want 200 and %s:\n%s", status, name, text)
	}
}

// TestDemo opens the shop, signs in, and is still signed in after a restart.
func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder with ? and %20")
	s := start(t, "--addr", "127.0.0.1:0", "--data", dir)
	if len(s.passwords) != 3 || !strings.HasPrefix(s.url, "http://127.0.0.1:") || strings.HasSuffix(s.url, ":0") {
		t.Fatalf("got address %s and accounts %v", s.url, s.passwords)
	}
	c := newClient(t)
	c.signIn(s, "alice")
	c.wantSignedIn(s, "alice")
	password := s.passwords["alice"]
	out := s.interrupt(os.Interrupt)
	for _, want := range []string{"Sessions are kept in " + dir, "What to try", "signed in                 alice"} {
		if !strings.Contains(out, want) {
			t.Errorf("got no %q in:\n%s", want, out)
		}
	}

	again := start(t, "--addr", "127.0.0.1:0", "--data", dir)
	c.wantSignedIn(again, "alice")
	if again.passwords["alice"] == password {
		t.Error("the password is not new")
	}
	token := c.cookies["__Host-id"]
	again.interrupt(sigterm)
	files, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v, want it for the owner only", f.Name(), info.Mode())
		}
		content, err := os.ReadFile(filepath.Join(dir, f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(content, []byte(token)) || bytes.Contains(content, []byte(password)) {
			t.Errorf("%s holds a token or a password", f.Name())
		}
	}
}

// TestDemoTLS serves HTTPS, with the certificate whose fingerprint is printed,
// and keeps that.
func TestDemoTLS(t *testing.T) {
	dir := t.TempDir()
	var prints [2]string
	for i := range prints {
		s := start(t, "--addr", "0.0.0.0:0", "--data", dir, "--tls")
		if !strings.HasPrefix(s.url, "https://localhost:") {
			t.Fatalf("got address %s, want https://localhost:…", s.url)
		}
		c := newClient(t)
		c.transport.TLSClientConfig = &tls.Config{
			InsecureSkipVerify: true, // compared below
			VerifyConnection: func(state tls.ConnectionState) error {
				prints[i] = fmt.Sprintf("%X", sha256.Sum256(state.PeerCertificates[0].Raw))
				return state.PeerCertificates[0].VerifyHostname("127.0.0.1")
			},
		}
		c.signIn(s, "root")
		c.wantSignedIn(s, "admin")
		if out := s.interrupt(os.Interrupt); prints[i] == "" || !strings.Contains(out, prints[i]) {
			t.Errorf("got no fingerprint %q in:\n%s", prints[i], out)
		}
	}
	if prints[0] != prints[1] {
		t.Error("the certificate is not kept")
	}
	info, err := os.Stat(filepath.Join(dir, "tls.pem"))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the key has mode %v, want it for the owner only", info.Mode())
	}
}

// TestDemoLimits ends sessions when the flags say so.
func TestDemoLimits(t *testing.T) {
	s := start(t, "--addr", "127.0.0.1:0", "--data", t.TempDir(), "--idle", "7m", "--absolute", "3h")
	c := newClient(t)
	c.signIn(s, "alice")
	c.wantSignedIn(s, "6 minutes")
	c.wantSignedIn(s, "2 hours 59 minutes")
	s.interrupt(os.Interrupt)
}

// TestSlowClient interrupts the shop while somebody has half a request open.
func TestSlowClient(t *testing.T) {
	s := start(t, "--addr", "127.0.0.1:0", "--data", t.TempDir())
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "POST /cart HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 10\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.interrupt(os.Interrupt)
	if took := time.Since(began); took > shutdownTimeout+closeTimeout {
		t.Errorf("closing took %v", took)
	}
}

// newerDatabase makes a folder that a later version has written.
func newerDatabase(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	start(t, "--addr", "127.0.0.1:0", "--data", dir).interrupt(os.Interrupt)
	db, err := sql.Open("sqlite", filepath.Join(dir, "sessions.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), `INSERT INTO session_migrations (version, compatible) VALUES (9999, 9999)`); err != nil {
		t.Fatal(err)
	}
	return dir
}
