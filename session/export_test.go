package session

import (
	"reflect"
	"slices"

	"cloakroom.example/session/store"
)

// The few hooks through which tests look inside. They add nothing to what they
// call, and are variables because go test takes functions of such names for
// tests.

// TestOnlyFlagCarryOver and TestOnlyFlagFlash are the flags of a slot.
const (
	TestOnlyFlagCarryOver = flagCarryOver
	TestOnlyFlagFlash     = flagFlash
)

var (
	// TestOnlyNewToken makes a token, TestOnlyParseToken parses one, and
	// TestOnlySuccessorOf makes that of the next rotation.
	TestOnlyNewToken    = newToken
	TestOnlyParseToken  = parseToken
	TestOnlySuccessorOf = Token.successor

	// TestOnlyHandle returns the store's key for a token, TestOnlyVerifier what
	// the record keeps to recognise it, TestOnlyLink the stored form of an
	// external name.
	TestOnlyHandle   = Token.handle
	TestOnlyVerifier = Token.verifier
	TestOnlyLink     = linkHash

	// TestOnlySealPart and the others seal and open.
	TestOnlySealPart = sealPart
	TestOnlyOpenPart = openPart
	TestOnlySealKey  = func(t Token, k dataKey, r *store.Record, keys ...[]byte) []byte {
		return sealKey(t, k, r, hashKeys(keys))
	}
	TestOnlyOpenKey = func(t Token, r *store.Record, keys ...[]byte) (dataKey, error) {
		return openKey(t, r, hashKeys(keys))
	}
	TestOnlyWrapKey = func(t Token, h store.Handle, key []byte) [32]byte {
		if len(key) == 0 {
			return t.wrapKey(h, nil)
		}
		return t.wrapKey(h, &hashKeys([][]byte{key})[0])
	}

	// TestOnlyUnwrapped counts the data keys that are remembered.
	TestOnlyUnwrapped = func(m *Manager) (n int) {
		for i := range m.unwrapped.slots {
			if m.unwrapped.slots[i].Load() != nil {
				n++
			}
		}
		return n
	}

	// TestOnlyScratch takes memory that requests use again, and returns how much
	// it is and whether there are only zeros in it.
	TestOnlyScratch = func(m *Manager) (room int, clean bool) {
		w := m.scratches.Get().(*scratch)
		clean = w.holders.Load() == 0 && !w.filled && !w.stored && w.values == nil && w.seen == nil && w.origin == store.Client{}
		for _, b := range [][]byte{w.opened, w.changed, w.kept} {
			room += cap(b)
			clean = clean && len(b) == 0 && !slices.ContainsFunc(b[:cap(b)], func(b byte) bool { return b != 0 })
		}
		for _, list := range [][2]slot{w.seenRoom, w.changesRoom} {
			clean = clean && reflect.ValueOf(list).IsZero()
		}
		return room, clean && reflect.ValueOf(w.parts).IsZero()
	}

	// TestOnlyChannels counts the open channels.
	TestOnlyChannels = func(m *Manager) (n int) {
		m.channels.mu.Lock()
		defer m.channels.mu.Unlock()
		for _, open := range m.channels.open {
			n += len(open)
		}
		return n
	}
	// TestOnlySeriesExtension and TestOnlySeriesOf write and read which remembered
	// login a session belongs to, TestOnlyMadeFrom reads which session was last
	// made from one.
	TestOnlySeriesExtension = seriesExtension
	TestOnlySeriesOf        = seriesOf
	TestOnlyMadeFrom        = func(r *store.Record, k dataKey) (Token, error) {
		made, _, err := (&series{record: *r, key: &unwrappedKey{dataKey: k}}).made()
		return made, err
	}

	TestOnlySealSuccessor = sealSuccessor
	TestOnlyOpenSuccessor = openSuccessor

	// TestOnlyMaskForm and TestOnlyValidForm make and check a form token.
	TestOnlyMaskForm  = maskCSRF
	TestOnlyValidForm = validCSRF

	// TestOnlySessionFormSecret returns the secret of a session's form tokens,
	// TestOnlyVisitorFormSecret that of a visitor with this cookie.
	TestOnlySessionFormSecret = func(k [32]byte) ([32]byte, error) {
		return (&Session{key: &unwrappedKey{dataKey: k}}).csrfSecretLocked()
	}
	TestOnlyVisitorFormSecret = func(namespace, cookie string) [32]byte {
		return (&Manager{cfg: Config{Namespace: namespace}}).visitorSecret(cookie)
	}
)

// TestOnlySlot is one value of a table.
type TestOnlySlot struct {
	Name         string
	Flags, Codec byte
	Value        []byte
}

func (s TestOnlySlot) inside() slot {
	return slot{name: s.Name, flags: s.Flags, codec: s.Codec, value: s.Value}
}

// TestOnlyTable is the plaintext of the application's part.
type TestOnlyTable []byte

// Check reports whether the table is well formed.
func (t TestOnlyTable) Check() error { return table(t).check() }

// Get finds a slot.
func (t TestOnlyTable) Get(name string) (TestOnlySlot, bool) {
	s, ok := table(t).get(name)
	return TestOnlySlot{s.name, s.flags, s.codec, s.value}, ok
}

// With returns a table with the slot, or without it if its value is nil.
func (t TestOnlyTable) With(s TestOnlySlot) TestOnlyTable {
	return TestOnlyTable(table(t).with(s.inside(), nil))
}

// Only returns a table with the slots that have all of the flags.
func (t TestOnlyTable) Only(flags byte) TestOnlyTable { return TestOnlyTable(table(t).only(flags)) }

// Slots returns the slots in the order in which they are stored.
func (t TestOnlyTable) Slots() (all []TestOnlySlot) {
	for b := table(t).slots(); len(b) > 0; {
		s, name, rest, err := nextSlot(b)
		if err != nil {
			return all
		}
		all, b = append(all, TestOnlySlot{string(name), s.flags, s.codec, s.value}), rest
	}
	return all
}
