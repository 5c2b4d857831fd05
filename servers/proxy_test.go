package servers_test

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"cloakroom.example/servers"
)

// echo returns the address of a server that sends back what it gets.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				io.Copy(c, c)
			}()
		}
	}()
	return l.Addr().String()
}

func startProxy(t *testing.T) *servers.Proxy {
	t.Helper()
	p, err := servers.NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// dial connects through the proxy. A proxy that refuses may do so before the
// connection is there: then dial returns one that has ended.
func dial(t *testing.T, p *servers.Proxy) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", p.Addr())
	if errors.Is(err, syscall.ECONNRESET) {
		c, _ = net.Pipe()
		c.Close()
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends four bytes and returns what came back within the time.
func ask(c net.Conn, within time.Duration) (string, error) {
	c.SetDeadline(time.Now().Add(within))
	if _, err := io.WriteString(c, "ping"); err != nil {
		return "", err
	}
	answer := make([]byte, 4)
	n, err := io.ReadFull(c, answer)
	return string(answer[:n]), err
}

const (
	soon = 10 * time.Second
	// silence is how long nothing must come before it counts as nothing.
	silence = 200 * time.Millisecond
)

// passes checks that a connection works.
func passes(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := ask(c, soon); err != nil || got != "ping" {
		t.Fatalf("got %q, %v, want ping", got, err)
	}
}

// ended checks that a connection has ended, rather than being silent.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	if got, err := ask(c, soon); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("got %q, %v, want the connection to have ended", got, err)
	}
}

func TestProxyCut(t *testing.T) {
	p := startProxy(t)
	c := dial(t, p)
	passes(t, c)
	p.Cut()
	ended(t, c)
	passes(t, dial(t, p))
}

func TestProxyRefuse(t *testing.T) {
	p := startProxy(t)
	c := dial(t, p)
	passes(t, c)
	p.Refuse()
	ended(t, c)
	ended(t, dial(t, p))
	p.Heal()
	passes(t, dial(t, p))
}

func TestProxyDelay(t *testing.T) {
	p := startProxy(t)
	c := dial(t, p)
	p.Delay(silence)
	began := time.Now()
	passes(t, c)
	if took := time.Since(began); took < 2*silence {
		t.Errorf("an answer took %v, want at least %v, there and back", took, 2*silence)
	}
	p.Delay(time.Hour)
	if got, err := ask(c, silence); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("got %q, %v, want silence", got, err)
	}
	p.Heal() // lets pass what was held back
	c.SetDeadline(time.Now().Add(soon))
	answer := make([]byte, 4)
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != "ping" {
		t.Errorf("after the delay got %q, %v, want ping", answer, err)
	}
}

func TestProxySwallow(t *testing.T) {
	for name, directions := range map[string][]servers.Direction{
		"both": nil, "to the server": {servers.ToServer}, "to the client": {servers.ToClient},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t)
			c := dial(t, p)
			passes(t, c)
			p.Swallow(directions...)
			for _, c := range []net.Conn{c, dial(t, p)} {
				if got, err := ask(c, silence); !errors.Is(err, os.ErrDeadlineExceeded) || got != "" {
					t.Errorf("got %q, %v, want silence", got, err)
				}
			}
			p.Heal()
			ended(t, c)
			passes(t, dial(t, p))
		})
	}
}

func TestProxyCutAfter(t *testing.T) {
	for name, c := range map[string]struct {
		direction servers.Direction
		bytes     int
		want      string
	}{
		"an answer cut short":   {servers.ToClient, 2, "pi"},
		"no answer":             {servers.ToClient, 0, ""},
		"half a question":       {servers.ToServer, 2, "pi"},
		"an answer and no more": {servers.ToServer, 4, "ping"},
	} {
		t.Run(name, func(t *testing.T) {
			p := startProxy(t)
			conn := dial(t, p)
			passes(t, conn)
			p.CutAfter(c.direction, c.bytes)
			got, err := ask(conn, soon)
			if c.direction == servers.ToClient && got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if len(got) < 4 && (err == nil || errors.Is(err, os.ErrDeadlineExceeded)) {
				t.Errorf("got %v, want the connection to have ended", err)
			}
			ended(t, conn)
			ended(t, dial(t, p))
			p.Heal()
			passes(t, dial(t, p))
		})
	}
}

func TestProxyClose(t *testing.T) {
	p := startProxy(t)
	c := dial(t, p)
	passes(t, c)
	p.Delay(time.Hour)
	go ask(c, soon)
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	if c, err := net.Dial("tcp", p.Addr()); err == nil {
		c.Close()
		t.Error("a closed proxy listens")
	}
}
