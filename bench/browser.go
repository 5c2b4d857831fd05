package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// browser is what a server sees of one: the headers that a current one sends,
// and the cookies that it was given. Its methods are safe for concurrent use.
type browser struct {
	agent string
	addr  string // of its connection

	mu      sync.Mutex
	cookies []*http.Cookie
	token   string // for forms
}

// newBrowser has seen the site before, and has a cookie of it that is not about
// sessions.
func newBrowser() *browser {
	return &browser{
		agent: agents()[0], addr: "203.0.113.7:49152",
		cookies: []*http.Cookie{{Name: "theme", Value: "dark"}},
	}
}

// agents are browsers as they call themselves.
func agents() []string {
	return []string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Mobile/15E148 Safari/604.1",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Mobile Safari/537.36",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.0 Safari/605.1.15",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0",
		"Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:145.0) Gecko/20100101 Firefox/145.0",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/29.0 Chrome/136.0.0.0 Mobile Safari/537.36",
	}
}

// text is a request as it goes over the wire.
func (b *browser) text(method, path string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var t strings.Builder
	fmt.Fprintf(&t, "%s %s HTTP/1.1\r\nHost: shop.example\r\n", method, path)
	if method == http.MethodPost {
		t.WriteString("Origin: https://shop.example\r\nContent-Length: 0\r\n")
		if b.token != "" {
			fmt.Fprintf(&t, "X-CSRF-Token: %s\r\n", b.token)
		}
	}
	fmt.Fprintf(&t, "User-Agent: %s\r\n", b.agent)
	t.WriteString("Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
		"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\n" +
		"Referer: https://shop.example/\r\nUpgrade-Insecure-Requests: 1\r\n" +
		"Sec-Fetch-Site: same-origin\r\nSec-Fetch-Mode: navigate\r\nSec-Fetch-User: ?1\r\nSec-Fetch-Dest: document\r\n")
	if len(b.cookies) > 0 {
		pairs := make([]string, len(b.cookies))
		for i, c := range b.cookies {
			pairs[i] = c.Name + "=" + c.Value
		}
		fmt.Fprintf(&t, "Cookie: %s\r\n", strings.Join(pairs, "; "))
	}
	t.WriteString("\r\n")
	return t.String()
}

// request is the same as a server's handler gets it.
func (b *browser) request(method, path string) (*http.Request, error) {
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(b.text(method, path))))
	if err != nil {
		return nil, err
	}
	r.RemoteAddr = b.addr
	return r, nil
}

// visit sends a request to a handler, keeps the cookies of the answer, and
// returns an error unless the handler was content.
func (b *browser) visit(h http.Handler, method, path string) error {
	r, err := b.request(method, path)
	if err != nil {
		return err
	}
	w := newAnswer()
	h.ServeHTTP(w, r)
	b.take(w.header)
	if w.status >= 400 {
		return fmt.Errorf("got status %d: %w", w.status, errors.New(strings.TrimSpace(string(w.body))))
	}
	return nil
}

// take keeps the cookies of a response, or throws away those it is told to.
func (b *browser) take(header http.Header) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, c := range (&http.Response{Header: header}).Cookies() {
		b.cookies = slices.DeleteFunc(slices.Clone(b.cookies), func(old *http.Cookie) bool { return old.Name == c.Name })
		if c.MaxAge >= 0 {
			b.cookies = append(b.cookies, c)
		}
	}
}

// copy returns a second browser with the cookies that this one has now.
func (b *browser) copy() *browser {
	b.mu.Lock()
	defer b.mu.Unlock()
	return &browser{agent: b.agent, addr: b.addr, cookies: slices.Clone(b.cookies), token: b.token}
}

// setToken keeps the token of a form.
func (b *browser) setToken(token string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.token = token
}

// answer is a response that is kept in memory, to be used again.
type answer struct {
	header http.Header
	status int
	body   []byte
}

func newAnswer() *answer { return &answer{header: make(http.Header)} }

// Header implements http.ResponseWriter.
func (w *answer) Header() http.Header { return w.header }

// WriteHeader implements http.ResponseWriter.
func (w *answer) WriteHeader(status int) { w.status = status }

// Write implements http.ResponseWriter.
func (w *answer) Write(b []byte) (int, error) {
	w.body = append(w.body, b...)
	return len(b), nil
}

// reset makes the answer empty.
func (w *answer) reset() {
	clear(w.header)
	w.status, w.body = 0, w.body[:0]
}
