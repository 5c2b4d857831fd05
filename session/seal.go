package session

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// sealVersion is the first byte of everything that is sealed. docs/format.md
// draws the layout; testdata/seal-v1.json freezes it.
const sealVersion = 1

// partApp is the name of the part that holds the application's values.
const partApp = "app"

// errSealVersion says that something was written by a version this code does not
// know: a newer node, in a rolling deployment.
var errSealVersion = errors.New("unknown seal version")

// errSeal says that something does not open: it was modified, or it does not
// belong to this token, session, part or generation.
var errSeal = errors.New("seal does not open")

// dataKey encrypts the parts of one session.
type dataKey [32]byte

func newDataKey() (k dataKey) {
	_, _ = rand.Read(k[:])
	return k
}

// seal encrypts plaintext under the key, bound to context: version byte, random
// 96-bit nonce, AES-256-GCM ciphertext and tag.
func seal(key [32]byte, plaintext, context []byte) []byte {
	return sealWith(newAEAD(key), nil, plaintext, context)
}

// sealWith appends what is sealed to dst.
func sealWith(aead cipher.AEAD, dst, plaintext, context []byte) []byte {
	dst = slices.Grow(dst, 1+aead.Overhead()+len(plaintext))
	return aead.Seal(append(dst, sealVersion), nil, plaintext, context)
}

// open is the inverse of seal. There is no fallback to any other format.
func open(key [32]byte, sealed, context []byte) ([]byte, error) {
	return openWith(newAEAD(key), nil, sealed, context)
}

// openWith appends the plaintext to dst.
func openWith(aead cipher.AEAD, dst, sealed, context []byte) ([]byte, error) {
	if len(sealed) == 0 {
		return nil, errSeal
	}
	if sealed[0] != sealVersion {
		return nil, fmt.Errorf("%w %d", errSealVersion, sealed[0])
	}
	plaintext, err := aead.Open(dst, nil, sealed[1:], context)
	if err != nil {
		return nil, errSeal
	}
	return plaintext, nil
}

func newAEAD(key [32]byte) cipher.AEAD {
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("session: internal error: " + err.Error()) // the key has the right length
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("session: internal error: " + err.Error()) // the block has the right size
	}
	return aead
}

// sealKey wraps the data key under the token and the first of the deployment's
// keys, if there are any, bound to the facts that decide authority.
func sealKey(t Token, k dataKey, r *store.Record, deployment []deploymentKey) []byte {
	var buffer [256]byte
	var first *deploymentKey
	if len(deployment) > 0 {
		first = &deployment[0]
	}
	return seal(t.wrapKey(r.Handle, first), k[:], appendFacts(buffer[:0], r))
}

// openKey unwraps the data key; the deployment's keys are tried in their order.
// That it opens proves that the facts are those the session was created with.
func openKey(t Token, r *store.Record, deployment []deploymentKey) (k dataKey, err error) {
	var buffer [256]byte
	facts := appendFacts(buffer[:0], r)
	var plaintext []byte
	if len(deployment) == 0 { // and never beside others: that wrap anybody can make
		plaintext, err = open(t.wrapKey(r.Handle, nil), r.Wrap, facts)
	}
	for i := range deployment {
		if plaintext, err = open(t.wrapKey(r.Handle, &deployment[i]), r.Wrap, facts); err == nil {
			break
		}
	}
	if err == nil && len(plaintext) != len(k) {
		err = errSeal
	}
	if err != nil {
		return dataKey{}, fmt.Errorf("opening data key: %w", err)
	}
	copy(k[:], plaintext)
	return k, nil
}

// appendFacts appends the facts that decide authority, each with its length, so
// that no two sets of facts look alike.
func appendFacts(b []byte, r *store.Record) []byte {
	b = append(b, "cloakroom/1/wrap\x00"...)
	b = appendField(b, r.Namespace)
	b = append(b, r.Handle[:]...)
	b = append(b, byte(r.State), byte(r.Transport), r.Assurance.Level, boolByte(r.IdleLocks))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Idle))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Absolute))
	b = appendTime(b, r.Deadline)
	b = appendTime(b, r.Assurance.At)
	b = appendField(b, r.Subject)
	b = appendField(b, r.Assurance.Role)
	b = appendField(b, r.Assurance.Tenant)
	b = binary.AppendUvarint(b, uint64(len(r.Assurance.Methods)))
	for _, m := range r.Assurance.Methods {
		b = appendField(b, m)
	}
	return b
}

// sealPart encrypts a part, bound to its session, name and generation.
func sealPart(k dataKey, r *store.Record, name string, generation uint64, plaintext []byte) store.Part {
	p := store.Part{Name: name, Generation: generation}
	p.Sealed = sealWith(newAEAD(k), nil, plaintext, appendPart(nil, r, p))
	return p
}

// openPart is the inverse of sealPart.
func openPart(k dataKey, r *store.Record, p store.Part) ([]byte, error) {
	p.Sealed = bytes.Clone(p.Sealed)
	return openPartWith(newAEAD(k), r, p, nil)
}

// openPartWith is openPart with a cipher that is set up already, and room for the
// context. It overwrites the sealed bytes with the plaintext, which saves a copy
// of what can be large.
func openPartWith(aead cipher.AEAD, r *store.Record, p store.Part, context []byte) ([]byte, error) {
	if len(p.Sealed) == 0 {
		return nil, fmt.Errorf("opening part %q: %w", p.Name, errSeal)
	}
	plaintext, err := openWith(aead, p.Sealed[1:1], p.Sealed, appendPart(context, r, p))
	if err != nil {
		return nil, fmt.Errorf("opening part %q: %w", p.Name, err)
	}
	return plaintext, nil
}

// appendPart appends what a part is bound to.
func appendPart(b []byte, r *store.Record, p store.Part) []byte {
	b = append(b, "cloakroom/1/part\x00"...)
	b = appendField(b, r.Namespace)
	b = append(b, r.Handle[:]...)
	b = appendField(b, p.Name)
	return binary.BigEndian.AppendUint64(b, p.Generation)
}

// sealSuccessor seals the secret of a rotation's new token under the old one, so
// that whoever presents the old one can be given the same new one.
func sealSuccessor(old, successor Token, h store.Handle) []byte {
	return seal(old.derive(domainSuccessor, h), successor.secret[:], []byte("cloakroom/1/successor\x00"))
}

// openSuccessor is the inverse of sealSuccessor.
func openSuccessor(old Token, sealed []byte, h store.Handle) (Token, error) {
	secret, err := open(old.derive(domainSuccessor, h), sealed, []byte("cloakroom/1/successor\x00"))
	if err == nil && len(secret) != secretSize {
		err = errSeal
	}
	if err != nil {
		return Token{}, fmt.Errorf("opening successor: %w", err)
	}
	copy(old.secret[:], secret)
	return old, nil
}

func appendField(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.BigEndian.AppendUint64(b, 0)
	}
	return binary.BigEndian.AppendUint64(b, uint64(t.UnixNano()))
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}
