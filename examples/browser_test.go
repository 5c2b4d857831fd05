package examples_test

import (
	"bufio"
	"context"
	"errors"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"
)

// endTimeout is within what time an open channel ends after its session. That is
// at once on the node that ends it; the rest is for slow machines.
const endTimeout = 20 * time.Second

// browser is a client with cookies that does not follow redirects. It keeps
// Secure cookies though the programs speak plain HTTP, as browsers do for
// 127.0.0.1, and [net/http/cookiejar] does not.
type browser struct {
	t       *testing.T
	url     string
	cookies map[string]string // :: name → value
	mode    string            // of requests: "navigate", "cors" (a script's), "no-cors" (an image's), or not told
}

func newBrowser(t *testing.T, p *program) *browser {
	return &browser{t: t, url: p.url, cookies: map[string]string{}}
}

// twin returns another browser with copies of the cookies: a thief.
func (b *browser) twin() *browser {
	return &browser{t: b.t, url: b.url, cookies: maps.Clone(b.cookies)}
}

// at returns the browser when it visits another program under the same name: it
// presents the cookies it has, and keeps those it is given in the same jar.
func (b *browser) at(p *program) *browser {
	return &browser{t: b.t, url: p.url, cookies: b.cookies}
}

// answer is a response that was read.
type answer struct {
	status int
	header http.Header
	body   string
}

// request makes a request with the cookies that the browser has.
func (b *browser) request(ctx context.Context, method, path string, form url.Values) *http.Request {
	b.t.Helper()
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	r, err := http.NewRequestWithContext(ctx, method, b.url+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Origin", b.url)
	}
	if b.mode != "" {
		r.Header.Set("Sec-Fetch-Mode", b.mode)
	}
	for name, value := range b.cookies {
		// Not AddCookie, which quotes and drops what it finds odd.
		r.Header["Cookie"] = []string{strings.TrimPrefix(r.Header.Get("Cookie")+"; "+name+"="+value, "; ")}
	}
	return r
}

// send sends a request and keeps the cookies of the response.
func (b *browser) send(r *http.Request) (*http.Response, error) {
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	for _, c := range resp.Cookies() {
		if c.MaxAge < 0 || !c.Expires.IsZero() && c.Expires.Before(time.Now()) {
			delete(b.cookies, c.Name)
		} else {
			b.cookies[c.Name] = c.Value
		}
	}
	return resp, nil
}

// do makes a request and reads the answer.
func (b *browser) do(method, path string, form url.Values) answer {
	b.t.Helper()
	return b.read(b.request(b.t.Context(), method, path, form))
}

// read sends a request and reads the answer. A connection that breaks is status 0.
func (b *browser) read(r *http.Request) answer {
	b.t.Helper()
	resp, err := b.send(r)
	if errors.Is(err, io.EOF) {
		return answer{}
	}
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(body)}
}

func (b *browser) get(path string) answer {
	b.t.Helper()
	return b.do("GET", path, nil)
}

// submit gets a page, takes the form token out of it and sends a form with it.
func (b *browser) submit(page, action string, fields ...string) answer {
	b.t.Helper()
	form := values(fields...)
	form.Set("csrf", b.token(page))
	return b.do("POST", action, form)
}

// token returns the form token of a page.
func (b *browser) token(page string) string {
	b.t.Helper()
	got := b.get(page)
	found := regexp.MustCompile(`name="csrf" value="([^"]+)"`).FindStringSubmatch(got.body)
	if found == nil {
		b.t.Fatalf("%s: got status %d and no form token in %s", page, got.status, got.body)
	}
	return html.UnescapeString(found[1])
}

// signIn signs in by the form of a page and expects to be sent on.
func (b *browser) signIn(page, action, user, password string) {
	b.t.Helper()
	if got := b.submit(page, action, "user", user, "password", password); got.status != http.StatusSeeOther {
		b.t.Fatalf("signing in %s: got status %d: %s", user, got.status, got.body)
	}
}

// values makes a form of names and values in turn.
func values(fields ...string) url.Values {
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	return form
}

// shows checks what a page shows.
func (b *browser) shows(path, want string) {
	b.t.Helper()
	if got := b.get(path); !strings.Contains(got.body, want) {
		b.t.Errorf("%s: got status %d, want %q in %s", path, got.status, want, got.body)
	}
}

// hides checks what a page does not show.
func (b *browser) hides(path, unwanted string) {
	b.t.Helper()
	if got := b.get(path); strings.Contains(got.body, unwanted) {
		b.t.Errorf("%s: got status %d and %q, which must not be in %s", path, got.status, unwanted, got.body)
	}
}

// want checks the status of an answer.
func (a answer) want(t *testing.T, doing string, status int) answer {
	t.Helper()
	if a.status != status {
		t.Errorf("%s: got status %d, want %d: %s", doing, a.status, status, a.body)
	}
	return a
}

// stream is an open event stream.
type stream struct {
	t     *testing.T
	lines <-chan string
}

// stream opens an event stream and waits for its first line.
func (b *browser) stream(path string) *stream {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.t.Context())
	b.t.Cleanup(cancel)
	resp, err := b.send(b.request(ctx, "GET", path, nil))
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = resp.Body.Close() })
	if got := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || !strings.HasPrefix(got, "text/event-stream") {
		b.t.Fatalf("%s: got status %d and type %q, want an event stream", path, resp.StatusCode, got)
	}
	lines := make(chan string, 1024)
	go func() {
		for s := bufio.NewScanner(resp.Body); s.Scan(); {
			lines <- s.Text()
		}
		close(lines)
	}()
	st := &stream{b.t, lines}
	st.next()
	return st
}

// next waits for a line of data.
func (s *stream) next() string {
	s.t.Helper()
	for timeout := time.After(endTimeout); ; {
		select {
		case line, ok := <-s.lines:
			if !ok {
				s.t.Fatal("the stream has ended")
			}
			if data, ok := strings.CutPrefix(line, "data:"); ok {
				return strings.TrimPrefix(data, " ")
			}
		case <-timeout:
			s.t.Fatal("nothing comes through the stream")
		}
	}
}

// ends waits for the end of the stream and returns its last words.
func (s *stream) ends() (last string) {
	s.t.Helper()
	for timeout := time.After(endTimeout); ; {
		select {
		case line, ok := <-s.lines:
			if !ok {
				return last
			}
			if line != "" {
				last = line
			}
		case <-timeout:
			s.t.Fatal("the stream outlives its session")
		}
	}
}

// wait waits until something holds.
func wait(t *testing.T, otherwise string, holds func() bool) {
	t.Helper()
	for timeout := time.After(endTimeout); !holds(); {
		select {
		case <-time.After(100 * time.Millisecond):
		case <-timeout:
			t.Fatal(otherwise)
		}
	}
}
