package demo_test

import (
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pquerna/otp/totp"
)

// app is an authenticator app.
type app struct {
	t      testing.TB
	secret string
	clock  *clock
}

// code returns what the app shows, after the last one that anybody has seen.
func (a *app) code() string {
	a.t.Helper()
	a.clock.forward(30 * time.Second)
	code, err := totp.GenerateCode(a.secret, a.clock.read())
	if err != nil {
		a.t.Fatal(err)
	}
	return code
}

var secretText = regexp.MustCompile(`<code id="secret">([A-Z2-7 ]+)</code>`)

// secret returns the secret that the page shows.
func (v *visitor) secret() string {
	v.t.Helper()
	found := secretText.FindStringSubmatch(v.get("/account/second-factor").text)
	if found == nil {
		v.t.Fatal("the page shows no secret")
	}
	return strings.ReplaceAll(found[1], " ", "")
}

// enrolled switches on the second factor of who has just signed in.
func (v *visitor) enrolled(c *clock) *app {
	v.t.Helper()
	a := &app{v.t, v.secret(), c}
	v.post("/account/second-factor", "code", a.code()).wantTo(v.t, "/account")
	return a
}

func wrong(code string) string { return string((code[0]-'0'+1)%10+'0') + code[1:] }

// TestSecondFactor sets it up, signs in with it, and switches it off.
func TestSecondFactor(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	v := w.signedIn(t, "alice", firefox)
	v.get("/account").want(t, 200, "Set it up", "1 of 3")
	page := v.get("/account/second-factor")
	page.want(t, 200, `<svg class="qr"`, `role="img"`)
	if page.Header.Get("Cache-Control") != "no-store" {
		t.Error("the secret may be cached")
	}
	before, a := v.cookie(), &app{t, v.secret(), c}
	code := a.code()
	v.post("/account/second-factor", "code", wrong(code)).want(t, 403, "That is not the code", "the secret has stayed the same")
	v.get("/account").want(t, 200, "Set it up")
	if v.secret() != a.secret {
		t.Error("the secret has changed under the app")
	}
	v.post("/account/second-factor", "code", code[:3]+" "+code[3:]).wantTo(t, "/account") // as apps show it
	v.get("/account").want(t, 200, "Your second factor is on", "Switch it off", "password and code", "2 of 3")
	if v.cookie() == before {
		t.Error("raising the session kept its token")
	}
	if text := v.get("/account/second-factor").text; strings.Contains(text, `class="qr"`) || secretText.MatchString(text) {
		t.Error("the page shows the secret again")
	}

	v.post("/logout")
	v.signIn("alice", w.passwords["alice"]).wantTo(t, "/login/code?next=%2F")
	v.get("/login/code?next=%2F").want(t, 200, "You are not signed in yet", "Sign in")
	v.post("/login/code", "code", code).want(t, 403, "used already") // to switch it on
	v.wantSignedOut()
	v.post("/login/code", "code", a.code(), "next", "/account").wantTo(t, "/account")
	v.get("/account").want(t, 200, "Good to see you, alice", "password and code", "2 of 3")

	v.post("/account/second-factor/off").wantTo(t, "/account")
	v.get("/account").want(t, 200, "Your second factor is off", "Set it up")
	v.post("/logout")
	v.signIn("alice", w.passwords["alice"]).wantTo(t, "/")
	w.shut()
	log := w.log.String()
	for _, want := range []string{"second factor on          alice", "password right, code owed  alice", "second factor off         alice"} {
		if !strings.Contains(log, want) {
			t.Errorf("got no %q in the log:\n%s", want, log)
		}
	}
	if strings.Contains(log, code) || strings.Contains(log, a.secret) {
		t.Error("the log holds a code or the secret")
	}
}

