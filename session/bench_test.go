package session_test

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// The hot path: what a request costs that passes through the manager, above the
// bare handler. Run it with
//
//	go test -run '^$' -bench . -cpu 1
//
// "memory" is the store in this process; "external" is the same store behind an
// interface that does not say so, so that every load opens the wrap as it would
// for a database: the price of sealing without that of a network.

// benchWriter is a response that is thrown away and used again.
type benchWriter struct {
	header http.Header
	status int
}

func (w *benchWriter) Header() http.Header         { return w.header }
func (w *benchWriter) WriteHeader(status int)      { w.status = status }
func (w *benchWriter) Write(b []byte) (int, error) { return len(b), nil }

// benchExternal hides that its store is local.
type benchExternal struct{ store.Store }

type benchProfile struct {
	Name, Mail, Language string
	Visits               int
	Tags                 []string
}

var (
	benchBytes = session.NewKey[[]byte]("bytes")
	benchJSON  = session.NewKey[benchProfile]("profile")
	benchBody  = []byte("ok")

	benchValues = [2][]byte{bytes.Repeat([]byte("a"), 1024), bytes.Repeat([]byte("b"), 1024)}
)

// benchmark is one kind of request.
type benchmark struct {
	name    string
	visitor bool // comes without a cookie
	handler func(*session.Manager, *http.Request)
}

var benchmarks = []benchmark{
	{"untouched", false, func(*session.Manager, *http.Request) {}},
	{"subject", false, func(_ *session.Manager, r *http.Request) { benchSubject(r) }},
	{"bytes", false, func(_ *session.Manager, r *http.Request) {
		benchSubject(r)
		if v, ok := benchBytes.Get(session.From(r.Context())); !ok || len(v) != 1024 {
			panic("value is missing")
		}
	}},
	{"json", false, func(_ *session.Manager, r *http.Request) {
		benchSubject(r)
		if v, ok := benchJSON.Get(session.From(r.Context())); !ok || v.Visits != 7 {
			panic("value is missing")
		}
	}},
	{"write", false, func(_ *session.Manager, r *http.Request) {
		benchSubject(r)
		// A value that is different each time: the same again is not written.
		if benchBytes.Set(session.From(r.Context()), benchValues[benchTurn.Add(1)&1]) != nil {
			panic("value was not set")
		}
	}},
	{"visitor", true, func(_ *session.Manager, r *http.Request) {
		if session.From(r.Context()).Subject() != "" {
			panic("a visitor is signed in")
		}
	}},
	{"login", true, func(m *session.Manager, r *http.Request) {
		if err := m.Login(r.Context(), session.Identity{Subject: "alice", Methods: []string{"pwd"}}); err != nil {
			panic(err)
		}
	}},
}

var benchTurn atomic.Uint64

func benchSubject(r *http.Request) {
	if session.From(r.Context()).Subject() != "alice" {
		panic("nobody is signed in")
	}
}

func benchManager(b *testing.B, external bool) *session.Manager {
	b.Helper()
	var s store.Store = memory.New()
	if external {
		s = benchExternal{s}
	}
	m, err := session.New(session.Config{Store: s, Keys: [][]byte{bytes.Repeat([]byte("k"), 32)}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := m.Close(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return m
}

// benchRequest is a browser's request, with a session of its own unless it is a
// visitor's.
func benchRequest(b *testing.B, m *session.Manager, visitor bool) *http.Request {
	b.Helper()
	r := httptest.NewRequest("GET", "https://shop.example/", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	r.Header.Set("Accept", "text/html")
	if visitor {
		return r
	}
	w := httptest.NewRecorder()
	m.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if err := m.Login(r.Context(), session.Identity{Subject: "alice", Methods: []string{"pwd"}}); err != nil {
			b.Fatal(err)
		}
		s := session.From(r.Context())
		profile := benchProfile{"Alice", "alice@example.org", "en", 7, []string{"a", "b", "c"}}
		if benchBytes.Set(s, benchValues[0]) != nil || benchJSON.Set(s, profile) != nil {
			b.Fatal("values were not set")
		}
	})).ServeHTTP(w, r.Clone(b.Context()))
	for _, c := range w.Result().Cookies() {
		if c.MaxAge >= 0 {
			r.AddCookie(c)
		}
	}
	return r
}

func (c benchmark) run(b *testing.B, external, parallel bool) {
	m := benchManager(b, external)
	h := m.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.handler(m, r)
		_, _ = w.Write(benchBody)
	}))
	if !parallel {
		benchServe(b, h, benchRequest(b, m, c.visitor))
		return
	}
	requests := make(chan *http.Request, 64)
	for range cap(requests) {
		requests <- benchRequest(b, m, c.visitor)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		r, w := <-requests, &benchWriter{header: http.Header{}}
		for pb.Next() {
			clear(w.header)
			h.ServeHTTP(w, r)
		}
	})
}

func benchServe(b *testing.B, h http.Handler, r *http.Request) {
	w := &benchWriter{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		h.ServeHTTP(w, r)
		if w.status >= 400 {
			b.Fatalf("got status %d", w.status)
		}
	}
}

// BenchmarkBare is what the other numbers are to be compared with.
func BenchmarkBare(b *testing.B) {
	benchServe(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(benchBody) }), benchRequest(b, nil, true))
}

func BenchmarkRequest(b *testing.B) {
	for _, place := range []string{"memory", "external"} {
		for _, c := range benchmarks {
			b.Run("store="+place+"/"+c.name, func(b *testing.B) { c.run(b, place == "external", false) })
		}
	}
}

// BenchmarkParallel is the same with every processor at work, each on sessions of
// its own.
func BenchmarkParallel(b *testing.B) {
	for _, place := range []string{"memory", "external"} {
		for _, c := range benchmarks {
			b.Run("store="+place+"/"+c.name, func(b *testing.B) { c.run(b, place == "external", true) })
		}
	}
}
