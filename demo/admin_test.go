package demo_test

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/demo"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// office is a shop with a clock.
type office struct {
	*world
	*clock
}

func openOffice(t testing.TB) *office { t.Helper(); return openOfficeOn(t, nil) }

// openOfficeOn is the same on a store, if there is one.
func openOfficeOn(t testing.TB, s store.Store) *office {
	t.Helper()
	c := new(clock)
	return &office{clock: c, world: openWith(t, t.TempDir(), func(options *demo.Options) {
		c.onClock(options)
		if s != nil {
			options.Store = s
		}
	})}
}

// visitorFrom is somebody with a browser and an address, which is one of this
// machine's own.
func (o *office) visitorFrom(t testing.TB, agent, addr string) *visitor {
	t.Helper()
	v := o.visitor(t)
	transport := o.Client().Transport.(*http.Transport).Clone()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addr)}}
	transport.DialContext = dialer.DialContext
	t.Cleanup(transport.CloseIdleConnections)
	v.client.Transport, v.agent = transport, agent
	return v
}

// userFrom is a user who has just signed in from there.
func (o *office) userFrom(t testing.TB, name, agent, addr string) *visitor {
	t.Helper()
	v := o.visitorFrom(t, agent, addr)
	v.signIn(name, o.passwords[name]).wantTo(t, "/")
	return v
}

func (o *office) root(t testing.TB) *visitor {
	t.Helper()
	return o.userFrom(t, "root", firefox, "127.0.0.1")
}

var rowID = regexp.MustCompile(`<tr role="row" id="s-([\w-]{22})">`)

// listed returns the handles on a page of the list.
func (a answer) listed(t testing.TB) (handles []string) {
	t.Helper()
	a.want(t, 200)
	for _, m := range rowID.FindAllStringSubmatch(a.text, -1) {
		handles = append(handles, m[1])
	}
	return handles
}

// handleOf returns the handle of the only session that a search finds.
func (v *visitor) handleOf(query string) string {
	v.t.Helper()
	found := v.get("/admin?" + query).listed(v.t)
	if len(found) != 1 {
		v.t.Fatalf("searching %s: got %d sessions, want one", query, len(found))
	}
	return found[0]
}

// wantSoon asks again until the answer holds all of it: events take a moment.
func (v *visitor) wantSoon(path string, parts ...string) {
	v.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		a := v.get(path)
		missing := slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(a.text, part) })
		if !missing {
			return
		}
		if time.Now().After(deadline) {
			a.want(v.t, 200, parts...)
			return
		}
	}
}

// adminRequests are all that administrators can ask for.
func adminRequests(handle string) map[string]func(*visitor) answer {
	get := func(path string) func(*visitor) answer { return func(v *visitor) answer { return v.get(path) } }
	post := func(fields ...string) func(*visitor) answer {
		return func(v *visitor) answer {
			return v.post("/admin/end", append(fields, "reason", "forged", "confirm", "everybody")...)
		}
	}
	return map[string]func(*visitor) answer{
		"list": get("/admin"), "search": get("/admin?user=root"), "session": get("/admin/session?handle=" + handle),
		"no session": get("/admin/session"), "stream": func(v *visitor) answer { return v.followed("after=0") },
		"form for one": get("/admin/end?handle=" + handle), "form for all": get("/admin/end?all=yes"),
		"end one": post("handle", handle), "end a user": post("user", "root"), "end all": post("all", "yes"),
	}
}

