package demo

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"cloakroom.example/session"
)

// exchange is one request and its answer, as they are shown. It holds no token.
type exchange struct {
	Who      string
	Thief    bool
	Brief    bool
	Request  []line
	Response []line
	Means    string // the answer, in words
	Later    int    // the step in which the answer came, if not that of the request
	Status   string
	Sent     piece // the ticket that was shown to the shop
	Got      piece // the one that came back
	Events   []eventLine

	number int
	step   int
	agent  string
}

// line is one line on the wire.
type line []piece

// piece is a part of a line. If it stands for a ticket, Mark says which one, and
// Letter is its letter.
type piece struct {
	Text, Mark, Letter string
}

// redact returns as much of a secret as tells it from others: three characters
// of 64.
func redact(secret string) string {
	const shown = 3
	if len(secret) <= 2*shown {
		return "[redacted]"
	}
	return secret[:shown] + "…[redacted]"
}

// requested writes down a request.
func (x *exchange) requested(c *client, r *http.Request, form url.Values) {
	x.Sent = c.run.piece(c.ticket(), c.made)
	path, _, _ := strings.Cut(r.URL.RequestURI(), "?")
	x.Request = append(x.Request, line{{Text: r.Method + " " + path + " HTTP/1.1"}})
	for _, name := range []string{"Origin", "Sec-Fetch-Site"} {
		if value := r.Header.Get(name); value != "" {
			x.Request = append(x.Request, line{{Text: name + ": " + value}})
		}
	}
	if cookies := x.cookies(c); len(cookies) > 0 {
		x.Request = append(x.Request, append(line{{Text: "Cookie: "}}, cookies...))
	}
	if len(form) > 0 {
		x.Request = append(x.Request, line{}, formLine(form))
	}
}

func (x *exchange) cookies(c *client) (l line) {
	if value := c.ticket(); value != "" {
		l = append(l, piece{Text: ticketCookie + "="}, x.Sent)
	}
	if value := c.cookies[formCookie]; value != "" {
		if len(l) > 0 {
			l = append(l, piece{Text: "; "})
		}
		l = append(l, piece{Text: formCookie + "=" + redact(value)})
	}
	return l
}

// formLine shows a form, without its token.
func formLine(form url.Values) (l line) {
	for i, name := range slices.Sorted(maps.Keys(form)) {
		if i > 0 {
			l = append(l, piece{Text: "&"})
		}
		value := url.QueryEscape(form.Get(name))
		if name == session.CSRFField {
			value = redact(value)
		}
		l = append(l, piece{Text: name + "=" + value})
	}
	return l
}

// answered writes down a response.
func (x *exchange) answered(run *run, r *http.Response, title string) {
	x.Status = fmt.Sprintf("%d %s", r.StatusCode, http.StatusText(r.StatusCode))
	x.Response = append(x.Response, line{{Text: x.Status}})
	if to := r.Header.Get("Location"); to != "" {
		x.Response = append(x.Response, line{{Text: "Location: " + to}})
	}
	for _, cookie := range r.Cookies() {
		x.Response = append(x.Response, x.setCookie(run, cookie))
	}
	if what := r.Header.Get("Clear-Site-Data"); what != "" {
		x.Response = append(x.Response, line{{Text: "Clear-Site-Data: " + what}})
	}
	x.Means = meaning(r, title)
	run.mu.Lock()
	defer run.mu.Unlock()
	if now := len(run.steps); now != x.step {
		x.Later = now
	}
}

// To names who gets the answer, in the middle of a line.
func (x *exchange) To() string { return strings.Replace(x.Who, "You", "you", 1) }

// meaning says an answer in words.
func meaning(r *http.Response, title string) string {
	switch {
	case strings.HasPrefix(r.Header.Get("Location"), "/login"):
		return "Please sign in first."
	case r.StatusCode == http.StatusSeeOther:
		return "Done."
	case title != "":
		return "The page “" + title + "”."
	}
	return ""
}

func (x *exchange) setCookie(r *run, c *http.Cookie) line {
	value := piece{Text: redact(c.Value)}
	switch {
	case c.Value == "":
		value = piece{}
	case c.Name == ticketCookie:
		value = r.piece(c.Value, "")
		x.Got = value
	}
	rest := "; Path=" + c.Path
	if c.MaxAge < 0 {
		rest += "; Max-Age=0"
	}
	if c.HttpOnly {
		rest += "; HttpOnly"
	}
	if c.Secure {
		rest += "; Secure"
	}
	if c.SameSite == http.SameSiteLaxMode {
		rest += "; SameSite=Lax"
	}
	return line{{Text: "Set-Cookie: " + c.Name + "="}, value, {Text: rest}}
}
