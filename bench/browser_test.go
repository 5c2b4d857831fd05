package main

import (
	"net/http"
	"testing"
)

func TestBrowserKeepsCookies(t *testing.T) {
	b := newBrowser()
	send := func(cookies ...string) {
		b.take(http.Header{"Set-Cookie": cookies})
	}
	for _, c := range []struct {
		name string
		set  []string
		want string
	}{
		{"new", []string{"id=1; Path=/; HttpOnly"}, "theme=dark; id=1"},
		{"replaced", []string{"id=2; Path=/"}, "theme=dark; id=2"},
		{"the last one counts", []string{"id=3; Path=/", "id=4; Path=/"}, "theme=dark; id=4"},
		{"removed", []string{"id=; Path=/; Max-Age=0"}, "theme=dark"},
	} {
		send(c.set...)
		r, err := b.request(http.MethodGet, "/")
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Header.Get("Cookie"); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

func TestBrowserSendsForms(t *testing.T) {
	b := newBrowser()
	b.setToken("proof")
	r, err := b.copy().request(http.MethodPost, "/logout")
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != http.MethodPost || r.Header.Get("X-Csrf-Token") != "proof" || r.Header.Get("Origin") == "" || r.RemoteAddr == "" {
		t.Errorf("got %s with %v from %q", r.Method, r.Header, r.RemoteAddr)
	}
}
