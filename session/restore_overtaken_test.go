package session_test

import (
	"context"
	"net/http"
	"sync"
	"testing"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// interposed is an external store in which something happens before a creation.
type interposed struct {
	store.Store
	once   sync.Once
	before func()
}

func (s *interposed) Create(ctx context.Context, c store.Creation) (store.Created, error) {
	if s.before != nil {
		s.once.Do(s.before)
	}
	return s.Store.Create(ctx, c)
}

// TestRestoreOvertaken: a revocation between the last look at the remembered login and
// the creation of the session refuses the session, wherever it was made.
func TestRestoreOvertaken(t *testing.T) {
	for name, revoke := range map[string]func(w *world, series session.Handle) error{
		"the subject": func(w *world, _ session.Handle) error {
			_, err := w.RevokeSubject(context.Background(), "alice", "test")
			return err
		},
		"everything": func(w *world, _ session.Handle) error { return w.RevokeAll(context.Background(), "test") },
		"the remembered login": func(w *world, h session.Handle) error {
			_, err := w.Revoke(context.Background(), h, "test")
			return err
		},
	} {
		for _, where := range []string{"here", "on another node"} {
			t.Run(name+" "+where, func(t *testing.T) {
				s := &interposed{Store: external{memory.New()}}
				nodes := twoNodes(t, s, func(*session.Config) {})
				w := nodes[0]
				b := w.browser(t)
				b.remember("alice")
				series := w.logins(t, "alice")[0].Handle
				s.before = func() {
					if where != "here" {
						w = nodes[1]
					}
					if err := revoke(w, series); err != nil {
						t.Error(err)
					}
				}
				before := cookiesOf(b.reopen())
				nodes[0].mux.Handle("GET /private", nodes[0].RequireLogin(http.HandlerFunc(showPage)))
				if resp := b.do(b.request("GET", "/private", nil)); resp.StatusCode != 401 || cookiesOf(b) != before {
					t.Errorf("overtaken: got status %d, cookies touched: %t", resp.StatusCode, cookiesOf(b) != before)
				}
				nodes[0].wantForgotten(t, "alice", b)
			})
		}
	}
}
