package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/storeurl"
)

// cloakroom runs the program to its end with a store, and fails the test if its
// exit code is not the expected one.
func cloakroom(t testing.TB, code int, url string, args ...string) (stdout, stderr string) {
	t.Helper()
	cmd := command(t, args...)
	cmd.Env = append(cmd.Env, storeVariable+"="+url)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // its result is the exit code
	if got := cmd.ProcessState.ExitCode(); got != code {
		t.Errorf("cloakroom %s: got exit code %d, want %d; stderr: %s", strings.Join(args, " "), got, code, errs.String())
	}
	return out.String(), errs.String()
}

// wants fails the test unless a text holds all of others.
func wants(t testing.TB, text string, others ...string) {
	t.Helper()
	for _, want := range others {
		if !strings.Contains(text, want) {
			t.Errorf("got no %q in:\n%s", want, text)
		}
	}
}

// listed returns the sessions that list prints as JSON.
func listed(t testing.TB, url string, args ...string) (all []line) {
	t.Helper()
	stdout, _ := cloakroom(t, 0, url, append([]string{"sessions", "list", "--json"}, args...)...)
	for text := range strings.Lines(stdout) {
		var l line
		if err := json.Unmarshal([]byte(text), &l); err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		all = append(all, l)
	}
	return all
}

