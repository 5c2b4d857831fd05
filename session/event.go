package session

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// Event types, in the words of the OWASP logging vocabulary where it has one.
const (
	// EventCreated: a session began. Cause: "visit", "login", "pending" or
	// "remember".
	EventCreated = "session_created"
	// EventRenewed: a session got a new token. Cause: "login", "elevation",
	// "reauthentication", "revoke_others" or "rotation".
	EventRenewed = "session_renewed"
	// EventExpired: a session ended other than by logout. Cause: "idle",
	// "absolute", "limit", "reuse", "admission" or what the revoker said.
	EventExpired = "session_expired"
	// EventLogout: the user signed out.
	EventLogout = "session_logout"
	// EventLocked: a session locked. Cause: "idle", "admission" or what the
	// revoker said.
	EventLocked = "session_locked"
	// EventRevoked: somebody ended all sessions of a subject, a link or the
	// namespace. The single sessions are reported as expired where they are
	// known.
	EventRevoked = "session_revoked"
	// EventUseAfterExpire: the token of an ended session was presented. Cause:
	// why it had ended; Initiator: who had ended it.
	EventUseAfterExpire = "session_use_after_expire"
	// EventRemembered: a login is remembered, see Config.Remember. Handle is that
	// of the remembered login.
	EventRemembered = "session_remembered"
	// EventRestored: a session was made from a remembered login, whose handle
	// this is; the session is reported as created.
	EventRestored = "session_restored"
	// EventForgotten: a remembered login ended. Cause: "logout", "renewed" by
	// another login, "idle", "absolute", "limit", "reuse", "admission",
	// "not readmitted" or what the revoker said.
	EventForgotten = "session_forgotten"
	// EventReuse: a token was presented after its successor had been in use for
	// the grace period: one of the two is stolen. The session has been ended; if
	// the cause is "remember", the remembered login and its sessions.
	EventReuse = "session_reuse"
	// EventUnknownToken: a token that is malformed, unknown, of the wrong kind
	// or wrong in its secret. Cause says which.
	EventUnknownToken = "session_unknown_token"
	// EventCookieConflict: several different cookies under our name.
	EventCookieConflict = "session_cookie_conflict"
	// EventUnreadable: a record did not open, or a value did not decode; cause
	// says what.
	EventUnreadable = "session_unreadable"
	// EventCSRF: a forged request was refused.
	EventCSRF = "malicious_csrf"
	// EventLimit: a login was refused for too many sessions.
	EventLimit = "excess_sessions_exceeded"
	// EventBudget: a visitor's session was refused for too many of them.
	EventBudget = "session_budget_exceeded"
	// EventStoreFailed: the store could not answer; cause is its error.
	EventStoreFailed = "session_store_failed"
	// EventDropped: observers were too slow; Count events are missing.
	EventDropped = "session_events_dropped"
)

// Event is something that happened to a session. It holds no token and no value.
type Event struct {
	ID        string // 16 random hexadecimal digits
	Time      time.Time
	Namespace string
	Type      string
	Handle    Handle
	// Previous is the handle that Handle replaced, for EventRenewed.
	Previous Handle
	Subject  string
	// Initiator is who caused it: the subject of the request's session, or
	// empty for the system itself.
	Initiator string
	Cause     string
	Addr      netip.Addr
	Agent     string
	Count     int
}

// LogValue shows the fields that are set.
func (e Event) LogValue() slog.Value {
	attrs := []slog.Attr{slog.String("id", e.ID), slog.String("namespace", e.Namespace)}
	for _, a := range []struct{ key, value string }{
		{"handle", handleText(e.Handle)}, {"previous", handleText(e.Previous)}, {"subject", e.Subject},
		{"initiator", e.Initiator}, {"cause", e.Cause}, {"addr", addrText(e.Addr)}, {"agent", e.Agent},
	} {
		if a.value != "" {
			attrs = append(attrs, slog.String(a.key, a.value))
		}
	}
	if e.Count != 0 {
		attrs = append(attrs, slog.Int("count", e.Count))
	}
	return slog.GroupValue(attrs...)
}

func handleText(h Handle) string {
	if h.IsZero() {
		return ""
	}
	return h.String()
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// LogTo returns an observer that writes events to a logger: attacks and failures
// as warnings, the rest as information.
func LogTo(l *slog.Logger) func(Event) {
	return func(e Event) {
		level := slog.LevelInfo
		switch e.Type {
		case EventReuse, EventUseAfterExpire, EventCookieConflict, EventUnreadable, EventCSRF, EventLimit,
			EventBudget, EventStoreFailed, EventDropped:
			level = slog.LevelWarn
		}
		// The event's own time, not that of the queue.
		record := slog.NewRecord(e.Time, level, e.Type, 0)
		record.AddAttrs(slog.Any("session", e))
		if l.Enabled(context.Background(), level) {
			_ = l.Handler().Handle(context.Background(), record)
		}
	}
}

// eventQueue hands events to the observers without ever blocking a request.
type eventQueue struct {
	observers []func(Event)
	logger    *slog.Logger
	events    chan Event
	dropped   atomic.Int64
	done      chan struct{}

	mu     sync.RWMutex // held for writing while closing
	closed bool
}

func newEventQueue(c Config) *eventQueue {
	q := &eventQueue{
		observers: c.Observers, logger: c.Logger,
		events: make(chan Event, c.EventQueue), done: make(chan struct{}),
	}
	if len(q.observers) == 0 {
		q.closed = true
		close(q.done)
		return q
	}
	go q.deliver(c)
	return q
}

// deliver runs until the queue is closed and empty.
func (q *eventQueue) deliver(c Config) {
	defer close(q.done)
	for e := range q.events {
		q.observe(e)
		if n := q.dropped.Swap(0); n > 0 {
			q.observe(Event{
				ID: eventID(), Time: c.Now(), Namespace: c.Namespace, Type: EventDropped, Count: int(n),
			})
		}
	}
}

// observe calls every observer; one that panics hurts nobody but itself.
func (q *eventQueue) observe(e Event) {
	for _, o := range q.observers {
		func() {
			defer func() {
				if p := recover(); p != nil {
					q.logger.Error("session: observer panicked", "event", e.Type, "panic", fmt.Sprint(p))
				}
			}()
			o(e)
		}()
	}
}

func (q *eventQueue) put(e Event) {
	q.mu.RLock()
	defer q.mu.RUnlock()
	if q.closed {
		return
	}
	select {
	case q.events <- e:
	default:
		q.dropped.Add(1)
	}
}

// close stops taking events and waits until the observers have seen all that
// were taken, or ctx ends.
func (q *eventQueue) close(ctx context.Context) error {
	q.mu.Lock()
	if !q.closed {
		q.closed = true
		close(q.events)
	}
	q.mu.Unlock()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("delivering events: %w", ctx.Err())
	}
}

func eventID() string {
	var b [8]byte
	_, _ = rand.Read(b[:])
	return hex.EncodeToString(b[:])
}

// emit reports an event of a request. s may be nil for events that no request
// caused.
func (m *Manager) emit(s *Session, e Event) {
	if len(m.cfg.Observers) == 0 {
		return
	}
	e.ID, e.Time, e.Namespace = eventID(), m.cfg.Now(), m.cfg.Namespace
	if s != nil {
		c := s.client()
		e.Addr, e.Agent = c.Addr, c.Agent
	}
	m.events.put(e)
}
