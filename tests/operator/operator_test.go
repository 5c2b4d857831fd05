// Package operator_test runs the program as an operator would, on real engines: the
// shop, twice, and the commands that look at its sessions and end them.
package operator_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
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

	"cloakroom.example/servers"
)

// program is the file of the program under test.
func program() string { return os.Getenv("CLOAKROOM_TEST_PROGRAM") }

// TestMain builds the program once.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "operator")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	file := filepath.Join(dir, "cloakroom")
	build := exec.Command("go", "build", "-o", file, "./cmd/cloakroom")
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the program: %v\n%s", err, out)
		os.Exit(1)
	}
	os.Setenv("CLOAKROOM_TEST_PROGRAM", file)
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// engine is a running engine, and what an operator should see of it.
type engine struct {
	url     string
	product string
	pushes  bool
	tables  bool
}

// each runs a test on every engine, each with a database that nobody has used.
func each(t *testing.T, test func(t *testing.T, e engine)) {
	for name, start := range map[string]func(t *testing.T) engine{
		"postgres": func(t *testing.T) engine {
			s, err := servers.StartPostgreSQL(t.Context(), servers.Options{Unsynced: true})
			return engine{url: serverURL(t, s, err), product: "PostgreSQL 1", pushes: true, tables: true}
		},
		"mariadb": func(t *testing.T) engine {
			s, err := servers.StartMariaDB(t.Context(), servers.Options{Unsynced: true})
			return engine{url: serverURL(t, s, err), product: "MariaDB 1", tables: true}
		},
		"redis": func(t *testing.T) engine {
			s, err := servers.StartRedis(t.Context(), servers.Options{})
			return engine{url: serverURL(t, s, err), product: "Redis ", pushes: true}
		},
		"cluster": func(t *testing.T) engine {
			s, err := servers.StartRedisCluster(t.Context(), servers.Options{})
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, s)
			return engine{url: s.URL(), product: "Redis Cluster ", pushes: true}
		},
		"sentinel": func(t *testing.T) engine {
			s, err := servers.StartSentinel(t.Context(), servers.Options{})
			if err != nil {
				t.Fatal(err)
			}
			closeAfter(t, s)
			return engine{url: s.URL(), product: "Redis ", pushes: true}
		},
	} {
		t.Run(name, func(t *testing.T) { test(t, start(t)) })
	}
}

func serverURL(t *testing.T, s *servers.Server, err error) string {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	closeAfter(t, s)
	return s.URL()
}

func closeAfter(t *testing.T, c io.Closer) {
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
}

// with adds an option to a URL.
func with(url, option string) string {
	if strings.Contains(url, "?") {
		return url + "&" + option
	}
	return url + "?" + option
}

// split takes the password out of a URL.
func split(t testing.TB, text string) (without, password string) {
	t.Helper()
	scheme, rest, _ := strings.Cut(text, "://")
	info, after, _ := strings.Cut(rest, "@")
	user, password, found := strings.Cut(info, ":")
	if !found {
		t.Fatalf("there is no password in the URL")
	}
	if user == "" {
		return scheme + "://" + after, password
	}
	return scheme + "://" + user + "@" + after, password
}

// command returns the program with arguments.
func command(t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(t.Context(), program(), args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	return cmd
}

// run runs the program to its end. Whatever it prints holds no password.
func run(t testing.TB, code int, url string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := command(t, args...)
	cmd.Env = append(cmd.Env, "CLOAKROOM_STORE="+url)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its result is the exit code
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("cloakroom %s: got exit code %d, want %d:\n%s%s", strings.Join(args, " "), got, code, out.String(), errs.String())
	}
	if _, password := split(t, url); strings.Contains(out.String()+errs.String(), password) {
		t.Errorf("cloakroom %s: the password is in the output", strings.Join(args, " "))
	}
	return out.String(), errs.String()
}

func wants(t testing.TB, text string, others ...string) {
	t.Helper()
	for _, want := range others {
		if !strings.Contains(text, want) {
			t.Errorf("got no %q in:\n%s", want, text)
		}
	}
}

// shop is a running "cloakroom demo".
type shop struct {
	t        testing.TB
	cmd      *exec.Cmd
	url      string
	password string // alice's
	output   strings.Builder
	errs     bytes.Buffer
	rest     sync.WaitGroup
}

