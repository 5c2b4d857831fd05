package demo

import (
	"context"
	"net"
	"sync"
)

// network joins clients of this process to one server of this process, through
// memory: nobody else can reach that server.
type network struct {
	from  net.Addr // where the server sees its clients
	calls chan net.Conn
	down  chan struct{}
	once  sync.Once
}

func newNetwork(from string) *network {
	return &network{from: address(from), calls: make(chan net.Conn), down: make(chan struct{})}
}

// dial connects a client with the server.
func (n *network) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case n.calls <- conn{server, n.from}:
		return client, nil
	case <-n.down:
		return nil, net.ErrClosed
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Accept implements net.Listener.
func (n *network) Accept() (net.Conn, error) {
	select {
	case c := <-n.calls:
		return c, nil
	case <-n.down:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (n *network) Close() error {
	n.once.Do(func() { close(n.down) })
	return nil
}

// Addr implements net.Listener.
func (n *network) Addr() net.Addr { return address("memory") }

// conn is the server's end of a connection, whose client is somewhere else than
// it seems.
type conn struct {
	net.Conn
	from net.Addr
}

// RemoteAddr implements net.Conn.
func (c conn) RemoteAddr() net.Addr { return c.from }

// address is what http.Request.RemoteAddr will say.
type address string

// Network implements net.Addr.
func (address) Network() string { return "memory" }

// String implements net.Addr.
func (a address) String() string { return string(a) }
