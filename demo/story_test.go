package demo_test

import (
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStory is S-001 over real HTTP, with a restart of the shop in between.
func TestStory(t *testing.T) {
	dir := t.TempDir()
	w := open(t, dir)
	v := w.visitor(t)
	v.get("/").want(t, 200, "Felt hat")
	if v.cookie() != "" {
		t.Error("a visitor who has stored nothing has a session")
	}
	v.post("/cart", "item", "hat").wantTo(t, "/")
	v.get("/").want(t, 200, "Felt hat added to your basket.")
	if strings.Contains(v.get("/").text, "added to") {
		t.Error("the note is shown twice")
	}
	v.post("/cart", "item", "hat")
	v.post("/cart", "item", "boots")
	v.get("/cart").want(t, 200, "Felt hat", "€190", "Rain boots", "€262")
	before := v.cookie()

	v.post("/login", "username", "alice", "password", w.passwords["alice"], "next", "/cart").wantTo(t, "/cart")
	if got := v.cookie(); got == before || got == "" {
		t.Error("signing in kept the cookie")
	}
	page := v.get("/cart")
	page.want(t, 200, "You are signed in", "€262", "Sign out")
	if got := page.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("a signed-in page: got Cache-Control %q, want no-store", got)
	}

	w.shut()
	again := open(t, dir)
	if again.passwords["alice"] == w.passwords["alice"] {
		t.Error("the password is the old one")
	}
	moved := again.visitorWith(t, nil)
	moved.client.Jar = jarOf(t, again.URL, v.cookie())
	moved.get("/cart").want(t, 200, "€262", "alice")
	moved.get("/account").want(t, 200, "alice", "Signed in since", "password", "29 minutes", "11 hours 59 minutes")
}

func TestLogout(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	v.signIn("root", w.passwords["root"]).wantTo(t, "/")
	v.get("/account").want(t, 200, "admin")
	old := v.cookie()
	out := v.post("/logout")
	out.wantTo(t, "/?signed-out")
	if got := out.Header.Get("Clear-Site-Data"); got == "" {
		t.Error("logout sends no Clear-Site-Data")
	}
	v.get("/?signed-out").want(t, 200, "You are signed out")
	v.get("/account").wantTo(t, "/login?next=%2Faccount")

	thief := w.visitorWith(t, jarOf(t, w.URL, old))
	thief.get("/account").wantTo(t, "/login?next=%2Faccount")
	thief.get("/cart").want(t, 200, "Nothing on your peg")
	thief.get("/").want(t, 200, "Sign in")
	thief.post("/cart", "item", "hat").want(t, 401, "has ended")
}

// TestParallelAdds adds one piece in each of many requests at once.
func TestParallelAdds(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	v.signIn("bob", w.passwords["bob"])
	const many = 40
	token := tokenField.FindStringSubmatch(v.get("/").text)[1]
	var wg sync.WaitGroup
	statuses := make([]int, many)
	for i := range many {
		wg.Go(func() {
			resp, err := v.client.PostForm(w.URL+"/cart", map[string][]string{"item": {"scarf"}, "csrf": {token}})
			if err != nil {
				t.Error(err)
				return
			}
			resp.Body.Close()
			statuses[i] = resp.StatusCode
			if page, err := v.client.Get(w.URL + "/"); err != nil || page.StatusCode != 200 {
				t.Errorf("showing the note: got %v, %v", page, err)
			} else {
				page.Body.Close()
			}
		})
	}
	wg.Wait()
	for i, status := range statuses {
		if status != http.StatusSeeOther {
			t.Errorf("add number %d: got status %d", i, status)
		}
	}
	v.get("/cart").want(t, 200, `<td class="number">40</td>`)
}

// TestLog reads what the terminal shows of a visit.
func TestLog(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.visitor(t)
	v.post("/cart", "item", "hat")
	v.signIn("alice", "wrong")
	v.signIn("correct horse battery", "typed into the wrong field")
	v.signIn("alice", w.passwords["alice"])
	token := v.cookie()
	v.post("/logout")
	w.shut()
	log := w.log.String()
	for _, want := range []string{"new visitor", "wrong password            alice ", "signed in                 alice   session ",
		"signed out                alice ", "127.0.0.1        Go program\n"} {
		if !strings.Contains(log, want) {
			t.Errorf("got no %q in the log:\n%s", want, log)
		}
	}
	for name, secret := range map[string]string{
		"token": token, "password": w.passwords["alice"], "unknown name": "battery", "typed password": "typed",
	} {
		if secret == "" || strings.Contains(log, secret) {
			t.Errorf("the log holds the %s:\n%s", name, log)
		}
	}
	for _, line := range strings.Split(strings.TrimSpace(log), "\n") {
		if _, err := time.Parse(time.TimeOnly, line[:8]); err != nil {
			t.Errorf("line %q begins with no time", line)
		}
	}
}
