package demo

import (
	"crypto/rand"
	"errors"
	"strings"
	"time"
	"unicode"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"
	"golang.org/x/time/rate"
)

// Codes: a few at once, then slowly, whoever tries. Who gets as far as being asked
// for a code knows the password or holds a session; guessing one of three codes
// in a million at this pace takes about a year.
const (
	triesPerFactor = 10
	factorEvery    = 2 * time.Minute
)

// stepLength is how long a code is shown (RFC 6238).
const stepLength = 30 * time.Second

// Why a code is refused.
var (
	errCodeWrong   = errors.New("demo: wrong code")
	errCodeUsed    = errors.New("demo: code was used before")
	errCodeTooMany = errors.New("demo: too many wrong codes")
	errNoFactor    = errors.New("demo: account has no second factor")
)

// factor is a second factor: a secret that an authenticator app shares with us,
// and makes codes of.
type factor struct {
	id     string // tells it from those that the account had before
	secret string
	used   int64         // the time step of the last code; none up to it counts any more
	tries  *rate.Limiter // of wrong codes
}

// accept uses a code up. A right one is taken once: who has read it over a
// shoulder, or from the wire, comes too late.
func (f *factor) accept(code string, now time.Time) error {
	counted, wait := reserve(f.tries, now)
	if wait > 0 {
		return errCodeTooMany
	}
	step, ok := stepOf(f.secret, code, now)
	switch {
	case !ok:
		return errCodeWrong
	case step <= f.used:
		return errCodeUsed
	}
	f.used = step
	counted.CancelAt(now)
	return nil
}

// stepOf returns the time step that a code belongs to: now, or one step to either
// side, because clocks differ and people type slowly.
func stepOf(secret, code string, now time.Time) (step int64, ok bool) {
	current := now.Unix() / int64(stepLength/time.Second)
	for _, step := range []int64{current, current - 1, current + 1} {
		if right, err := hotp.ValidateCustom(code, uint64(step), secret, hotp.ValidateOpts{Digits: otp.DigitsSix}); err == nil && right {
			return step, true
		}
	}
	return 0, false
}

// typedCode returns a code as it was meant: apps show it with a gap.
func typedCode(typed string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsSpace(c) || c == '-' {
			return -1
		}
		return c
	}, typed)
}

// hasFactor reports whether an account has a second factor.
func (a *accounts) hasFactor(name string) bool { return a.factorID(name) != "" }

// factorID returns the id of an account's second factor, and "" if there is none.
func (a *accounts) factorID(name string) string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	if f := a.factors[name]; f != nil {
		return f.id
	}
	return ""
}

// addFactor switches on a second factor, once the code of a time step has shown
// that the app has the secret. That code is used up by it. If another session of
// the user was faster, its factor stays, and ok is false.
func (a *accounts) addFactor(name, secret string, step int64) (id string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.factors[name] != nil {
		return "", false
	}
	f := &factor{
		id: rand.Text(), secret: secret, used: step, tries: rate.NewLimiter(rate.Every(factorEvery), triesPerFactor),
	}
	a.factors[name] = f
	return f.id, true
}

// dropFactor switches the second factor off.
func (a *accounts) dropFactor(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.factors, name)
}

// acceptCode uses up a code of an account's second factor, and returns which one
// that is.
func (a *accounts) acceptCode(name, code string, now time.Time) (id string, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := a.factors[name]
	if f == nil {
		return "", errNoFactor
	}
	return f.id, f.accept(code, now)
}