// stock makes a store with sessions: 1 to 8 are alice's, bob's, a visitor's, one
// whose second factor is missing, and so on, each used a minute before the one
// before it.
func stock(t testing.TB) (url string) {
	t.Helper()
	url = storeurl.File(filepath.Join(t.TempDir(), "sessions.db"))
	opened, err := storeurl.Open(t.Context(), url, storeurl.Options{})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	for n, r := range []store.Record{
		{Subject: "alice", State: store.Active, Last: fromClient("192.0.2.1", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")},
		{Subject: "alice", State: store.Active, Last: fromClient("2001:db8::17", "\x1b[31mred")},
		{Subject: "bob", State: store.Active, Locked: true, First: fromClient("198.51.100.9", "")},
		{State: store.Anonymous, Last: fromClient("192.0.2.200", "curl/8.5.0")},
		{Subject: "carol", State: store.Pending},
		{Subject: "dave", State: store.Active, Deadline: now.Add(-time.Minute)}, // has run out
		{Subject: "alice", Namespace: rememberedSuffix, State: store.Active},
		{Subject: "a name that is longer than its column by far", State: store.Active},
	} {
		age := time.Duration(n+1) * time.Minute
		r.Handle, r.Transport, r.Idle, r.Wrap = handleOf(n+1), store.Cookie, 30*time.Minute, []byte("wrap")
		r.Seen, r.Created = now.Add(-age), now.Add(-100*age)
		if r.Deadline.IsZero() {
			r.Deadline = now.Add(time.Hour + age)
		}
		r.Assurance = store.Assurance{Methods: []string{"pwd"}, Level: 1, At: r.Created, Role: "customer"}
		if n == 0 {
			r.Parts = []store.Part{{Name: "app", Generation: 1, Sealed: make([]byte, 321)}}
		}
		if _, err := opened.Store.Create(t.Context(), store.Creation{Record: r, Now: r.Created}); err != nil {
			t.Fatal(err)
		}
	}
	if err := opened.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	return url
}

func fromClient(addr, agent string) store.Client {
	return store.Client{Addr: netip.MustParseAddr(addr), Agent: agent}
}

// handleOf returns handles whose texts begin with a hyphen, and differ in the fifth
// and sixth letter.
func handleOf(n int) store.Handle { return store.Handle{0xf8, 0, 0, byte(n), 7} }

func name(n int) string { return handleOf(n).String() }

// numbers says which of the stocked sessions were listed.
func numbers(all []line) (ns []int) {
	for _, l := range all {
		for n := 1; n <= 8; n++ {
			if l.Handle == name(n) {
				ns = append(ns, n)
			}
		}
	}
	return ns
}

func TestList(t *testing.T) {
	url := stock(t)
	for _, c := range []struct {
		name string
		args []string
		want []int
	}{
		{"alive", nil, []int{1, 2, 3, 4, 5, 8}},
		{"user, with what is remembered", []string{"--user", "alice"}, []int{1, 2, 7}},
		{"nobody", []string{"--user", "zoe"}, nil},
		{"active", []string{"--state", "active"}, []int{1, 2, 8}},
		{"locked", []string{"--state", "locked"}, []int{3}},
		{"pending", []string{"--state", "pending"}, []int{5}},
		{"anonymous", []string{"--state", "anonymous"}, []int{4}},
		{"expired", []string{"--state", "expired"}, []int{6}},
		{"ended", []string{"--state", "ended"}, nil},
		{"remembered", []string{"--state", "remembered"}, []int{7}},
		{"any", []string{"--state", "any"}, []int{1, 2, 3, 4, 5, 6, 8}},
		{"address", []string{"--address", "192.0.2.1"}, []int{1}},
		{"range", []string{"--address", "192.0.2.0/24"}, []int{1, 4}},
		{"first address", []string{"--address", "198.51.100.0/24"}, []int{3}},
		{"IPv6", []string{"--address", "2001:db8::/32"}, []int{2}},
		{"older", []string{"--older", "350m"}, []int{4, 5, 8}},
		{"younger", []string{"--younger", "250m"}, []int{1, 2}},
		{"seen", []string{"--seen-within", "150s"}, []int{1, 2}},
		{"unseen", []string{"--unseen", "270s"}, []int{5, 8}},
		{"days", []string{"--older", "1d"}, nil},
		{"by creation", []string{"--sort", "created", "--limit", "2"}, []int{8, 5}},
		{"by expiry", []string{"--sort", "expires"}, []int{8, 5, 4, 3, 2, 1}},
		{"by user", []string{"--sort", "user"}, []int{4, 8, 1, 2, 3, 5}},
		{"by use", []string{"--sort", "seen", "--limit", "3"}, []int{1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := numbers(listed(t, url, c.args...)); !slices.Equal(got, c.want) {
				t.Errorf("got sessions %v, want %v", got, c.want)
			}
		})
	}
}

// TestListPages: following the pages, every session comes once.
func TestListPages(t *testing.T) {
	url := stock(t)
	for _, filter := range [][]string{nil, {"--user", "alice"}, {"--address", "192.0.2.0/24"}} {
		var all []int
		args := append([]string{"sessions", "list", "--json", "--limit", "1"}, filter...)
		for page := args; ; {
			stdout, stderr := cloakroom(t, 0, url, page...)
			for text := range strings.Lines(stdout) {
				var l line
				if err := json.Unmarshal([]byte(text), &l); err != nil {
					t.Fatal(err)
				}
				all = append(all, numbers([]line{l})...)
			}
			_, next, found := strings.Cut(stderr, "--after ")
			if !found || len(all) > 20 {
				break
			}
			page = append(slices.Clone(args), "--after", strings.TrimSpace(next))
		}
		slices.Sort(all)
		want := numbers(listed(t, url, filter...))
		slices.Sort(want)
		if !slices.Equal(all, want) {
			t.Errorf("%v: got sessions %v page by page, want %v", filter, all, want)
		}
	}
}

// TestTable: what people read has a header, says nothing that a terminal would
// obey, and on a terminal is as wide as that.
func TestTable(t *testing.T) {
	url := stock(t)
	stdout, _ := cloakroom(t, 0, url, "sessions", "list")
	wants(t, stdout, "HANDLE", name(1), "Firefox on Linux", "unknown browser", "a name that is longer than its column by far", "locked")
	if strings.ContainsRune(stdout, '\x1b') {
		t.Errorf("got an escape sequence in:\n%s", stdout)
	}
	var out bytes.Buffer
	now := time.Now()
	lines := []line{
		{Handle: name(1), User: "a name that is longer than its column by far", State: "active", Seen: now, Created: now, Address: "2001:db8:1111:2222:3333:4444:5555:6666",
			Agent: "Mozilla/5.0 (Linux; Android 15) SamsungBrowser/28.0", now: now},
		{Handle: name(2), User: "bob", State: stateEnded, Seen: now, Created: now, Ended: &lineEnd{now, "operator: " + strings.Repeat("long ", 30), "anna"}, now: now},
	}
	narrow := &terminal{out: &out, width: 80}
	if err := narrow.table(columns(true), lines); err != nil {
		t.Fatal(err)
	}
	for text := range strings.Lines(out.String()) {
		if n := len([]rune(strings.TrimSuffix(text, "\n"))); n > 80 {
			t.Errorf("a line has %d letters: %s", n, text)
		}
	}
	wants(t, out.String(), name(1)[:8], "a name", "…", "operator")
	narrow.colours = true
	out.Reset()
	if err := narrow.table(columns(true), lines); err != nil {
		t.Fatal(err)
	}
	wants(t, out.String(), "\x1b[32mactive")
}

func TestShow(t *testing.T) {
	url := stock(t)
	for _, handle := range []string{name(1), name(1)[:6]} {
		stdout, _ := cloakroom(t, 0, url, "sessions", "show", handle)
		wants(t, stdout, "session", name(1), "alice", "active", "pwd (assurance level 1)", "Firefox on Linux: Mozilla", "192.0.2.1",
			"ends after 30m0s", "321 sealed bytes", "created", "used last", "ends if it is not used")
	}
	stdout, _ := cloakroom(t, 0, url, "sessions", "show", "--json", name(3))
	var s shown
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || s.State != stateLocked || s.CreatedAs != "active" || s.Version != 1 {
		t.Errorf("got %s, %v", stdout, err)
	}
	_, stderr := cloakroom(t, 1, url, "sessions", "show", name(1)[:4])
	wants(t, stderr, "several handles begin with")
	_, stderr = cloakroom(t, 1, url, "sessions", "show", "zzzz")
	wants(t, stderr, "no session's handle begins with")
	_, stderr = cloakroom(t, 1, url, "sessions", "show", name(99))
	wants(t, stderr, "there is no session "+name(99))
	_, stderr = cloakroom(t, 2, url, "sessions", "show", "ab")
	wants(t, stderr, "the first 4 or more")
}

func TestStats(t *testing.T) {
	url := stock(t)
	stdout, _ := cloakroom(t, 0, url, "sessions", "stats", "--json")
	var s stats
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		t.Fatal(err)
	}
	got := []int{s.Alive, s.Active, s.Pending, s.Anonymous, s.Locked, s.Users, s.Remembered, s.Expired, s.Ended}
	if want := []int{6, 4, 1, 1, 1, 3, 1, 1, 0}; !slices.Equal(got, want) {
		t.Errorf("got alive, active, pending, anonymous, locked, users, remembered, expired, ended %v, want %v", got, want)
	}
	if s.Seen[0].Count != 4 || s.Seen[1].Count != 2 {
		t.Errorf("used last: got %+v", s.Seen)
	}
	stdout, _ = cloakroom(t, 0, url, "sessions", "stats")
	wants(t, stdout, "of 3 users, 1 locked", "within 5m")
}

// TestRevoke: what is ended bears reason and name; whatever is wide asks, and
// without anybody to ask does nothing.
func TestRevoke(t *testing.T) {
	url := stock(t)
	_, stderr := cloakroom(t, 2, url, "sessions", "revoke", "--user", "alice", "--reason", "lost")
	wants(t, stderr, "This ends 2 sessions of alice; add --yes")
	_, stderr = cloakroom(t, 2, url, "sessions", "revoke", "--all", "--reason", "breach")
	wants(t, stderr, "This ends all 6 sessions in sqlite:")
	_, stderr = cloakroom(t, 2, url, "sessions", "revoke", name(1), name(2), "--reason", "lost")
	wants(t, stderr, "This ends 2 sessions; add --yes")
	if got := len(listed(t, url)); got != 6 {
		t.Fatalf("after refusals: got %d sessions, want 6", got)
	}

	stdout, _ := cloakroom(t, 0, url, "sessions", "revoke", name(5)[:8], "--reason", "left at the library", "--by", "anna, on call")
	wants(t, stdout, "1 session ended.")
	stdout, _ = cloakroom(t, 0, url, "sessions", "revoke", "--reason", "again", name(5))
	wants(t, stdout, "0 sessions ended; 1 had ended before.")
	stdout, _ = cloakroom(t, 0, url, "sessions", "show", name(5))
	wants(t, stdout, "ended: operator: left at the library, by anna, on call")

	_, stderr = cloakroom(t, 1, url, "sessions", "revoke", "--user", "alice", "--all-but", name(3), "--reason", "x")
	wants(t, stderr, "that is not a session of alice")
	stdout, _ = cloakroom(t, 0, url, "sessions", "revoke", "--user", "alice", "--all-but", name(2), "--reason", "stolen", "--json", "--by", "anna")
	wants(t, stdout, `"event":"session_expired"`, `"handle":"`+name(1)+`"`, `"cause":"operator: stolen"`, `"by":"anna"`)
	if got := numbers(listed(t, url, "--user", "alice")); !slices.Equal(got, []int{2}) {
		t.Errorf("after --all-but: got sessions %v of alice, want 2", got)
	}
	stdout, _ = cloakroom(t, 0, url, "sessions", "revoke", "--all", "--reason", "breach", "--yes")
	wants(t, stdout, "All sessions in sqlite:")
	if got := len(listed(t, url)); got != 0 {
		t.Errorf("after --all: got %d sessions", got)
	}
}

// TestRevokeFromInput ends what a list has printed, and nothing if a line is none.
func TestRevokeFromInput(t *testing.T) {
	url := stock(t)
	run := func(input string, code int, args ...string) string {
		cmd := command(t, append([]string{"sessions", "revoke", "-", "--reason", "botnet"}, args...)...)
		cmd.Env = append(cmd.Env, storeVariable+"="+url)
		cmd.Stdin = strings.NewReader(input)
		out, _ := cmd.CombinedOutput() // its result is the exit code
		if got := cmd.ProcessState.ExitCode(); got != code {
			t.Errorf("got exit code %d, want %d: %s", got, code, out)
		}
		return string(out)
	}
	wants(t, run(name(1)+"\n", 2), "add --yes")
	wants(t, run(name(1)+"\nnonsense\n", 1, "--yes"), "line 2 of the input is not a handle; nothing was changed")
	if got := len(listed(t, url)); got != 6 {
		t.Errorf("got %d sessions, want 6", got)
	}
	wants(t, run(name(1)+"\n\n"+name(4)+"\n", 0, "--yes"), "2 sessions ended.")
}

// TestEmptyFlags: a flag whose value is missing names nobody, rather than everybody,
// and what was to be spared is not ended.
func TestEmptyFlags(t *testing.T) {
	url := stock(t)
	for _, args := range [][]string{
		{"list", "--user", ""}, {"list", "--address="}, {"list", "--store", ""}, {"stats", "--store="},
		{"revoke", "--user", "alice", "--all-but", "", "--reason", "x", "--yes"},
		{"revoke", "--user", "", "--all", "--reason", "x", "--yes"},
	} {
		_, stderr := cloakroom(t, 2, url, append([]string{"sessions"}, args...)...)
		wants(t, stderr, "is given without a value")
	}
	cloakroom(t, 2, url, "store", "check", "--store=")
	if got := len(listed(t, url, "--namespace", "")); got != 6 {
		t.Errorf("got %d sessions, want 6", got)
	}
}

func TestConfirm(t *testing.T) {
	var errs bytes.Buffer
	for answer, want := range map[string]error{"all\n": nil, "all": nil, "yes\n": errDeclined, "": errDeclined} {
		term := &terminal{in: strings.NewReader(answer), err: &errs, asks: true}
		if err := term.confirm("This ends all 6 sessions", "all"); err != want {
			t.Errorf("answer %q: got %v, want %v", answer, err, want)
		}
	}
	wants(t, errs.String(), "This ends all 6 sessions\nType \"all\" to go on: ")
}

// TestHandlesLast: a handle that begins with a hyphen is no flag, and a flag no
// handle.
func TestHandlesLast(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"sessions show -AbC123", "sessions show -- -AbC123"},
		{"sessions revoke -AbC123 --reason x", "sessions revoke --reason x -- -AbC123"},
		{"sessions revoke --user a --all-but -AbC123 --reason x", "sessions revoke --user a --all-but -AbC123 --reason x"},
		{"sessions revoke --yes -abcd", "sessions revoke --yes -- -abcd"},
		{"sessions revoke --reason -AbC123 Zk3f", "sessions revoke --reason -AbC123 Zk3f"},
		{"sessions revoke --reasn x", "sessions revoke --reasn x"},
		{"sessions show --help", "sessions show --help"},
		{"sessions show --AAAAAAAAAAAAAAAAAAAA", "sessions show -- --AAAAAAAAAAAAAAAAAAAA"},
		{"sessions list -AbC123", "sessions list -AbC123"},
	} {
		if got := strings.Join(handlesLast(strings.Fields(c.args)), " "); got != c.want {
			t.Errorf("%s: got %s, want %s", c.args, got, c.want)
		}
	}
}