func openShop(t testing.TB, data, store string) *shop {
	t.Helper()
	s := &shop{t: t, cmd: command(t, "demo", "--addr", "127.0.0.1:0", "--data", data, "--store", store)}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd.Stderr = &s.errs
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.cmd.Process.Kill() })
	lines := bufio.NewScanner(stdout)
	password := regexp.MustCompile(`^user alice  password (\S+)$`)
	for !strings.HasPrefix(lines.Text(), "Ctrl-C") {
		if !lines.Scan() {
			s.cmd.Wait()
			t.Fatalf("the shop did not open: %s", s.errs.String())
		}
		fmt.Fprintln(&s.output, lines.Text())
		if _, at, found := strings.Cut(lines.Text(), "open at "); found {
			s.url = strings.TrimSuffix(at, "/")
		} else if m := password.FindStringSubmatch(lines.Text()); m != nil {
			s.password = m[1]
		}
	}
	s.rest.Go(func() { _, _ = io.Copy(io.Discard, stdout) })
	return s
}

// close ends the shop in good order.
func (s *shop) close() {
	s.t.Helper()
	_ = s.cmd.Process.Signal(os.Interrupt)
	s.rest.Wait()
	if err := s.cmd.Wait(); err != nil {
		s.t.Errorf("closing the shop: %v: %s", err, s.errs.String())
	}
}

// browser keeps cookies as browsers do on 127.0.0.1: for all ports, and Secure ones
// too.
type browser struct {
	t       testing.TB
	cookies map[string]string
	client  http.Client
}

