// Package serve runs an example: it listens, says where, and stops in an order
// that loses nothing.
package serve

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const (
	// readTimeout is how long a client may take to send its headers.
	readTimeout = 10 * time.Second
	// stopTimeout is how long requests and managers get to finish.
	stopTimeout = 5 * time.Second
)

// Run answers requests on the address until the program is interrupted, and then
// closes what is to be closed, usually [session.Manager.Close].
func Run(addr string, h http.Handler, closers ...func(context.Context) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	server := &http.Server{Handler: h, ReadHeaderTimeout: readTimeout}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	fmt.Printf("Open http://%s/ (Ctrl-C stops)\n", l.Addr())
	select {
	case err := <-failed:
		return errors.Join(fmt.Errorf("serving: %w", err), closeAll(closers))
	case <-ctx.Done():
	}
	stop() // a second Ctrl-C does not wait
	return shut(server, closers)
}

// shut stops the server and closes the managers at the same time: event streams
// and WebSockets end when their manager does, and the server waits for that.
func shut(server *http.Server, closers []func(context.Context) error) error {
	closed := make(chan error, 1)
	go func() { closed <- closeAll(closers) }()
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // a client was too slow, which is no failure of ours
	}
	return errors.Join(err, <-closed)
}

func closeAll(closers []func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	var errs []error
	for _, c := range closers {
		errs = append(errs, c(ctx))
	}
	return errors.Join(errs...)
}
