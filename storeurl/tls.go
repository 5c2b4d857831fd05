package storeurl

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
)

// secured says how connections are encrypted. The zero value means not at all.
type secured struct {
	config *tls.Config
}

// security reads what the URL says about TLS. Where it says nothing, connections
// to other machines are encrypted and the server has to prove who it is, except
// for Redis, where the scheme decides.
func (a *address) security() (s secured, err error) {
	mode, err := a.tlsMode()
	if err != nil {
		return s, err
	}
	if mode == "off" {
		for _, name := range []string{"tls-ca", "tls-cert", "tls-key", "tls-name"} {
			if a.options.has(name) {
				return s, fmt.Errorf("storeurl: option %s has no effect: the connection is not encrypted; %s", name, a.howToEncrypt())
			}
		}
		return s, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: a.options["tls-name"], InsecureSkipVerify: mode == "unverified"}
	if file := a.options["tls-ca"]; file != "" {
		if c.InsecureSkipVerify {
			return s, errors.New("storeurl: option tls-ca has no effect if the server is not verified")
		}
		if c.RootCAs, err = certificates(file); err != nil {
			return s, err
		}
	}
	if mode == "verify-ca" {
		verifyOnlyIssuer(c)
	}
	if a.options.has("tls-cert") != a.options.has("tls-key") {
		return s, errors.New("storeurl: tls-cert and tls-key go together")
	}
	if file := a.options["tls-cert"]; file != "" {
		pair, err := tls.LoadX509KeyPair(file, a.options["tls-key"])
		if err != nil {
			return s, fmt.Errorf("storeurl: reading tls-cert and tls-key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return secured{c}, nil
}

// tlsMode returns off, verify, verify-ca or unverified.
func (a *address) tlsMode() (string, error) {
	if a.engine == Redis {
		if a.scheme.tls {
			return "verify", nil
		}
		return "off", nil
	}
	mode, libpq := a.options["tls"], a.options["sslmode"]
	switch {
	case mode != "" && libpq != "":
		return "", errors.New("storeurl: tls and sslmode say the same thing; one of them is too much")
	case mode == "off", mode == "verify", mode == "unverified":
		return mode, nil
	case mode != "":
		return "", fmt.Errorf("storeurl: option tls: %q is not one of verify, unverified, off", mode)
	case libpq == "disable":
		return "off", nil
	case libpq == "require":
		return "unverified", nil
	case libpq == "verify-ca":
		return libpq, nil
	case libpq == "verify-full":
		return "verify", nil
	case libpq == "allow", libpq == "prefer":
		return "", fmt.Errorf("storeurl: option sslmode: %q encrypts only if nobody on the way objects; choose disable, require, verify-ca or verify-full", libpq)
	case libpq != "":
		return "", fmt.Errorf("storeurl: option sslmode: %q is not one of disable, require, verify-ca, verify-full", libpq)
	case !slices.ContainsFunc(a.hosts, func(h string) bool { return !local(h) }):
		return "off", nil
	}
	return "verify", nil
}

func (a *address) howToEncrypt() string {
	if a.engine == Redis {
		return "begin the URL with redis" + "s" + a.name[len("redis"):] + "://"
	}
	return "add tls=verify"
}

// of returns the configuration for connections to one host.
func (s secured) of(host string) *tls.Config {
	if s.config == nil {
		return nil
	}
	c := s.config.Clone()
	if c.ServerName == "" {
		c.ServerName = host
		if name, _, err := net.SplitHostPort(host); err == nil {
			c.ServerName = name
		}
	}
	return c
}

// certificates reads the certificates that vouch for servers.
func certificates(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("storeurl: reading tls-ca: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("storeurl: reading tls-ca: there is no certificate in %s", file)
	}
	return pool, nil
}

// verifyOnlyIssuer checks who has signed the server's certificate, and not whose
// name stands in it.
func verifyOnlyIssuer(c *tls.Config) {
	roots := c.RootCAs
	c.InsecureSkipVerify = true
	c.VerifyConnection = func(state tls.ConnectionState) error {
		between := x509.NewCertPool()
		for _, cert := range state.PeerCertificates[1:] {
			between.AddCert(cert)
		}
		_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: between})
		return err
	}
}
