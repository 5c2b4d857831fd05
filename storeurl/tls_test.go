package storeurl_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cloakroom.example/storeurl"
)

// certificate makes one that vouches for itself, and files of it and of its key.
func certificate(t *testing.T, name string) (pair tls.Certificate, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	raw, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: raw}, keyFile: {Type: "PRIVATE KEY", Bytes: rawKey}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err = tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	return pair, certFile, keyFile
}

// impostor is a server that encrypts, shakes hands, and hangs up. It tells who has
// shaken hands, by the name in the client's certificate.
func impostor(t *testing.T, pair tls.Certificate) (address string, shook chan string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	shook = make(chan string, 100)
	config := &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				first := make([]byte, 1)
				if _, err := io.ReadFull(c, first); err != nil {
					return
				}
				in := io.MultiReader(strings.NewReader(string(first)), c)
				if first[0] == 0 { // PostgreSQL asks before it encrypts
					if _, err := io.ReadFull(in, make([]byte, 8)); err != nil {
						return
					}
					if _, err := c.Write([]byte("S")); err != nil {
						return
					}
				}
				s := tls.Server(&replayed{c, in}, config)
				if s.Handshake() != nil {
					return
				}
				// The client has accepted us once it says something.
				if _, err := s.Read(make([]byte, 1)); err != nil {
					return
				}
				who := "nobody"
				if certs := s.ConnectionState().PeerCertificates; len(certs) > 0 {
					who = certs[0].Subject.CommonName
				}
				shook <- who
			}()
		}
	}()
	return l.Addr().String(), shook
}

// replayed is a connection of which something was read already.
type replayed struct {
	net.Conn
	in io.Reader
}

func (r *replayed) Read(b []byte) (int, error) { return r.in.Read(b) }

// TestEncryption: a server that cannot prove its name gets to hear nothing, unless
// the URL says that it may be anybody.
func TestEncryption(t *testing.T) {
	pair, ca, _ := certificate(t, "db.example.org")
	_, mine, myKey := certificate(t, "shop")
	const address = "ADDRESS"
	for _, c := range []struct {
		url  string
		want string // who has shaken hands, or the error
	}{
		{"rediss://" + address, "x509"},
		{"rediss://" + address + "?tls-ca=" + ca, "x509"},
		{"rediss://" + address + "?tls-name=db.example.org", "x509"},
		{"rediss://" + address + "?tls-name=db.example.org&tls-ca=" + ca, "nobody"},
		{"rediss://" + address + "?tls-name=db.example.org&tls-ca=" + ca + "&tls-cert=" + mine + "&tls-key=" + myKey, "shop"},
		{"rediss+cluster://" + address, "x509"},
		{"rediss+sentinel://" + address + "/shop?tls-name=db.example.org&tls-ca=" + ca, "nobody"},
		{"postgres://u@" + address + "/d?tls=verify", "x509"},
		{"postgres://u@" + address + "/d?sslmode=verify-full&tls-ca=" + ca, "x509"},
		{"postgres://u@" + address + "/d?sslmode=verify-ca", "x509"},
		{"postgres://u@" + address + "/d?sslmode=verify-ca&tls-ca=" + ca, "nobody"},
		{"postgres://u@" + address + "/d?tls=verify&tls-name=db.example.org&tls-ca=" + ca, "nobody"},
		{"postgres://u@" + address + "/d?tls=unverified", "nobody"},
		{"postgres://u@" + address + "/d?sslmode=require&tls-cert=" + mine + "&tls-key=" + myKey, "shop"},
	} {
		t.Run(strings.ReplaceAll(c.url, "/", "_"), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			at, shook := impostor(t, pair)
			_, err := storeurl.Open(ctx, strings.Replace(c.url, address, at, 1), storeurl.Options{})
			if err == nil {
				t.Fatal("got no error from a server that hangs up")
			}
			if c.want == "x509" {
				if !strings.Contains(err.Error(), "x509") {
					t.Errorf("got %v, want that the certificate is refused", err)
				}
				select {
				case <-shook:
					t.Error("the server got to hear something all the same")
				default:
				}
				return
			}
			select {
			case who := <-shook:
				if who != c.want {
					t.Errorf("got client certificate of %s, want %s", who, c.want)
				}
			case <-ctx.Done():
				t.Errorf("no handshake: %v", err)
			}
		})
	}
}
