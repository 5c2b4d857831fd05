package session_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"cloakroom.example/session"
	"cloakroom.example/session/store"
	"cloakroom.example/session/store/memory"
)

// Every target tests a property. Tokens are random, so that inputs name them by
// placeholders: {t} is the good one.

// fuzzWorld is a manager for fuzzing: nothing accumulates.
func fuzzWorld(tb testing.TB, change func(*session.Config)) *world {
	return newWorld(tb, func(c *session.Config) {
		c.Observers, c.Logger = nil, slog.New(slog.DiscardHandler)
		if change != nil {
			change(c)
		}
	})
}

// fuzzOnce runs do in a request with these headers and returns the response.
func fuzzOnce(h func(http.Handler) http.Handler, header http.Header, do func(http.ResponseWriter, *http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", "https://shop.example/", nil)
	r.Header = header
	w := httptest.NewRecorder()
	h(http.HandlerFunc(do)).ServeHTTP(w, r)
	return w
}

// fuzzCookie returns the value of a cookie that the response sets.
func fuzzCookie(tb testing.TB, w *httptest.ResponseRecorder, name string) string {
	tb.Helper()
	for _, c := range w.Result().Cookies() {
		if c.Name == name {
			return c.Value
		}
	}
	tb.Fatalf("got cookies %v, want %s among them", w.Result().Cookies(), name)
	return ""
}

// fuzzLogin returns the token of a new session of alice.
func fuzzLogin(tb testing.TB, w *world) string {
	tb.Helper()
	return fuzzCookie(tb, fuzzOnce(w.Handler, http.Header{}, func(_ http.ResponseWriter, r *http.Request) {
		if err := w.Login(r.Context(), session.Identity{Subject: "alice", Methods: []string{"pwd"}}); err != nil {
			tb.Fatal(err)
		}
		if err := note.Set(session.From(r.Context()), "secret"); err != nil {
			tb.Fatal(err)
		}
	}), "__Host-id")
}

// referenceCookie returns the only value under a name, as a reader of RFC 6265
// would find it who is told not to trim or unquote values.
func referenceCookie(lines []string, name string) (string, bool) {
	values := map[string]bool{}
	for _, line := range lines {
		for _, pair := range strings.Split(line, ";") {
			if k, v, ok := strings.Cut(strings.Trim(pair, " \t"), "="); ok && k == name {
				values[v] = true
			}
		}
	}
	for v := range values {
		return v, len(values) == 1
	}
	return "", false
}

// FuzzCookieHeader: a request is alice's exactly if the only value under our
// exact name is her token, and whatever else it carries is neither answered with
// an error nor with a session cookie.
func FuzzCookieHeader(f *testing.F) {
	const name = "__Host-id"
	w := fuzzWorld(f, nil)
	token := fuzzLogin(f, w)
	pending := fuzzCookie(f, fuzzOnce(w.Handler, http.Header{}, func(_ http.ResponseWriter, r *http.Request) {
		if err := w.LoginPending(r.Context(), session.Identity{Subject: "bob"}); err != nil {
			f.Fatal(err)
		}
	}), name+"-pending")
	for _, seed := range []string{
		"", "{n}={t}", "{n}={p}", "{n}-pending={p}", "{n}-pending={t}", "{n}={t}; {n}-pending={p}", "a=b; {n}={t}; c=d", "a=b;{n}={t}",
		"{n}={t};", ";;;{n}={t}", "\t {n}={t}\t ", "{n}={t}\n{n}={t}", "{n}={t}; {n}=x", "{n}=x\n{n}={t}", "{n}=; {n}={t}", "{n}=",
		"__host-id={t}", "__HOST-ID={t}", " __Host-id ={t}", "{n}= {t}", "{n}=\"{t}\"", "{n}={t}x", "{n}={t}=", "{n}={t}{t}", "{n}={t},{n}={t}",
		"x{n}={t}", "{n}x={t}", "{n}", "{n};={t}", "$Version=1; {n}={t}", "a={n}={t}", "{n}={t}\x00", "{n}=\x00{t}", "{n}%3D{t}", "=\n{n}={t}; =",
		"a=\"b; {n}={t}; c\"", "{n}={t}\u00a0", "\u00a0{n}={t}", "{n}={t}\r", strings.Repeat("a=b; ", 500) + "{n}={t}", "{n}-csrf={t}", "{n}={t}; {n}-csrf=\xff",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, input string) {
		input = strings.NewReplacer("{t}", token, "{p}", pending, "{n}", name).Replace(input)
		lines := strings.Split(input, "\n")
		var subject, half string
		resp := fuzzOnce(w.Handler, http.Header{"Cookie": lines}, func(_ http.ResponseWriter, r *http.Request) {
			s := session.From(r.Context())
			subject = s.Subject()
			if snap, ok := s.Pending(r.Context()); ok {
				half = snap.Subject
			}
			_, _ = note.Get(s)
		})
		wantSubject, wantHalf := "", ""
		if v, one := referenceCookie(lines, name); one && v == token {
			wantSubject = "alice"
		}
		if v, one := referenceCookie(lines, name+"-pending"); one && v == pending {
			wantHalf = "bob"
		}
		if subject != wantSubject || half != wantHalf {
			t.Errorf("cookies %q: got subject %q, half-open %q; want %q, %q", lines, subject, half, wantSubject, wantHalf)
		}
		if got := resp.Header()["Set-Cookie"]; resp.Code != 200 || len(got) > 0 {
			t.Errorf("cookies %q: got status %d and cookies %q, want 200 and none", lines, resp.Code, got)
		}
	})
}

