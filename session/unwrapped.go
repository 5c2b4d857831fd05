package session

import (
	"bytes"
	"crypto/cipher"
	"sync"
	"sync/atomic"
	"time"

	"cloakroom.example/session/store"
)

// unwrappedKey is the data key of a session, with its cipher.
type unwrappedKey struct {
	dataKey dataKey
	once    sync.Once
	aead    cipher.AEAD

	// What it was unwrapped from, and by whom.
	handle   store.Handle
	verifier store.Verifier
	wrap     []byte
	facts    []byte
}

// cipher returns the cipher under the data key, which is set up once.
func (k *unwrappedKey) cipher() cipher.AEAD {
	k.once.Do(func() { k.aead = newAEAD(k.dataKey) })
	return k.aead
}

const (
	unwrappedSlots = 2048
	// forgetEvery bounds how long a data key stays in memory after its request.
	forgetEvery = time.Minute
)

// unwrappedKeys remembers the data keys of sessions that were used a moment ago:
// pages load with many requests, and unwrapping costs more than opening a value.
// A key is found again only by a token with the same secret and for the same
// wrap and facts, byte for byte, so that unwrapping would give the same answer.
// A record that was tampered with is a different one.
type unwrappedKeys struct {
	slots [unwrappedSlots]atomic.Pointer[unwrappedKey] // by handle; the last one stays
}

func (u *unwrappedKeys) slot(h store.Handle) *atomic.Pointer[unwrappedKey] {
	// Handles are hashes: any of their bits are evenly spread.
	return &u.slots[(int(h[0])<<8|int(h[1]))%unwrappedSlots]
}

// unwrap returns the data key of the record, if the token and the facts of the
// record open its wrap.
func (m *Manager) unwrap(t Token, r *store.Record) (*unwrappedKey, error) {
	return m.unwrapFor(t, t.verifier(r.Handle), r)
}

// unwrapFor is unwrap for a token whose verifier is known. It is that of the
// token, not the one in the record, unless they were found to be the same: whoever
// can write to the store can put there what he likes.
func (m *Manager) unwrapFor(t Token, verifier store.Verifier, r *store.Record) (*unwrappedKey, error) {
	var buffer [256]byte
	facts := appendFacts(buffer[:0], r)
	slot := m.unwrapped.slot(r.Handle)
	if k := slot.Load(); k != nil && k.handle == r.Handle && k.verifier.Equal(verifier) &&
		bytes.Equal(k.wrap, r.Wrap) && bytes.Equal(k.facts, facts) {
		return k, nil
	}
	opened, err := openKey(t, r, m.keys)
	if err != nil {
		return nil, err
	}
	k := &unwrappedKey{
		dataKey: opened, handle: r.Handle, verifier: verifier, wrap: bytes.Clone(r.Wrap), facts: bytes.Clone(facts),
	}
	if !m.closed.Load() { // then nobody would forget it
		slot.Store(k)
	}
	return k, nil
}

// forget drops all keys. Requests that use one keep it.
func (u *unwrappedKeys) forget() {
	for i := range u.slots {
		u.slots[i].Store(nil)
	}
}
