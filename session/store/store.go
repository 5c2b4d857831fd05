// Package store is the contract between the session manager and the places
// where sessions are kept.
//
// A store sees hashes and sealed bytes, never a token or a plaintext value. Its
// semantics are the product: every implementation passes the suite in
// [cloakroom.example/session/store/storetest], which proves the invariants
// below sequentially, under concurrency, against a model and with faults
// injected between any two steps.
//
//	I1  No resurrection. Once Revoke, or a Create that replaces, has returned,
//	    no Swap and no Touch makes the session alive again. Writes are "if this
//	    version still exists", never upserts. Ending leaves a tombstone with
//	    its cause for at least 24 hours.
//	I2  No lost update. Swap compares the version; exactly one of several
//	    writers that loaded the same version succeeds, the others get
//	    [ErrConflict] and nothing of theirs is stored.
//	I3  Rotation is a Swap (same handle, new verifier) or a Create that
//	    replaces (new handle; the old one is ended in the same step, and only
//	    if its version is still the expected one).
//	I4  Monotonic. Touch moves Seen forward only, applies only while the
//	    session was alive at the touch's time, and writes nothing else.
//	    Locked, Limit and End can be tightened, never loosened.
//	I5  Revoke means all. After Revoke of a subject, a link or everything has
//	    returned, no session it names is alive, and a Create that began
//	    earlier ([Creation.Since]) is refused with [ErrRevoked]. Revoking
//	    everything costs O(1).
//	I6  Limits hold. Create counts and inserts in one step, so that parallel
//	    Creates never leave more live sessions than [Creation.Max].
//	I7  Durable. A durable store acknowledges a write only when it survives
//	    the sudden death of the process.
//	I8  Blind. Keys are hashes, values are sealed; error texts hold neither.
//	I9  Cheap. Load writes nothing. Touch is a batch. No operation's cost
//	    depends on the number of live sessions, except List, Count and Sweep.
//	I10 The caller's time decides. Stores never read a clock; an expiry is
//	    acknowledged to exactly one caller, the one whose Revoke or Sweep
//	    changed the state.
//	I11 Fail closed. A store that cannot answer says [ErrUnavailable], or
//	    [ErrUnknownOutcome] when a write may or may not have happened. It
//	    never answers "not found" for "I could not look".
//
// # Concurrency
//
// All methods are safe for concurrent use, from several managers and, where
// the engine is shared, from several processes. Returned slices belong to the
// caller; slices passed in are not retained.
//
// # Time
//
// Times have nanosecond resolution; the zero [time.Time] means "not set".
// Clocks of different nodes may differ by up to two seconds, [ClockSkew].
package store

import (
	"context"
	"errors"
	"time"
)

// Errors on which callers branch. Implementations wrap them with %w.
var (
	// ErrNotFound says that there is no such session, or that it has ended and
	// can therefore not be changed.
	ErrNotFound = errors.New("store: session not found")
	// ErrExists says that Create was given a handle that is taken.
	ErrExists = errors.New("store: handle exists")
	// ErrConflict says that the stored version is not the expected one.
	// Nothing was changed; the caller reloads, re-applies and tries again.
	ErrConflict = errors.New("store: version conflict")
	// ErrLimit says that the subject has as many live sessions as it may have.
	ErrLimit = errors.New("store: session limit reached")
	// ErrRevoked says that Create was overtaken by a revocation of its subject,
	// of one of its links or of everything.
	ErrRevoked = errors.New("store: creation overtaken by a revocation")
	// ErrUnavailable says that the store could not answer and, for a write,
	// that nothing was changed.
	ErrUnavailable = errors.New("store: unavailable")
	// ErrUnknownOutcome says that a write may or may not have been applied.
	// Callers never re-apply it.
	ErrUnknownOutcome = errors.New("store: outcome unknown")
)