// TestServersObey: a server refuses at once what was ended beside it, and watch
// says so.
func TestServersObey(t *testing.T) {
	dir := t.TempDir()
	s := start(t, "--addr", "127.0.0.1:0", "--data", dir)
	url := storeurl.File(filepath.Join(dir, "sessions.db"))
	events := follow(t, url)
	phone, laptop := newClient(t), newClient(t)
	phone.signIn(s, "alice")
	laptop.signIn(s, "alice")
	phone.wantSignedIn(s, "alice")
	events.await("created", "alice", "")

	var newest line
	for _, l := range listed(t, url, "--user", "alice") {
		if l.Created.After(newest.Created) {
			newest = l
		}
	}
	cloakroom(t, 0, url, "sessions", "revoke", newest.Handle, "--reason", "lost", "--by", "anna")
	if status, _ := laptop.send("GET", s.url+"/account", nil); status != http.StatusSeeOther && status != http.StatusUnauthorized {
		t.Errorf("the session that was ended: got status %d", status)
	}
	phone.wantSignedIn(s, "alice")
	events.await("ended", "alice", "operator: lost")
	cloakroom(t, 0, url, "sessions", "revoke", "--user", "alice", "--reason", "stolen", "--yes")
	if status, _ := phone.send("GET", s.url+"/account", nil); status == http.StatusOK {
		t.Error("alice is still signed in")
	}
	events.await("ended", "alice", "operator: stolen")
	events.interrupt()
	s.interrupt(os.Interrupt)
}

