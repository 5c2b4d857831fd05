package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// generator loads a server for a while and returns the requests per second.
type generator func(ctx context.Context, to hello, d time.Duration) (perSecond float64, err error)

// loadGenerator returns wrk, where it is installed, and the name of what it
// returns.
func loadGenerator(s scale) (generator, string) {
	// wrk counts in whole seconds.
	if program, err := exec.LookPath("wrk"); err == nil && s.loadTime >= time.Second {
		return func(ctx context.Context, to hello, d time.Duration) (float64, error) { return wrk(ctx, program, to, d) }, "wrk"
	}
	return sockets, "a simple generator of our own"
}

var (
	wrkRate  = regexp.MustCompile(`(?m)^Requests/sec:\s+([\d.]+)$`)
	wrkError = regexp.MustCompile(`(?m)^\s*(Non-2xx or 3xx responses|Socket errors): .*$`)
)

// wrk runs wrk on one thread, to leave the rest of the machine to the server.
func wrk(ctx context.Context, program string, to hello, d time.Duration) (float64, error) {
	dir, done, err := scratch()
	if err != nil {
		return 0, err
	}
	defer done()
	script := filepath.Join(dir, "requests.lua")
	if err := os.WriteFile(script, []byte(wrkScript(to.Requests)), 0o600); err != nil {
		return 0, err
	}
	out, err := exec.CommandContext(ctx, program, "-t", "1", "-c", strconv.Itoa(connections),
		"-d", fmt.Sprintf("%ds", int(d.Seconds())), "-s", script, "http://"+to.Addr+"/").CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("running wrk: %w: %s", err, out)
	}
	if problem := wrkError.Find(out); problem != nil {
		return 0, fmt.Errorf("wrk says: %s", strings.TrimSpace(string(problem)))
	}
	found := wrkRate.FindSubmatch(out)
	if found == nil {
		return 0, fmt.Errorf("wrk does not tell a rate: %s", out)
	}
	return strconv.ParseFloat(string(found[1]), 64)
}

// wrkScript makes wrk send the requests in turn, as they are.
func wrkScript(requests []string) string {
	var b strings.Builder
	b.WriteString("local requests = {\n")
	for _, r := range requests {
		b.WriteString(strconv.Quote(r) + ",\n")
	}
	b.WriteString("}\nlocal turn = 0\nrequest = function()\n  turn = turn % #requests + 1\n  return requests[turn]\nend\n")
	return b.String()
}

// sockets sends each request again and again over a connection of its own. The
// time begins when all are connected.
func sockets(ctx context.Context, to hello, d time.Duration) (perSecond float64, err error) {
	conns := make([]net.Conn, len(to.Requests))
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close() // everything was read
			}
		}
	}()
	for i := range conns {
		if conns[i], err = (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "tcp", to.Addr); err != nil {
			return 0, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var answered atomic.Int64
	errs, all, began := make([]error, len(conns)), sync.WaitGroup{}, time.Now()
	for i, conn := range conns {
		all.Go(func() { errs[i] = socket(ctx, conn, to.Requests[i], &answered) })
	}
	all.Wait()
	return float64(answered.Load()) / time.Since(began).Seconds(), errors.Join(errs...)
}

// socket sends the request, at least once, until ctx ends.
func socket(ctx context.Context, conn net.Conn, request string, answered *atomic.Int64) error {
	for in := bufio.NewReader(conn); ; {
		if _, err := io.WriteString(conn, request); err != nil {
			return err
		}
		if err := skipResponse(in); err != nil {
			return err
		}
		answered.Add(1)
		if ctx.Err() != nil {
			return nil
		}
	}
}

// skipResponse reads a response and looks at nothing but its status and length.
func skipResponse(in *bufio.Reader) error {
	length := 0
	for first := true; ; first = false {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		text := strings.TrimRight(string(line), "\r\n")
		switch value, found := strings.CutPrefix(text, "Content-Length: "); {
		case first && !strings.HasPrefix(text, "HTTP/1.1 200 "):
			return fmt.Errorf("got %q, want %s", text, http.StatusText(http.StatusOK))
		case found:
			if length, err = strconv.Atoi(value); err != nil {
				return err
			}
		case text == "":
			_, err := in.Discard(length)
			return err
		}
	}
}
