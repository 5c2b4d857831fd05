package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"cloakroom.example/demo"
	"cloakroom.example/session"
	"cloakroom.example/storeurl"
)

const demoHelp = `Demo opens a small shop on this machine and shows what sessions do: fill the
basket as a visitor, sign in, keep the basket, close the tab, come back. Each
session event is one line in the terminal. It runs until interrupted.

The sessions live in an SQLite database in a folder of its own, so that they
survive a restart, with the key that seals them. With --store they live in any
other engine; shops that share a store and the key share the sessions. The database
holds neither tokens nor readable values. The passwords are new at every start and are
printed; they are not kept, and neither are new ones and second factors that you
give yourself in the shop.

Without --tls the shop answers this machine only: browsers send session cookies
over plain HTTP to nobody else. Safari does not even do that: it needs --tls.

Pages warn before a session ends by itself; a short --idle shows it soon.`

const demoExamples = `  cloakroom demo
  cloakroom demo --addr 127.0.0.1:0              any free port
  cloakroom demo --tls --addr :8443              for other machines, too
  cloakroom demo --data /tmp/shop                keep the sessions there
  cloakroom demo --idle 1m                       see the warning before the end
  cloakroom demo --store redis://127.0.0.1       keep the sessions in Redis

Two shops, each in a terminal of its own:
  cloakroom demo --store postgres://shop@127.0.0.1/shop
  cloakroom demo --store postgres://shop@127.0.0.1/shop --addr 127.0.0.1:8081`

type demoOptions struct {
	addr     string
	data     string
	store    string
	tls      bool
	idle     time.Duration
	absolute time.Duration
}

func newDemoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use:     "demo",
		Short:   "Open a small shop to try sessions in",
		Long:    demoHelp,
		Example: demoExamples,
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), o, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	cmd.Flags().StringVar(&o.addr, "addr", "127.0.0.1:8080", "`address` to listen on; port 0 means any that is free")
	cmd.Flags().StringVar(&o.data, "data", "", "`folder` for the key, the certificate and the sessions (default: in your cache folder)")
	cmd.Flags().StringVar(&o.store, "store", "", "`URL` of the store for the sessions (default: a file in the folder); see \"cloakroom store --help\"")
	cmd.Flags().BoolVar(&o.tls, "tls", false, "serve HTTPS, with a certificate of its own making")
	cmd.Flags().DurationVar(&o.idle, "idle", 30*time.Minute, "`time` without activity after which sessions end")
	cmd.Flags().DurationVar(&o.absolute, "absolute", 12*time.Hour, "`time` after which sessions end however active they are")
	return cmd
}

// runDemo runs the shop until ctx ends.
func runDemo(ctx context.Context, o demoOptions, stdout, stderr io.Writer) (err error) {
	addr, err := o.address()
	if err != nil {
		return err
	}
	limits, err := o.limits()
	if err != nil {
		return err
	}
	dir, err := o.folder()
	if err != nil {
		return err
	}
	listener, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return listenError(o.addr, err)
	}
	defer listener.Close() // does nothing once the server has closed it
	sessions, err := o.openStore(ctx, dir)
	if err != nil {
		return err
	}
	defer closeStore(sessions, &err)
	key, err := demo.Key(dir)
	if err != nil {
		return fmt.Errorf("%w; name another folder with --data", err)
	}
	shop, err := demo.New(demo.Options{
		Store: sessions.Store, Database: sessions.DB, Engine: sessions.Engine, Keys: [][]byte{key}, Limits: limits, Log: stdout,
	})
	if err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
		defer cancel()
		err = errors.Join(err, shop.Close(ctx))
	}()
	server := newServer(shop.Handler(), stderr)
	server.RegisterOnShutdown(shop.EndStreams)
	site := site{url: "http://" + o.shownAddr(listener), kept: o.kept(sessions, dir), forgets: sessions.Engine == storeurl.Memory, accounts: shop.Accounts()}
	if o.tls {
		cert, err := demo.Certificate(dir, o.hosts()...)
		if err != nil {
			return fmt.Errorf("%w; name another folder with --data", err)
		}
		site.secure(server, cert)
	}
	if err := site.print(stdout); err != nil {
		return fmt.Errorf("printing the address: %w", err)
	}
	return serve(ctx, server, listener)
}

// address returns where to listen. Without TLS it must be on this machine: to
// others, browsers would not send our cookies, and everybody on the way could
// read them if they did.
func (o demoOptions) address() (*net.TCPAddr, error) {
	addr, err := net.ResolveTCPAddr("tcp", o.addr)
	if err != nil {
		return nil, usageError{fmt.Errorf("--addr %q is not an address like 127.0.0.1:8080: %w", o.addr, err)}
	}
	if !o.tls && !addr.IP.IsLoopback() {
		return nil, usageError{fmt.Errorf("--addr %s can be reached from other machines; "+
			"add --tls, or use 127.0.0.1:%d", o.addr, addr.Port)}
	}
	return addr, nil
}

// shortestIdle leaves time to see the warning before the end, and to answer it.
const shortestIdle = 30 * time.Second

// limits returns the timeouts of sessions.
func (o demoOptions) limits() (session.Limits, error) {
	if o.idle < shortestIdle {
		return session.Limits{}, usageError{fmt.Errorf("--idle %v is too short to answer the warning before the end; "+
			"use %v or more", o.idle, shortestIdle)}
	}
	if o.absolute < o.idle {
		return session.Limits{}, usageError{fmt.Errorf("--absolute %v is shorter than --idle %v", o.absolute, o.idle)}
	}
	return session.Limits{Idle: o.idle, Absolute: o.absolute}, nil
}

// hosts returns the names under which the shop is called, for its certificate.
func (o demoOptions) hosts() []string {
	host, _, _ := net.SplitHostPort(o.addr) // checked by address
	if ip := net.ParseIP(host); host != "" && !ip.IsUnspecified() {
		return []string{host}
	}
	var hosts []string
	if name, err := os.Hostname(); err == nil {
		hosts = append(hosts, name)
	}
	addrs, _ := net.InterfaceAddrs() // without them the browser's warning is one word longer
	for _, addr := range addrs {
		if n, ok := addr.(*net.IPNet); ok && !n.IP.IsLoopback() && !n.IP.IsLinkLocalUnicast() {
			hosts = append(hosts, n.IP.String())
		}
	}
	return hosts
}

// shownAddr returns the address to type into a browser.
func (o demoOptions) shownAddr(l *net.TCPListener) string {
	host, _, _ := net.SplitHostPort(o.addr)
	if ip := net.ParseIP(host); host == "" || ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, fmt.Sprint(l.Addr().(*net.TCPAddr).Port))
}

// folder returns the absolute name of the data folder, after making it.
func (o demoOptions) folder() (string, error) {
	dir := o.data
	if dir == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("finding your cache folder: %w; name a folder with --data", err)
		}
		dir = filepath.Join(cache, "cloakroom", "demo")
	}
	dir, err := filepath.Abs(dir)
	if err == nil {
		err = os.MkdirAll(dir, 0o700)
	}
	if err != nil {
		return "", fmt.Errorf("making the data folder: %w; name another with --data", err)
	}
	return dir, nil
}

func listenError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("address %s is in use; choose another with --addr, such as 127.0.0.1:0 for any free port", addr)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("address %s is not allowed to you; choose a port above 1023 with --addr", addr)
	}
	return fmt.Errorf("opening address %s: %w; choose another with --addr", addr, err)
}

func newServer(h http.Handler, stderr io.Writer) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       15 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          newServerLog(stderr),
	}
}