// tail is a running "cloakroom sessions watch".
type tail struct {
	t     testing.TB
	cmd   *exec.Cmd
	errs  bytes.Buffer
	lines chan watchLine
}

func follow(t testing.TB, url string) *tail {
	t.Helper()
	cmd := command(t, "sessions", "watch", "--json", "--store", url)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	f := &tail{t: t, cmd: cmd, lines: make(chan watchLine, 1000)}
	cmd.Stderr = &f.errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	go func() {
		defer close(f.lines)
		for in := bufio.NewScanner(stdout); in.Scan(); {
			var l watchLine
			if err := json.Unmarshal(in.Bytes(), &l); err == nil {
				f.lines <- l
			}
		}
	}()
	return f
}

// interrupt ends watch.
func (f *tail) interrupt() {
	f.t.Helper()
	_ = f.cmd.Process.Signal(os.Interrupt)
	for range f.lines { // until it has ended
	}
	if err := f.cmd.Wait(); err != nil || f.errs.Len() > 0 {
		f.t.Errorf("after an interrupt, watch: got %v, %s; want exit code 0", err, f.errs.String())
	}
}

// await waits for an event.
func (f *tail) await(event, user, cause string) {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(f.t.Context(), 30*time.Second)
	defer cancel()
	for {
		select {
		case l, ok := <-f.lines:
			if !ok {
				f.t.Fatalf("watch ended before %s of %s", event, user)
			}
			if l.Event == event && l.User == user && l.Cause == cause {
				return
			}
		case <-ctx.Done():
			f.t.Fatalf("no event %s of %s with cause %q", event, user, cause)
		}
	}
}

