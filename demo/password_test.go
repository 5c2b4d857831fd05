package demo_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/demo"
	"cloakroom.example/session/store"
)

const newPassword = "seven pegs in a row"

// changePassword fills in the form.
func (v *visitor) changePassword(current, fresh, again string) answer {
	v.t.Helper()
	return v.post("/account/password", "current", current, "new", fresh, "again", again)
}

// TestPassword changes the password: a new token, everybody else is out, and only
// the new password signs in.
func TestPassword(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), c.onClock)
	desk, phone, bob := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", iphone), w.signedIn(t, "bob", "")
	c.forward(6 * time.Minute)
	before := desk.cookie()
	desk.changePassword(w.passwords["alice"], newPassword, newPassword).wantTo(t, "/account")
	if desk.cookie() == before {
		t.Error("the token is the old one")
	}
	desk.get("/account").want(t, 200, "Your password is changed. 1 other session is ended.")
	desk.post("/account/sessions/end-others").wantTo(t, "/account") // proof enough
	thief := w.visitorWith(t, jarOf(t, w.URL, before))
	thief.wantSignedOut()
	phone.wantSignedOut()
	bob.wantSignedIn("bob")
	phone.signIn("alice", w.passwords["alice"]).want(t, 401)
	phone.signIn("alice", newPassword).wantTo(t, "/")
	w.shut()
	if log := w.log.String(); !strings.Contains(log, "password changed          alice") || strings.Contains(log, newPassword) {
		t.Errorf("got log:\n%s", log)
	}
}

// TestPasswordRefusals changes nothing, and ends nothing.
func TestPasswordRefusals(t *testing.T) {
	w := open(t, t.TempDir())
	desk, phone := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", iphone)
	old := w.passwords["alice"]
	long := strings.Repeat("ü", 36) + "x" // 73 bytes
	for _, c := range []struct {
		name                  string
		current, fresh, again string
		want                  int
		text, field           string
	}{
		{"wrong password", "no such horse", newPassword, newPassword, 403, "not your password", "current"},
		{"no password", "", newPassword, newPassword, 422, "type your current password", "current"},
		{"short", old, "seven77", "seven77", 422, "at least 8 characters. This one has 7", "new"},
		{"short in letters, not in bytes", old, "üüüüüüü", "üüüüüüü", 422, "This one has 7", "new"},
		{"long", old, long, long, 422, "we can keep 72 bytes, and this has 73", "new"},
		{"the same", old, old, old, 422, "you have already", "new"},
		{"typed wrong", old, newPassword, newPassword + "!", 422, "not the same as the new password", "again"},
	} {
		t.Run(c.name, func(t *testing.T) {
			refused := desk.changePassword(c.current, c.fresh, c.again)
			refused.want(t, c.want, c.text, `id="why"`)
			_, input, _ := strings.Cut(refused.text, `<input id="`+c.field+`"`)
			input, _, _ = strings.Cut(input, ">")
			if !strings.Contains(input, `aria-invalid="true"`) || !strings.Contains(input, "autofocus") {
				t.Errorf("got field %s not marked:%s", c.field, input)
			}
			for _, secret := range []string{c.current, c.fresh} {
				if secret != "" && strings.Contains(refused.text, secret) {
					t.Errorf("the page holds %q", secret)
				}
			}
			phone.wantSignedIn("alice")
		})
	}
	w.signedIn(t, "alice", "") // by the old password
	w.visitor(t).changePassword(old, newPassword, newPassword).want(t, 401)
	for range 20 {
		desk.changePassword("guess", newPassword, newPassword)
	}
	desk.changePassword(old, newPassword, newPassword).want(t, 429, "Too many tries")
}

// TestLongPassword: bcrypt looks at 72 bytes, and the shop does not pretend that
// what comes after them does not matter.
func TestLongPassword(t *testing.T) {
	w := open(t, t.TempDir())
	v := w.signedIn(t, "alice", "")
	long := strings.Repeat("x", 72)
	v.changePassword(w.passwords["alice"], long, long).wantTo(t, "/account")
	w.visitor(t).signIn("alice", long+"y").want(t, 401)
	w.visitor(t).signIn("alice", long).wantTo(t, "/")
}

// busy is a store in which something happens right after the next session was
// stored.
type busy struct {
	store.Store
	then atomic.Pointer[func()]
}

func (b *busy) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	created, err := b.Store.Create(ctx, c)
	if then := b.then.Swap(nil); then != nil {
		(*then)()
	}
	return created, err
}

// TestPasswordRace changes the password while another change is under way: the one
// that is too late is told so, and overwrites nothing.
func TestPasswordRace(t *testing.T) {
	var b *busy
	w := openWith(t, t.TempDir(), func(o *demo.Options) { b = &busy{Store: o.Store}; o.Store = b })
	desk, phone := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", iphone)
	faster := func() {
		phone.changePassword(w.passwords["alice"], newPassword, newPassword).wantTo(t, "/account")
	}
	b.then.Store(&faster)
	desk.changePassword(w.passwords["alice"], "slow and late", "slow and late").want(t, 409, "Somebody was faster")
	desk.wantSignedOut()
	phone.wantSignedIn("alice")
	desk.signIn("alice", "slow and late").want(t, 401)
	desk.signIn("alice", newPassword).wantTo(t, "/")
}

// lame is a store that does not revoke, while it is told so.
type lame struct {
	store.Store
	refuse atomic.Bool
}

func (l *lame) Revoke(ctx context.Context, v store.Revocation) (store.Revoked, error) {
	if l.refuse.Load() {
		return store.Revoked{}, store.ErrUnavailable
	}
	return l.Store.Revoke(ctx, v)
}

// TestPasswordHalfway cannot end the other sessions, and says so: the password is
// changed all the same.
func TestPasswordHalfway(t *testing.T) {
	var l *lame
	w := openWith(t, t.TempDir(), func(o *demo.Options) { l = &lame{Store: o.Store}; o.Store = l })
	desk, phone := w.signedIn(t, "alice", firefox), w.signedIn(t, "alice", iphone)
	l.refuse.Store(true)
	desk.changePassword(w.passwords["alice"], newPassword, newPassword).want(t, 503, "Your password is changed, but", "end them there")
	l.refuse.Store(false)
	phone.wantSignedIn("alice")
	desk.wantSignedIn("alice")
	desk.post("/account/sessions/end-others").wantTo(t, "/account")
	phone.wantSignedOut()
	phone.signIn("alice", w.passwords["alice"]).want(t, 401)
	phone.signIn("alice", newPassword).wantTo(t, "/")
}