func newBrowser(t testing.TB) *browser {
	return &browser{t: t, cookies: make(map[string]string), client: http.Client{
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

func (b *browser) send(method, address string, form url.Values) (int, string) {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, address, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	for _, c := range resp.Cookies() {
		if b.cookies[c.Name] = c.Value; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// post sends a form with the form token that a page holds.
func (b *browser) post(s *shop, page, to string, form url.Values) (int, string) {
	b.t.Helper()
	_, text := b.send("GET", s.url+page, nil)
	_, token, _ := strings.Cut(text, `name="csrf" value="`)
	token, _, _ = strings.Cut(token, `"`)
	form.Set("csrf", token)
	return b.send("POST", s.url+to, form)
}

// signIn signs alice in. For two seconds after a revocation from elsewhere, logins
// are refused: by the clock of another node, they may have begun before it.
func (b *browser) signIn(s *shop) { b.signInWith(s, "") }

func (b *browser) signInWith(s *shop, remember string) {
	b.t.Helper()
	within(b.t, 20*time.Second, "signed in", func() bool {
		clear(b.cookies) // no ticket of a session that has just ended
		status, _ := b.post(s, "/login", "/login", url.Values{"username": {"alice"}, "password": {s.password}, "remember": {remember}})
		return status == http.StatusSeeOther
	})
}

// signedIn reports whether a shop knows who this is.
func (b *browser) signedIn(s *shop) bool {
	b.t.Helper()
	status, text := b.send("GET", s.url+"/account", nil)
	return status == http.StatusOK && strings.Contains(text, "alice")
}

// within waits until something is so.
func within(t testing.TB, d time.Duration, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(d); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after %v: not yet %s", d, what)
		}
	}
}

// handles returns those of alice's sessions, as they are listed.
func handles(t testing.TB, url string) (all []string) {
	t.Helper()
	stdout, _ := run(t, 0, url, "sessions", "list", "--user", "alice", "--json")
	for _, m := range regexp.MustCompile(`"handle":"([^"]+)"`).FindAllStringSubmatch(stdout, -1) {
		all = append(all, m[1])
	}
	return all
}

// TestOperator opens two shops on one engine, and looks after their sessions from
// outside.
func TestOperator(t *testing.T) {
	each(t, func(t *testing.T, e engine) {
		migrate(t, e)
		check(t, e)
		refuse(t, e)
		store := e.url
		if e.pushes {
			store = with(e.url, "near-cache=8MB")
		}
		data := t.TempDir()
		one, two := openShop(t, data, store), openShop(t, data, store)
		_, password := split(t, e.url)
		if strings.Contains(one.output.String(), password) {
			t.Errorf("the shop prints the store's password:\n%s", one.output.String())
		}
		wants(t, one.output.String(), "A second shop on the same sessions", "session.key")
		events := watch(t, e.url)
		phone, laptop := newBrowser(t), newBrowser(t)
		phone.signIn(one)
		laptop.signIn(two)
		for name, s := range map[string]*shop{"first": one, "second": two} {
			if !phone.signedIn(s) || !laptop.signedIn(s) {
				t.Errorf("the %s shop does not know everybody", name)
			}
		}
		events.await("created", "")
		all := handles(t, e.url)
		if len(all) != 2 {
			t.Fatalf("got %d sessions of alice, want 2", len(all))
		}
		revoke(t, e, events, []*shop{one, two}, all, phone, laptop)
		forget(t, e, one, two)
		attack(t, e, one)
		one.close()
		two.close()
	})
}

// migrate makes the tables, from several programs at once.
func migrate(t *testing.T, e engine) {
	t.Helper()
	if !e.tables {
		stdout, _ := run(t, 0, e.url, "store", "migrate")
		wants(t, stdout, "there is nothing to migrate")
		return
	}
	_, stderr := run(t, 1, e.url, "sessions", "list")
	wants(t, stderr, "cloakroom store migrate")
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() { run(t, 0, e.url, "store", "migrate") })
	}
	all.Wait()
	stdout, _ := run(t, 0, e.url, "store", "migrate")
	wants(t, stdout, "is up to date")
}

// check looks at the engine. Those of tests are set up for speed, which it says.
func check(t *testing.T, e engine) {
	t.Helper()
	cmd := command(t, "store", "check", "--store", e.url)
	out, err := cmd.CombinedOutput()
	if exit := (*exec.ExitError)(nil); err != nil && (!errors.As(err, &exit) || exit.ExitCode() != 3) {
		t.Errorf("got %v:\n%s", err, out)
	}
	wants(t, string(out), e.product, "clock", "read", "write", "p99", "durability")
	if e.pushes {
		wants(t, string(out), "pushed, the first after")
	}
	if strings.Contains(string(out), "ahead of ours, see") {
		t.Errorf("the clocks of one machine differ:\n%s", out)
	}
}

// refuse gives a wrong password, and finds neither it nor the right one in what is
// said about that.
func refuse(t *testing.T, e engine) {
	t.Helper()
	without, password := split(t, e.url)
	file := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(file, []byte(password+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"sessions", "list"}, {"store", "check"}, {"store", "migrate"}} {
		if args[1] == "migrate" && !e.tables {
			continue // it does not connect
		}
		for _, wrong := range []string{"wrong-" + password, "Zwölf%20Boxkämpfer"} {
			before, after, _ := strings.Cut(e.url, password)
			_, stderr := run(t, 1, before+url.QueryEscape(wrong)+after, args...)
			if strings.Contains(stderr, wrong) || strings.Contains(stderr, url.QueryEscape(wrong)) || strings.Contains(stderr, password) {
				t.Errorf("%v: a password is in %s", args, stderr)
			}
			wants(t, stderr, ":***@")
		}
	}
	cmd := command(t, "sessions", "list", "--store", with(without, "password-file="+file))
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("with the password in a file: %v: %s", err, out)
	}
	cmd = command(t, "sessions", "list", "--store", without)
	cmd.Env = append(cmd.Env, "CLOAKROOM_STORE_PASSWORD="+password)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("with the password in the environment: %v: %s", err, out)
	}
}

// obeyed is how long servers with copies may go on: until a push has come or, if
// it does not, a second.
const obeyed = 10 * time.Second

func revoke(t *testing.T, e engine, events *tail, shops []*shop, all []string, phone, laptop *browser) {
	t.Helper()
	stdout, _ := run(t, 0, e.url, "sessions", "revoke", "--user", "alice", "--all-but", all[0], "--reason", "lost", "--by", "anna", "--json")
	wants(t, stdout, `"cause":"operator: lost"`, `"by":"anna"`, all[1])
	for _, s := range shops {
		within(t, obeyed, "one of two signed out", func() bool { return phone.signedIn(s) != laptop.signedIn(s) })
	}
	events.await("ended", "operator: lost")
	stdout, _ = run(t, 0, e.url, "sessions", "show", all[1])
	wants(t, stdout, "ended: operator: lost, by anna")
	stdout, _ = run(t, 0, e.url, "sessions", "show", all[0][:10])
	wants(t, stdout, "alice", "active", all[0])
	stdout, _ = run(t, 0, e.url, "sessions", "stats")
	wants(t, stdout, "of 1 user")
	run(t, 0, e.url, "sessions", "revoke", all[0], "--reason", "lost too")
	for _, s := range shops {
		within(t, obeyed, "both signed out", func() bool { return !phone.signedIn(s) && !laptop.signedIn(s) })
	}
	phone.signIn(shops[0])
	run(t, 0, e.url, "sessions", "revoke", "--all", "--reason", "breach", "--yes")
	for _, s := range shops {
		within(t, obeyed, "everybody signed out", func() bool { return !phone.signedIn(s) })
	}
	events.await("ended", "operator: breach")
	events.close()
}

