package session_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store/memory"
)

// keyStep is what a request of a keyRig does.
type keyStep func(context.Context, *session.Session)

type keyStepName struct{}

// keyRig is a browser whose requests do what the test says.
type keyRig struct {
	*browser
	w *world
}

func newKeyRig(t testing.TB, change func(*session.Config)) *keyRig {
	w := newWorld(t, change)
	w.mux.HandleFunc("GET /do", func(rw http.ResponseWriter, r *http.Request) {
		r.Context().Value(keyStepName{}).(keyStep)(r.Context(), session.From(r.Context()))
		reply(rw, nil, "done")
	})
	return &keyRig{w.browser(t), w}
}

// run makes one request and returns the status of its response.
func (k *keyRig) run(step keyStep) int {
	k.t.Helper()
	r := k.request("GET", "/do", nil)
	resp := k.do(r.WithContext(context.WithValue(r.Context(), keyStepName{}, step)))
	if resp.StatusCode != 200 && strings.Contains(body(k.t, resp), "done") {
		k.t.Errorf("got status %d with the handler's own response, want the error alone", resp.StatusCode)
	}
	return resp.StatusCode
}

// must is run for requests that succeed.
func (k *keyRig) must(step keyStep) {
	k.t.Helper()
	if got := k.run(step); got != 200 {
		k.t.Fatalf("got status %d, want 200", got)
	}
}

// noError and wantError check what a method returned.
func noError(t testing.TB, doing string, err error) {
	t.Helper()
	if err != nil {
		t.Errorf("%s: got error %v", doing, err)
	}
}

func wantError(t testing.TB, doing string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: got error %v, want %v", doing, err, want)
	}
}

// bigEndian is a codec of our own.
type bigEndian struct{ id byte }

func (c bigEndian) ID() byte { return c.id }

func (c bigEndian) Encode(v any) ([]byte, error) {
	n := v.(uint64)
	if n == 0 {
		return nil, errors.New("zero is not supported")
	}
	return binary.BigEndian.AppendUint64(nil, n), nil
}

func (c bigEndian) Decode(data []byte, v any) error {
	if len(data) != 8 {
		return fmt.Errorf("cannot decode %q", data)
	}
	*v.(*uint64) = binary.BigEndian.Uint64(data)
	return nil
}

// checkKind stores a value in one request and reads it in the next.
func checkKind[V any](t *testing.T, name string, v V, options ...session.KeyOption) {
	t.Run(name, func(t *testing.T) {
		k, rig := session.NewKey[V](name, options...), newKeyRig(t, nil)
		rig.must(func(_ context.Context, s *session.Session) {
			if got, ok := k.Get(s); ok {
				t.Errorf("before Set: got %#v", got)
			}
			noError(t, "Set", k.Set(s, v))
			if got, ok := k.Get(s); !ok || !reflect.DeepEqual(got, v) {
				t.Errorf("after Set: got %#v, %v; want %#v", got, ok, v)
			}
		})
		rig.must(func(_ context.Context, s *session.Session) {
			if got, ok, err := k.Lookup(s); !ok || err != nil || !reflect.DeepEqual(got, v) {
				t.Errorf("next request: got %#v, %v, %v; want %#v", got, ok, err, v)
			}
			noError(t, "Delete", k.Delete(s))
			if _, ok := k.Get(s); ok {
				t.Error("after Delete: the value is still there")
			}
		})
		rig.must(func(ctx context.Context, s *session.Session) {
			if got, ok, err := k.Pop(ctx, s); ok || err != nil || !reflect.ValueOf(&got).Elem().IsZero() {
				t.Errorf("Pop after Delete: got %#v, %v, %v; want nothing", got, ok, err)
			}
		})
	})
}

func TestKeyKinds(t *testing.T) {
	type profile struct {
		Name string
		Tags map[string]int
		Next *profile
	}
	type named string
	checkKind(t, "struct", profile{"a", map[string]int{"x": 1}, &profile{Name: "b"}})
	checkKind(t, "slice", []string{"a", ""})
	checkKind(t, "pointer", &profile{Name: "c"})
	checkKind[*profile](t, "nil pointer", nil)
	checkKind[map[string]int](t, "nil map", nil)
	checkKind(t, "interface", any("x"))
	checkKind(t, "number", 42)
	checkKind(t, "zero", 0)
	checkKind(t, "bytes", []byte("\x00\xff not UTF-8"))
	checkKind(t, "empty bytes", []byte{})
	checkKind(t, "string", "\x00\xff not UTF-8")
	checkKind(t, "empty string", "")
	checkKind(t, "named string", named("x"))
	checkKind(t, "time", time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC))
	checkKind(t, "own codec", uint64(7), session.WithCodec(bigEndian{64}))
	checkKind(t, strings.Repeat("n", 255), "longest name")
}

func TestKeyNames(t *testing.T) {
	for name, want := range map[string]bool{"": true, strings.Repeat("n", 256): true, "x": false, "\xff\x00 é": false} {
		func() {
			defer func() {
				if got := recover() != nil; got != want {
					t.Errorf("NewKey(%q): got panic %v, want %v", name, got, want)
				}
			}()
			session.NewKey[int](name)
		}()
	}
}

