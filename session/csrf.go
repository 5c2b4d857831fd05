package session

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"mime"
	"net/http"

	"cloakroom.example/session/store"
)

// Names of the form token. Control: csrf-protect.
const (
	// CSRFField is the form field that carries the token.
	CSRFField = "csrf"
	// CSRFHeader is the header that carries it, for scripts.
	CSRFHeader = "X-CSRF-Token"
)

// errNoCookie tells a developer why nobody can sign in over plain HTTP.
var errNoCookie = errors.New("no cookie came with this form: browsers keep our cookies only over HTTPS, or on localhost and 127.0.0.1; " +
	"or cookies are blocked in this browser")

const (
	csrfNonceSize = 16
	csrfTokenSize = csrfNonceSize + sha256.Size
	csrfSeedSize  = 32
	csrfSeedChars = 43
)

// CSRFToken returns a token for a form or script of the page that is being made.
// It is different each time, and valid as long as the session is: across
// periodic rotations, but not across login, elevation, re-authentication or
// logout. For a visitor without a session it belongs to a cookie, which is set
// with this response; nothing is stored.
//
// For that reason it must be called before the response begins: fill in the data
// of a template before executing it. Errors: ErrHeadersSent, ErrUnavailable,
// ErrOutside.
func (m *Manager) CSRFToken(ctx context.Context) (string, error) { return m.From(ctx).csrfToken() }

// CSRFField returns a hidden form field with the token, to be used as
// {{.CSRF}} in the data of an html/template. See [Manager.CSRFToken].
func (m *Manager) CSRFField(ctx context.Context) (template.HTML, error) {
	token, err := m.CSRFToken(ctx)
	if err != nil {
		return "", err
	}
	// The token is base64url: there is nothing to escape.
	return template.HTML(`<input type="hidden" name="` + CSRFField + `" value="` + token + `">`), nil
}

func (s *Session) csrfToken() (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.accessed = true
	switch s.status {
	case statusOutside, statusUnavailable:
		return "", s.usableLocked()
	case statusLive:
		secret, err := s.csrfSecretLocked()
		if err != nil {
			return "", err
		}
		return maskCSRF(secret), nil
	}
	seed, ok := s.csrfSeedLocked()
	if !ok {
		if s.sent {
			return "", ErrHeadersSent
		}
		var raw [csrfSeedSize]byte
		_, _ = rand.Read(raw[:])
		seed = base64.RawURLEncoding.EncodeToString(raw[:])
		s.csrf = &seed
	}
	return maskCSRF(s.m.visitorSecret(seed)), nil
}

// csrfSecretLocked returns the secret of the session's tokens. It comes from the
// data key, which every login and elevation replaces, and a rotation does not.
func (s *Session) csrfSecretLocked() ([32]byte, error) {
	if err := s.openKeyLocked(); err != nil {
		return [32]byte{}, err
	}
	return sha256.Sum256(append([]byte(domainCSRF), s.key.dataKey[:]...)), nil
}

// visitorSecret returns the secret of the tokens of a visitor without a session.
// It is bound to its purpose and to the namespace, not just to the cookie.
func (m *Manager) visitorSecret(seed string) [32]byte {
	b := append([]byte(domainPreCSRF), byte(len(m.cfg.Namespace)))
	b = append(append(b, m.cfg.Namespace...), seed...)
	return sha256.Sum256(b)
}

// csrfSeedLocked returns the value of the visitor's CSRF cookie.
func (s *Session) csrfSeedLocked() (string, bool) {
	if s.csrf != nil {
		return *s.csrf, *s.csrf != ""
	}
	seed, result := cookieValue(s.r.Header["Cookie"], s.m.csrfCookie())
	if result != foundOne || len(seed) != csrfSeedChars {
		return "", false
	}
	if _, err := base64.RawURLEncoding.Strict().DecodeString(seed); err != nil {
		return "", false
	}
	return seed, true
}

// renewCSRFLocked makes the visitor's tokens worthless.
func (s *Session) renewCSRFLocked() {
	if s.transport != store.Cookie {
		return
	}
	if _, had := s.csrfSeedLocked(); had {
		s.csrf = new(string)
	}
}

