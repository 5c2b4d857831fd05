package store

import (
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// Handle is the public name of a session: a hash of its namespace and the
// locator half of its token. It is the store's key, appears in lists, logs and
// events, and authenticates nobody.
type Handle [16]byte

// String returns the handle as 22 characters of unpadded base64url.
func (h Handle) String() string { return base64.RawURLEncoding.EncodeToString(h[:]) }

// MarshalText returns the same as String.
func (h Handle) MarshalText() ([]byte, error) {
	return base64.RawURLEncoding.AppendEncode(nil, h[:]), nil
}

// UnmarshalText is the inverse of MarshalText and accepts nothing else.
func (h *Handle) UnmarshalText(text []byte) error {
	parsed, err := ParseHandle(string(text))
	if err != nil {
		return err
	}
	*h = parsed
	return nil
}

// ParseHandle is the inverse of [Handle.String] and accepts nothing else.
func ParseHandle(s string) (Handle, error) {
	var h Handle
	if len(s) != 22 {
		return h, fmt.Errorf("parsing handle: got %d characters, want 22", len(s))
	}
	// Strict refuses slack bits, so that one handle has one spelling.
	n, err := base64.RawURLEncoding.Strict().Decode(h[:], []byte(s))
	if err != nil || n != len(h) {
		return Handle{}, fmt.Errorf("parsing handle: not canonical base64url")
	}
	return h, nil
}

// IsZero reports whether the handle names no session.
func (h Handle) IsZero() bool { return h == Handle{} }

// Verifier is the hash of the secret half of a token.
type Verifier [32]byte

// Equal compares in constant time.
func (v Verifier) Equal(other Verifier) bool {
	return subtle.ConstantTimeCompare(v[:], other[:]) == 1
}

// Link is the hash of an external name of a session, such as an OpenID Connect
// issuer and session id. Sessions can be listed and revoked by it.
type Link [16]byte

// State is what a session was created as. It never changes within one record;
// login, elevation and re-authentication create a new record. That a session is
// locked or has ended is recorded beside it ([Record.Locked], [Record.End]).
type State uint8

// The states.
const (
	// Anonymous sessions hold values for a visitor who has not signed in.
	Anonymous State = 1 + iota
	// Pending sessions belong to somebody whose second factor is missing.
	Pending
	// Active sessions belong to their subject.
	Active
)

func (s State) String() string {
	switch s {
	case Anonymous:
		return "anonymous"
	case Pending:
		return "pending"
	case Active:
		return "active"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Transport is how a session's token travels. A session never crosses
// transports.
type Transport uint8

// The transports.
const (
	// Cookie tokens travel in our cookie.
	Cookie Transport = 1 + iota
	// Bearer tokens travel in the Authorization header.
	Bearer
)

// Causes that stores write themselves.
const (
	CauseIdle     = "idle"     // the idle timeout passed
	CauseAbsolute = "absolute" // the absolute timeout, or a shortened one, passed
	CauseRenewed  = "renewed"  // superseded by a session with a new token
	CauseLimit    = "limit"    // ended to keep the subject's session limit
)

// Assurance says how sure we are of the subject, and with what authority.
type Assurance struct {
	// Methods are the authentication methods used, as RFC 8176 names: "pwd",
	// "otp", "hwk" and so on.
	Methods []string
	// Level is the assurance level, 1 to 3 for NIST AAL1 to AAL3; zero means
	// not stated.
	Level uint8
	// At is when the subject last authenticated.
	At time.Time
	// Role and Tenant are the authority the session carries in the
	// application's own terms.
	Role   string
	Tenant string
}

// Clone returns a deep copy.
func (a Assurance) Clone() Assurance {
	a.Methods = slices.Clone(a.Methods)
	return a
}

// Client is where a request came from, as seen by the application.
type Client struct {
	Addr  netip.Addr
	Agent string // user agent, at most MaxAgent bytes
}

// MaxAgent is the largest number of bytes kept of a user agent.
const MaxAgent = 200

// Predecessor is the token that a periodic rotation replaced.
type Predecessor struct {
	Verifier Verifier
	// Successor is the secret of the current token, sealed under the
	// predecessor's.
	Successor []byte
	// Confirmed is when the current token was first presented; zero until
	// then.
	Confirmed time.Time
}

// Extension is a named byte string for later additions. A node that does not
// know the name keeps it byte for byte; if it is Critical, that node refuses
// the session.
type Extension struct {
	Name     string
	Critical bool
	Value    []byte
}

// Part is one sealed part of the session: the application's values, for
// example. Parts are loaded and swapped separately.
type Part struct {
	Name string
	// Generation counts the writes of this part and is bound into the seal.
	Generation uint64
	Sealed     []byte
}

// End says when and why a session ended, and by whom.
type End struct {
	At    time.Time
	Cause string
	By    string
}

// Record is one session as the store sees it.
//
// The facts that decide authority (Namespace, Handle, State, Subject, Assurance,
// Deadline, Transport) are fixed at creation and bound into Wrap. What can be changed without
// the token only tightens: Locked, Limit and End.
type Record struct {
	Namespace string
	Handle    Handle
	Version   uint64
	Verifier  Verifier

	State     State
	Subject   string
	Assurance Assurance
	Transport Transport

	Created time.Time
	Seen    time.Time
	Rotated time.Time
	// Idle is how long the session lives without activity; zero means no
	// such limit.
	Idle time.Duration
	// IdleLocks makes the session lock, instead of end, when Idle has passed.
	IdleLocks bool
	// Absolute is how long the session may last after an authentication, as
	// chosen at login; authenticating again sets Deadline anew from it.
	Absolute time.Duration
	// Deadline is the absolute end; zero means none.
	Deadline time.Time

	// Locked, Limit and End override the facts above and are not bound into
	// the wrap, because they can be set without the token. Limit is an earlier
	// deadline.
	Locked bool
	Limit  time.Time
	End    End

	// Predecessor is set while a periodic rotation's old token may still
	// arrive.
	Predecessor *Predecessor
	// Wrap is the data key, sealed under a key derived from the token and
	// bound to the facts that decide authority.
	Wrap []byte

	First, Last Client
	Label       string
	Links       []Link
	Extensions  []Extension
	Parts       []Part
}

// Key returns the record's name.
func (r *Record) Key() Key { return Key{r.Namespace, r.Handle} }

// Ended reports whether the record is a tombstone.
func (r *Record) Ended() bool { return !r.End.At.IsZero() }

// Expired reports whether the session has run out at t, and of what. Sessions
// that lock when idle run out of absolute time only.
func (r *Record) Expired(t time.Time) (cause string, expired bool) {
	if end := r.latest(); !end.IsZero() && !t.Before(end) {
		return CauseAbsolute, true
	}
	if !r.IdleLocks && r.idleAt(t) {
		return CauseIdle, true
	}
	return "", false
}

// Expiry returns when the session will have expired if nothing more happens;
// zero means never.
func (r *Record) Expiry() time.Time {
	end := r.latest()
	if r.Idle > 0 && !r.IdleLocks {
		if idle := r.Seen.Add(r.Idle); end.IsZero() || idle.Before(end) {
			return idle
		}
	}
	return end
}

// latest returns the effective absolute end.
func (r *Record) latest() time.Time {
	if !r.Limit.IsZero() && (r.Deadline.IsZero() || r.Limit.Before(r.Deadline)) {
		return r.Limit
	}
	return r.Deadline
}

func (r *Record) idleAt(t time.Time) bool {
	return r.Idle > 0 && !t.Before(r.Seen.Add(r.Idle))
}

// Alive reports whether the session has neither ended nor expired at t. A
// locked session is alive.
func (r *Record) Alive(t time.Time) bool {
	_, expired := r.Expired(t)
	return !r.Ended() && !expired
}

// LockedAt reports whether the session is locked at t, by itself for being idle
// or by a revocation.
func (r *Record) LockedAt(t time.Time) bool {
	return r.Locked || r.IdleLocks && r.idleAt(t)
}

// Touch moves Seen forward to t if the session was alive and not locked at t,
// and reports whether it moved.
func (r *Record) Touch(t time.Time) bool {
	if !t.After(r.Seen) || !r.Alive(t) || r.LockedAt(t) {
		return false
	}
	r.Seen = t
	return true
}

// Change applies what a Swap may change to the stored record r: verifier,
// predecessor, wrap, rotation time, last client, label and extensions; Seen,
// Locked and Limit only forward; and the version. Parts are left to the store.
func (r *Record) Change(to *Record) {
	r.Version++
	r.Verifier, r.Predecessor, r.Wrap, r.Rotated = to.Verifier, to.Predecessor, to.Wrap, to.Rotated
	r.Last, r.Label, r.Extensions = to.Last, to.Label, to.Extensions
	r.Seen = later(r.Seen, to.Seen)
	r.Locked = r.Locked || to.Locked
	r.shorten(to.Limit)
}

// ChangePart returns the parts with p written over the one of its name, or
// removed if p.Sealed is nil. The slice given is not modified.
func ChangePart(parts []Part, p Part) []Part {
	parts = slices.DeleteFunc(slices.Clone(parts), func(q Part) bool { return q.Name == p.Name })
	if p.Sealed == nil {
		return parts
	}
	return append(parts, p)
}

// Revoke applies a revocation that names this record and reports whether it
// changed anything. Whether the record is among those named is for the store,
// except for the conditions on time, which are checked here.
func (r *Record) Revoke(v Revocation) bool {
	if r.Ended() || r.Handle == v.Except {
		return false
	}
	if !v.AuthenticatedBefore.IsZero() &&
		(r.Assurance.At.IsZero() || !r.Assurance.At.Before(v.AuthenticatedBefore)) {
		return false
	}
	if v.OnlyExpired {
		cause, expired := r.Expired(v.Now)
		if expired {
			r.Finish(End{At: v.Now, Cause: cause, By: v.By})
		}
		return expired
	}
	switch v.Effect {
	case EffectLock:
		changed := !r.Locked
		r.Locked = true
		return changed
	case EffectShorten:
		return r.shorten(v.Limit)
	}
	r.Finish(End{At: v.Now, Cause: v.Cause, By: v.By})
	return true
}

// Finish turns the record into a tombstone: enough to recognise its token and
// say what happened, nothing that opens anything.
func (r *Record) Finish(end End) {
	*r = Record{
		Namespace: r.Namespace, Handle: r.Handle, Version: r.Version + 1, Verifier: r.Verifier,
		State: r.State, Subject: r.Subject, Assurance: r.Assurance, Transport: r.Transport,
		Predecessor: r.Predecessor.buried(),
		Created:     r.Created, Seen: r.Seen, Rotated: r.Rotated,
		Idle: r.Idle, IdleLocks: r.IdleLocks, Absolute: r.Absolute, Deadline: r.Deadline,
		Locked: r.Locked, Limit: r.Limit, End: end, Links: r.Links,
	}
}

// buried returns what a tombstone keeps of a predecessor: late requests with it
// are to be recognised too.
func (p *Predecessor) buried() *Predecessor {
	if p == nil {
		return nil
	}
	return &Predecessor{Verifier: p.Verifier, Confirmed: p.Confirmed}
}

// HasLink reports whether the record carries the link.
func (r *Record) HasLink(l Link) bool { return slices.Contains(r.Links, l) }

func (r *Record) shorten(limit time.Time) bool {
	if limit.IsZero() {
		return false
	}
	if end := r.latest(); !end.IsZero() && !limit.Before(end) {
		return false
	}
	r.Limit = limit
	return true
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
