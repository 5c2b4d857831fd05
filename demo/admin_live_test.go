package demo_test

import (
	"bufio"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store/memory"
)

// events are what a live page receives.
type events struct {
	t    testing.TB
	resp *http.Response
	scan *bufio.Scanner
}

// follow opens the stream of a live page.
func (v *visitor) follow(query string) *events {
	v.t.Helper()
	r, err := http.NewRequestWithContext(v.t.Context(), "GET", v.url+"/admin/live?"+query, nil)
	if err != nil {
		v.t.Fatal(err)
	}
	resp, err := v.client.Do(r)
	if err != nil {
		v.t.Fatal(err)
	}
	v.t.Cleanup(func() { resp.Body.Close() })
	e := &events{t: v.t, resp: resp, scan: bufio.NewScanner(resp.Body)}
	e.scan.Buffer(nil, 1<<20)
	return e
}

// followed opens the stream of a live page, and closes it at once.
func (v *visitor) followed(query string) answer {
	v.t.Helper()
	e := v.follow(query)
	e.resp.Body.Close()
	return answer{e.resp, ""}
}

// until reads until an event of that name has a part in it, or the stream ends.
func (e *events) until(name, part string) bool {
	e.t.Helper()
	at := ""
	for e.scan.Scan() {
		if event, ok := strings.CutPrefix(e.scan.Text(), "event: "); ok {
			at = event
		}
		if data, ok := strings.CutPrefix(e.scan.Text(), "data: "); ok && at == name {
			var m struct{ HTML, Text string }
			if err := json.Unmarshal([]byte(data), &m); err != nil {
				e.t.Fatalf("message %q: %v", data, err)
			}
			if strings.Contains(m.HTML+m.Text, part) {
				return true
			}
		}
	}
	return false
}

// want fails the test unless such an event comes.
func (e *events) want(name, part string) {
	e.t.Helper()
	timer := time.AfterFunc(30*time.Second, func() { e.resp.Body.Close() })
	defer timer.Stop()
	if !e.until(name, part) {
		e.t.Fatalf("the stream ended before an event %s with %q", name, part)
	}
}

// wantEnd fails the test unless the stream ends.
func (e *events) wantEnd() {
	e.t.Helper()
	timer := time.AfterFunc(30*time.Second, func() {
		e.t.Error("the stream goes on")
		e.resp.Body.Close()
	})
	defer timer.Stop()
	for e.scan.Scan() {
	}
}

// TestAdminLive: the page hears of a login and of its end, in the list and in what
// happened, and only of what it has searched for.
func TestAdminLive(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	all, some := root.follow("after=0"), root.follow("after=0&user=bob")
	if got := all.resp.Header.Get("Content-Type"); !strings.HasPrefix(got, "text/event-stream") || all.resp.StatusCode != 200 {
		t.Fatalf("got status %d, type %q", all.resp.StatusCode, got)
	}
	all.want("list", "root")
	some.want("list", "No session like that")
	alice := o.userFrom(t, "alice", iphone, "127.0.0.2")
	all.want("happened", "alice signed in")
	all.want("list", "Safari on iPhone")
	o.userFrom(t, "bob", firefox, "127.0.0.3")
	some.want("list", "1 session.")
	alice.post("/logout")
	all.want("happened", "alice signed out")
	all.want("list", "2 sessions.")
}

// TestAdminLiveEnds: the stream ends with the session, however that ends, and with
// what let it begin.
func TestAdminLiveEnds(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(o *office, mine, other *visitor)
		says string
	}{
		"signed out": {func(_ *office, mine, _ *visitor) { mine.post("/logout") }, "Your session has ended"},
		"forced out": {func(_ *office, _, other *visitor) {
			other.post("/admin/end", "user", "root", "reason", "moved on")
		}, "Your session has ended"},
		"all forced out": {func(_ *office, _, other *visitor) {
			other.post("/admin/end", "all", "yes", "confirm", "everybody", "reason", "breach")
		}, "Your session has ended"},
		"idle":          {func(o *office, _, _ *visitor) { o.forward(31 * time.Minute) }, "Your session has ended"},
		"second factor": {func(o *office, _, other *visitor) { other.enrolled(o.clock) }, "has a second factor now"},
		"new ticket": {func(o *office, mine, _ *visitor) {
			mine.post("/account/confirm", "password", o.passwords["root"], "next", "/admin")
		}, "replaced by another tab"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := openOffice(t)
			mine, other := o.root(t), o.root(t)
			live := mine.follow("after=0")
			live.want("list", "root")
			c.end(o, mine, other)
			live.want("over", c.says)
			live.wantEnd()
		})
	}
}

// TestAdminLiveStale: the stream ends when the administrator would have to
// authenticate again.
func TestAdminLiveStale(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	o.forward(15*time.Minute - 2*time.Second) // the rest passes by itself
	live := root.follow("after=0")
	live.want("list", "root")
	live.want("over", "Confirm your password")
	live.wantEnd()
}

// TestAdminLiveBounds: nobody can open any number of streams, and one that was
// closed makes room.
func TestAdminLiveBounds(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	var open []*events
	for range 4 {
		e := root.follow("after=0")
		e.want("list", "root")
		open = append(open, e)
	}
	refused := root.followed("after=0")
	refused.want(t, 503)
	if refused.Header.Get("Retry-After") == "" {
		t.Error("does not say when to come back")
	}
	for range 3 {
		another := o.root(t)
		for range 4 {
			another.follow("after=0").want("list", "root")
		}
	}
	o.root(t).followed("after=0").want(t, 503) // sixteen are open
	open[0].resp.Body.Close()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		e := root.follow("after=0")
		if e.resp.StatusCode == 200 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no room after one has left")
		}
	}
	if a := root.send("HEAD", "/admin/live?after=0", nil); a.StatusCode != 405 {
		t.Errorf("HEAD: got status %d, want 405", a.StatusCode)
	}
	for query, want := range map[string]int{"": 400, "after=x": 400, "after=0&addr=x": 400} {
		if got := root.followed(query).StatusCode; got != want {
			t.Errorf("stream %q: got status %d, want %d", query, got, want)
		}
	}
}

// TestAdminLiveIsNoActivity: a page that is left open keeps nobody signed in.
func TestAdminLiveIsNoActivity(t *testing.T) {
	o := openOfficeOn(t, memory.New()) // which writes each use at once
	root := o.root(t)
	handle := root.handleOf("user=root")
	o.forward(10*time.Minute + time.Second)
	root.follow("after=0").want("list", "10 minutes ago")
	watcher := o.root(t)
	unused := "<small>10 minutes ago"
	if n := strings.Count(watcher.get("/admin/session?handle="+handle).text, unused); n != 2 {
		t.Errorf("got %d facts that are 10 minutes old, want two: signed in and used then", n)
	}
	root.get("/account") // this is
	watcher.wantSoon("/admin/session?handle="+handle, "<small>just now")
}

// TestEndStreams: a server that shuts down need not wait for those who watch.
func TestEndStreams(t *testing.T) {
	o := openOffice(t)
	live := o.root(t).follow("after=0")
	live.want("list", "root")
	o.shop.EndStreams()
	timer := time.AfterFunc(30*time.Second, func() {
		t.Error("the stream goes on")
		live.resp.Body.Close()
	})
	defer timer.Stop()
	if live.until("over", "") {
		t.Error("tells the page to give up, which shall come back")
	}
}