// TestWatch tells what is different from the last look.
func TestWatch(t *testing.T) {
	now := time.Now().UTC()
	base := store.Record{Handle: handleOf(1), Subject: "alice", State: store.Active, Version: 1, Created: now, Seen: now, Rotated: now}
	change := func(f func(r *store.Record)) store.Record {
		r := base
		r.Version++
		f(&r)
		return r
	}
	for _, c := range []struct {
		name string
		to   store.Record
		want string
	}{
		{"nothing", base, ""},
		{"used", func() store.Record { r := base; r.Seen = now.Add(time.Hour); return r }(), ""},
		{"changed", change(func(r *store.Record) {}), happenedChanged},
		{"rotated", change(func(r *store.Record) { r.Rotated = now.Add(time.Minute) }), happenedRotated},
		{"locked", func() store.Record { r := base; r.Locked = true; return r }(), happenedLocked},
		{"shortened", func() store.Record { r := base; r.Limit = now.Add(time.Hour); return r }(), happenedShortened},
		{"ended", change(func(r *store.Record) { r.End = store.End{At: now, Cause: "logout", By: "alice"} }), happenedEnded},
		{"read before", func() store.Record { r := base; r.Version = 0; return r }(), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWatch(&desk{terminal: &terminal{}})
			w.compare(&base, false)
			w.compare(&c.to, true)
			got := ""
			for _, l := range w.news {
				got += l.Event
			}
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	w := newWatch(&desk{terminal: &terminal{}})
	w.compare(&base, true)
	w.gone(base.Key())
	w.gone(base.Key())
	if len(w.news) != 2 || w.news[0].Event != happenedCreated || w.news[1].Event != happenedExpired {
		t.Errorf("got %+v", w.news)
	}
	if got := w.text(watchLine{Event: "ended", Handle: name(1), User: "al\x1bice", Cause: "x\ny", By: "anna"}); strings.ContainsAny(got, "\x1b\n") {
		t.Errorf("got %q, which a terminal obeys", got)
	}
}

func TestStoreCommands(t *testing.T) {
	file := filepath.Join(t.TempDir(), "sessions.db")
	url := storeurl.File(file)
	_, stderr := cloakroom(t, 1, url, "store", "check")
	wants(t, stderr, "no such file", "cloakroom store migrate")
	stdout, _ := cloakroom(t, 0, "", "store", "migrate", url)
	wants(t, stdout, url+": made the tables for sessions, version ")
	stdout, _ = cloakroom(t, 0, url, "store", "migrate")
	wants(t, stdout, "is up to date")
	stdout, _ = cloakroom(t, 0, "", "store", "check", "--store", url)
	wants(t, stdout, "SQLite 3.", "journal_mode", "read", "p50", "an acknowledged write is on the disk")
	stdout, _ = cloakroom(t, 0, url, "store", "check", "--json")
	var c checked
	if err := json.Unmarshal([]byte(stdout), &c); err != nil || len(c.Latency) != 2 || c.Latency[0].P50 <= 0 || c.Schema == 0 {
		t.Errorf("got %s, %v", stdout, err)
	}
	opened, err := storeurl.Open(t.Context(), url, storeurl.Options{Existing: true})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Close(t.Context())
	for _, table := range []string{"sessions", "session_parts"} {
		var left int
		if err := opened.DB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&left); err != nil || left != 0 {
			t.Errorf("the checks have left %d rows in %s, %v", left, table, err)
		}
	}
	var triggers int
	if err := opened.DB.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM sqlite_schema WHERE type = 'trigger'").Scan(&triggers); err != nil || triggers != 0 {
		t.Errorf("the checks have left %d triggers, %v", triggers, err)
	}
}