// formClient is a browser that posts forms: its cookies and a valid token.
type formClient struct{ cookies, token string }

func formClients(f *testing.F, w *world) (visitor, user formClient) {
	fetch := func(cookie string) (string, string) {
		var token string
		resp := fuzzOnce(w.Handler, http.Header{"Cookie": {cookie}}, func(_ http.ResponseWriter, r *http.Request) {
			var err error
			if token, err = w.CSRFToken(r.Context()); err != nil {
				f.Fatal(err)
			}
		})
		if cookie == "" {
			cookie = "__Host-id-csrf=" + fuzzCookie(f, resp, "__Host-id-csrf")
		}
		return cookie, token
	}
	visitor.cookies, visitor.token = fetch("")
	user.cookies, user.token = fetch("__Host-id=" + fuzzLogin(f, w))
	user.cookies += "; " + visitor.cookies
	return visitor, user
}

const urlencoded = "application/x-www-form-urlencoded"

// FuzzFormToken: the handler of an unsafe request runs only if the request
// carries, in one header or in one field of a form, a token of this very client;
// all others get 403.
func FuzzFormToken(f *testing.F) {
	w := fuzzWorld(f, nil)
	visitor, user := formClients(f, w)
	for _, user := range []bool{true, false} {
		for _, body := range []string{
			"", "csrf={t}", "csrf={o}", "csrf={t}&csrf={t}", "csrf=&csrf={t}", "a=b&csrf={t}", "CSRF={t}", "csrf={t}%0A", "csrf=+{t}", "csrf={t}&%zz",
			"csrf={t};a=b", "csrf%3D{t}", "%63srf={t}", "csrf={t}=", "csrf[]={t}", "csrf=\x00{t}", strings.Repeat("a=b&", 1000) + "csrf={t}",
		} {
			f.Add(user, uint8(0), urlencoded, "", "", body, false)
		}
		multi := "--b\r\nContent-Disposition: form-data; name=\"csrf\"\r\n\r\n{t}\r\n--b--\r\n"
		for _, kind := range []string{
			urlencoded + "; charset=utf-8", "APPLICATION/X-WWW-FORM-URLENCODED", urlencoded + "; x", urlencoded + ";;", "text/plain", "", "application/json",
			"multipart/form-data; boundary=b", "multipart/form-data", "multipart/form-data; boundary=", "\x00", urlencoded + "\nmultipart/form-data; boundary=b",
		} {
			f.Add(user, uint8(0), kind, "", "", "csrf={t}", false)
			f.Add(user, uint8(1), kind, "", "", multi, false)
		}
		for _, header := range []string{"{t}", "{o}", "{t}\n{t}", "{t} ", "x", "\n", "{t},{t}", "{t}=", "\"{t}\""} {
			f.Add(user, uint8(3), "", header, "", "", false)
			f.Add(user, uint8(0), urlencoded, header, "", "csrf={t}", false)
		}
		for _, site := range []string{"same-origin", "cross-site", "same-site", "none", "SAME-ORIGIN", "x"} {
			f.Add(user, uint8(2), urlencoded, "{t}", site, "csrf={t}", false)
		}
		f.Add(user, uint8(0), urlencoded, "", "", "csrf={t}", true)
		f.Add(user, uint8(0), urlencoded, "{t}", "", "csrf={t}", true)
	}
	f.Fuzz(func(t *testing.T, isUser bool, method uint8, kind, header, site, body string, broken bool) {
		client, other := visitor, user
		if isUser {
			client, other = user, visitor
		}
		put := strings.NewReplacer("{t}", client.token, "{o}", other.token)
		body, header = put.Replace(body), put.Replace(header)
		methods := []string{"POST", "PUT", "PATCH", "DELETE", "BREW", "get"}
		r := formRequest(methods[int(method)%len(methods)], client.cookies, kind, header, site, body, broken)
		ran := false
		rec := httptest.NewRecorder()
		w.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { ran = true })).ServeHTTP(rec, r)
		allowed, must := formVerdict(r, client.token, kind, body, broken)
		if ran && !allowed || !ran && must {
			t.Errorf("%s, headers %q, body %q, user %v: got handler run %v, want %v", r.Method, r.Header, body, isUser, ran, allowed)
		}
		if want := map[bool]int{true: 200, false: 403}[ran]; rec.Code != want || len(rec.Header()["Set-Cookie"]) > 0 {
			t.Errorf("%s, headers %q, body %q: got status %d, cookies %q; want %d and none", r.Method, r.Header, body, rec.Code, rec.Header()["Set-Cookie"], want)
		}
	})
}

