package servers

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// Proxy passes TCP connections on to a server and spoils them when asked to. Its
// methods are safe for concurrent use and apply to connections that are open as
// well as to those to come.
type Proxy struct {
	target   string
	listener net.Listener
	wg       sync.WaitGroup

	mu     sync.Mutex
	links  map[*link]bool
	faults faults
	closed bool
}

// faults are what a proxy does to what passes through it.
type faults struct {
	refuse bool
	// changed is closed when faults are, for those that wait.
	changed chan struct{}
	ways    [2]way
}

// Direction is a way through a [Proxy].
type Direction int

// The two directions.
const (
	ToServer Direction = iota
	ToClient
)

// way is what happens to bytes in one direction.
type way struct {
	delay   time.Duration
	swallow bool
	cut     bool
	left    int // bytes that pass before the cut
}

// link is one connection through the proxy.
type link struct{ client, server net.Conn }

func (l *link) close() {
	l.client.Close()
	l.server.Close()
}

// NewProxy listens on a free port for connections to target, a host:port.
func NewProxy(target string) (*Proxy, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return nil, fmt.Errorf("starting a proxy: %w", err)
	}
	p := &Proxy{target: target, listener: listener, links: make(map[*link]bool)}
	p.faults.changed = make(chan struct{})
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the proxy's own host:port.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.wg.Go(func() { p.serve(client) })
	}
}

func (p *Proxy) serve(client net.Conn) {
	if p.refusing() {
		reset(client)
		return
	}
	server, err := net.DialTimeout("tcp", p.target, 5*time.Second)
	if err != nil {
		reset(client)
		return
	}
	l := &link{client, server}
	if !p.add(l) {
		l.close()
		return
	}
	defer p.remove(l)
	var wg sync.WaitGroup
	wg.Go(func() { p.pass(ToServer, l, client, server) })
	wg.Go(func() { p.pass(ToClient, l, server, client) })
	wg.Wait()
}

// reset closes a connection so that the peer gets an error.
func reset(c net.Conn) {
	if c, ok := c.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	c.Close()
}

func (p *Proxy) refusing() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.faults.refuse
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.faults.refuse {
		return false
	}
	p.links[l] = true
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
	l.close()
}

// pass copies one direction of a connection until it ends.
func (p *Proxy) pass(d Direction, l *link, from, to net.Conn) {
	defer l.close()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if n > 0 {
			sent, last := p.let(d, buffer[:n])
			if _, err := to.Write(sent); err != nil || last {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// let returns those bytes that may pass, after the delay, and whether they are the
// last ones.
func (p *Proxy) let(d Direction, bytes []byte) (sent []byte, last bool) {
	p.hold(d)
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.faults.ways[d]
	if w.cut {
		if len(bytes) >= w.left {
			bytes, last = bytes[:w.left], true
		}
		w.left -= len(bytes)
	}
	if w.swallow {
		bytes = nil
	}
	return bytes, last
}

// hold waits for the delay, or for faults to change if that is sooner.
func (p *Proxy) hold(d Direction) {
	began := time.Now()
	for {
		p.mu.Lock()
		left, changed := p.faults.ways[d].delay-time.Since(began), p.faults.changed
		p.mu.Unlock()
		if left <= 0 {
			return
		}
		select {
		case <-changed:
		case <-time.After(left):
		}
	}
}

func (p *Proxy) change(f func(*faults)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f(&p.faults)
	close(p.faults.changed)
	p.faults.changed = make(chan struct{})
}

// Cut closes all connections. New ones are let through.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.close()
	}
}

// Refuse closes all connections and refuses new ones until Heal.
func (p *Proxy) Refuse() {
	p.change(func(f *faults) { f.refuse = true })
	p.Cut()
}

// Delay holds back what passes, in both directions, for d.
func (p *Proxy) Delay(d time.Duration) {
	p.change(func(f *faults) { f.ways[ToServer].delay, f.ways[ToClient].delay = d, d })
}

// Swallow drops what comes in the given directions, in both if none is given,
// until Heal. Connections stay open and new ones are accepted.
func (p *Proxy) Swallow(directions ...Direction) {
	if len(directions) == 0 {
		directions = []Direction{ToServer, ToClient}
	}
	p.change(func(f *faults) {
		for _, d := range directions {
			f.ways[d].swallow = true
		}
	})
}

// CutAfter lets n more bytes pass in a direction, of all connections together,
// and closes the connection that brings the last of them. Connections that bring
// more are closed at once, until Heal.
func (p *Proxy) CutAfter(d Direction, n int) {
	p.change(func(f *faults) { f.ways[d].cut, f.ways[d].left = true, n })
}

// Heal ends all faults. Connections from which bytes were dropped are closed, as
// what follows would make no sense.
func (p *Proxy) Heal() {
	dropped := false
	p.change(func(f *faults) {
		dropped = f.ways[ToServer].swallow || f.ways[ToClient].swallow
		f.refuse, f.ways = false, [2]way{}
	})
	if dropped {
		p.Cut()
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() error {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	p.change(func(f *faults) { f.ways = [2]way{} })
	err := p.listener.Close()
	p.Cut()
	p.wg.Wait()
	return err
}
