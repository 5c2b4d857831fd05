package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"
)

// connections is how many clients load a server at the same time, each with a
// session of its own.
const connections = 64

// serverRow loads whole servers, each a process of its own: how many requests
// they answer, compared with one that has no sessions, and what processor time
// that takes them.
func serverRow() row {
	return row{
		id: "server", about: "whole servers under load: requests per second, processor time",
		lines: []claim{
			{measure: "whole server under load, read-only, memory: requests/s of the bare handler's", goal: "≥ 70 %"},
			{measure: "the same: server's processor time per request"},
		},
		measure: func(ctx context.Context, b *bench) (out []outcome, err error) {
			var names []string
			servers := make(map[string]*server)
			defer func() {
				for s := range maps.Values(servers) {
					err = errors.Join(err, s.process.stop())
				}
			}()
			for _, key := range []string{"bare", "cloakroom", "scs", "scs-idle"} {
				s, err := startServer(ctx, key)
				if err != nil {
					return nil, fmt.Errorf("%s: %w", key, err)
				}
				names = append(names, s.hello.Name)
				servers[s.hello.Name] = s
			}
			generate, generator := loadGenerator(b.scale)
			rates, cpu := make(map[string][]float64), make(map[string][]float64)
			for round := range b.scale.loadRounds {
				for turn, name := range inTurn(names, round) {
					b.progress(round*len(names)+turn, b.scale.loadRounds*len(names))
					rate, used, err := servers[name].load(ctx, generate, b.scale.loadTime)
					if err != nil {
						return nil, fmt.Errorf("%s: %w", name, err)
					}
					rates[name], cpu[name] = append(rates[name], rate), append(cpu[name], used)
				}
			}
			return serverOutcomes(names, rates, cpu, generator), nil
		},
	}
}

// inTurn rotates the names, so that nobody is always first.
func inTurn(names []string, round int) []string {
	at := round % len(names)
	return slices.Concat(names[at:], names[:at])
}

// serverOutcomes compares the servers, by name, with the first of them. Ours is the
// second, the peer the third.
func serverOutcomes(names []string, rates, cpu map[string][]float64, generator string) []outcome {
	compared := func(values map[string][]float64, unit, format string, factor float64) (out outcome) {
		var all []entry
		for _, name := range names[1:] {
			s := spreadOf(ratios(values[name], values[names[0]]))
			s = spread{s.Median * factor, s.Low * factor, s.High * factor}
			all = append(all, entry{name, s, unit, fmt.Sprintf(format, s.Median)})
		}
		return outcome{ours: all[0], peers: all[1:], ratio: spreadOf(ratios(values[names[1]], values[names[2]]))}
	}
	rate := compared(rates, "% of bare", "%.0f %%", 100)
	rate.shown, rate.reached = times(rate.ratio), rate.ours.Median >= 70
	rate.note = fmt.Sprintf("%d connections, requests by %s on the same machine", connections, generator)
	used := compared(cpu, "× bare", "%.2f× bare", 1)
	used.shown, used.reached = fraction(used.ratio), true // there is no goal
	return []outcome{rate, used}
}

// hello is what a server says when it is ready.
type hello struct {
	Name     string   `json:"name"`
	Addr     string   `json:"addr"`
	Requests []string `json:"requests"` // one for each session, as sent over the wire
}

// usage is what a server has used since it started.
type usage struct {
	CPU      time.Duration `json:"cpu"`
	Requests int64         `json:"requests"`
}

// server is a child that serves.
type server struct {
	process *child
	hello   hello
}

func startServer(ctx context.Context, name string) (*server, error) {
	c, err := startChild(ctx, "server", name)
	if err != nil {
		return nil, err
	}
	s := &server{process: c}
	if err := c.out.Decode(&s.hello); err != nil {
		return nil, errors.Join(err, c.stop())
	}
	return s, nil
}

// load returns the requests per second and the processor time of each, in
// nanoseconds.
func (s *server) load(ctx context.Context, generate generator, d time.Duration) (rate, cpu float64, err error) {
	before, err := s.usage()
	if err != nil {
		return 0, 0, err
	}
	if rate, err = generate(ctx, s.hello, d); err != nil {
		return 0, 0, err
	}
	after, err := s.usage()
	if err == nil && after.Requests == before.Requests {
		err = errors.New("the server has seen no request")
	}
	return rate, float64(after.CPU-before.CPU) / float64(max(1, after.Requests-before.Requests)), err
}

func (s *server) usage() (u usage, err error) {
	if _, err := io.WriteString(s.process.in, "usage\n"); err != nil {
		return u, err
	}
	return u, s.process.out.Decode(&u)
}

// serveChild serves one library's page until its input ends. A line of input is
// answered with the usage.
func serveChild(ctx context.Context, name string, stdin io.Reader, stdout io.Writer) error {
	lib, err := serverLibrary(name)
	if err != nil {
		return err
	}
	ready, err := signInAll(lib)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	ready.Name, ready.Addr = lib.name(), l.Addr().String()
	var served atomic.Int64
	h := page(lib, readUser)
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served.Add(1)
		h.ServeHTTP(w, r)
	})}
	failed := make(chan error, 1)
	go func() { failed <- s.Serve(l) }()
	out := json.NewEncoder(stdout)
	err = out.Encode(ready)
	for one := make([]byte, 1); err == nil; {
		if _, err = stdin.Read(one); err == nil && one[0] == '\n' {
			err = out.Encode(usage{cpuTime(), served.Load()})
		}
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	err = errors.Join(err, s.Close())
	if served := <-failed; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, lib.close(ctx))
}

func serverLibrary(name string) (library, error) {
	switch name {
	case "bare":
		return newBare(), nil
	case "cloakroom":
		return newCloakroomMemory(nil)
	case "scs":
		return newSCS(0), nil
	case "scs-idle":
		return newSCS(scsIdle), nil
	}
	return nil, fmt.Errorf("no library is called %q", name)
}

// signInAll gives every client a session.
func signInAll(lib library) (ready hello, err error) {
	h := page(lib, loginStep(fillBytes))
	for range connections {
		b := newBrowser()
		if err := b.visit(h, http.MethodGet, "/login"); err != nil {
			return ready, fmt.Errorf("signing in: %w", err)
		}
		ready.Requests = append(ready.Requests, b.text(http.MethodGet, "/"))
	}
	return ready, nil
}