// TestAdminRefuses: nobody but a fresh administrator sees or ends anything.
func TestAdminRefuses(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	stale := o.userFrom(t, "root", iphone, "127.0.0.1")
	o.forward(16 * time.Minute)
	root.signIn("root", o.passwords["root"]) // at the login form again: this one is fresh
	alice := o.userFrom(t, "alice", firefox, "127.0.0.1")
	handle := root.handleOf("user=root&since=within-15m")
	for name, ask := range adminRequests(handle) {
		t.Run(name, func(t *testing.T) {
			refused := ask(alice)
			refused.want(t, 403)
			if strings.Contains(refused.text, handle) || strings.Contains(refused.text, "root") {
				t.Errorf("the refusal tells of others:\n%s", refused.text)
			}
			visiting := ask(o.visitor(t))
			late := ask(stale)
			switch {
			case name == "stream":
				visiting.want(t, 401)
				late.want(t, 403)
			case visiting.Request.Method == "GET":
				refused.want(t, 403, "Staff only")
				visiting.wantTo(t, "/login?next=%2Fadmin")
				late.wantTo(t, "/account/confirm?next=%2Fadmin")
			default:
				visiting.want(t, 401)
				late.wantTo(t, "/account/confirm?next=%2Fadmin")
				root.send("POST", "/admin/end", strings.NewReader("all=yes&confirm=everybody&reason=forged")).want(t, 403, "out of date")
			}
		})
	}
	if got := root.get("/admin").listed(t); len(got) != 3 {
		t.Errorf("got %d sessions after all that, want the three there were", len(got))
	}
	if log := o.log.String(); strings.Contains(log, "revoked") || strings.Contains(log, "forged\n") {
		t.Errorf("something was ended:\n%s", log)
	}
}

// TestAdminConfirms: whoever was asked for the password gets where he wanted.
func TestAdminConfirms(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	o.forward(16 * time.Minute)
	root.get("/admin").wantTo(t, "/account/confirm?next=%2Fadmin")
	root.post("/account/confirm", "password", o.passwords["root"], "next", "/admin").wantTo(t, "/admin")
	root.get("/admin").want(t, 200, "All sessions")
}

// TestAdminNeedsBothFactors: where an administrator has a second factor, the
// password alone opens nothing, in sessions that are older than it, too.
func TestAdminNeedsBothFactors(t *testing.T) {
	o := openOffice(t)
	older := o.root(t)
	handle := older.handleOf("user=root")
	root := o.root(t)
	app := root.enrolled(o.clock)
	for name, ask := range adminRequests(handle) {
		if refused := ask(older); name == "stream" {
			refused.want(t, 403)
		} else {
			refused.wantTo(t, "/account/code?next=%2Fadmin")
		}
	}
	root.get("/admin").want(t, 200)
	older.post("/account/code", "code", app.code(), "next", "/admin").wantTo(t, "/admin")
	older.get("/admin").want(t, 200, "All sessions")
}

// TestAdminReason: without a reason that fits, nothing ends.
func TestAdminReason(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	o.userFrom(t, "alice", firefox, "127.0.0.1")
	handle := root.handleOf("user=alice")
	targets := map[string][]string{
		"one": {"handle", handle}, "user": {"user", "alice"}, "all": {"all", "yes", "confirm", "everybody"},
	}
	for name, target := range targets {
		for reason, want := range map[string]string{
			"": "Please give a reason", "  \t ": "Please give a reason", strings.Repeat("é", 101): "202 bytes, at most 200",
			"two\nlines": "plain text", "\x1b[31mred": "plain text", "turned\u202earound": "plain text", "\xff\xfe": "plain text",
		} {
			a := root.post("/admin/end", append(target, "reason", reason)...)
			a.want(t, 422, want, `aria-invalid="true"`)
			if strings.ContainsAny(a.text, "\x1b\u202e") {
				t.Errorf("%s: shows %q as it is", name, reason)
			}
		}
	}
	for name, fields := range map[string][]string{"no word": {}, "another word": {"confirm", "yes"}} {
		a := root.post("/admin/end", append(fields, "all", "yes", "reason", "leak")...)
		a.want(t, 422, "type the word", `value="leak"`)
		if strings.Contains(a.text, "Please give") {
			t.Errorf("%s: complains about the reason", name)
		}
	}
	for name, fields := range map[string][]string{
		"nobody": {}, "two targets": {"user", "alice", "all", "yes", "confirm", "everybody"}, "no handle": {"handle", "x"},
		"endless name": {"user", strings.Repeat("x", 100)},
	} {
		if a := root.post("/admin/end", append(fields, "reason", "leak")...); a.StatusCode != 400 {
			t.Errorf("%s: got status %d, want 400", name, a.StatusCode)
		}
	}
	if got := root.get("/admin").listed(t); len(got) != 2 {
		t.Errorf("got %d sessions, want both", len(got))
	}
}

