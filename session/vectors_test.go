package session_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// testdata/seal-v1.json freezes the formats of docs/format.md: what is written
// there opens with every later version. Only append to it. A new vector is
// computed from docs/format.md by other code than this package's, with nonces of
// one's own choosing (Python's cryptography will do), so that it proves the
// document too. A new format gets a file of its own, seal-v2.json, beside this
// one, which stays.

type hexBytes []byte

func (b *hexBytes) UnmarshalText(text []byte) (err error) {
	*b, err = hex.DecodeString(string(text))
	return err
}

type sealVector struct {
	Name, Namespace, Token string
	Handle                 store.Handle
	Verifier               hexBytes
	Facts                  struct {
		State                 store.State
		Transport             store.Transport
		Level                 uint8
		IdleLocks             bool
		Idle, Absolute        string
		Deadline, At          time.Time
		Subject, Role, Tenant string
		Methods               []string
	}
	Keys          []hexBytes // of the deployment; the wrap is under the last one
	DataKey, Wrap hexBytes
	Part          struct {
		Name          string
		Generation    uint64
		Sealed, Table hexBytes
		Slots         []struct {
			Name         string
			Flags, Codec byte
			Value        string
		}
	}
	Successor struct {
		Token  string
		Sealed hexBytes
	}
	Form struct {
		SessionSecret, VisitorSecret              hexBytes
		SessionToken, VisitorCookie, VisitorToken string
	}
	Link struct {
		Name string
		Hash hexBytes
	}
}

type sealRefusal struct {
	Name, Vector, Of string
	Sealed           hexBytes
	Error            string
}

func readVectors(tb testing.TB) (vectors []sealVector, refusals []sealRefusal) {
	tb.Helper()
	raw, err := os.ReadFile("testdata/seal-v1.json")
	if err != nil {
		tb.Fatal(err)
	}
	var file struct {
		Vectors  []sealVector
		Refusals []sealRefusal
	}
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&file); err != nil {
		tb.Fatal(err)
	}
	if len(file.Vectors) < 5 || len(file.Refusals) < 43 {
		tb.Fatalf("got %d vectors and %d refusals, want at least 5 and 43: they are only ever appended to", len(file.Vectors), len(file.Refusals))
	}
	return file.Vectors, file.Refusals
}

func (v *sealVector) token(tb testing.TB) session.Token {
	tb.Helper()
	token, ok := session.TestOnlyParseToken(v.Token)
	if !ok {
		tb.Fatalf("token %q does not parse", v.Token)
	}
	return token
}

func (v *sealVector) keys() (keys [][]byte) {
	for _, k := range v.Keys {
		keys = append(keys, k)
	}
	return keys
}

func (v *sealVector) record(tb testing.TB) *store.Record {
	tb.Helper()
	f := &v.Facts
	idle, err := time.ParseDuration(f.Idle)
	if err != nil {
		tb.Fatal(err)
	}
	absolute, err := time.ParseDuration(f.Absolute)
	if err != nil {
		tb.Fatal(err)
	}
	return &store.Record{
		Namespace: v.Namespace, Handle: v.Handle, Wrap: v.Wrap, State: f.State, Subject: f.Subject, Transport: f.Transport,
		Assurance: store.Assurance{Methods: f.Methods, Level: f.Level, At: f.At, Role: f.Role, Tenant: f.Tenant},
		Idle:      idle, IdleLocks: f.IdleLocks, Absolute: absolute, Deadline: f.Deadline,
	}
}

// openers open what a record holds sealed: the wrap, the part, the successor.
func (v *sealVector) openers(tb testing.TB, r *store.Record) map[string]func([]byte) ([]byte, error) {
	token, key := v.token(tb), [32]byte(v.DataKey)
	return map[string]func([]byte) ([]byte, error){
		"wrap": func(sealed []byte) ([]byte, error) {
			r := *r
			r.Wrap = sealed
			k, err := session.TestOnlyOpenKey(token, &r, v.keys()...)
			return k[:], err
		},
		"part": func(sealed []byte) ([]byte, error) {
			return session.TestOnlyOpenPart(key, r, store.Part{Name: v.Part.Name, Generation: v.Part.Generation, Sealed: sealed})
		},
		"successor": func(sealed []byte) ([]byte, error) {
			next, err := session.TestOnlyOpenSuccessor(token, sealed, r.Handle)
			return []byte(next.Reveal()), err
		},
	}
}