// TestHalfOpen has the password and not the code: that is nobody.
func TestHalfOpen(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	desk := w.signedIn(t, "alice", firefox)
	a := desk.enrolled(c)
	used := a.code()
	other := w.visitor(t)
	other.signIn("alice", w.passwords["alice"])
	other.post("/login/code", "code", used).wantTo(t, "/")

	thief := w.visitor(t)
	thief.post("/cart", "item", "hat")
	thief.signIn("alice", w.passwords["alice"]).wantTo(t, "/login/code?next=%2F")
	for _, path := range []string{"/account", "/account/password", "/account/confirm", "/account/code", "/account/second-factor"} {
		if got := thief.get(path); got.StatusCode != 303 || !strings.HasPrefix(got.Header.Get("Location"), "/login?") {
			t.Errorf("%s: got status %d to %q, want to be sent to the login", path, got.StatusCode, got.Header.Get("Location"))
		}
	}
	for _, path := range []string{"/account/sessions/end-others", "/account/second-factor/off", "/account/code"} {
		thief.post(path).want(t, 401)
	}
	thief.get("/").want(t, 200, "Sign in")
	thief.post("/login/code", "code", used).want(t, 403, "used already")
	thief.post("/login/code", "code", "000").want(t, 403, "That is not the code")
	thief.post("/login/code").want(t, 403, "That is not the code")
	thief.wantSignedOut()

	desk.get("/account").want(t, 200, "knows your password and owes the code")
	c.forward(10*time.Minute + time.Second)
	thief.get("/login/code?next=%2Fcart").wantTo(t, "/login?next=%2Fcart")
	thief.post("/login/code", "code", a.code()).wantTo(t, "/login?next=%2F")
	thief.wantSignedOut()
}

// TestHalfOpenEnded ends a half-open login by what its owner does elsewhere.
func TestHalfOpenEnded(t *testing.T) {
	for name, end := range map[string]func(*visitor, string){
		"ended": func(desk *visitor, _ string) {
			desk.post("/account/sessions/end", "session", desk.other()).wantTo(desk.t, "/account")
		},
		"all others ended": func(desk *visitor, _ string) { desk.post("/account/sessions/end-others").wantTo(desk.t, "/account") },
		"password changed": func(desk *visitor, password string) {
			desk.changePassword(password, newPassword, newPassword).wantTo(desk.t, "/account")
		},
		"factor switched off": func(desk *visitor, _ string) { desk.post("/account/second-factor/off").wantTo(desk.t, "/account") },
	} {
		t.Run(name, func(t *testing.T) {
			c := new(clock)
			w := openWith(t, t.TempDir(), c.onClock)
			desk := w.signedIn(t, "alice", firefox)
			a := desk.enrolled(c)
			thief := w.visitor(t)
			thief.signIn("alice", w.passwords["alice"]).wantTo(t, "/login/code?next=%2F")
			end(desk, w.passwords["alice"])
			thief.post("/login/code", "code", a.code()).wantTo(t, "/login?next=%2F")
			thief.wantSignedOut()
			desk.wantSignedIn("alice")
		})
	}
}

// TestCodeGuessing slows down the guessing of codes, from wherever it comes.
func TestCodeGuessing(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	a := w.signedIn(t, "alice", "").enrolled(c)
	v := w.visitor(t)
	v.signIn("alice", w.passwords["alice"])
	code := a.code()
	for range 10 {
		v.post("/login/code", "code", wrong(code)).want(t, 403)
	}
	again := w.visitor(t) // a new login is no way round
	again.signIn("alice", w.passwords["alice"])
	again.post("/login/code", "code", code).want(t, 429, "Too many wrong codes", "somebody knows your password")
	again.wantSignedOut()
	c.forward(2 * time.Minute)
	again.post("/login/code", "code", a.code()).wantTo(t, "/")
}

// TestCodeRace sends one code from two browsers at once: one of them is in.
func TestCodeRace(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	a := w.signedIn(t, "alice", "").enrolled(c)
	code := a.code()
	var wg sync.WaitGroup
	statuses := make([]int, 4)
	for i := range statuses {
		v := w.visitor(t)
		v.signIn("alice", w.passwords["alice"])
		wg.Go(func() { statuses[i] = v.post("/login/code", "code", code).StatusCode })
	}
	wg.Wait()
	in := 0
	for _, status := range statuses {
		if status == 303 {
			in++
		}
	}
	if in != 1 {
		t.Errorf("got %v, want one login by one code", statuses)
	}
}

