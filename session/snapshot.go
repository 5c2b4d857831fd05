package session

import (
	"slices"
	"time"

	"cloakroom.example/session/store"
)

// Names of the store's contract that applications meet.
type (
	// Handle is the public name of a session.
	Handle = store.Handle
	// Assurance says how sure we are of the subject, and with what authority.
	Assurance = store.Assurance
	// Client is where a request came from.
	Client = store.Client
	// State is what a session was created as.
	State = store.State
)

// The states of a [Snapshot].
const (
	Anonymous = store.Anonymous
	Pending   = store.Pending
	Active    = store.Active
)

// ParseHandle is the inverse of [Handle.String] and accepts nothing else.
func ParseHandle(s string) (Handle, error) { return store.ParseHandle(s) }

// Snapshot is what can be known about a session, by its handle, without its
// token. It holds no value and no secret.
type Snapshot struct {
	Handle  Handle
	Subject string
	// State is what the session was created as.
	State State
	// Locked says that the session answers nothing until its user
	// authenticates again.
	Locked    bool
	Assurance Assurance
	Transport store.Transport
	Created   time.Time
	Seen      time.Time
	Idle      time.Duration
	// Expires is when the session ends if it is not used any more; Deadline
	// when it ends however much it is used.
	Expires, Deadline time.Time
	First, Last       Client
	Label             string
	// Series is the remembered login that the session belongs to, or zero.
	Series Handle
	// Restored says that the session was made from a remembered login, and its
	// user has not authenticated since.
	Restored bool
	// Current says that this is the session of the request at hand.
	Current bool
	// Ended says when and why, if the session has ended.
	Ended store.End
}

func snapshot(r *store.Record, now time.Time) Snapshot {
	deadline := r.Deadline
	if !r.Limit.IsZero() && (deadline.IsZero() || r.Limit.Before(deadline)) {
		deadline = r.Limit
	}
	series, _ := seriesOf(r)
	return Snapshot{
		Series: series, Restored: slices.ContainsFunc(r.Assurance.Methods, isRemember),
		Handle: r.Handle, Subject: r.Subject, State: r.State, Locked: r.LockedAt(now),
		Assurance: r.Assurance.Clone(), Transport: r.Transport,
		Created: r.Created, Seen: r.Seen, Idle: r.Idle, Expires: r.Expiry(), Deadline: deadline,
		First: r.First, Last: r.Last, Label: r.Label, Ended: r.End,
	}
}
