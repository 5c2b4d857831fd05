package session

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// Config says how sessions behave. The zero Config works: sessions in memory,
// safe defaults. [New] refuses settings that are unsafe or contradict each other.
type Config struct {
	// Store keeps the sessions. If nil, they live in the memory of this
	// process and are forgotten when it ends.
	Store store.Store

	// Keys are secrets of the deployment, the same on all nodes, of at least 32
	// random bytes each. The first one seals, all of them open. To replace
	// one, give all nodes the new one in second place, then in first place, and
	// drop the old one when its sessions have ended. They are what keeps somebody who can write to the store from
	// making up a session, or from giving his own one another subject.
	// Without keys that is possible, and reported at start for stores outside
	// of this process. Adding the first key ends the sessions there are.
	// Control: sealed-session-data.
	Keys [][]byte

	// Namespace separates several managers on one store or in one browser: it
	// goes into every hash, binding and key, and into the default cookie
	// name. At most 32 of a-z, 0-9 and '-'. Defaults to "". Handlers of several
	// managers stand beside each other, each over its own paths: around each
	// other, each would demand its own form token in the one field.
	Namespace string

	// CookieName is the name of the session cookie; beside it go
	// CookieName-pending, CookieName-csrf and CookieName-remember. It must begin with "__Host-",
	// by which browsers enforce Secure, Path=/ and no Domain, unless
	// InsecureHTTP is set. Defaults to "__Host-id", followed by "-" and the
	// namespace if there is one. Controls: cookie-prefix, cookie-generic-name.
	CookieName string

	// SameSite is Lax by default; Strict is available. None needs
	// InsecureSameSiteNone. Control: cookie-samesite.
	SameSite http.SameSite

	// Limits are the timeouts. Defaults to 30 minutes idle, 12 hours absolute,
	// rotation every 15 minutes. See [AAL1], [AAL2], [AAL3] and [PCI] for
	// profiles. A login can set its own ([Identity.Idle],
	// [Identity.Absolute]).
	Limits Limits

	// PendingTimeout is how long a half-open login waits for its second
	// factor, at most and by default 10 minutes. Control: half-open-isolation.
	PendingTimeout time.Duration

	// MaxSessions limits the sessions of one subject. Zero means no limit.
	// Control: concurrent-limit.
	MaxSessions int
	// EndOldest makes a login beyond MaxSessions end the oldest session
	// instead of failing with [ErrLimit].
	EndOldest bool

	// Remember configures persistent login. It is off by default. Control:
	// remember-me.
	Remember Remember

	// MaxValues limits the encoded size, in bytes, of all values of one
	// session. Defaults to 64 KiB; at most 16 MiB.
	MaxValues int

	// AnonymousPerMinute limits how many sessions visitors from one source
	// address (one /64 in IPv6) can cause to be created before they sign in,
	// with bursts of the same size. Defaults to 60. Without ClientAddr, private
	// and loopback addresses have no such limit, because they may be those of
	// a proxy that everybody comes through. Control: guess-throttle.
	AnonymousPerMinute int
	// AnonymousMax is the number of anonymous sessions beyond which no more are
	// created. It is counted about twice a minute, and between counts from what
	// this manager creates. Defaults to 1,000,000.
	AnonymousMax int

	// StoreTimeout bounds every store operation. Defaults to 2 seconds; at
	// least 10 milliseconds, at most a minute.
	StoreTimeout time.Duration

	// TrustedOrigins are further origins ("https://app.example") whose pages
	// may send unsafe requests, see [http.CrossOriginProtection]. They still
	// need the form token.
	TrustedOrigins []string

	// ExplicitCSRF says for which requests the handler itself calls
	// [Manager.CheckCSRF], because the token is in a multipart form that only
	// the handler can parse. Until it has done so, the session of such a
	// request cannot be changed. If nil: none.
	ExplicitCSRF func(*http.Request) bool

	// Skip says which requests have no session at all, such as those for
	// static files or from other servers. They are not loaded, not checked
	// and not protected. If nil: none.
	Skip func(*http.Request) bool

	// NotActivity says which requests do not count as activity of the user,
	// such as polling. See also [Session.NotActivity]. If nil: none.
	NotActivity func(*http.Request) bool

	// Admit decides on every request of a signed-in session before the handler
	// runs. If nil, all are admitted. It is called concurrently.
	Admit func(*http.Request, Snapshot) Verdict

	// Denied answers a request that was refused, with the error that says why:
	// see [Status]. If nil, [Deny] does.
	Denied func(http.ResponseWriter, *http.Request, error)

	// ClientAddr tells the address of the client. If nil, it is the peer of
	// the connection; behind a proxy use [Forwarded]. Control: trusted-proxy.
	ClientAddr func(*http.Request) netip.Addr

	// ReferrerPolicy, if set, is sent with every response that has none.
	ReferrerPolicy string

	// Observers receive every event, one after the other, from a queue that
	// never blocks a request. [LogTo] makes one for log/slog.
	Observers []func(Event)
	// EventQueue is how many events may wait for the observers; more are
	// dropped, counted and reported. Defaults to 1024.
	EventQueue int

	// Logger receives warnings about this configuration and about observers
	// that panic. If nil, [slog.Default].
	Logger *slog.Logger

	// Now is the clock. If nil, [time.Now].
	Now func() time.Time

	// InsecureHTTP drops Secure and the "__Host-" prefix from our cookies, so
	// that they travel over plain HTTP where everybody on the network reads
	// them. Not needed on localhost and 127.0.0.1. Reported at start.
	InsecureHTTP bool
	// InsecureSameSiteNone allows SameSite=None and holds the reason for it,
	// which is reported at start.
	InsecureSameSiteNone string
	// InsecureNoRotation turns periodic rotation off. Reported at start.
	InsecureNoRotation bool
}

