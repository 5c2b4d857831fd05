package session

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"

	"cloakroom.example/session/store"
)

const (
	locatorSize = 16
	secretSize  = 32
	tokenSize   = locatorSize + secretSize
	tokenChars  = 64 // tokenSize in base64url, without padding or slack bits
)

// Token is what a client presents: a 16-byte locator, which finds the session,
// and a 32-byte secret, which proves it. Both come from crypto/rand; nothing
// shortens them. It prints as "[redacted]" everywhere; [Token.Reveal] is the one
// way out. Control: csprng-id, id-not-in-logs.
type Token struct {
	locator [locatorSize]byte
	secret  [secretSize]byte
}

const redacted = "[redacted]"

// Reveal returns the token as 64 characters of base64url, to hand it to the
// client that will present it.
func (t Token) Reveal() string {
	var raw [tokenSize]byte
	copy(raw[:], t.locator[:])
	copy(raw[locatorSize:], t.secret[:])
	return base64.RawURLEncoding.EncodeToString(raw[:])
}

// String returns "[redacted]".
func (t Token) String() string { return redacted }

// GoString returns "[redacted]".
func (t Token) GoString() string { return redacted }

// Format prints "[redacted]" whatever the verb.
func (t Token) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(redacted)) }

// MarshalText returns "[redacted]", and so do JSON and XML.
func (t Token) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue returns "[redacted]".
func (t Token) LogValue() slog.Value { return slog.StringValue(redacted) }

// newToken makes a token. crypto/rand never returns an error: it ends the
// program when the operating system cannot give randomness.
func newToken() (t Token) {
	_, _ = rand.Read(t.locator[:])
	_, _ = rand.Read(t.secret[:])
	return t
}

// successor returns a token with the same locator and a new secret.
func (t Token) successor() Token {
	_, _ = rand.Read(t.secret[:])
	return t
}

// parseToken checks length, alphabet and canonical form, before anything is
// looked up. 48 bytes fill 64 characters exactly, so that every token has one
// spelling.
func parseToken(s string) (t Token, ok bool) {
	if len(s) != tokenChars {
		return Token{}, false
	}
	// The decoder skips line breaks, which are not in the alphabet.
	for i := range len(s) {
		if s[i] == '\n' || s[i] == '\r' {
			return Token{}, false
		}
	}
	var raw [tokenSize]byte
	if n, err := base64.RawURLEncoding.Decode(raw[:], []byte(s)); err != nil || n != tokenSize {
		return Token{}, false
	}
	copy(t.locator[:], raw[:])
	copy(t.secret[:], raw[locatorSize:])
	return t, true
}

// Domains of the hashes below; they keep the outputs apart. All are frozen by
// docs/format.md.
const (
	domainHandle    = "cloakroom/1/handle\x00"
	domainVerifier  = "cr1v"
	domainWrapKey   = "cr1k"
	domainKeyedWrap = "cr1d"
	domainSuccessor = "cr1s"
	domainCSRF      = "cr1c"
	domainPreCSRF   = "cr1p"
	domainLink      = "cloakroom/1/link\x00"
	domainDeploy    = "cloakroom/1/deployment\x00"
)

// handle returns the store's key for the token.
func (t Token) handle(namespace string) store.Handle {
	b := make([]byte, 0, 128)
	b = append(b, domainHandle...)
	b = append(b, byte(len(namespace)))
	b = append(b, namespace...)
	b = append(b, t.locator[:]...)
	sum := sha256.Sum256(b)
	return store.Handle(sum[:16])
}

// verifier returns what the record keeps to recognise the secret.
func (t Token) verifier(h store.Handle) store.Verifier {
	return store.Verifier(t.derive(domainVerifier, h))
}

// derive hashes the secret for one purpose and one session. The secret has 256
// bits of entropy, so one hash is all the derivation that is needed.
func (t Token) derive(domain string, h store.Handle) [32]byte {
	var b [4 + len(h) + secretSize]byte
	n := copy(b[:], domain)
	n += copy(b[n:], h[:])
	copy(b[n:], t.secret[:])
	return sha256.Sum256(b[:])
}

// deploymentKey is the hash of one of Config.Keys.
type deploymentKey [sha256.Size]byte

func hashKeys(keys [][]byte) []deploymentKey {
	hashed := make([]deploymentKey, len(keys))
	for i, key := range keys {
		hashed[i] = sha256.Sum256(append([]byte(domainDeploy), key...))
	}
	return hashed
}

// wrapKey returns the key under which the data key is wrapped. With a key of the
// deployment, nobody who has only the database and a token of his own can make
// it; nil means that there is none.
func (t Token) wrapKey(h store.Handle, deployment *deploymentKey) [32]byte {
	if deployment == nil {
		return t.derive(domainWrapKey, h)
	}
	var b [4 + len(h) + secretSize + len(deployment)]byte
	n := copy(b[:], domainKeyedWrap)
	n += copy(b[n:], h[:])
	n += copy(b[n:], t.secret[:])
	copy(b[n:], deployment[:])
	return sha256.Sum256(b[:])
}

// linkHash returns the stored form of an external name of a session.
func linkHash(namespace, name string) store.Link {
	b := append([]byte(domainLink), byte(len(namespace)))
	b = append(append(b, namespace...), name...)
	sum := sha256.Sum256(b)
	return store.Link(sum[:16])
}
