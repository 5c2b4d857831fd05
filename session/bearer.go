package session

import (
	"net/http"
	"strings"
)

// bearerToken returns the token of the Authorization header: one header, the
// scheme Bearer in any case, one space, the token.
func bearerToken(r *http.Request) (Token, found) {
	lines := r.Header["Authorization"]
	switch {
	case len(lines) == 0:
		return Token{}, foundNothing
	case len(lines) > 1:
		return Token{}, foundConflict
	}
	scheme, value, ok := strings.Cut(lines[0], " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return Token{}, foundNothing // another scheme, another layer's business
	}
	token, ok := parseToken(value)
	if !ok {
		return Token{}, foundMalformed
	}
	return token, foundOne
}