// Store keeps session records. See the package comment for the invariants.
type Store interface {
	// Create stores a new record as version 1. With [Creation.Replace] the
	// replaced record is ended in the same step. Errors: ErrExists, ErrConflict
	// and ErrNotFound (both about the replaced record), ErrLimit, ErrRevoked,
	// ErrUnavailable, ErrUnknownOutcome; after all but the last, nothing was
	// changed.
	Create(ctx context.Context, c Creation) (Created, error)

	// Load returns the record and those of its parts that are named. An ended
	// record comes back as a tombstone ([Record.End] is set); whether a live
	// one has expired is for the caller to decide with [Record.Expired].
	// Errors: ErrNotFound, ErrUnavailable.
	Load(ctx context.Context, k Key, parts []string) (Record, error)

	// Swap stores the changeable fields of r (see [Record.Change]) and the
	// parts in r.Parts (a part whose Sealed is nil is removed, parts not
	// listed stay), if the stored version is r.Version and the record is
	// alive at now. The stored version is then r.Version+1. Errors:
	// ErrConflict, ErrNotFound, ErrUnavailable, ErrUnknownOutcome.
	Swap(ctx context.Context, r Record, now time.Time) error

	// Touch moves Seen of each named session forward to the time given, if it
	// was alive at that time. Unknown, ended, locked and expired sessions are
	// passed over without an error. Errors: ErrUnavailable,
	// ErrUnknownOutcome.
	Touch(ctx context.Context, namespace string, touches []Touch) error

	// Revoke ends or tightens the sessions that r names and reports which
	// ones changed by this call. Revoking what has already ended is not an
	// error. Errors: ErrUnavailable, ErrUnknownOutcome.
	Revoke(ctx context.Context, r Revocation) (Revoked, error)

	// List returns records without parts, a page at a time. A session that is
	// alive from the first page to the last appears exactly once. Errors:
	// ErrUnavailable; a cursor that List did not make is an error too.
	List(ctx context.Context, q Query) (Page, error)
}

// Sweeper is implemented by stores that need housekeeping. Correctness never
// depends on it: expiry is decided when a record is loaded.
type Sweeper interface {
	// Sweep ends at most s.Max expired sessions and removes at most s.Max
	// tombstones older than s.Keep. Its cost is proportional to what it ends
	// and removes, not to what is alive.
	Sweep(ctx context.Context, s Sweeping) (Swept, error)
}

// Counter is implemented by stores that count faster than List pages.
type Counter interface {
	// Count returns the number of sessions that List would return for q.
	Count(ctx context.Context, q Query) (int, error)
}

// Estimator is implemented by stores that know roughly how many sessions of
// visitors they hold. The manager asks about twice a minute.
type Estimator interface {
	// EstimateAnonymous returns the number of records in state Anonymous that
	// have not ended. It may include some that have expired or were revoked
	// with all others, and were not swept yet.
	EstimateAnonymous(ctx context.Context, namespace string) (int, error)
}

// Local is implemented by stores that live in the memory of this process, where
// nobody else can change a record. For every other store the manager opens the
// data key's wrap on each load, which proves that the facts that decide
// authority are those that were sealed.
type Local interface {
	// InProcess reports whether records never leave this process.
	InProcess() bool
}

// Key names one record.
type Key struct {
	Namespace string
	Handle    Handle
}

// Creation is the input of [Store.Create].
type Creation struct {
	// Record is stored with Version 1, whatever its Version says.
	Record Record
	// Now is the time of the creation.
	Now time.Time
	// Replace, if not nil, names the record that the new one supersedes. It
	// must be alive and fit (see [Replace.Fits]); it is ended with
	// [CauseRenewed].
	Replace *Replace
	// Max limits the live sessions in state Active of Record.Subject,
	// including the new one and not counting the replaced one. Zero means no
	// limit. It is applied only when the new record is Active.
	Max int
	// EvictOldest ends the sessions created first, with [CauseLimit], instead
	// of refusing with ErrLimit.
	EvictOldest bool
	// Since is when the authentication behind this session began. A revocation
	// of the subject, a link or everything that ended sessions later than
	// that refuses the creation with ErrRevoked, even where it was restricted
	// by AuthenticatedBefore. Zero means no check.
	Since time.Time
	// Clock names the clock that Since was read from: a number, not negative,
	// that each node makes up, or UnknownClock. See [Creation.Overtook].
	Clock int64
}

// ClockSkew is how much the clocks of two nodes may differ.
const ClockSkew = 2 * time.Second

// Clocks that are no node's, and therefore not exact for anybody.
const (
	// SeveralClocks stands for revocations that different clocks have timed.
	SeveralClocks int64 = -1
	// UnknownClock stands for the clock of whoever says when an authentication
	// began.
	UnknownClock int64 = -2
)

// Mark is when something was revoked last, and by which clock. The zero Mark is
// "never".
type Mark struct {
	At    time.Time
	Clock int64
}

// After returns the mark to keep when v comes on top of m.
func (m Mark) After(v Revocation) Mark {
	switch d := v.Now.Sub(m.At); {
	case m.At.IsZero(), m.Clock == v.Clock && d >= 0, d > ClockSkew:
		return Mark{v.Now, v.Clock}
	case m.Clock == v.Clock, d < -ClockSkew:
		return m
	case d < 0:
		return Mark{m.At, SeveralClocks}
	}
	return Mark{v.Now, SeveralClocks}
}

// Overtook reports whether a revocation came after the beginning of the
// authentication behind c. Where one clock has timed both, it knows; where it was
// two, the one of the revocation may be behind, and logins of the seconds after
// it are refused too.
func (c Creation) Overtook(last Mark) bool {
	if c.Since.IsZero() || last.At.IsZero() {
		return false
	}
	if last.Clock != c.Clock {
		last.At = last.At.Add(ClockSkew)
	}
	return last.At.After(c.Since)
}