// frozen returns what a vector holds sealed, and the plaintext.
func (v *sealVector) frozen() map[string][2][]byte {
	return map[string][2][]byte{
		"wrap": {v.Wrap, v.DataKey}, "part": {v.Part.Sealed, v.Part.Table}, "successor": {v.Successor.Sealed, []byte(v.Successor.Token)},
	}
}

func TestVectors(t *testing.T) {
	vectors, _ := readVectors(t)
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			checkDerived(t, &v)
			checkVectorTable(t, &v)
			r := v.record(t)
			again := v.sealAgain(t, r)
			for of, open := range v.openers(t, r) {
				frozen := v.frozen()[of]
				if got, err := open(frozen[0]); err != nil || !bytes.Equal(got, frozen[1]) {
					t.Errorf("opening the %s: got %x, %v; want %x", of, got, err, frozen[1])
				}
				if got, err := open(again[of]); err != nil || !bytes.Equal(got, frozen[1]) {
					t.Errorf("opening the %s sealed again: got %x, %v; want %x", of, got, err, frozen[1])
				}
				if len(again[of]) != len(frozen[0]) || again[of][0] != 1 || bytes.Equal(again[of][1:13], frozen[0][1:13]) {
					t.Errorf("sealing the %s again: got %x, want version 1, a nonce of its own and %d bytes", of, again[of], len(frozen[0]))
				}
			}
		})
	}
}

// sealAgain seals what the vector holds, with today's code.
func (v *sealVector) sealAgain(t *testing.T, r *store.Record) map[string][]byte {
	next, ok := session.TestOnlyParseToken(v.Successor.Token)
	if !ok {
		t.Fatalf("successor %q does not parse", v.Successor.Token)
	}
	part := session.TestOnlySealPart([32]byte(v.DataKey), r, v.Part.Name, v.Part.Generation, v.Part.Table)
	if part.Name != v.Part.Name || part.Generation != v.Part.Generation {
		t.Errorf("sealing the part again: got name %q, generation %d", part.Name, part.Generation)
	}
	return map[string][]byte{
		"wrap": session.TestOnlySealKey(v.token(t), [32]byte(v.DataKey), r, v.keys()...), "part": part.Sealed,
		"successor": session.TestOnlySealSuccessor(v.token(t), next, r.Handle),
	}
}

// checkDerived checks what is computed from token, key and names alone.
func checkDerived(t *testing.T, v *sealVector) {
	t.Helper()
	token := v.token(t)
	if got := token.Reveal(); got != v.Token {
		t.Errorf("token: got %q, want %q", got, v.Token)
	}
	if got := session.TestOnlyHandle(token, v.Namespace); got != v.Handle {
		t.Errorf("handle: got %v, want %v", got, v.Handle)
	}
	if got := session.TestOnlyVerifier(token, v.Handle); !bytes.Equal(got[:], v.Verifier) {
		t.Errorf("verifier: got %x, want %x", got, v.Verifier)
	}
	if got := session.TestOnlyLink(v.Namespace, v.Link.Name); !bytes.Equal(got[:], v.Link.Hash) {
		t.Errorf("link %q: got %x, want %x", v.Link.Name, got, v.Link.Hash)
	}
	ofSession, err := session.TestOnlySessionFormSecret([32]byte(v.DataKey))
	if err != nil || !bytes.Equal(ofSession[:], v.Form.SessionSecret) {
		t.Errorf("form secret of the session: got %x, %v; want %x", ofSession, err, v.Form.SessionSecret)
	}
	ofVisitor := session.TestOnlyVisitorFormSecret(v.Namespace, v.Form.VisitorCookie)
	if !bytes.Equal(ofVisitor[:], v.Form.VisitorSecret) {
		t.Errorf("form secret of the visitor: got %x, want %x", ofVisitor, v.Form.VisitorSecret)
	}
	for _, c := range []struct {
		secret [32]byte
		token  string
		want   bool
	}{
		{ofSession, v.Form.SessionToken, true}, {ofVisitor, v.Form.VisitorToken, true},
		{ofSession, v.Form.VisitorToken, false}, {ofVisitor, v.Form.SessionToken, false},
		{ofSession, session.TestOnlyMaskForm(ofSession), true}, {ofSession, v.Form.SessionToken[:63] + "\n", false},
	} {
		if got := session.TestOnlyValidForm(c.secret, c.token); got != c.want {
			t.Errorf("form token %q: got valid %v, want %v", c.token, got, c.want)
		}
	}
}

