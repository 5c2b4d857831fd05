package main

import (
	"encoding/json"
	"errors"
	"net/http"

	"cloakroom.example/session"
)

// problem answers an error of the sessions as a problem document. As Config.Denied
// it does so for all that the manager refuses; handlers call it for the rest, so
// that clients see one format.
func problem(w http.ResponseWriter, r *http.Request, err error) {
	status := session.Status(err)
	name, detail := explain(err)
	session.RetryAfter(w, err)
	if status == http.StatusUnauthorized {
		// RFC 6750: the error is named only if a token came.
		challenge := `Bearer realm="examples"`
		if r.Header.Get("Authorization") != "" {
			challenge += `, error="invalid_token"`
		}
		w.Header().Set("WWW-Authenticate", challenge)
	}
	writeProblem(w, status, name, detail)
}

// explain returns the name by which programs tell a problem, and a sentence for
// people. What the error itself says is for logs.
func explain(err error) (name, detail string) {
	switch {
	case errors.Is(err, session.ErrStale):
		return "confirm-password", "Send your password to /v1/session/confirm first."
	case errors.Is(err, session.ErrLimit):
		return "too-many-sessions", "Sign out on another device first."
	case errors.Is(err, session.ErrConflict):
		return "conflict", "Somebody else changed this at the same time. Read it again."
	case errors.Is(err, session.ErrTooLarge):
		return "too-large", "There is no room for that in the session."
	}
	switch session.Status(err) {
	case http.StatusUnauthorized:
		return "sign-in", "Sign in at /v1/session and present its token."
	case http.StatusServiceUnavailable:
		return "unavailable", "Sessions are unavailable at the moment. Try again shortly."
	}
	return "refused", "The request was refused."
}

// writeProblem writes a problem document, see RFC 9457. The type is relative to
// the API: it is a name, not necessarily a page.
func writeProblem(w http.ResponseWriter, status int, name, detail string) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]any{
		"type": "/problems/" + name, "title": http.StatusText(status), "status": status, "detail": detail,
	})
}
