package session

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// found says what a request carries under our name.
type found uint8

const (
	foundNothing found = iota
	foundOne
	foundMalformed
	foundConflict // several different values: somebody planted one
)

// cookieValue scans the Cookie headers for our name. Names are compared byte for
// byte; nothing is unquoted, trimmed beyond spaces and tabs, or decoded. The
// same value several times counts once. Control: id-input-hygiene.
func cookieValue(headers []string, name string) (value string, result found) {
	for _, line := range headers {
		for line != "" {
			var pair string
			pair, line, _ = strings.Cut(line, ";")
			pair = strings.Trim(pair, " \t")
			if len(pair) <= len(name) || pair[len(name)] != '=' || pair[:len(name)] != name {
				continue
			}
			if v := pair[len(name)+1:]; result == foundNothing {
				value, result = v, foundOne
			} else if v != value {
				return "", foundConflict
			}
		}
	}
	return value, result
}

// cookieToken returns the token that the request carries in the named cookie.
func cookieToken(r *http.Request, name string) (Token, found) {
	value, result := cookieValue(r.Header["Cookie"], name)
	if result != foundOne {
		return Token{}, result
	}
	token, ok := parseToken(value)
	if !ok {
		return Token{}, foundMalformed
	}
	return token, foundOne
}

// cookie returns a Set-Cookie line. It carries no Domain, so that the cookie
// stays on this host, and no lifetime, so that it ends with the browser; an
// empty value removes it, with the attributes it was set with.
func (m *Manager) cookie(name, value string) string {
	return m.setCookie(name, value, 0, m.cfg.SameSite)
}

// persistentCookie is the same for a cookie that outlives the browser. Other sites
// never use it, even if they may use the session. Control: cookie-lifetime.
func (m *Manager) persistentCookie(name, value string, lifetime time.Duration) string {
	sameSite := http.SameSiteLaxMode
	if m.cfg.SameSite == http.SameSiteStrictMode {
		sameSite = http.SameSiteStrictMode
	}
	return m.setCookie(name, value, max(1, int(lifetime.Seconds())), sameSite)
}

// setCookie puts the line together; a lifetime of 0 is none.
func (m *Manager) setCookie(name, value string, seconds int, sameSite http.SameSite) string {
	var b strings.Builder
	b.Grow(len(name) + len(value) + 96)
	b.WriteString(name)
	b.WriteByte('=')
	b.WriteString(value)
	b.WriteString("; Path=/")
	if value == "" {
		b.WriteString("; Max-Age=0")
	} else if seconds > 0 {
		b.WriteString("; Max-Age=" + strconv.Itoa(seconds))
	}
	b.WriteString("; HttpOnly")
	if !m.cfg.InsecureHTTP {
		b.WriteString("; Secure")
	}
	switch sameSite {
	case http.SameSiteStrictMode:
		b.WriteString("; SameSite=Strict")
	case http.SameSiteNoneMode:
		b.WriteString("; SameSite=None")
	default:
		b.WriteString("; SameSite=Lax")
	}
	return b.String()
}

func (m *Manager) pendingCookie() string { return m.cfg.CookieName + "-pending" }
func (m *Manager) csrfCookie() string    { return m.cfg.CookieName + "-csrf" }

// addVary adds a name to the Vary header unless it is there.
func addVary(h http.Header, name string) {
	for _, line := range h["Vary"] {
		for _, v := range strings.Split(line, ",") {
			if v = strings.TrimSpace(v); v == "*" || strings.EqualFold(v, name) {
				return
			}
		}
	}
	h["Vary"] = append(h["Vary"], name)
}