// TestKeyOwnBytes: neither what was given nor what was returned is shared.
func TestKeyOwnBytes(t *testing.T) {
	k, rig := session.NewKey[[]byte]("bytes"), newKeyRig(t, nil)
	check := func(s *session.Session) {
		t.Helper()
		got, _ := k.Get(s)
		if string(got) != "abc" {
			t.Errorf("got %q, want what was set", got)
		}
		copy(got, "xyz")
		_ = append(got, "overwritten"...)
	}
	rig.must(func(_ context.Context, s *session.Session) {
		mine := []byte("abc")
		noError(t, "Set", k.Set(s, mine))
		mine[0] = 'x'
		check(s)
		check(s)
	})
	rig.must(func(ctx context.Context, s *session.Session) {
		check(s)
		check(s)
		noError(t, "Update", k.Update(ctx, s, func(b *[]byte) error { (*b)[0] = 'a'; return nil }))
		check(s)
	})
	rig.must(func(_ context.Context, s *session.Session) { noError(t, "Set of nil", k.Set(s, nil)) })
	rig.must(func(_ context.Context, s *session.Session) {
		if got, ok := k.Get(s); !ok || len(got) != 0 {
			t.Errorf("after Set of nil: got %q, %v; want an empty value", got, ok)
		}
	})
}