// forget ends what a browser is remembered by, from outside.
func forget(t *testing.T, e engine, one, two *shop) {
	t.Helper()
	b := newBrowser(t)
	b.signInWith(one, "yes")
	closeBrowser := func() {
		for name := range b.cookies {
			if !strings.HasSuffix(name, "-remember") {
				delete(b.cookies, name)
			}
		}
	}
	closeBrowser()
	if !b.signedIn(two) {
		t.Fatal("the other shop does not remember alice")
	}
	stdout, _ := run(t, 0, e.url, "sessions", "list", "--user", "alice")
	wants(t, stdout, "remembered", "active")
	run(t, 0, e.url, "sessions", "revoke", "--user", "alice", "--reason", "moved out", "--yes")
	within(t, obeyed, "forgotten", func() bool {
		closeBrowser()
		return !b.signedIn(one) && !b.signedIn(two)
	})
	stdout, _ = run(t, 0, e.url, "sessions", "list", "--user", "alice")
	if strings.Contains(stdout, "remembered") || strings.Contains(stdout, "active") {
		t.Errorf("alice is still there:\n%s", stdout)
	}
}

// attack runs what /try offers on this engine: nothing breaks in, and nothing is
// undecided.
func attack(t *testing.T, e engine, s *shop) {
	t.Helper()
	b := newBrowser(t)
	b.signIn(s)
	if status, text := b.post(s, "/try", "/try", url.Values{}); status != http.StatusSeeOther {
		t.Fatalf("attacking: got status %d: %s", status, text)
	}
	_, text := b.send("GET", s.url+"/try", nil)
	want := "7 of 7 refused" // a row can be edited only where there are no copies
	if e.tables && !e.pushes {
		want = "8 of 8 refused"
	}
	wants(t, text, want)
	if strings.Contains(text, "8 of 8") == strings.Contains(text, "Needs a database") {
		t.Errorf("what cannot be tried is not said:\n%s", text)
	}
}

// TestAttacksOnRows edits rows of PostgreSQL, which no copies hide.
func TestAttacksOnRows(t *testing.T) {
	s, err := servers.StartPostgreSQL(t.Context(), servers.Options{Unsynced: true})
	shop := openShop(t, t.TempDir(), serverURL(t, s, err))
	attack(t, engine{tables: true}, shop)
	shop.close()
}

// tail is a running "cloakroom sessions watch".
type tail struct {
	t     testing.TB
	cmd   *exec.Cmd
	lines chan string
	errs  bytes.Buffer
}

func watch(t testing.TB, url string) *tail {
	t.Helper()
	f := &tail{t: t, cmd: command(t, "sessions", "watch", "--json", "--store", url), lines: make(chan string, 1000)}
	stdout, err := f.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f.cmd.Stderr = &f.errs
	if err := f.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.cmd.Process.Kill() })
	go func() {
		defer close(f.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			f.lines <- in.Text()
		}
	}()
	return f
}

// await waits for an event of alice's.
func (f *tail) await(event, cause string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	defer cancel()
	for {
		select {
		case l, ok := <-f.lines:
			if !ok {
				f.t.Fatalf("watch has ended: %s", f.errs.String())
			}
			if strings.Contains(l, `"event":"`+event+`"`) && strings.Contains(l, `"user":"alice"`) && strings.Contains(l, cause) {
				return
			}
		case <-ctx.Done():
			f.t.Fatalf("no event %s with cause %q", event, cause)
		}
	}
}

func (f *tail) close() {
	f.t.Helper()
	_ = f.cmd.Process.Signal(os.Interrupt)
	for range f.lines { // until it has ended
	}
	if err := f.cmd.Wait(); err != nil || f.errs.Len() > 0 {
		f.t.Errorf("interrupting watch: %v: %s", err, f.errs.String())
	}
}