// TestStepUp raises a session that is older than the second factor, when it wants
// to change something.
func TestStepUp(t *testing.T) {
	for name, do := range map[string]func(*visitor, string) answer{
		"/account/password":            func(v *visitor, path string) answer { return v.get(path) },
		"/account/sessions/end-others": func(v *visitor, path string) answer { return v.post(path) },
		"/account/second-factor/off":   func(v *visitor, path string) answer { return v.post(path) },
	} {
		t.Run(name, func(t *testing.T) {
			c := new(clock)
			w := openWith(t, t.TempDir(), c.onClock)
			desk, phone := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", iphone)
			a := desk.enrolled(c)
			c.forward(6 * time.Minute) // no password is asked for beside the code
			phone.get("/account").want(t, 200, "older than that", "1 of 3")
			phone.changePassword(w.passwords["alice"], newPassword, newPassword).wantTo(t, "/account/code?next=%2Faccount%2Fpassword")
			asked := "/account/code?" + url.Values{"next": {name}}.Encode()
			do(phone, name).wantTo(t, asked)
			phone.get(asked).want(t, 200, "older than your second factor", `value="`+name+`"`)

			before, code := phone.cookie(), a.code()
			phone.post("/account/code", "next", name, "code", wrong(code)).want(t, 403, "That is not the code", `value="`+name+`"`)
			phone.get("/account").want(t, 200, "1 of 3")
			done := phone.post("/account/code", "next", name, "code", code)
			if name == "/account/password" {
				done.wantTo(t, name)
				phone.get(name).want(t, 200, "New password again")
			} else {
				done.wantTo(t, "/account")
			}
			if phone.cookie() == before {
				t.Error("raising the session kept its token")
			}
			phone.get("/account").want(t, 200, "2 of 3", "password and code")
			if name != "/account/second-factor/off" {
				phone.post("/account/code", "next", name, "code", code).want(t, 403, "used already")
			}
		})
	}
}

// TestFactorNeedsFreshness asks for the password before it shows a secret, or
// switches anything.
func TestFactorNeedsFreshness(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	v := w.signedIn(t, "alice", firefox)
	c.forward(6 * time.Minute)
	const page, off = "/account/second-factor", "/account/second-factor/off"
	v.get(page).wantTo(t, "/account/confirm?next=%2Faccount%2Fsecond-factor")
	v.post("/account/confirm", "next", page, "password", w.passwords["alice"]).wantTo(t, page)
	a := &app{t, v.secret(), c}
	c.forward(6 * time.Minute)
	v.post(page, "code", a.code()).wantTo(t, "/account/confirm?next=%2Faccount%2Fsecond-factor")
	v.post("/account/confirm", "next", page, "password", w.passwords["alice"]).wantTo(t, page)
	if v.secret() != a.secret {
		t.Error("the secret has changed under the app")
	}
	v.post(page, "code", a.code()).wantTo(t, "/account")

	c.forward(6 * time.Minute)
	v.post(off).wantTo(t, "/account/confirm?next=%2Faccount%2Fsecond-factor%2Foff")
	v.get("/account").want(t, 200, "Switch it off")
	v.post("/account/confirm", "next", off, "password", "wrong").want(t, 403)
	v.get("/account").want(t, 200, "Switch it off")
	v.post("/account/confirm", "next", off, "password", w.passwords["alice"]).wantTo(t, "/account")
	v.get("/account").want(t, 200, "Set it up")
}

// TestStaleSecret begins anew with a secret that was shown long ago.
func TestStaleSecret(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	v := w.signedIn(t, "alice", firefox)
	old := v.secret()
	for range 2 {
		c.forward(16 * time.Minute)
		v.post("/account/confirm", "next", "", "password", w.passwords["alice"])
	}
	late := &app{t, old, c}
	v.post("/account/second-factor", "code", late.code()).want(t, 403, "too long", "Here is a new secret")
	if v.secret() == old {
		t.Error("the secret is the old one after half an hour")
	}
	v.get("/account").want(t, 200, "Set it up")
}

