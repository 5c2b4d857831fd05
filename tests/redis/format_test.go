package redis_test

import (
	"context"
	"encoding/hex"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"cloakroom.example/session/store"
)

// TestFormat: nodes of several versions share the engine, so keys and values stay
// what they are.
func TestFormat(t *testing.T) {
	s := engines()[0].open(t)
	at := time.Date(2031, 5, 17, 8, 30, 0, 123456789, time.UTC)
	client := store.Client{Addr: netip.MustParseAddr("192.0.2.1"),
		Agent: "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"}
	r := store.Record{
		Namespace: "shop", Handle: store.Handle([]byte("handle-012345678")[:16]), Verifier: store.Verifier{1, 31: 2},
		State: store.Active, Subject: "alice", Transport: store.Cookie, Assurance: store.Assurance{Methods: []string{"pwd"}, At: at},
		Created: at, Seen: at, Rotated: at, Idle: 30 * time.Minute, Absolute: 12 * time.Hour, Deadline: at.Add(12 * time.Hour),
		Wrap: []byte("wrap"), First: client, Last: client, Links: []store.Link{{7}},
		Parts: []store.Part{{Name: "app", Generation: 1 << 40, Sealed: []byte("sealed")}},
	}
	if _, err := s.Create(t.Context(), store.Creation{Record: r, Now: at}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"djZAB0yxq{b8}":  "00000000",
		"ijZAB0yxq{b8}0": "68616e646c652d303132333435363738",
		"rjZAB0yxq{b8}aGFuZGxlLTAxMjM0NTY3OA": "000000000000000000000000ab986c1e0110030100000000ac01000000000000" +
			"000000000000000000000000000000000000000000000000021ae0ccc83aed1d" +
			"151ae0ccc83aed1d151ae0ccc83aed1d151ae0ccc83aed1d151ae0f41283949d" +
			"150000000000000000000001a3185c50000000274a48a78000010005616c6963" +
			"6500000103707764047772617004c00002010501313430130001070000000000" +
			"00000000000000000000000000030000060100000000006170707365616c6564",
		"sjZAB0yxq{dw}K9gGyX8OAK8aH8Myj6djqQ": "7168616e646c652d303132333435363738",
		"xjZAB0yxq{eE}dhCPhDltwtcs4nX9sODvNw": "7168616e646c652d303132333435363738",
	}
	got := map[string]string{}
	eachNode(t, s, func(ctx context.Context, n rueidis.Client) {
		for key := range everyKey(t, s) {
			if kind, _ := n.Do(ctx, n.B().Type().Key(key).Build()).ToString(); kind == "hash" {
				fields, _ := n.Do(ctx, n.B().Hkeys().Key(key).Build()).AsStrSlice()
				got[strings.TrimPrefix(key, s.options.Prefix)] = hex.EncodeToString([]byte(fields[0] + fields[1]))
			} else if kindOf(s, key) != 'w' {
				v, _ := n.Do(ctx, n.B().Get().Key(key).Build()).ToString()
				got[strings.TrimPrefix(key, s.options.Prefix)] = hex.EncodeToString([]byte(v))
			}
		}
	})
	for key, v := range want {
		if got[key] != v {
			t.Errorf("%s holds %s, want %s", key, got[key], v)
		}
	}
	if len(got) != len(want) {
		t.Errorf("there are %d keys, want %d: %q", len(got), len(want), got)
	}
}

// TestUnreadable: a session that this version cannot read is none that is not there,
// and is revoked like others.
func TestUnreadable(t *testing.T) {
	s := engines()[0].open(t)
	ctx := t.Context()
	for name, spoil := range map[string]func(v string) string{
		"short":                       func(v string) string { return v[:10] },
		"of a later version":          func(v string) string { return v[:16] + "\x07" + v[17:] },
		"with a head of another size": func(v string) string { return v[:21] + "\xff\xff\xff\xff" + v[25:] },
		"cut off":                     func(v string) string { return v[:140] },
	} {
		t.Run(name, func(t *testing.T) {
			r, other := typical("shop", 0, 100), typical("shop", 0, 100)
			for _, c := range []store.Record{r, other} {
				if _, err := s.Create(ctx, store.Creation{Record: c, Now: c.Created}); err != nil {
					t.Fatal(err)
				}
			}
			eachNode(t, s, func(ctx context.Context, n rueidis.Client) {
				for key := range everyKey(t, s) {
					if kindOf(s, key) == 'r' && strings.HasSuffix(key, r.Handle.String()) {
						v, _ := n.Do(ctx, n.B().Get().Key(key).Build()).ToString()
						if err := n.Do(ctx, n.B().Set().Key(key).Value(spoil(v)).Keepttl().Build()).Error(); err != nil {
							t.Fatal(err)
						}
					}
				}
			})
			lock := store.Revocation{Namespace: "shop", Subject: r.Subject, Effect: store.EffectLock, Now: r.Created}
			end := store.Revocation{Namespace: "shop", Subject: r.Subject, Cause: "admin", Now: r.Created}
			if _, err := s.Load(ctx, r.Key(), []string{"app"}); !errors.Is(err, store.ErrFormat) {
				t.Errorf("Load: got %v, want %v", err, store.ErrFormat)
			}
			if err := s.Swap(ctx, r, r.Created); err == nil || errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrUnknownOutcome) {
				t.Errorf("Swap: got %v", err)
			}
			if err := s.Touch(ctx, "shop", []store.Touch{{Handle: r.Handle, Seen: r.Seen.Add(time.Minute)}}); err != nil {
				t.Errorf("Touch: %v", err)
			}
			if _, err := s.Revoke(ctx, lock); err == nil {
				t.Error("Revoke has locked what nobody can read")
			}
			if got, err := s.Load(ctx, other.Key(), nil); err != nil || !got.Locked {
				t.Errorf("the other session is locked: %t, error %v; want true", got.Locked, err)
			}
			if got, err := s.Revoke(ctx, end); err != nil || len(got.Changed) != 2 {
				t.Errorf("Revoke ended %d sessions, error %v; want 2", len(got.Changed), err)
			}
			if _, err := s.Load(ctx, r.Key(), nil); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("Load after Revoke: got %v, want %v", err, store.ErrNotFound)
			}
		})
	}
}