// TestKeyUndecodable: a value that another version of the program wrote takes
// down nothing but itself, and not for good.
func TestKeyUndecodable(t *testing.T) {
	const secret = "4711-secret"
	for _, c := range []struct {
		name  string
		write func(*session.Session) error
		text  string
	}{
		{"other codec", func(s *session.Session) error { return session.NewKey[string]("n").Set(s, secret) }, "stored by codec 1, read by 2"},
		{"own codec", func(s *session.Session) error {
			return session.NewKey[uint64]("n", session.WithCodec(bigEndian{200})).Set(s, 7)
		}, "stored by codec 200, read by 2"},
		{"other type", func(s *session.Session) error { return session.NewKey[[]string]("n").Set(s, []string{secret}) }, `decoding "n"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			rig, k, other := newKeyRig(t, nil), session.NewKey[int]("n"), session.NewKey[int]("other")
			rig.must(func(_ context.Context, s *session.Session) {
				noError(t, "writing", errors.Join(c.write(s), other.Set(s, 5)))
			})
			rig.must(func(ctx context.Context, s *session.Session) {
				got, ok, err := k.Lookup(s)
				wantError(t, "Lookup", err, session.ErrUndecodable)
				if ok || got != 0 || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), secret) {
					t.Errorf("Lookup: got %d, %v, %v; want 0, false and a text with %q, without the value", got, ok, err, c.text)
				}
				ran := func(*int) error { t.Error("Update called its function"); return nil }
				wantError(t, "Update", k.Update(ctx, s, ran), session.ErrUndecodable)
				wantError(t, "Pop", errOf3(k.Pop(ctx, s)), session.ErrUndecodable)
				if got, ok := other.Get(s); !ok || got != 5 {
					t.Errorf("the other key: got %d, %v; want 5", got, ok)
				}
				noError(t, "Set", k.Set(s, 1))
			})
			rig.must(func(_ context.Context, s *session.Session) {
				if got, ok := k.Get(s); !ok || got != 1 {
					t.Errorf("after Set: got %d, %v; want it repaired", got, ok)
				}
			})
		})
	}
}

func errOf3[A, B any](_ A, _ B, err error) error { return err }

// TestKeyEncodeFails: a codec that refuses a value changes nothing.
func TestKeyEncodeFails(t *testing.T) {
	rig, k := newKeyRig(t, nil), session.NewKey[uint64]("n", session.WithCodec(bigEndian{64}))
	rig.must(func(ctx context.Context, s *session.Session) {
		noError(t, "Set", k.Set(s, 3))
		for doing, err := range map[string]error{
			"Set": k.Set(s, 0), "Update": k.Update(ctx, s, func(n *uint64) error { *n = 0; return nil }),
		} {
			if err == nil || !strings.Contains(err.Error(), `encoding "n": zero is not supported`) {
				t.Errorf("%s: got error %v, want the codec's", doing, err)
			}
		}
	})
	rig.must(func(_ context.Context, s *session.Session) {
		if got, _ := k.Get(s); got != 3 {
			t.Errorf("got %d, want 3", got)
		}
	})
}

func TestKeyFlash(t *testing.T) {
	rig := newKeyRig(t, nil)
	set := func(_ context.Context, s *session.Session) { noError(t, "Set", notice.Set(s, "saved")) }
	see := func(want string) keyStep {
		return func(_ context.Context, s *session.Session) {
			if got, _ := notice.Get(s); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
	}
	rig.must(set)
	rig.must(func(context.Context, *session.Session) {}) // does not show it
	rig.must(see("saved"))
	rig.must(see(""))
	rig.must(set)
	rig.must(func(ctx context.Context, s *session.Session) {
		see("saved")(ctx, s)
		see("")(ctx, s)
		noError(t, "Set", notice.Set(s, "again"))
	})
	rig.must(see("again"))
	rig.must(see(""))
}

// TestKeyFlashRace: as Lookup says, two pages that race for a flash value may
// both show it; neither of them fails for that.
func TestKeyFlashRace(t *testing.T) {
	rig := newKeyRig(t, nil)
	rig.must(func(_ context.Context, s *session.Session) { noError(t, "Set", notice.Set(s, "saved")) })
	got := rig.run(func(_ context.Context, s *session.Session) {
		if v, ok := notice.Get(s); !ok || v != "saved" {
			t.Errorf("got %q, %v; want saved", v, ok)
		}
		rig.must(func(_ context.Context, s *session.Session) { notice.Get(s) })
	})
	if got != 200 {
		t.Errorf("page that lost the race: got status %d, want 200", got)
	}
}

func TestKeyCarryOver(t *testing.T) {
	rig := newKeyRig(t, nil)
	late := session.NewKey[string]("late", session.CarryOver)
	rig.must(func(_ context.Context, s *session.Session) {
		noError(t, "Set", errors.Join(basket.Set(s, []string{"coat"}), note.Set(s, "private"), notice.Set(s, "hello")))
	})
	rig.must(func(ctx context.Context, s *session.Session) {
		noError(t, "Set", errors.Join(late.Set(s, "in the login request"), note.Set(s, "before login")))
		noError(t, "Login", rig.w.Login(ctx, session.Identity{Subject: "alice"}))
	})
	rig.must(func(_ context.Context, s *session.Session) {
		items, _ := basket.Get(s)
		text, _ := late.Get(s)
		_, hasNote := note.Get(s)
		_, hasNotice := notice.Get(s)
		if fmt.Sprint(items) != "[coat]" || text != "in the login request" || hasNote || hasNotice || s.Subject() != "alice" {
			t.Errorf("after login: got %v, %q, note %v, notice %v; want what carries over alone", items, text, hasNote, hasNotice)
		}
	})
}

// TestKeyPopOnce: of many requests that pop one value, one gets it.
func TestKeyPopOnce(t *testing.T) {
	rig, ticket := newKeyRig(t, nil), session.NewKey[string]("ticket")
	for round := range 5 {
		rig.must(func(_ context.Context, s *session.Session) { noError(t, "Set", ticket.Set(s, "one")) })
		var winners atomic.Int32
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				status := rig.run(func(ctx context.Context, s *session.Session) {
					v, ok, err := ticket.Pop(ctx, s)
					noError(t, "Pop", err)
					if ok && v == "one" {
						winners.Add(1)
					} else if ok || v != "" {
						t.Errorf("got %q, %v; want the value or nothing", v, ok)
					}
				})
				if status != 200 {
					t.Errorf("got status %d, want 200", status)
				}
			})
		}
		wg.Wait()
		if got := winners.Load(); got != 1 {
			t.Errorf("round %d: got %d winners, want 1", round, got)
		}
	}
}

// TestKeySize: a value that is too large is refused at once, a sum when the
// session is stored; in both cases nothing changes.
func TestKeySize(t *testing.T) {
	rig := newKeyRig(t, func(c *session.Config) { c.MaxValues = 100 })
	a, b := session.NewKey[[]byte]("a"), session.NewKey[[]byte]("b")
	rig.must(func(_ context.Context, s *session.Session) { noError(t, "Set", a.Set(s, make([]byte, 50))) })
	rig.must(func(ctx context.Context, s *session.Session) {
		wantError(t, "Set of 101 bytes", b.Set(s, make([]byte, 101)), session.ErrTooLarge)
		wantError(t, "Update to 60 bytes", b.Update(ctx, s, func(v *[]byte) error { *v = make([]byte, 60); return nil }), session.ErrTooLarge)
	})
	if got := rig.run(func(_ context.Context, s *session.Session) { noError(t, "Set", b.Set(s, make([]byte, 60))) }); got != 413 {
		t.Errorf("50 and 60 of 100 bytes: got status %d, want 413", got)
	}
	rig.must(func(_ context.Context, s *session.Session) {
		kept, _ := a.Get(s)
		if _, ok := b.Get(s); ok || !bytes.Equal(kept, make([]byte, 50)) {
			t.Errorf("afterwards: got %d bytes and b %v, want 50 and no b", len(kept), ok)
		}
		noError(t, "replacing", errors.Join(a.Delete(s), b.Set(s, make([]byte, 90))))
	})
	visitor := newKeyRig(t, func(c *session.Config) { c.MaxValues = 100; c.Store = memory.New() })
	if got := visitor.run(func(_ context.Context, s *session.Session) {
		noError(t, "Set", errors.Join(a.Set(s, make([]byte, 60)), b.Set(s, make([]byte, 60))))
	}); got != 413 || visitor.token() != "" {
		t.Errorf("visitor: got status %d and token %q, want 413 and none", got, visitor.token())
	}
}