// TestForceLogout ends one session, those of a user, and all. The reason is in
// the story of each, and in the log.
func TestForceLogout(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	first := o.userFrom(t, "alice", firefox, "127.0.0.2")
	second := o.userFrom(t, "alice", iphone, "127.0.0.3")
	bob := o.userFrom(t, "bob", firefox, "127.0.0.4")
	one, other := root.handleOf("addr=127.0.0.2"), root.handleOf("addr=127.0.0.3")

	root.get("/admin/end?handle="+one).want(t, 200, "End a session of alice", "Firefox on Linux at 127.0.0.2")
	root.post("/admin/end", "handle", one, "reason", "lost <laptop>").wantTo(t, "/admin/session?handle="+one)
	first.get("/account").wantTo(t, "/login?next=%2Faccount")
	second.get("/account").want(t, 200)
	root.wantSoon("/admin/session?handle="+one, "The session has ended", "forced to sign out", "by root", "“lost &lt;laptop&gt;”", "from 127.0.0.2")
	root.post("/admin/end", "handle", one, "reason", "again")
	root.get("/admin/session?handle="+one).want(t, 200, "had ended before", "lost &lt;laptop&gt;")

	root.get("/admin/end?user=alice").want(t, 200, "Sign alice out everywhere", "One session ends at once")
	root.post("/admin/end", "user", "alice", "reason", "password leaked").wantTo(t, "/admin?state=any&user=alice")
	root.get("/admin?state=any&user=alice").want(t, 200, "1 session of alice ended.", "password leaked", "lost &lt;laptop&gt;")
	second.get("/account").wantTo(t, "/login?next=%2Faccount")
	root.wantSoon("/admin/session?handle="+other, "forced to sign out", "“password leaked”", "by root")
	bob.get("/account").want(t, 200)

	root.get("/admin/end?all=yes").want(t, 200, "All 2 sessions", "Yours is one of them", "everybody")
	root.post("/admin/end", "all", "yes", "reason", "breach", "confirm", "everybody").wantTo(t, "/login?next=%2Fadmin&ended=all")
	root.get("/login?next=%2Fadmin&ended=all").want(t, 200, "Everybody is signed out, you too", "Sign in")
	for name, v := range map[string]*visitor{"bob": bob, "root": root} {
		if a := v.get("/account"); a.StatusCode != 303 {
			t.Errorf("%s: got status %d after all sessions were ended", name, a.StatusCode)
		}
	}
	root.post("/login", "username", "root", "password", o.passwords["root"], "next", "/admin").wantTo(t, "/admin")
	gone := root.handleOf("user=bob&state=ended")
	root.wantSoon("/admin/session?handle="+gone, "everybody forced to sign out", "“breach”", "by root")
	for _, want := range []string{"ended: admin: lost <laptop>", "revoked: admin: password leaked", "revoked: admin: breach"} {
		if log := o.log.String(); !strings.Contains(log, want) {
			t.Errorf("got no %q in the log:\n%s", want, log)
		}
	}
}

// TestForceLogoutOfOneself ends the administrator's own sessions, and says so.
func TestForceLogoutOfOneself(t *testing.T) {
	o := openOffice(t)
	for _, by := range []string{"handle", "user"} {
		root := o.root(t)
		value := map[string]string{"handle": root.handleOf("user=root"), "user": "root"}[by]
		root.get("/admin/end?"+by+"="+value).want(t, 200, "This is about yourself")
		root.post("/admin/end", by, value, "reason", "going home").wantTo(t, "/login?next=%2Fadmin&ended=own")
		root.get("/login?next=%2Fadmin&ended=own").want(t, 200, "Your session has ended, as you asked")
		root.get("/admin").wantTo(t, "/login?next=%2Fadmin")
	}
}