// maskCSRF returns nonce and MAC: a new spelling for every page, so that
// compression does not leak the token.
func maskCSRF(secret [32]byte) string {
	var b [csrfTokenSize]byte
	_, _ = rand.Read(b[:csrfNonceSize])
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(b[:csrfNonceSize])
	mac.Sum(b[:csrfNonceSize])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func validCSRF(secret [32]byte, token string) bool {
	if len(token) != base64.RawURLEncoding.EncodedLen(csrfTokenSize) {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != csrfTokenSize {
		return false
	}
	mac := hmac.New(sha256.New, secret[:])
	mac.Write(b[:csrfNonceSize])
	return hmac.Equal(mac.Sum(nil), b[csrfNonceSize:])
}

// CheckCSRF reports whether the request proves to come from one of our pages:
// its method is safe, or the browser does not say that it comes from another
// origin and it carries a valid token. Requests that open a WebSocket need no
// token, but the origin. [Manager.Handler] has called it already, except for
// what Config.ExplicitCSRF names. The token of a multipart form is seen once the
// handler has parsed the form. Errors: ErrCSRF, ErrUnavailable, ErrEnded,
// ErrTooLarge, ErrOutside.
func (m *Manager) CheckCSRF(r *http.Request) error {
	s := m.From(r.Context())
	if s.m == nil {
		return ErrOutside
	}
	if s.transport == store.Bearer {
		return nil // nothing that a browser attaches by itself
	}
	if safeMethod(r.Method) {
		if !s.upgrade {
			return nil
		}
		// A WebSocket is opened by GET, but what comes through it is not safe, and
		// pages of other origins can open one with our cookie.
		asPost := *r
		asPost.Method = http.MethodPost
		return m.checkOrigin(s, &asPost)
	}
	err := m.checkCSRF(s, r)
	if errors.Is(err, ErrCSRF) {
		s.mu.Lock()
		e := Event{Type: EventCSRF, Subject: s.record.Subject, Handle: s.record.Handle, Cause: err.Error()}
		s.mu.Unlock()
		m.emit(s, e)
	}
	return err
}

// safeMethod reports whether the method must not change anything.
func safeMethod(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return true
	}
	return false
}

func (m *Manager) checkCSRF(s *Session, r *http.Request) error {
	if err := m.origins.Check(r); err != nil {
		return fmt.Errorf("%w: %w", ErrCSRF, err)
	}
	if err := s.provable(); err != nil {
		return err
	}
	token, err := presentedCSRF(r)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.verifyCSRFLocked(token); err != nil {
		return err
	}
	s.csrfOwed = false
	return nil
}

// provable returns an error if no token could be valid, before anything is read
// from a stranger.
func (s *Session) provable() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.status != statusNone {
		return nil
	}
	if _, ok := s.csrfSeedLocked(); ok {
		return nil
	}
	if len(s.r.Header["Cookie"]) == 0 {
		return fmt.Errorf("%w: %w", ErrCSRF, errNoCookie)
	}
	return fmt.Errorf("%w: no cookie of ours came with the request", ErrCSRF)
}

// verifyCSRFLocked checks the token against the session, and against the
// visitor's cookie as long as nobody is signed in: a form opened before the
// visitor had a session stays valid when there is one.
func (s *Session) verifyCSRFLocked(token string) error {
	if s.status == statusUnavailable {
		return s.err
	}
	if s.status == statusLive {
		secret, err := s.csrfSecretLocked()
		if err != nil {
			return err
		}
		if validCSRF(secret, token) {
			return nil
		}
		if s.record.State != store.Anonymous {
			return fmt.Errorf("%w: the token is not of this session", ErrCSRF)
		}
	}
	seed, ok := s.csrfSeedLocked()
	switch {
	case s.status == statusEnded && !(ok && validCSRF(s.m.visitorSecret(seed), token)):
		return s.err // a late request with a form of the ended session: refused quietly
	case ok && validCSRF(s.m.visitorSecret(seed), token):
		return nil
	case token == "":
		return fmt.Errorf("%w: no token in field %q or header %s", ErrCSRF, CSRFField, CSRFHeader)
	}
	return fmt.Errorf("%w: the token is not of this browser's session", ErrCSRF)
}

// presentedCSRF returns the token of the header or of the form. Multipart forms
// are read only once the handler has parsed them, within its own limits.
func presentedCSRF(r *http.Request) (string, error) {
	if values := r.Header[http.CanonicalHeaderKey(CSRFHeader)]; len(values) > 0 {
		if len(values) > 1 {
			return "", fmt.Errorf("%w: several %s headers", ErrCSRF, CSRFHeader)
		}
		return values[0], nil
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err == nil && kind == "application/x-www-form-urlencoded" {
		if err := r.ParseForm(); err != nil {
			if large := (*http.MaxBytesError)(nil); errors.As(err, &large) {
				return "", fmt.Errorf("session: reading the form: %w", ErrTooLarge)
			}
			return "", fmt.Errorf("%w: the form cannot be read", ErrCSRF) // the reason would quote it
		}
	}
	if len(r.PostForm[CSRFField]) > 1 {
		return "", fmt.Errorf("%w: several fields %q", ErrCSRF, CSRFField)
	}
	return r.PostForm.Get(CSRFField), nil
}
