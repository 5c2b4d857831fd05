package session_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// testdata/remember-v1.json freezes what docs/format.md says of remembered logins,
// as seal-v1.json does for the rest: computed from that page by other code.
type rememberVector struct {
	Name, Namespace, Token string
	Handle                 store.Handle
	Verifier               hexBytes
	Keys                   []hexBytes
	Idle, Absolute         string
	Deadline, At           time.Time
	DataKey, Wrap          hexBytes
	Generation             uint64
	Part                   hexBytes
	Session                string
	SessionHandle          store.Handle
	Link                   hexBytes
	Extension, Confirmed   hexBytes
}

func (v *rememberVector) record(t *testing.T) store.Record {
	t.Helper()
	idle, err := time.ParseDuration(v.Idle)
	if err != nil {
		t.Fatal(err)
	}
	absolute, err := time.ParseDuration(v.Absolute)
	if err != nil {
		t.Fatal(err)
	}
	return store.Record{
		Namespace: v.Namespace + ".remember", Handle: v.Handle, State: store.Active, Transport: store.Cookie,
		Subject: "alice", Assurance: store.Assurance{Methods: []string{"pwd"}, Level: 1, At: v.At, Role: "customer"},
		Idle: idle, Absolute: absolute, Deadline: v.Deadline, Wrap: v.Wrap,
		Parts: []store.Part{{Name: "session", Generation: v.Generation, Sealed: v.Part}},
	}
}

func TestRememberVectors(t *testing.T) {
	raw, err := os.ReadFile("testdata/remember-v1.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Vectors []rememberVector }
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil || len(file.Vectors) < 2 {
		t.Fatalf("got %d vectors, %v, want at least 2", len(file.Vectors), err)
	}
	for _, v := range file.Vectors {
		t.Run(v.Name, func(t *testing.T) {
			token, ok := session.TestOnlyParseToken(v.Token)
			if !ok {
				t.Fatal("the token does not parse")
			}
			r := v.record(t)
			if got := session.TestOnlyHandle(token, r.Namespace); got != v.Handle {
				t.Errorf("got handle %v, want %v", got, v.Handle)
			}
			if got := session.TestOnlyVerifier(token, v.Handle); !bytes.Equal(got[:], v.Verifier) {
				t.Errorf("got verifier %x, want %x", got, v.Verifier)
			}
			var keys [][]byte
			for _, k := range v.Keys {
				keys = append(keys, k)
			}
			key, err := session.TestOnlyOpenKey(token, &r, keys...)
			if err != nil || !bytes.Equal(key[:], v.DataKey) {
				t.Errorf("opening the wrap: got %x, %v", key, err)
			}
			made, err := session.TestOnlyMadeFrom(&r, key)
			if err != nil || made.Reveal() != v.Session {
				t.Errorf("the session made from it: got %q, %v, want %q", made.Reveal(), err, v.Session)
			}
			if got := session.TestOnlyHandle(made, v.Namespace); got != v.SessionHandle {
				t.Errorf("its handle: got %v, want %v", got, v.SessionHandle)
			}
			if link := store.Link(v.Handle); !bytes.Equal(link[:], v.Link) {
				t.Errorf("its link: got %x, want %x", link, v.Link)
			}
			for confirmed, want := range map[bool]hexBytes{false: v.Extension, true: v.Confirmed} {
				e := session.TestOnlySeriesExtension(v.Handle, confirmed)
				if e.Name != "series" || e.Critical || !bytes.Equal(e.Value, want) {
					t.Errorf("extension: got %+v, want %x", e, want)
				}
				h, is := session.TestOnlySeriesOf(&store.Record{Extensions: []store.Extension{{Name: "other"}, {Name: "series", Value: want}}})
				if h != v.Handle || is != confirmed {
					t.Errorf("reading the extension: got %v, %t", h, is)
				}
			}
		})
	}
}
