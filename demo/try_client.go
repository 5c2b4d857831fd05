package demo

import (
	"bytes"
	"fmt"
	"html"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

// Cookies of the shop, as docs/format.md names them.
const (
	ticketCookie = "__Host-id"
	formCookie   = "__Host-id-csrf"
)

// client is somebody with a browser, or something like one. What it sends goes
// through the whole shop, and what it sends and gets is written down.
type client struct {
	run     *run
	who     string
	thief   bool
	agent   string
	show    display
	pinned  bool              // goes on with its ticket, whatever it is given
	cookies map[string]string // :: name → value
	made    string            // says what the ticket is, if the shop has not issued it
	form    string            // form token of the page seen last
}

// display is how much of an exchange the page shows.
type display uint8

const (
	shownWhole display = iota
	shownBriefly
	notShown
)

// thief returns the attacker's client, with nothing in it.
func (r *run) thief() *client {
	return &client{run: r, who: "Mallory", thief: true, agent: "curl/8", cookies: make(map[string]string)}
}

// browser returns another browser of the visitor, with nothing in it.
func (r *run) browser(who string) *client {
	return &client{run: r, who: who, agent: r.agent, cookies: make(map[string]string)}
}

// copy returns a second client that has what this one has.
func (c *client) copy(who string, show display) *client {
	d := *c
	d.who, d.show = who, show
	d.cookies = make(map[string]string)
	for name, value := range c.cookies {
		d.cookies[name] = value
	}
	return &d
}

// ticket returns the session cookie.
func (c *client) ticket() string { return c.cookies[ticketCookie] }

// take puts a ticket into the client that the shop has issued to somebody.
func (c *client) take(ticket string) { c.present(ticket, "") }

// present puts something into the session cookie. made says in words what it
// is, unless the shop has issued it.
func (c *client) present(ticket, made string) {
	c.cookies[ticketCookie], c.made, c.form = ticket, made, ""
}

// answer is what the shop has said. It is the zero answer if the run is over.
type answer struct {
	status   int
	location string
	text     string
	set      bool // it set the session cookie
}

func (c *client) get(path string) answer { return c.send(http.MethodGet, path, nil, nil) }

// post sends a form with the token of the page seen last, as a browser does.
func (c *client) post(path string, fields ...string) answer {
	if c.form == "" {
		c.open()
	}
	return c.submit(path, c.form, http.Header{"Sec-Fetch-Site": {"same-origin"}}, fields...)
}

// submit sends a form with any token, or none, and with further headers.
func (c *client) submit(path, token string, h http.Header, fields ...string) answer {
	form := url.Values{}
	for i := 0; i < len(fields); i += 2 {
		form.Set(fields[i], fields[i+1])
	}
	if token != "" {
		form.Set(session.CSRFField, token)
	}
	return c.send(http.MethodPost, path, form, h)
}

// open opens the shop's first page, for its form token; that is not shown.
func (c *client) open() {
	quiet := c.copy(c.who, notShown)
	quiet.get("/")
	c.cookies, c.form = quiet.cookies, quiet.form
}

// hiddenToken finds the form token in a page.
var hiddenToken = regexp.MustCompile(`name="` + session.CSRFField + `" value="([^"]+)"`)

// maxPage is more than any page of the shop has.
const maxPage = 1 << 20

// send sends one request, follows no redirect, and keeps the cookies.
func (c *client) send(method, path string, form url.Values, h http.Header) answer {
	r := c.run
	if r.over() {
		return answer{}
	}
	request, err := http.NewRequestWithContext(r.ctx, method, "http://shop"+path, strings.NewReader(form.Encode()))
	if err != nil {
		r.fail(fmt.Errorf("making a request: %w", err))
		return answer{}
	}
	x := r.begin(c)
	request.Host = r.host
	request.Header.Set("User-Agent", x.agent)
	for name, values := range h {
		request.Header[name] = values
	}
	if form != nil {
		request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	if cookies := c.cookieHeader(); cookies != "" {
		request.Header.Set("Cookie", cookies)
	}
	x.requested(c, request, form)
	response, err := r.transport.RoundTrip(request)
	if err != nil {
		r.fail(fmt.Errorf("asking the shop: %w", err))
		return answer{}
	}
	defer response.Body.Close()
	text, err := io.ReadAll(io.LimitReader(response.Body, maxPage))
	if err != nil {
		r.fail(fmt.Errorf("reading the shop's answer: %w", err))
		return answer{}
	}
	a := answer{status: response.StatusCode, location: response.Header.Get("Location"), text: string(text)}
	a.set = c.keep(response.Cookies())
	if token := hiddenToken.FindSubmatch(text); token != nil {
		c.form = string(token[1])
	}
	x.answered(r, response, pageTitle(text))
	return a
}

// handle returns the public name of the client's session.
func (c *client) handle() session.Handle {
	a := c.copy(c.who, notShown).get("/lab/handle")
	h, err := session.ParseHandle(strings.TrimSpace(a.text))
	if err != nil || h.IsZero() {
		c.run.unsure("there was no session to look at")
	}
	return h
}

// holds returns how many of one thing the client's basket holds.
func (c *client) holds(item string) int {
	a := c.copy(c.who, notShown).get("/lab/basket/" + item)
	n, err := strconv.Atoi(strings.TrimSpace(a.text))
	if err != nil {
		c.run.unsure("the basket could not be counted")
	}
	return n
}

// cookieHeader returns what a browser would send.
func (c *client) cookieHeader() string {
	var pairs []string
	for _, name := range []string{ticketCookie, formCookie} {
		if value := c.cookies[name]; value != "" {
			pairs = append(pairs, name+"="+value)
		}
	}
	return strings.Join(pairs, "; ")
}

// keep keeps cookies as a browser does, and reports whether there was a new
// ticket among them.
func (c *client) keep(cookies []*http.Cookie) (ticket bool) {
	for _, cookie := range cookies {
		switch {
		case cookie.MaxAge < 0 && !c.pinned:
			delete(c.cookies, cookie.Name)
		case cookie.Name != ticketCookie:
			c.cookies[cookie.Name] = cookie.Value
		default:
			c.run.issued(cookie.Value)
			ticket = true
			if !c.pinned {
				c.cookies[cookie.Name], c.made = cookie.Value, ""
			}
		}
	}
	if ticket || len(cookies) > 0 && c.ticket() == "" {
		c.form = "" // forms of before are worthless now
	}
	return ticket
}

// marked returns a user agent that ends in the mark, within what the library
// keeps: by it, events find the request that caused them.
func marked(agent, mark string) string {
	if most := store.MaxAgent - len(" ") - len(mark); len(agent) > most {
		agent = strings.ToValidUTF8(agent[:most], "")
	}
	return strings.TrimSpace(agent + " " + mark) // on the wire, nothing else begins a header
}

// pageTitle returns the heading of a page.
func pageTitle(page []byte) string {
	_, rest, found := bytes.Cut(page, []byte("<title>"))
	title, _, closed := bytes.Cut(rest, []byte("</title>"))
	if !found || !closed || len(title) > 200 {
		return ""
	}
	name, _, _ := strings.Cut(html.UnescapeString(string(title)), " – ")
	return name
}