// checkVectorTable decodes the values and encodes them again, byte for byte.
func checkVectorTable(t *testing.T, v *sealVector) {
	t.Helper()
	if err := session.TestOnlyTable(v.Part.Table).Check(); err != nil {
		t.Errorf("table: %v", err)
	}
	var want []session.TestOnlySlot
	for _, s := range v.Part.Slots {
		want = append(want, session.TestOnlySlot{Name: s.Name, Flags: s.Flags, Codec: s.Codec, Value: []byte(s.Value)})
	}
	if got := session.TestOnlyTable(v.Part.Table).Slots(); !reflect.DeepEqual(got, want) {
		t.Errorf("table: got %+v\nwant %+v", got, want)
	}
	again := session.TestOnlyTable{1}
	for _, s := range slices.Backward(want) {
		again = again.With(s)
	}
	if !bytes.Equal(again, v.Part.Table) {
		t.Errorf("encoding the table again: got %x, want %x", []byte(again), []byte(v.Part.Table))
	}
}

func TestVectorRefusals(t *testing.T) {
	vectors, refusals := readVectors(t)
	for _, c := range refusals {
		t.Run(c.Name, func(t *testing.T) {
			i := slices.IndexFunc(vectors, func(v sealVector) bool { return v.Name == c.Vector })
			if i < 0 {
				t.Fatalf("no vector %q", c.Vector)
			}
			open := vectors[i].openers(t, vectors[i].record(t))[c.Of]
			if open == nil {
				t.Fatalf("nothing opens a %q", c.Of)
			}
			if got, err := open(c.Sealed); err == nil || !strings.HasPrefix(err.Error(), c.Error) {
				t.Errorf("got %x, %v; want error %q", got, err, c.Error)
			}
		})
	}
}

// sealFacts says of every field of a record whether the wrap is bound to it. A
// field that is missing here fails the test: somebody has to decide.
var sealFacts = map[string]bool{
	"Namespace": true, "Handle": true, "State": true, "Subject": true, "Transport": true, "Idle": true, "IdleLocks": true, "Absolute": true,
	"Deadline": true, "Assurance.Methods": true, "Assurance.Level": true, "Assurance.At": true, "Assurance.Role": true, "Assurance.Tenant": true,
	"Version": false, "Verifier": false, "Created": false, "Seen": false, "Rotated": false, "Locked": false, "Limit": false, "End": false,
	"Predecessor": false, "First": false, "Last": false, "Label": false, "Links": false, "Extensions": false, "Parts": false,
}

// alter changes a value of any of the types that facts have.
func alter(v reflect.Value) {
	switch x := v.Addr().Interface().(type) {
	case *time.Time:
		*x = x.Add(1)
	case *store.End:
		x.Cause += "x"
	case *store.Client:
		x.Agent += "x"
	case **store.Predecessor:
		*x = new(store.Predecessor)
	default:
		switch v.Kind() {
		case reflect.String:
			v.SetString(v.String() + "x")
		case reflect.Bool:
			v.SetBool(!v.Bool())
		case reflect.Int64:
			v.SetInt(v.Int() + 1)
		case reflect.Uint8, reflect.Uint64:
			v.SetUint(v.Uint() ^ 1)
		case reflect.Array:
			v.Index(0).SetUint(v.Index(0).Uint() ^ 1)
		case reflect.Slice:
			v.Set(reflect.Append(v, reflect.Zero(v.Type().Elem())))
		default:
			panic("alter: " + v.Type().String())
		}
	}
}