func formRequest(method, cookies, kind, header, site, body string, broken bool) *http.Request {
	var in io.Reader = strings.NewReader(body)
	if broken {
		in = io.MultiReader(in, iotest.ErrReader(io.ErrUnexpectedEOF))
	}
	r := httptest.NewRequest("POST", "https://shop.example/form", in)
	r.Method = method
	r.Header = http.Header{"Cookie": {cookies}, "Content-Type": strings.Split(kind, "\n")}
	if header != "" {
		r.Header["X-Csrf-Token"] = strings.Split(header, "\n")
	}
	if site != "" {
		r.Header["Sec-Fetch-Site"] = []string{site}
	}
	return r
}

// formVerdict decides by itself whether a request may pass, and whether it must.
func formVerdict(r *http.Request, token, kind, body string, broken bool) (allowed, must bool) {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false, false
	}
	if lines, ok := r.Header["X-Csrf-Token"]; ok {
		good := len(lines) == 1 && lines[0] == token
		return good, good
	}
	form, err := url.ParseQuery(body)
	allowed = err == nil && !broken && slices.Contains([]string{"POST", "PUT", "PATCH"}, r.Method) &&
		strings.HasPrefix(strings.ToLower(strings.TrimSpace(kind)), urlencoded) && slices.Equal(form["csrf"], []string{token})
	return allowed, allowed && kind == urlencoded
}

