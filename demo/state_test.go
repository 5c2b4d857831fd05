package demo_test

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/demo"
	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// state asks as the pages do.
func (v *visitor) state() (user string, idle, absolute int) {
	v.t.Helper()
	a := v.get("/session")
	a.want(v.t, 200)
	var s struct {
		User           string
		Idle, Absolute int
	}
	if err := json.Unmarshal([]byte(a.text), &s); err != nil {
		v.t.Fatalf("got %q: %v", a.text, err)
	}
	if got := a.Header.Get("Cache-Control"); got != "no-store" {
		v.t.Errorf("got Cache-Control %q, want no-store", got)
	}
	return s.User, s.Idle, s.Absolute
}

// TestState asks how long the session lasts, which keeps no session alive, and
// stays, which does.
func TestState(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), func(o *demo.Options) {
		c.onClock(o)
		o.Limits = session.Limits{Idle: 10 * time.Minute, Absolute: time.Hour}
	})
	visitor := w.visitor(t)
	if user, idle, absolute := visitor.state(); user != "" || idle != 0 || absolute != 0 {
		t.Errorf("a visitor: got %q, %d, %d", user, idle, absolute)
	}
	if visitor.cookie() != "" {
		t.Error("asking made a session")
	}
	v := w.signedIn(t, "alice", "")
	v.get("/").want(t, 200, `data-user="alice" data-warn="120"`)
	c.forward(4 * time.Minute)
	for range 3 {
		if user, idle, absolute := v.state(); user != "alice" || idle != 360 || absolute != 56*60 {
			t.Errorf("after 4 minutes: got %q, %d, %d; want alice, 360, 3360", user, idle, absolute)
		}
	}
	v.get("/session/stay").want(t, 204)
	if _, idle, absolute := v.state(); idle != 600 || absolute != 56*60 {
		t.Errorf("after staying: got %d, %d; want 600, 3360", idle, absolute)
	}
	c.forward(9 * time.Minute)
	if user, idle, _ := v.state(); user != "alice" || idle != 60 {
		t.Errorf("9 minutes after staying: got %q, %d; want alice, 60", user, idle)
	}
	c.forward(time.Minute + time.Second)
	if user, _, _ := v.state(); user != "" {
		t.Error("asking has kept the session alive")
	}
	v.wantSignedOut()
	v.get("/session/stay").wantTo(t, "/login?next=%2F")
}

// TestStateAtTheEnd types the password before the absolute timeout, and stays.
func TestStateAtTheEnd(t *testing.T) {
	c := new(clock)
	w := openWith(t, t.TempDir(), func(o *demo.Options) {
		c.onClock(o)
		o.Limits = session.Limits{Idle: 10 * time.Minute, Absolute: 15 * time.Minute}
	})
	v := w.signedIn(t, "alice", "")
	c.forward(10*time.Minute - 2*time.Second) // so late that it is noted at once
	v.get("/session/stay").want(t, 204)
	c.forward(4*time.Minute + 2*time.Second)
	if _, idle, absolute := v.state(); idle != 60 || absolute != 60 {
		t.Errorf("got %d, %d; want 60, 60", idle, absolute)
	}
	v.post("/account/confirm", "next", "/account", "password", w.passwords["alice"]).wantTo(t, "/account")
	if _, _, absolute := v.state(); absolute != 15*60 {
		t.Errorf("after the password: got %d, want 900", absolute)
	}
}

// blind is a store that does not find its records, while it is told so.
type blind struct {
	store.Store
	refuse atomic.Bool
}

func (b *blind) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	if b.refuse.Load() {
		return store.Record{}, store.ErrUnavailable
	}
	return b.Store.Load(ctx, k, parts)
}

// TestStateUnknown does not tell a page that its user is signed out when nobody
// knows.
func TestStateUnknown(t *testing.T) {
	var b *blind
	w := openWith(t, t.TempDir(), func(o *demo.Options) { b = &blind{Store: o.Store}; o.Store = b })
	v := w.signedIn(t, "alice", "")
	b.refuse.Store(true)
	v.get("/session").want(t, 503)
	b.refuse.Store(false)
	if user, _, _ := v.state(); user != "alice" {
		t.Errorf("got %q, want alice", user)
	}
}
