package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"cloakroom.example/demo"
)

const (
	// shutdownTimeout is how long requests get to finish.
	shutdownTimeout = 5 * time.Second
	// closeTimeout is how long closing the sessions may take.
	closeTimeout = 5 * time.Second
)

// serve answers requests until ctx ends, and then lets those under way finish.
func serve(ctx context.Context, server *http.Server, l net.Listener) error {
	failed := make(chan error, 1)
	go func() {
		if server.TLSConfig != nil {
			failed <- server.ServeTLS(l, "", "")
		} else {
			failed <- server.Serve(l)
		}
	}()
	select {
	case err := <-failed:
		return fmt.Errorf("serving: %w", err)
	case <-ctx.Done():
	}
	// The interrupt must not cut short what it asks for.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = server.Close() // some client was too slow; that is not our failure
	}
	if err != nil {
		return fmt.Errorf("closing the server: %w", err)
	}
	return nil
}

// site is what the terminal says about a shop that is open.
type site struct {
	url, kept, fingerprint string
	forgets                bool // the sessions with the process
	accounts               []demo.Account
}

// secure makes the server use HTTPS, and the terminal say so.
func (s *site) secure(server *http.Server, cert tls.Certificate) {
	server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	s.url = strings.Replace(s.url, "http:", "https:", 1)
	s.fingerprint = fmt.Sprintf("%X", sha256.Sum256(cert.Leaf.Raw))
}

// print tells where the shop is and who can sign in. The lines that begin with
// "user" have a fixed form, for programs.
func (s site) print(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "The Cloakroom is open at %s/\n\n", s.url)
	for _, a := range s.accounts {
		fmt.Fprintf(&b, "user %s  password %s\n", a.Name, a.Password)
	}
	fmt.Fprintf(&b, "\nroot has the role admin. The passwords are new at every start.\n")
	b.WriteString(s.kept)
	if s.fingerprint != "" {
		fmt.Fprintf(&b, "Your browser will warn about the certificate. SHA-256 of the right one:\n  %s\n", s.fingerprint)
	}
	fmt.Fprintf(&b, `
What to try:
  1  put something into the basket, then sign in: the basket comes along
  2  close the tab and come back: still signed in, the basket is there
  3  stop this program and start it again: %s
  4  add from two tabs at once: nothing is lost
  5  sign out, then press the back button: nothing to see
  6  open /try and attack the shop: eight ways, one click each
  7  sign in as root and open /admin: who is there, live; sign somebody out

Ctrl-C closes the shop. What happens to sessions:
`, choose(s.forgets, "nobody is known any more", "still signed in"))
	_, err := io.WriteString(w, b.String())
	return err
}

// newServerLog returns the log of the HTTP server: panics and the like.
func newServerLog(w io.Writer) *log.Logger {
	return log.New(withoutHandshakes{w}, "cloakroom: ", 0)
}

// withoutHandshakes drops what each browser causes that does not know our
// certificate yet.
type withoutHandshakes struct{ w io.Writer }

func (f withoutHandshakes) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("TLS handshake error")) {
		return len(line), nil
	}
	return f.w.Write(line)
}
