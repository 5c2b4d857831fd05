package main

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// TestSockets: the generator sends what it is told over kept connections, counts
// the answers, and does not count refusals.
func TestSockets(t *testing.T) {
	ready, err := signInAll(newBare())
	if err != nil {
		t.Fatal(err)
	}
	status, cookies := http.StatusOK, make(chan string, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case cookies <- r.Header.Get("Cookie"):
		default:
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte("ok"))
	}))
	defer s.Close()
	ready.Addr = s.Listener.Addr().String()
	rate, err := sockets(t.Context(), ready, 50*time.Millisecond)
	if err != nil || rate <= 0 {
		t.Errorf("got %v requests/s, %v", rate, err)
	}
	if got := <-cookies; got != "theme=dark" {
		t.Errorf("got cookie %q, want the browser's", got)
	}
	status = http.StatusServiceUnavailable
	if _, err := sockets(t.Context(), ready, 50*time.Millisecond); err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("got %v, want the status that was not expected", err)
	}
}

func TestSocketsWithoutServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	if _, err := sockets(t.Context(), hello{Addr: addr, Requests: []string{"GET / HTTP/1.1\r\n\r\n"}}, time.Second); err == nil {
		t.Error("got no error, want that nobody is there")
	}
}

func TestWrk(t *testing.T) {
	script := wrkScript([]string{"GET / HTTP/1.1\r\nCookie: a=\"b\"\r\n\r\n"})
	if want := `"GET / HTTP/1.1\r\nCookie: a=\"b\"\r\n\r\n",`; !strings.Contains(script, want) {
		t.Errorf("got script\n%s\nwant in it %s", script, want)
	}
	said := "  12 requests in 1.00s, 1KB read\n  Non-2xx or 3xx responses: 3\nRequests/sec:  81234.56\nTransfer/sec:      9.99MB\n"
	if got := wrkRate.FindStringSubmatch(said); len(got) != 2 || got[1] != "81234.56" {
		t.Errorf("got rate %q", got)
	}
	if got := strings.TrimSpace(wrkError.FindString(said)); got != "Non-2xx or 3xx responses: 3" {
		t.Errorf("got problem %q", got)
	}
	if wrkError.MatchString(strings.Replace(said, "Non-2xx", "2xx", 1)) {
		t.Error("got a problem where there is none")
	}
}

func TestWrongChildren(t *testing.T) {
	for _, args := range [][]string{{}, {"server"}, {"server", "nobody"}, {"memory", "scs", "many"}, {"memory", "nobody", "1"}, {"growth", "nobody", "1", "tiny"}} {
		code, stdout, stderr := command(t, append([]string{childArgument}, args...)...)
		if code != exitFailed || stdout != "" || stderr == "" {
			t.Errorf("%q: got %d, %q, %q, want %d and why", args, code, stdout, stderr, exitFailed)
		}
	}
}