// Replace names the record that a creation supersedes, as the creator has seen
// it.
type Replace struct {
	Handle  Handle
	Version uint64
	// Locked and Limit are those of the record. One that was locked or
	// shortened since does not fit: otherwise its successor would escape.
	Locked bool
	Limit  time.Time
}

// Fits reports whether the stored record is as the creator has seen it. If not,
// the answer of Create is ErrConflict.
func (p Replace) Fits(stored *Record) bool {
	limited := stored.Limit.IsZero() || !p.Limit.IsZero() && !stored.Limit.Before(p.Limit)
	return stored.Version == p.Version && limited && (p.Locked || !stored.Locked)
}

// Created is the result of [Store.Create].
type Created struct {
	// Evicted are the sessions ended to keep the limit.
	Evicted []Handle
}

// Touch is one last-seen time.
type Touch struct {
	Handle Handle
	Seen   time.Time
}

// Effect is what a revocation does to the sessions it names.
type Effect uint8

// The effects of a revocation. None of them needs the token; all of them only
// tighten.
const (
	// EffectEnd ends the session and leaves a tombstone.
	EffectEnd Effect = iota
	// EffectLock locks the session until its subject authenticates again. The
	// version stays: changes under way are kept, and the lock with them.
	EffectLock
	// EffectShorten brings the end of the session forward to
	// [Revocation.Limit].
	EffectShorten
)

// Revocation is the input of [Store.Revoke]. Exactly one of Handle, Subject,
// Link and All names the target.
type Revocation struct {
	Namespace string
	Handle    Handle
	Subject   string
	Link      Link
	// All names every session of the namespace; only EffectEnd.
	All bool

	// Except spares one session of a subject.
	Except Handle
	// AuthenticatedBefore, if set, restricts a subject, link or All
	// revocation to sessions that were authenticated, and before this time.
	AuthenticatedBefore time.Time
	// OnlyExpired restricts a handle revocation to a session that has expired
	// at Now; the stored cause is then the kind of expiry.
	OnlyExpired bool

	Effect Effect
	// Limit is the new end, for EffectShorten.
	Limit time.Time
	Cause string
	By    string
	Now   time.Time
	// Clock names the clock that Now was read from, see [Creation.Clock].
	Clock int64
}

// Revoked is the result of [Store.Revoke].
type Revoked struct {
	// Changed are the sessions that this call ended or tightened. It is empty
	// for All, which changes nothing but a counter.
	Changed []Handle
}

// Query is the input of [Store.List] and [Counter.Count].
type Query struct {
	Namespace string
	// Subject and Link restrict the list; without either, all sessions of the
	// namespace are listed.
	Subject string
	Link    Link
	// State restricts the list to records created in this state, if not zero.
	State State
	// Ended includes tombstones and expired sessions.
	Ended bool
	// Now decides which sessions have expired.
	Now time.Time
	// Cursor is [Page.Next] of the page before, or empty.
	Cursor string
	// Max is the largest number of records wanted; zero means 100.
	Max int
}

// PageSize returns q.Max, or the default where it is not set.
func (q Query) PageSize() int {
	if q.Max <= 0 {
		return 100
	}
	return q.Max
}

// Wants reports whether the record belongs into the list that q describes.
func (q Query) Wants(r *Record) bool {
	if r.Namespace != q.Namespace || q.Subject != "" && r.Subject != q.Subject {
		return false
	}
	if q.State != 0 && r.State != q.State {
		return false
	}
	if q.Link != (Link{}) && !r.HasLink(q.Link) {
		return false
	}
	return q.Ended || r.Alive(q.Now)
}

// Page is the result of [Store.List].
type Page struct {
	Records []Record
	// Next continues the list; empty means that this was the last page.
	Next string
}

// Sweeping is the input of [Sweeper.Sweep].
type Sweeping struct {
	Namespace string
	Now       time.Time
	// Keep is how long tombstones stay; less than 24 hours is taken as 24
	// hours.
	Keep time.Duration
	// Max bounds one call; zero means 1000.
	Max int
}

// Limits returns the effective time before which tombstones go, and the
// effective bound.
func (s Sweeping) Limits() (before time.Time, most int) {
	keep, most := max(s.Keep, TombstoneTime), s.Max
	if most <= 0 {
		most = 1000
	}
	return s.Now.Add(-keep), most
}

// TombstoneTime is how long an ended session is remembered at least.
const TombstoneTime = 24 * time.Hour

// Swept is the result of [Sweeper.Sweep].
type Swept struct {
	// Expired are the sessions that this call ended.
	Expired []Record
	// Removed is the number of tombstones removed.
	Removed int
	// More says that the bound was reached and another call would find work.
	More bool
}
