package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
)

const (
	// liveStreams and livePerSession bound the streams that are open at once.
	liveStreams, livePerSession = 16, 4
	// livePause is the least time between two messages, so that a flood of
	// events costs two searches a second.
	livePause = 500 * time.Millisecond
	// liveLook is how often the list is looked at if nothing happens: sessions
	// run out, and are used, without an event.
	liveLook = 10 * time.Second
	// livePatience is how long a client may take to receive a message.
	livePatience = 10 * time.Second
	// liveEvents is how many events one message shows.
	liveEvents = 20
)

// streams counts the streams that are open, and ends them when the shop closes.
type streams struct {
	closing chan struct{}
	close   func()

	mu   sync.Mutex
	of   map[session.Handle]int
	open int
}

func newStreams() *streams {
	closing := make(chan struct{})
	return &streams{closing: closing, close: sync.OnceFunc(func() { close(closing) }), of: make(map[session.Handle]int)}
}

// add counts a stream, unless there are too many. Then leave is nil.
func (a *streams) add(h session.Handle) (leave func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open >= liveStreams || a.of[h] >= livePerSession {
		return nil
	}
	a.open++
	a.of[h]++
	return func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.open--
		if a.of[h]--; a.of[h] == 0 {
			delete(a.of, h)
		}
	}
}

// adminLive keeps a list up to date, as long as whoever looks at it may see it.
func (s *Shop) adminLive(w http.ResponseWriter, r *http.Request) {
	if err := s.checkAdmin(r); err != nil {
		// No page: nobody would see it.
		status := session.Status(err)
		if errors.Is(err, errStaffOnly) || errors.Is(err, errNoCode) {
			status = http.StatusForbidden
		}
		http.Error(w, "this list is for administrators", status)
		return
	}
	if r.Method != http.MethodGet { // to HEAD nothing is sent by which the end would be noticed
		w.Header().Set("Allow", http.MethodGet)
		http.Error(w, "this list is to be read", http.StatusMethodNotAllowed)
		return
	}
	search, wrong := parseSearch(r.URL.Query())
	after, err := strconv.ParseUint(r.URL.Query().Get("after"), 10, 64)
	if wrong != "" || err != nil {
		http.Error(w, "no such list", http.StatusBadRequest)
		return
	}
	if resumed, err := strconv.ParseUint(r.Header.Get("Last-Event-ID"), 10, 64); err == nil {
		after = resumed // the connection was lost, not the page
	}
	current := session.From(r.Context())
	current.NotActivity() // who looks away must not stay signed in by it
	leave := s.streams.add(current.Handle())
	if leave == nil {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many lists are open", http.StatusServiceUnavailable)
		return
	}
	defer leave()
	st := &stream{shop: s, w: w, control: http.NewResponseController(w), request: r, search: search, after: after}
	known, handle := current.Assurance(), current.Handle()
	why := st.run(known.At.Add(adminFresh).Sub(s.now()))
	st.sayGoodbye(handle, why)
}

// errClosing says that the shop closes.
var errClosing = errors.New("demo: the shop closes")

// stream is a page that is kept up to date.
type stream struct {
	shop    *Shop
	w       http.ResponseWriter
	control *http.ResponseController
	request *http.Request
	search  adminSearch
	after   uint64 // the last event that was sent
	list    string // as it was sent
}

// message is what the script of the page gets: a piece of the page, and a few
// words for those who listen.
type message struct {
	HTML string `json:"html,omitempty"`
	Text string `json:"text,omitempty"`
}

