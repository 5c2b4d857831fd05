package session

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"sync"

	"cloakroom.example/session/store"
)

// writer stores the session before the first byte of the response, and adds its
// headers. Interim responses (1xx, but for 101) pass through without that.
type writer struct {
	http.ResponseWriter
	x *exchange

	once   sync.Once
	failed error // storing failed; the response has been answered instead
}

// begin stores the session, once, and reports whether the response may go on: an
// open channel may not outlive its session.
func (w *writer) begin() error {
	w.once.Do(func() { w.failed = w.commit() })
	if w.failed == nil && w.x.ctx.muted.Load() {
		return ErrEnded
	}
	return w.failed
}

// commit stores the session and adds its headers. If that fails, whatever the
// handler has put into the headers is taken back, and the client gets the error
// alone.
func (w *writer) commit() error {
	s := &w.x.session
	err := ErrEnded
	if w.x.ctx.muted.Load() {
		s.recheck(w.x.ctx.Context)
	} else {
		err = s.finish(w.x.ctx.Context)
	}
	if err == nil {
		s.emitHeaders(w.Header())
		return nil
	}
	s.mu.Lock()
	verb := s.fresh && s.setToken || s.clear // a login or logout was stored before, and holds
	s.sent = !verb
	s.mu.Unlock()
	header := w.Header()
	clear(header)
	for name, values := range w.x.entry {
		header[name] = values
	}
	if verb {
		s.emitHeaders(header)
	}
	s.m.cfg.Denied(w.ResponseWriter, s.r, err)
	return err
}

// WriteHeader implements http.ResponseWriter.
func (w *writer) WriteHeader(status int) {
	if status >= 100 && status < 200 && status != http.StatusSwitchingProtocols {
		w.ResponseWriter.WriteHeader(status)
		return
	}
	if w.begin() == nil {
		w.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (w *writer) Write(b []byte) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return w.ResponseWriter.Write(b)
}

// WriteString implements io.StringWriter.
func (w *writer) WriteString(s string) (int, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	return io.WriteString(w.ResponseWriter, s)
}

// ReadFrom implements io.ReaderFrom, so that files are still sent by the
// operating system.
func (w *writer) ReadFrom(r io.Reader) (int64, error) {
	if err := w.begin(); err != nil {
		return 0, err
	}
	if rf, ok := w.ResponseWriter.(io.ReaderFrom); ok && !w.x.session.isWatched() {
		return rf.ReadFrom(r)
	}
	return io.Copy(struct{ io.Writer }{w}, r) // each piece asks begin
}

// Flush implements http.Flusher.
func (w *writer) Flush() { _ = w.FlushError() }

// FlushError is what http.ResponseController calls. The response has become an
// open channel: its context ends with the session.
func (w *writer) FlushError() error {
	if err := w.begin(); err != nil {
		return err
	}
	w.x.watch()
	return http.NewResponseController(w.ResponseWriter).Flush()
}

// Hijack implements http.Hijacker. The connection has become an open channel: its
// request's context ends with the session, and a moment later the connection.
func (w *writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	if err := w.begin(); err != nil {
		return nil, nil, err
	}
	conn, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	return w.x.session.watchConn(conn), rw, nil
}

// CloseNotify tells when the request is over or, of an open channel, the session.
// The interface it belongs to is deprecated, but frameworks still insist on it.
func (w *writer) CloseNotify() <-chan bool {
	over := make(chan bool, 1)
	context.AfterFunc(&w.x.ctx, func() { over <- true })
	return over
}

// Push implements http.Pusher.
func (w *writer) Push(target string, o *http.PushOptions) error {
	if p, ok := w.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, o)
	}
	return http.ErrNotSupported
}

// Unwrap lets http.ResponseController reach what we do not wrap.
func (w *writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// emitHeaders adds what the session has to say to the response's headers. From
// then on no cookie can be sent.
func (s *Session) emitHeaders(h http.Header) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sent {
		return
	}
	s.sent = true
	if s.m.cfg.ReferrerPolicy != "" && first(h["Referrer-Policy"]) == "" {
		h.Set("Referrer-Policy", s.m.cfg.ReferrerPolicy)
	}
	cookies := s.cookiesLocked()
	for _, c := range cookies {
		h.Add("Set-Cookie", c)
	}
	if s.clearSite {
		h.Set("Clear-Site-Data", `"cache", "storage"`)
	}
	switch signedIn := s.subjectIsSetLocked(); {
	case len(cookies) > 0 || s.fresh || s.clearSite:
		// Not the handler's choice: a cache that kept this response would hand
		// one user's cookie to others.
		s.noStoreLocked(h)
		h.Del("CDN-Cache-Control") // would prevail over it (RFC 9213)
		h.Del("Surrogate-Control")
	case s.accessed && signedIn && first(h["Cache-Control"]) == "":
		s.noStoreLocked(h)
	}
	switch {
	case len(cookies) == 0 && !s.accessed:
	case s.transport == store.Bearer:
		s.addVaryLocked(h, "Authorization")
	default:
		s.addVaryLocked(h, "Cookie")
	}
}

// noStoreLocked keeps caches from storing the response. The lines of this
// header and of Vary lie in the exchange: nearly every response has them.
func (s *Session) noStoreLocked(h http.Header) {
	s.x.lines[0] = "no-store"
	h["Cache-Control"] = s.x.lines[:1:1]
}

// addVaryLocked adds a name to the Vary header unless it is there.
func (s *Session) addVaryLocked(h http.Header, name string) {
	if len(h["Vary"]) == 0 {
		s.x.lines[1] = name
		h["Vary"] = s.x.lines[1:2:2]
		return
	}
	addVary(h, name)
}

// first returns the first line of a header, as http.Header.Get does, for a name
// that is canonical.
func first(lines []string) string {
	if len(lines) == 0 {
		return ""
	}
	return lines[0]
}

// subjectIsSetLocked is Subject() != "" without counting as access.
func (s *Session) subjectIsSetLocked() bool {
	accessed := s.accessed
	set := s.subjectLocked() != ""
	s.accessed = accessed
	return set
}

// cookiesLocked returns the Set-Cookie lines of this response.
func (s *Session) cookiesLocked() (lines []string) {
	name := s.m.cfg.CookieName
	switch {
	case s.setToken && s.status == statusLive:
		lines = append(lines, s.m.cookie(name, s.token.Reveal()))
	case s.clear:
		lines = append(lines, s.m.cookie(name, ""))
	}
	if s.pending != nil {
		lines = append(lines, s.m.cookie(s.m.pendingCookie(), *s.pending))
	}
	if s.csrf != nil {
		lines = append(lines, s.m.cookie(s.m.csrfCookie(), *s.csrf))
	}
	if s.remember != nil {
		lines = s.appendRememberLocked(lines)
	}
	return lines
}