// TestEarlierFactor: a session that has shown a factor which is gone has not shown
// the one there is now, whatever its level. Otherwise a thief who knows the
// password would switch on a factor of his own and off again, and go round the
// owner's from then on.
func TestEarlierFactor(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	thief := w.signedIn(t, "alice", iphone)
	his := thief.enrolled(c)
	other := w.visitor(t)
	other.signIn("alice", w.passwords["alice"])
	other.post("/login/code", "code", his.code()).wantTo(t, "/")
	thief.post("/account/second-factor/off").wantTo(t, "/account")
	thief.get("/account").want(t, 200, "2 of 3")

	desk := w.signedIn(t, "alice", firefox)
	hers := desk.enrolled(c)
	for name, v := range map[string]*visitor{"who had switched it on": thief, "who had signed in with it": other} {
		t.Run(name, func(t *testing.T) {
			const off = "/account/second-factor/off"
			v.get("/account").want(t, 200, "older than that")
			v.post(off).wantTo(t, "/account/code?next=%2Faccount%2Fsecond-factor%2Foff")
			v.get("/account/password").wantTo(t, "/account/code?next=%2Faccount%2Fpassword")
			v.post("/account/code", "next", off, "code", his.code()).want(t, 403, "That is not the code")
			desk.get("/account").want(t, 200, "Switch it off")
		})
	}
	desk.get("/account/password").want(t, 200)
	thief.post("/account/code", "next", "/account/password", "code", hers.code()).wantTo(t, "/account/password")
	thief.get("/account/password").want(t, 200)
}

// TestAdminNeedsTheFactorThereIs: who has switched on a factor of his own, shown it
// and switched it off again, has shown nothing of the one that came after it.
func TestAdminNeedsTheFactorThereIs(t *testing.T) {
	o := openOffice(t)
	thief := o.root(t)
	thief.enrolled(o.clock)
	thief.post("/account/second-factor/off").wantTo(t, "/account")
	thief.get("/admin").want(t, 200)
	o.root(t).enrolled(o.clock)
	thief.get("/admin").wantTo(t, "/account/code?next=%2Fadmin")
}

// TestFactorRace sets up a factor in several sessions at once: one is on, the others
// are told so, and have shown nothing.
func TestFactorRace(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	visitors, forms := make([]*visitor, 4), make([]string, 4)
	for i := range visitors {
		visitors[i] = w.signedIn(t, "alice", "")
		code, err := totp.GenerateCode(visitors[i].secret(), c.read())
		if err != nil {
			t.Fatal(err)
		}
		token := tokenField.FindStringSubmatch(visitors[i].get("/").text)[1]
		forms[i] = url.Values{"csrf": {token}, "code": {code}}.Encode()
	}
	var wg sync.WaitGroup
	done := make([]bool, len(visitors))
	for i, v := range visitors {
		wg.Go(func() {
			a := v.send("POST", "/account/second-factor", strings.NewReader(forms[i]))
			done[i] = a.Header.Get("Location") == "/account"
		})
	}
	wg.Wait()
	var proven []bool
	told := 0
	for i, v := range visitors {
		proven = append(proven, v.get("/account/password").StatusCode == 200)
		if done[i] {
			told++
		}
	}
	if told != 1 || !slices.Equal(proven, done) {
		t.Errorf("told that it is on: %v, and have shown it: %v; want one, the same", done, proven)
	}
}

// TestNothingToShow does not ask for a code that nobody owes.
func TestNothingToShow(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	v := w.signedIn(t, "alice", "")
	v.get("/account/code").wantTo(t, "/account")
	v.enrolled(c)
	v.get("/account/code?next=%2Faccount%2Fpassword").wantTo(t, "/account")
}
