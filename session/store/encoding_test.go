package store_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session/store"
)

func at(s int64) time.Time { return time.Unix(1_700_000_000+s, 0).UTC() }

// full is a record with every field set.
func full() store.Record {
	return store.Record{
		Namespace: "shop", Handle: store.Handle{1, 2, 3}, Version: 300, Verifier: store.Verifier{9},
		State: store.Active, Subject: "alice", Transport: store.Cookie,
		Assurance: store.Assurance{Methods: []string{"pwd", "otp"}, Level: 2, At: at(3), Role: "admin", Tenant: "acme"},
		Created:   at(1), Seen: at(5), Rotated: at(4), Idle: 30 * time.Minute, IdleLocks: true, Absolute: 12 * time.Hour, Deadline: at(43200),
		Locked: true, Limit: at(40000), End: store.End{At: at(9), Cause: "logout", By: "alice"},
		Predecessor: &store.Predecessor{Verifier: store.Verifier{8}, Successor: []byte("succ"), Confirmed: at(6)},
		Wrap:        []byte("wrap"),
		First:       store.Client{Addr: netip.MustParseAddr("192.0.2.1"), Agent: "curl"},
		Last:        store.Client{Addr: netip.MustParseAddr("2001:db8::1"), Agent: "firefox"},
		Label:       "phone", Links: []store.Link{{7}, {6}},
		Extensions: []store.Extension{{Name: "device", Critical: true, Value: []byte{1}}, {Name: "x"}},
		Parts:      []store.Part{{Name: "app", Generation: 4, Sealed: []byte("sealed")}},
	}
}

func TestRecordEncoding(t *testing.T) {
	same := full()
	same.Last = same.First
	for name, want := range map[string]store.Record{"full": full(), "same client": same, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			got, err := store.DecodeRecord(want.Append(nil))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}
		})
	}
}

func TestRecordVector(t *testing.T) {
	raw, err := os.ReadFile("testdata/record-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors []struct {
		Name   string
		Hex    string
		Record store.Record
	}
	if err := json.Unmarshal(raw, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 2 {
		t.Fatalf("got %d vectors, want at least 2", len(vectors))
	}
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			encoded, err := hex.DecodeString(v.Hex)
			if err != nil {
				t.Fatal(err)
			}
			got, err := store.DecodeRecord(bytes.Clone(encoded))
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, v.Record) {
				t.Errorf("decoding: got  %+v\nwant %+v", got, v.Record)
			}
			if again := got.Append(nil); !bytes.Equal(again, encoded) {
				t.Errorf("encoding again: got %x, want %s", again, v.Hex)
			}
		})
	}
}

func TestRecordRefusals(t *testing.T) {
	r := full()
	good := r.Append(nil)
	unknown := bytes.Clone(good)
	unknown[0] = 7
	flags := bytes.Clone(good)
	flags[1] |= 0x80
	for name, c := range map[string]struct {
		input []byte
		want  string
	}{
		"empty":         {nil, "empty"},
		"version":       {unknown, "unknown version 7"},
		"unknown flag":  {flags, "malformed"},
		"trailing byte": {append(bytes.Clone(good), 0), "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := store.DecodeRecord(c.input)
			if !errors.Is(err, store.ErrFormat) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want ErrFormat with %q", err, c.want)
			}
		})
	}
	for n := range good {
		if _, err := store.DecodeRecord(bytes.Clone(good[:n])); !errors.Is(err, store.ErrFormat) {
			t.Errorf("cut at byte %d: got error %v, want ErrFormat", n, err)
		}
	}
}

func FuzzRecord(f *testing.F) {
	r := full()
	f.Add(r.Append(nil))
	f.Add((&store.Record{}).Append(nil))
	f.Fuzz(func(t *testing.T, input []byte) {
		decoded, err := store.DecodeRecord(bytes.Clone(input))
		if err != nil {
			return
		}
		// What decodes has exactly one spelling.
		if again := decoded.Append(nil); !bytes.Equal(again, input) {
			t.Errorf("got %x, want %x", again, input)
		}
	})
}

func TestHandleText(t *testing.T) {
	h := store.Handle{0xff, 1, 2}
	got, err := store.ParseHandle(h.String())
	if err != nil || got != h {
		t.Errorf("got %v, %v; want %v", got, err, h)
	}
	for _, bad := range []string{"", "short", strings.Repeat("!", 22), h.String() + "A", h.String()[:21] + "B"} {
		if _, err := store.ParseHandle(bad); err == nil {
			t.Errorf("ParseHandle(%q): got no error", bad)
		}
	}
}
