package demo

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// certificateLife is how long a certificate is valid. Half of it before the end,
// a new one is made.
const certificateLife = 90 * 24 * time.Hour

// Certificate returns a certificate for localhost and the given hosts, signed by
// itself: browsers warn about it, once. It is kept in the folder with its key,
// readable for the owner only, and made anew when it has gone stale.
func Certificate(dir string, hosts ...string) (tls.Certificate, error) {
	file := filepath.Join(dir, "tls.pem")
	hosts = append([]string{"localhost", "127.0.0.1", "::1"}, hosts...)
	kept, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return tls.Certificate{}, fmt.Errorf("reading certificate: %w", err)
	}
	now := time.Now()
	if cert, err := tls.X509KeyPair(kept, kept); err == nil && suits(cert.Leaf, hosts, now) {
		return cert, nil
	}
	made, err := newCertificate(hosts, now)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("making certificate: %w", err)
	}
	if err := replaceFile(file, made); err != nil {
		return tls.Certificate{}, fmt.Errorf("keeping certificate: %w", err)
	}
	cert, err := tls.X509KeyPair(made, made)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("loading certificate: %w", err)
	}
	return cert, nil
}

// suits reports whether a certificate is good for all hosts and some time.
func suits(c *x509.Certificate, hosts []string, now time.Time) bool {
	for _, host := range hosts {
		if c.VerifyHostname(host) != nil {
			return false
		}
	}
	return now.After(c.NotBefore) && now.Add(certificateLife/2).Before(c.NotAfter)
}

// newCertificate returns a key and its certificate as PEM.
func newCertificate(hosts []string, now time.Time) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "cloakroom demo"},
		NotBefore:    now.Add(-time.Hour),
		NotAfter:     now.Add(certificateLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		// It signs nothing else, even if somebody trusts it.
		BasicConstraintsValid: true,
	}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}),
	}, nil), nil
}

// replaceFile writes a file of which nobody ever sees a part.
func replaceFile(name string, content []byte) error {
	made, err := newFile(filepath.Dir(name), content)
	if err != nil {
		return err
	}
	if err := os.Rename(made, name); err != nil {
		os.Remove(made)
		return err
	}
	return nil
}

// newFile writes a file under a name of its own, readable for the owner only, and
// returns the name.
func newFile(dir string, content []byte) (string, error) {
	f, err := os.CreateTemp(dir, ".new-*") // has mode 0600
	if err != nil {
		return "", err
	}
	_, err = f.Write(content)
	if err := errors.Join(err, f.Close()); err != nil {
		os.Remove(f.Name())
		return "", err
	}
	return f.Name(), nil
}