func TestWords(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{ageText(119 * time.Second), "119s"}, {ageText(2 * time.Minute), "2m"}, {ageText(119 * time.Minute), "119m"},
		{ageText(47 * time.Hour), "47h"}, {ageText(48 * time.Hour), "2d"}, {ageText(-time.Minute), "-60s"},
		{grouped(0), "0"}, {grouped(999), "999"}, {grouped(1000), "1,000"}, {grouped(1234567), "1,234,567"},
		{counted(1, "session"), "1 session"}, {counted(0, "session"), "0 sessions"},
		{sizeText(512), "512 bytes"}, {sizeText(1536), "1.5 KiB"}, {sizeText(3 << 30), "3.0 GiB"},
		{fit("abcdef", 4), "abc…"}, {fit("ab", 4), "ab  "}, {quoted("a b'c"), `'a b'\''c'`}, {quoted("redis://a"), "redis://a"},
		{clockText(1500 * time.Millisecond), "1.5s ahead of ours"}, {clockText(-time.Second), "1s behind ours"}, {clockText(0), "as ours"},
	} {
		if c.got != c.want {
			t.Errorf("got %q, want %q", c.got, c.want)
		}
	}
	if fmt.Sprint(parseAge("3d")) != "72h0m0s <nil>" {
		t.Error(parseAge("3d"))
	}
	for _, bad := range []string{"x", "-1h", "0s", "d", "1y", "99999999d"} {
		if d, err := parseAge(bad); err == nil {
			t.Errorf("%q: got %v", bad, d)
		}
	}
}