// TestAdminSearch finds sessions by each criterion.
func TestAdminSearch(t *testing.T) {
	o := openOffice(t)
	old := o.userFrom(t, "alice", firefox, "127.0.1.1")
	out := o.userFrom(t, "bob", iphone, "127.0.2.2")
	out.post("/logout")
	guest := o.visitorFrom(t, "curl/8.0", "127.0.2.3")
	guest.post("/cart", "item", "hat")
	o.forward(20*time.Minute + time.Second)
	old.get("/account") // used now, signed in long ago
	root := o.root(t)
	for query, want := range map[string]string{
		"":                                "alice root visitor",
		"user=alice":                      "alice",
		"user=ALICE+":                     "alice",
		"user=ali":                        "",
		"addr=127.0.1.1":                  "alice",
		"addr=127.0.2.0/24":               "visitor",
		"addr=127.0.2.0/24&state=any":     "bob visitor",
		"addr=::ffff:127.0.1.1":           "alice",
		"addr=::ffff:127.0.1.0/120":       "alice",
		"addr=10.0.0.0/8":                 "",
		"since=within-15m":                "root",
		"since=older-15m":                 "alice visitor",
		"since=within-1h":                 "alice root visitor",
		"seen=within-15m":                 "alice root",
		"seen=older-15m":                  "visitor",
		"since=older-15m&seen=within-15m": "alice",
		"state=signed-in":                 "alice root",
		"state=visitor":                   "visitor",
		"state=half":                      "",
		"state=locked":                    "",
		"state=ended":                     "bob",
		"state=ended&user=alice":          "",
		"state=any":                       "alice bob root visitor",
	} {
		page := root.get("/admin?" + query)
		if got := strings.Join(page.names(t), " "); got != want {
			t.Errorf("search %q: got %q, want %q", query, got, want)
		}
	}
	root.get("/admin?state=ended").want(t, 200, "signed out", "20 minutes ago", "Safari on iPhone", "127.0.2.2")
	root.get("/admin?state=visitor").want(t, 200, "curl", "1 session.", `<option value="visitor" selected>`)
	root.get("/admin?user=nobody").want(t, 200, "No session like that", `value="nobody"`)
	for query, want := range map[string]string{
		"addr=home": "no address", "addr=127.0.0.1/40": "no address", "seen=yesterday": "no such time", "state=happy": "no such time",
		"user=" + strings.Repeat("x", 65): "as long as that", "addr=%22%3E%3Cb%3E%E2%80%AE": `value="&#34;&gt;&lt;b&gt;?"`,
	} {
		root.get("/admin?"+query).want(t, 422, want)
	}
	if a := root.get("/admin?addr=" + strings.Repeat("x", 10_000)); a.StatusCode != 422 || strings.Count(a.text, "x") > 1000 {
		t.Errorf("an endless address: got status %d, and it is shown", a.StatusCode)
	}
	if a := root.get("/admin?cursor=made-up"); a.StatusCode != 400 {
		t.Errorf("an invented place in the list: got status %d, want 400", a.StatusCode)
	}
}

var rowName = regexp.MustCompile(`<th role="rowheader" scope="row"><a [^>]*>([^<]*)</a>`)

// names returns whose sessions a page lists, sorted.
func (a answer) names(t testing.TB) (names []string) {
	t.Helper()
	a.want(t, 200)
	for _, m := range rowName.FindAllStringSubmatch(a.text, -1) {
		names = append(names, m[1])
	}
	slices.Sort(names)
	return names
}

var nextPage = regexp.MustCompile(`<a href="([^"]+)">Next page</a>`)

