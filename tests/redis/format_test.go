package redis_test

import (
	"context"
	"encoding/hex"
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