// run sends what happens until the session ends or is no longer enough, or the
// client is gone. It returns why.
func (st *stream) run(fresh time.Duration) error {
	h := st.w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	_ = st.control.SetReadDeadline(time.Time{}) // or the server would take the silence for slowness
	ctx := st.request.Context()
	stale, look := time.NewTimer(fresh), time.NewTicker(liveLook)
	defer stale.Stop()
	defer look.Stop()
	for {
		// The account may have got a second factor meanwhile.
		if err := st.shop.checkAdmin(st.request); err != nil {
			return err
		}
		news := st.shop.journal.since(st.after)
		if err := st.round(news); err != nil {
			return err
		}
		pause := time.After(livePause)
		select {
		case <-pause:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		select {
		case <-news.more:
		case <-look.C:
		case <-stale.C:
			return session.ErrStale
		case <-st.shop.streams.closing:
			return errClosing
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// round sends what is new. If nothing is, it sends a comment, so that a connection
// that is dead gets noticed, and one that is not stays open.
func (st *stream) round(n news) error {
	var b bytes.Buffer
	if len(n.events) > 0 {
		m, err := st.shop.happenedMessage(n)
		if err != nil {
			return err
		}
		writeMessage(&b, "happened", n.last, m)
	}
	st.after = n.last
	list, err := st.shop.search(st.request, st.search)
	if err == nil {
		html, err := st.shop.render("admin", "list", list)
		if err != nil {
			return err
		}
		if html != st.list {
			st.list = html
			writeMessage(&b, "list", n.last, message{HTML: html})
		}
	}
	// A store that cannot answer now may do so the next time; how long the
	// session may go on without it is for the library to say.
	if ctx := st.request.Context(); ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if b.Len() == 0 {
		b.WriteString(": still here\n\n")
	}
	return st.write(b.Bytes())
}

// happenedMessage shows what happened, and says the last of it in a few words.
func (s *Shop) happenedMessage(n news) (m message, err error) {
	all := happenings(n.events)
	m.Text = strings.TrimSpace(all[0].Who + " " + all[0].What)
	if others := len(all) - 1 + n.missed; others > 0 {
		m.Text += " and " + count(others, "more event")
	}
	m.HTML, err = s.render("admin", "events", all[:min(len(all), liveEvents)])
	return m, err
}

// sayGoodbye tells the page why nothing more will come. The session may be over;
// for a moment the library still lets that through.
func (st *stream) sayGoodbye(h session.Handle, why error) {
	var text string
	switch {
	case errors.Is(why, session.ErrEnded):
		text = "Your session has ended, and this list with it."
		ctx, cancel := context.WithTimeout(context.WithoutCancel(st.request.Context()), adminPatience)
		defer cancel()
		switch r, err := st.shop.find(ctx, h); {
		case errors.Is(err, session.ErrUnavailable):
			text = "Nobody can look up your session at the moment, so this list has ended."
		case err == nil && r.End.Cause == store.CauseRenewed:
			text = "Your ticket was replaced by another tab. This list has ended with the old one."
		}
	case errors.Is(why, errNoCode):
		text = "Your account has a second factor now. Show a code to go on."
	case errors.Is(why, session.ErrStale):
		text = "You have signed in a while ago. Confirm your password to go on."
	default:
		return // the client is gone, or comes back by itself
	}
	var b bytes.Buffer
	writeMessage(&b, "over", st.after, message{Text: text})
	_ = st.write(b.Bytes())
}

// write sends to a client that may be slow, or gone. The deadline is taken back:
// with HTTP/2 it would end the stream by itself.
func (st *stream) write(b []byte) error {
	_ = st.control.SetWriteDeadline(time.Now().Add(livePatience))
	if _, err := st.w.Write(b); err != nil {
		return fmt.Errorf("sending to the live list: %w", err)
	}
	if err := st.control.Flush(); err != nil {
		return fmt.Errorf("sending to the live list: %w", err)
	}
	_ = st.control.SetWriteDeadline(time.Time{})
	return nil
}

// writeMessage writes one event of a stream. JSON keeps it on one line.
func writeMessage(b *bytes.Buffer, event string, id uint64, m message) {
	data, err := json.Marshal(m)
	if err != nil {
		return // two strings: there is nothing to fail
	}
	fmt.Fprintf(b, "event: %s\nid: %d\ndata: %s\n\n", event, id, data)
}

// render returns a piece of a page.
func (s *Shop) render(page, piece string, data any) (string, error) {
	var b strings.Builder
	if err := s.pages[page].ExecuteTemplate(&b, piece, data); err != nil {
		return "", fmt.Errorf("rendering %s of page %s: %w", piece, page, err)
	}
	return b.String(), nil
}

// EndStreams ends the responses that stay open, which [http.Server.Shutdown]
// would wait for: give it to [http.Server.RegisterOnShutdown].
func (s *Shop) EndStreams() { s.streams.close() }