// Limits are the times after which a session ends or changes its token.
type Limits struct {
	// Idle is how long a session lives without activity. Zero means 30
	// minutes. Control: idle-timeout.
	Idle time.Duration
	// Absolute is how long a session lives after authentication, however
	// active it is. Zero means 12 hours; at most 400 days. Control:
	// absolute-timeout.
	Absolute time.Duration
	// Rotate is how often the token's secret changes. Zero means 15 minutes; at
	// least 2 minutes. Control: rotate-periodic.
	Rotate time.Duration
	// IdleLocks makes a signed-in session lock when it has been idle, instead
	// of end: it answers nothing until its user re-authenticates, and keeps
	// its values until the absolute timeout (NIST SP 800-63B-4, 2.2.3).
	IdleLocks bool
}

// AAL1 returns the limits of NIST SP 800-63B-4 for assurance level 1: 30 days,
// no idle timeout of its own.
func AAL1() Limits { return Limits{Idle: 30 * 24 * time.Hour, Absolute: 30 * 24 * time.Hour} }

// AAL2 returns the limits of NIST SP 800-63B-4 for assurance level 2: 1 hour
// idle, 24 hours absolute.
func AAL2() Limits { return Limits{Idle: time.Hour, Absolute: 24 * time.Hour} }

// AAL3 returns the limits of NIST SP 800-63B-4 for assurance level 3: 15 minutes
// idle, 12 hours absolute.
func AAL3() Limits { return Limits{Idle: 15 * time.Minute, Absolute: 12 * time.Hour} }

// PCI returns the limits of PCI DSS 4, 8.2.8: 15 minutes idle; 12 hours
// absolute.
func PCI() Limits { return Limits{Idle: 15 * time.Minute, Absolute: 12 * time.Hour} }

const (
	// grace is how long the old token of a periodic rotation works after the
	// new one was first presented, and how long late requests with a
	// superseded token are refused without a report (I3).
	grace = 30 * time.Second

	maxAbsolute = 400 * 24 * time.Hour
	hostPrefix  = "__Host-"
)

