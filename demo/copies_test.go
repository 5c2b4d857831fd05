package demo_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// lagging is a store that answers from copies, which stay what they were once it is
// told to.
type lagging struct {
	store.Store

	mu     sync.Mutex
	copies map[store.Key][]byte
	lags   bool
}

func (l *lagging) ServesCopies() bool { return true }

func (l *lagging) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if copied, known := l.copies[k]; known && l.lags && !store.IsFresh(ctx) {
		return store.DecodeRecord(copied)
	}
	r, err := l.Store.Load(ctx, k, parts)
	if err == nil && !l.lags && len(parts) > 0 {
		l.copies[k] = r.Append(nil)
	}
	return r, err
}

func (l *lagging) lag() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lags = true
}

// TestEndedElsewhere: a session that another node has ended a moment ago may be taken
// for alive where somebody reads, but not where he would do something to others or
// to his account, or sees the sessions of everybody.
func TestEndedElsewhere(t *testing.T) {
	engine := memory.New()
	near := &lagging{Store: engine, copies: make(map[store.Key][]byte)}
	o := openOfficeOn(t, near)
	root, second := o.root(t), o.userFrom(t, "root", iphone, "127.0.0.1")
	other := root.other()
	handles := root.get("/admin?user=root").listed(t)
	own := handles[0]
	if own == other {
		own = handles[1]
	}
	near.lag()
	h, err := session.ParseHandle(own)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := engine.Revoke(t.Context(), store.Revocation{Handle: h, Cause: "test", Now: time.Now()}); err != nil {
		t.Fatal(err)
	}
	root.get("/account").want(t, 200) // it is a copy that answers
	requests := adminRequests(other)
	for name, path := range map[string]string{"the other session": "/account/sessions/end", "the password": "/account/password"} {
		requests[name] = func(v *visitor) answer { return v.post(path, "session", other) }
	}
	for name, ask := range requests {
		if a := ask(root); a.StatusCode != 401 && (a.StatusCode != 303 || a.Header.Get("Location") != "/login?next=%2Fadmin") {
			t.Errorf("%s: got status %d to %q, want to be asked to sign in", name, a.StatusCode, a.Header.Get("Location"))
		}
	}
	second.get("/admin").want(t, 200)
}