func factNames(t reflect.Type, prefix string) (names []string) {
	for i := range t.NumField() {
		switch f := t.Field(i); f.Name {
		case "Assurance":
			names = append(names, factNames(f.Type, "Assurance.")...)
		case "Wrap": // is the seal itself
		default:
			names = append(names, prefix+f.Name)
		}
	}
	return names
}

func TestVectorFacts(t *testing.T) {
	vectors, _ := readVectors(t)
	const want = "opening data key: seal does not open"
	for _, v := range vectors {
		for _, name := range factNames(reflect.TypeFor[store.Record](), "") {
			bound, known := sealFacts[name]
			if !known {
				t.Errorf("field %s of a record: nobody has decided whether the wrap is bound to it", name)
				continue
			}
			r := v.record(t)
			field := reflect.ValueOf(r).Elem()
			for _, n := range strings.Split(name, ".") {
				field = field.FieldByName(n)
			}
			alter(field)
			_, err := session.TestOnlyOpenKey(v.token(t), r, v.keys()...)
			if bound && (err == nil || err.Error() != want) || !bound && err != nil {
				t.Errorf("%s: opening with another %s: got error %v, want one: %v", v.Name, name, err, bound)
			}
		}
		// Fields that follow each other must not be able to trade bytes.
		r := v.record(t)
		r.Subject, r.Assurance.Role = r.Subject+r.Assurance.Role, ""
		if _, err := session.TestOnlyOpenKey(v.token(t), r, v.keys()...); (err == nil) != (v.Facts.Role == "") {
			t.Errorf("%s: opening with the role moved into the subject: got error %v", v.Name, err)
		}
	}
}

// TestVectorParts: a part opens for its own session, name and generation only,
// and a successor for its own token and handle only.
func TestVectorParts(t *testing.T) {
	vectors, _ := readVectors(t)
	for _, v := range vectors {
		token, key := v.token(t), [32]byte(v.DataKey)
		for name, change := range map[string]func(*store.Record, *store.Part, *[32]byte){
			"namespace":           func(r *store.Record, _ *store.Part, _ *[32]byte) { r.Namespace += "x" },
			"handle":              func(r *store.Record, _ *store.Part, _ *[32]byte) { r.Handle[15] ^= 1 },
			"name":                func(_ *store.Record, p *store.Part, _ *[32]byte) { p.Name += "x" },
			"older generation":    func(_ *store.Record, p *store.Part, _ *[32]byte) { p.Generation-- },
			"newer generation":    func(_ *store.Record, p *store.Part, _ *[32]byte) { p.Generation++ },
			"key":                 func(_ *store.Record, _ *store.Part, k *[32]byte) { k[0] ^= 1 },
			"wrap instead of it":  func(r *store.Record, p *store.Part, _ *[32]byte) { p.Sealed = r.Wrap },
			"name into namespace": func(r *store.Record, p *store.Part, _ *[32]byte) { r.Namespace, p.Name = r.Namespace+p.Name, "" },
		} {
			r, p, k := v.record(t), store.Part{Name: v.Part.Name, Generation: v.Part.Generation, Sealed: v.Part.Sealed}, key
			change(r, &p, &k)
			if got, err := session.TestOnlyOpenPart(k, r, p); err == nil || !strings.HasSuffix(err.Error(), ": seal does not open") {
				t.Errorf("%s, part with another %s: got %x, %v; want that the seal does not open", v.Name, name, got, err)
			}
		}
		other := v.Handle
		other[0] ^= 1
		for name, err := range map[string]error{
			"token":  errOf(session.TestOnlyOpenSuccessor(session.TestOnlySuccessorOf(token), v.Successor.Sealed, v.Handle)),
			"handle": errOf(session.TestOnlyOpenSuccessor(token, v.Successor.Sealed, other)),
			"kind":   errOf(session.TestOnlyOpenSuccessor(token, v.Wrap, v.Handle)),
		} {
			if err == nil {
				t.Errorf("%s, successor with another %s: got no error", v.Name, name)
			}
		}
	}
}

func errOf[T any](_ T, err error) error { return err }