// withDefaults returns the configuration with every unset field filled in.
func (c Config) withDefaults() Config {
	if c.Store == nil {
		c.Store = memory.New()
	}
	if c.CookieName == "" {
		c.CookieName = "id"
		if c.Namespace != "" {
			c.CookieName += "-" + c.Namespace
		}
		if !c.InsecureHTTP {
			c.CookieName = hostPrefix + c.CookieName
		}
	}
	if c.SameSite == 0 || c.SameSite == http.SameSiteDefaultMode {
		c.SameSite = http.SameSiteLaxMode
	}
	setDefault(&c.Limits.Idle, min(30*time.Minute, orElse(c.Limits.Absolute, 12*time.Hour)))
	setDefault(&c.Limits.Absolute, max(12*time.Hour, c.Limits.Idle))
	setDefault(&c.Limits.Rotate, 15*time.Minute)
	c.Remember = c.Remember.withDefaults()
	setDefault(&c.PendingTimeout, 10*time.Minute)
	setDefault(&c.MaxValues, 64<<10)
	setDefault(&c.AnonymousPerMinute, 60)
	setDefault(&c.AnonymousMax, 1_000_000)
	setDefault(&c.StoreTimeout, 2*time.Second)
	setDefault(&c.EventQueue, 1024)
	if c.ClientAddr == nil {
		c.ClientAddr = peerAddr
	}
	if c.Denied == nil {
		c.Denied = Deny
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func orElse(d, other time.Duration) time.Duration {
	if d == 0 {
		return other
	}
	return d
}

// check returns every reason to refuse the configuration, each naming its
// field. It is given the configuration with its defaults.
func (c Config) check() error {
	var errs []error
	refuse := func(bad bool, field, format string, args ...any) {
		if bad {
			errs = append(errs, fmt.Errorf("session: Config.%s: %s", field, fmt.Sprintf(format, args...)))
		}
	}
	l := c.Limits
	refuse(l.Idle < time.Second, "Limits.Idle", "%v is shorter than a second", l.Idle)
	refuse(l.Idle > l.Absolute, "Limits.Idle", "%v is longer than Limits.Absolute, %v", l.Idle, l.Absolute)
	refuse(l.Absolute < time.Second, "Limits.Absolute", "%v is shorter than a second", l.Absolute)
	refuse(l.Absolute > maxAbsolute, "Limits.Absolute", "%v is longer than 400 days", l.Absolute)
	refuse(l.Rotate < 4*grace, "Limits.Rotate", "%v is shorter than %v", l.Rotate, 4*grace)
	refuse(c.PendingTimeout < time.Second || c.PendingTimeout > 10*time.Minute, "PendingTimeout",
		"%v is not between 1s and 10m", c.PendingTimeout)
	refuse(c.MaxSessions < 0, "MaxSessions", "%d is negative", c.MaxSessions)
	refuse(c.EndOldest && c.MaxSessions == 0, "EndOldest", "has no effect without MaxSessions")
	refuse(c.MaxValues < 1 || c.MaxValues > 16<<20, "MaxValues", "%d is not between 1 and 16777216", c.MaxValues)
	refuse(c.AnonymousPerMinute < 0, "AnonymousPerMinute", "%d is negative", c.AnonymousPerMinute)
	refuse(c.AnonymousMax < 0, "AnonymousMax", "%d is negative", c.AnonymousMax)
	refuse(c.StoreTimeout < 10*time.Millisecond || c.StoreTimeout > time.Minute, "StoreTimeout",
		"%v is not between 10ms and 1m", c.StoreTimeout)
	refuse(c.EventQueue < 0 || c.EventQueue > 1<<20, "EventQueue", "%d is not between 1 and 1048576", c.EventQueue)
	refuse(!validNamespace(c.Namespace), "Namespace", "%q is not at most 32 of a-z, 0-9 and '-'", c.Namespace)
	refuse(beside(c.Namespace), "Namespace", "%q would give two managers one cookie name", c.Namespace)
	refuse(c.ReferrerPolicy != "" && !validReferrerPolicy(c.ReferrerPolicy), "ReferrerPolicy",
		"%q is not a referrer policy", c.ReferrerPolicy)
	for i, k := range c.Keys {
		refuse(len(k) < 32, "Keys", "number %d has %d bytes, fewer than 32", i, len(k))
	}
	for i, o := range c.Observers {
		refuse(o == nil, "Observers", "number %d is nil", i)
	}
	c.checkRemember(refuse)
	c.checkCookie(refuse)
	return errors.Join(errs...)
}

func (c Config) checkCookie(refuse func(bad bool, field, format string, args ...any)) {
	err := (&http.Cookie{Name: c.CookieName, Value: "x"}).Valid()
	refuse(err != nil || len(c.CookieName) > 64, "CookieName", "%q is not a cookie name", c.CookieName)
	refuse(beside(c.CookieName) && !beside(c.Namespace), "CookieName", "%q is what goes beside a session cookie", c.CookieName)
	host := strings.HasPrefix(c.CookieName, hostPrefix)
	refuse(!host && !c.InsecureHTTP, "CookieName", "%q does not begin with %q", c.CookieName, hostPrefix)
	refuse(strings.HasPrefix(c.CookieName, "__") && c.InsecureHTTP, "CookieName",
		"%q has a prefix that browsers refuse with InsecureHTTP", c.CookieName)
	none := c.SameSite == http.SameSiteNoneMode
	refuse(none && c.InsecureSameSiteNone == "", "SameSite",
		"None lets other sites use the session; say why in InsecureSameSiteNone")
	refuse(!none && c.InsecureSameSiteNone != "", "InsecureSameSiteNone", "is set, but SameSite is not None")
	refuse(none && c.InsecureHTTP, "SameSite", "None is refused by browsers with InsecureHTTP")
	refuse(c.SameSite < http.SameSiteDefaultMode || c.SameSite > http.SameSiteNoneMode, "SameSite",
		"%d is not a mode", c.SameSite)
}

// relaxations lists what is in use of the Insecure settings, and what is missing.
func (c Config) relaxations(local bool) (all []string) {
	if len(c.Keys) == 0 && !local {
		all = append(all, "Keys: none, so whoever can write to the store can make up sessions")
	}
	if c.InsecureHTTP {
		all = append(all, "InsecureHTTP: session cookies travel over plain HTTP")
	}
	if c.InsecureSameSiteNone != "" {
		all = append(all, "InsecureSameSiteNone: other sites can use the session, because: "+c.InsecureSameSiteNone)
	}
	if c.InsecureNoRotation {
		all = append(all, "InsecureNoRotation: tokens are never replaced while a session lasts")
	}
	return all
}

// beside reports whether a name ends like one of the cookies that go beside a
// session cookie.
func beside(s string) bool {
	for _, beside := range []string{"csrf", "pending", "remember"} {
		if s == beside || strings.HasSuffix(s, "-"+beside) {
			return true
		}
	}
	return false
}

func validNamespace(s string) bool {
	if len(s) > 32 {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c != '-' && (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return true
}

func validReferrerPolicy(s string) bool {
	switch s {
	case "no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin",
		"strict-origin", "strict-origin-when-cross-origin", "unsafe-url":
		return true
	}
	return false
}
