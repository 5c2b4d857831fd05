package session

import (
	"errors"
	"fmt"
	"net/http"

	"cloakroom.example/session/store"
)

// Errors on which callers branch.
var (
	// ErrUnavailable says that the store could not answer. The request has no
	// identity, and its cookie is left alone.
	ErrUnavailable = store.ErrUnavailable
	// ErrUnknownOutcome says that a change may or may not have been stored. It
	// is not tried again.
	ErrUnknownOutcome = store.ErrUnknownOutcome
	// ErrConflict says that a value this request had read was changed by
	// another one before this request's change of it was stored.
	ErrConflict = store.ErrConflict
	// ErrLimit says that the subject has as many sessions as it may have.
	ErrLimit = store.ErrLimit
	// ErrRevoked says that a login was overtaken by a revocation of its
	// subject, of a link or of everything.
	ErrRevoked = store.ErrRevoked

	// ErrOutside says that there is no session because the request did not
	// pass through [Manager.Handler] or [Manager.Open], or was skipped; or that
	// the context is not that of the request: some frameworks have one of their
	// own, which does not lead to it.
	ErrOutside = errors.New("session: request did not pass through the session handler")
	// ErrEnded says that the session of this request has ended: logged out,
	// revoked, expired or replaced by a login in another tab. What this
	// request wanted to change is not stored.
	ErrEnded = errors.New("session: session has ended")
	// ErrLocked says that the session is locked until its user authenticates
	// again.
	ErrLocked = errors.New("session: session is locked")
	// ErrLoginRequired says that nobody is signed in.
	ErrLoginRequired = errors.New("session: login required")
	// ErrStale says that the user has to authenticate again for this.
	ErrStale = errors.New("session: fresh authentication required")
	// ErrCSRF says that the request does not prove that it comes from one of
	// our own pages.
	ErrCSRF = errors.New("session: request forgery check failed")
	// ErrHeadersSent says that a cookie would be needed, but the response has
	// begun.
	ErrHeadersSent = errors.New("session: response has begun, the cookie cannot be set any more")
	// ErrTooLarge says that the session's values exceed Config.MaxValues.
	ErrTooLarge = errors.New("session: values too large")
	// ErrBudget says that too many visitors' sessions were created from this
	// address, or in all.
	ErrBudget = errors.New("session: too many new sessions")

	// errNoChange ends an update without storing anything.
	errNoChange = errors.New("session: no change")
)

// Status returns the HTTP status that fits an error of this package: 401 where
// somebody has to sign in, 403 for a refused request, 409 for a conflict, 413, 429,
// and 503 when the store cannot answer.
func Status(err error) int {
	switch {
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrUnknownOutcome):
		return http.StatusServiceUnavailable
	case errors.Is(err, ErrCSRF), errors.Is(err, ErrStale), errors.Is(err, ErrLimit):
		return http.StatusForbidden
	case errors.Is(err, ErrLoginRequired), errors.Is(err, ErrLocked), errors.Is(err, ErrEnded), errors.Is(err, ErrRevoked):
		return http.StatusUnauthorized
	case errors.Is(err, ErrConflict):
		return http.StatusConflict
	case errors.Is(err, ErrTooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.Is(err, ErrBudget):
		return http.StatusTooManyRequests
	}
	return http.StatusInternalServerError
}

// Deny answers a request as Config.Denied does, with an error of this package that
// a handler cannot go on from.
func (m *Manager) Deny(w http.ResponseWriter, r *http.Request, err error) { m.cfg.Denied(w, r, err) }

// Deny is the default of Config.Denied: a line of text under the status of
// [Status]. It is there for a Denied that answers some errors by itself.
func Deny(w http.ResponseWriter, _ *http.Request, err error) {
	status := Status(err)
	text := http.StatusText(status)
	switch {
	case errors.Is(err, errNoCookie):
		text = errNoCookie.Error()
	case errors.Is(err, ErrCSRF):
		text = "This form is no longer valid, or the request did not come from this site. Go back, reload the page and try again."
	case errors.Is(err, ErrConflict):
		text = "Somebody changed this at the same time. Reload the page and try again."
	case errors.Is(err, ErrUnavailable), errors.Is(err, ErrUnknownOutcome):
		text = "Sessions are unavailable at the moment. Try again shortly."
	case errors.Is(err, ErrEnded):
		text = "Your session has ended. Reload the page."
	case errors.Is(err, ErrLoginRequired), errors.Is(err, ErrLocked), errors.Is(err, ErrRevoked):
		text = "Please sign in."
	case errors.Is(err, ErrStale):
		text = "Please confirm your password first."
	}
	RetryAfter(w, err)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, text, status)
}

// RetryAfter sets the Retry-After header that fits an error, for use in
// Config.Denied.
func RetryAfter(w http.ResponseWriter, err error) {
	switch Status(err) {
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "5")
	case http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "60")
	}
}

// fromStore puts what a store answered into the errors of this package: whatever
// is not one of the contract's errors counts as unavailable.
func fromStore(doing string, err error) error {
	if err == nil {
		return nil
	}
	for _, known := range []error{
		store.ErrNotFound, store.ErrExists, store.ErrConflict, store.ErrLimit, store.ErrRevoked,
		store.ErrUnavailable, store.ErrUnknownOutcome,
	} {
		if errors.Is(err, known) {
			return fmt.Errorf("session: %s: %w", doing, err)
		}
	}
	return fmt.Errorf("session: %s: %w: %w", doing, ErrUnavailable, err)
}