// FuzzForwarded: the address is the last one that no trusted proxy has, whatever
// the client wrote in front of it; without trusted proxies it is the peer's.
func FuzzForwarded(f *testing.F) {
	const client = "203.0.113.9"
	for _, seed := range []string{
		"", "198.51.100.1", "10.0.0.7", "10.0.0.7, 10.0.0.8", "198.51.100.1, 10.0.0.7", "x", "198.51.100.1:80", "[2001:db8::1]:80", "2001:db8::1", "::ffff:10.0.0.1",
		"::ffff:198.51.100.1", "fe80::1%eth0", ",,,", "10.0.0.1,\n198.51.100.1", "unknown", "198.51.100.1, x, 10.0.0.1", "\x00", " 198.51.100.1\t", "010.0.0.1", "fd00::1",
	} {
		f.Add(seed, true)
		f.Add(seed, false)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	f.Fuzz(func(t *testing.T, input string, proxied bool) {
		r := httptest.NewRequest("GET", "/", nil)
		peer := netip.MustParseAddr("192.0.2.1")
		if proxied {
			peer = netip.MustParseAddr("10.9.9.9")
		}
		r.RemoteAddr = netip.AddrPortFrom(peer, 1234).String()
		r.Header["X-Forwarded-For"] = strings.Split(input, "\n")
		got := session.Forwarded(proxies...)(r)
		hops := strings.FieldsFunc(input, func(c rune) bool { return c == ',' || c == '\n' })
		named := got == peer || slices.ContainsFunc(hops, func(hop string) bool {
			a, err := netip.ParseAddr(strings.TrimSpace(hop))
			return err == nil && a.Unmap().WithZone("") == got
		})
		if !named || got.Is4In6() || got.Zone() != "" {
			t.Errorf("hops %q: got %v, want the peer or one of them, plain", hops, got)
		}
		if !proxied && got != peer {
			t.Errorf("hops %q from a stranger: got %v, want the peer %v", hops, got, peer)
		}
		if got := session.Forwarded()(r); got != peer {
			t.Errorf("hops %q, nobody trusted: got %v, want the peer %v", hops, got, peer)
		}
		// What our own proxies append decides, whatever came before.
		for _, behind := range []string{client, client + ", 10.1.1.1", client + ",fd00::1,10.1.1.1"} {
			r.Header["X-Forwarded-For"] = append(strings.Split(input, "\n"), behind)
			want := peer
			if proxied {
				want = netip.MustParseAddr(client)
			}
			if got := session.Forwarded(proxies...)(r); got != want {
				t.Errorf("hops %q, then %q: got %v, want %v", hops, behind, got, want)
			}
		}
	})
}

// swapped is a store whose records are changed on their way out.
type swapped struct {
	store.Store
	change func(*store.Record)
}

func (s *swapped) Load(ctx context.Context, k store.Key, parts []string) (store.Record, error) {
	r, err := s.Store.Load(ctx, k, parts)
	if err == nil && s.change != nil {
		s.change(&r)
	}
	return r, err
}

// FuzzSealedPayload: nothing but the frozen bytes opens, under nothing but the
// frozen facts; a manager that finds something else in its store answers without
// an error and without identity, or without the values.
func FuzzSealedPayload(f *testing.F) {
	vectors, refusals := readVectors(f)
	for _, c := range refusals {
		f.Add([]byte(c.Sealed), uint16(len(c.Sealed)), byte(1))
	}
	for i, v := range vectors {
		for _, frozen := range v.frozen() {
			f.Add(frozen[0], uint16(i), byte(0x80))
		}
	}
	evil := &swapped{Store: memory.New()}
	w := fuzzWorld(f, func(c *session.Config) { c.Store = evil })
	cookie := http.Header{"Cookie": {"__Host-id=" + fuzzLogin(f, w)}}
	f.Fuzz(func(t *testing.T, data []byte, at uint16, flip byte) {
		for _, v := range vectors {
			for of, open := range v.openers(t, v.record(t)) {
				good := v.frozen()[of][0]
				n := int(at) % len(good)
				flipped := slices.Clone(good)
				flipped[n] ^= flip
				for _, candidate := range [][]byte{data, flipped, good[:n], append(slices.Clone(good), data...), append(slices.Clone(data), good...), append(good[:n:n], data...)} {
					if got, err := open(candidate); (err == nil) != bytes.Equal(candidate, good) {
						t.Errorf("%s, opening %s %x: got %x, %v", v.Name, of, candidate, got, err)
					}
				}
			}
		}
		fuzzTampered(t, w, evil, cookie, data, uint64(at))
	})
}

// fuzzTampered puts data into the store and makes a request.
func fuzzTampered(t *testing.T, w *world, evil *swapped, cookie http.Header, data []byte, generation uint64) {
	for of, want := range map[string]string{"wrap": "", "part": "alice"} {
		evil.change = func(r *store.Record) {
			if of == "wrap" {
				r.Wrap = data
			} else {
				r.Parts[0].Sealed, r.Parts[0].Generation = data, generation
			}
		}
		var subject, value string
		resp := fuzzOnce(w.Handler, cookie.Clone(), func(_ http.ResponseWriter, r *http.Request) {
			subject = session.From(r.Context()).Subject()
			value, _ = note.Get(session.From(r.Context()))
		})
		if subject != want || value != "" || resp.Code != 200 {
			t.Errorf("%s %x in the store: got subject %q, value %q, status %d; want %q, none, 200", of, data, subject, value, resp.Code, want)
		}
	}
}