// TestAdminPages goes from page to page and sees every session once, while others
// come and go.
func TestAdminPages(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	come := func() { o.visitor(t).post("/cart", "item", "hat").wantTo(t, "/") }
	const many = 120
	for range many {
		come()
	}
	want := make(map[string]bool)
	for address := "/admin?state=any"; address != ""; {
		page := root.get(address)
		for _, h := range page.listed(t) {
			want[h] = true
		}
		address = page.next()
	}
	if len(want) != many+1 {
		t.Fatalf("got %d sessions, want %d", len(want), many+1)
	}
	seen, pages := make(map[string]int), 0
	for address := "/admin"; address != ""; pages++ {
		page := root.get(address)
		handles := page.listed(t)
		for _, h := range handles {
			seen[h]++
		}
		if address = page.next(); address != "" {
			page.want(t, 200, fmt.Sprintf("%d sessions on this page, and there are more.", len(handles)))
		}
		come()
	}
	if pages < 3 {
		t.Errorf("got %d pages of %d sessions", pages, many)
	}
	for h := range want {
		if seen[h] != 1 {
			t.Errorf("session %s: seen %d times", h, seen[h])
		}
	}
	// The bookmark of a search leads to its next page, too.
	page := root.get("/admin?state=visitor")
	if next := page.next(); !strings.Contains(next, "state=visitor") || len(root.get(next).listed(t)) == 0 {
		t.Errorf("the next page of a search is %q", next)
	}
}

func (a answer) next() string {
	if m := nextPage.FindStringSubmatch(a.text); m != nil {
		return strings.ReplaceAll(m[1], "&amp;", "&")
	}
	return ""
}

// TestAdminSearchIsCutShort: one request looks at so many sessions and no more,
// says so, and goes on where it has stopped.
func TestAdminSearchIsCutShort(t *testing.T) {
	s := memory.New()
	o := openOfficeOn(t, s)
	root := o.root(t)
	const many = 4100
	for n := range many {
		if err := createVisitor(t, s, store.Handle{byte(n), byte(n >> 8), 1}, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	found, cut := 0, 0
	for address := "/admin?addr=127.0.0.1"; address != ""; {
		page := root.get(address)
		found += len(page.listed(t))
		if strings.Contains(page.text, "among the 2000 looked at. The search was cut short there") {
			cut++
		}
		address = page.next()
	}
	if found != 1 || cut != 2 {
		t.Errorf("found %d sessions on pages of which %d were cut short, want one on the two that were and a last one", found, cut)
	}
}

// createVisitor puts a visitor's session into the store, whose ticket nobody has.
func createVisitor(t testing.TB, s store.Store, h store.Handle, now time.Time) error {
	_, err := s.Create(t.Context(), store.Creation{Now: now, Record: store.Record{
		Handle: h, State: store.Anonymous, Transport: store.Cookie, Created: now, Seen: now, Rotated: now,
		Idle: time.Hour, Absolute: time.Hour, Deadline: now.Add(time.Hour), First: store.Client{Addr: netip.MustParseAddr("192.0.2.1")},
	}})
	return err
}

// TestAdminHostile: whatever browsers call themselves and administrators type, the
// pages stay what they are.
func TestAdminHostile(t *testing.T) {
	o := openOffice(t)
	root := o.root(t)
	agent := "\u202e\xff<script>alert(1)</script>\"'>" + strings.Repeat("<b>", 2000)
	mallory := o.visitorFrom(t, agent, "127.0.0.66")
	mallory.post("/cart", "item", "hat")
	mallory.signIn("alice", o.passwords["alice"])
	handle := root.handleOf("user=alice")
	root.post("/admin/end", "handle", handle, "reason", `"><script>alert(2)</script>`)
	root.wantSoon("/admin/session?handle="+handle, "&lt;script&gt;alert(2)", "new visitor", "as session")
	for _, path := range []string{
		"/admin?state=any", "/admin?user=" + url.QueryEscape(`"><script>`), "/admin/session?handle=" + handle,
		"/admin/end?user=" + url.QueryEscape(`"><script>`), "/admin/end?handle=" + handle,
	} {
		a := root.get(path)
		a.want(t, 200)
		if text := scriptFile.ReplaceAllString(a.text, ""); strings.Contains(text, "<script") || strings.Contains(text, "<b>") ||
			strings.ContainsAny(text, "\u202e\ufffd") || len(a.text) > 30_000 {
			t.Errorf("%s: got %d bytes:\n%s", path, len(text), text)
		}
	}
}
