// Package certs makes certificates for tests: an authority, and what it
// signs for servers and clients on loopback. Nothing of it is ever trusted
// outside a test. Only tests use it.
package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Authority signs certificates.
type Authority struct {
	// File is the authority's certificate, PEM.
	File string

	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
}

// Pair is a certificate and its key, two PEM files, and their contents.
type Pair struct{ CertFile, KeyFile, Cert, Key string }

// New makes an authority in a folder of the test's.
func New(t testing.TB, name string) *Authority {
	t.Helper()
	a := &Authority{folder: t.TempDir()}
	a.key = newKey(t)
	a.cert = template(name)
	a.cert.IsCA, a.cert.BasicConstraintsValid, a.cert.KeyUsage = true, true, x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, a.cert, a.cert, &a.key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.File, _ = a.write(t, name+".pem", "CERTIFICATE", raw)
	return a
}

// Sign makes a certificate for servers on 127.0.0.1 and localhost, and for
// clients.
func (a *Authority) Sign(t testing.TB, name string) (p Pair) {
	t.Helper()
	key := newKey(t)
	cert := template(name)
	cert.KeyUsage = x509.KeyUsageDigitalSignature
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	cert.IPAddresses, cert.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
	raw, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p.CertFile, p.Cert = a.write(t, name+".pem", "CERTIFICATE", raw)
	p.KeyFile, p.Key = a.write(t, name+".key", "PRIVATE KEY", private)
	return p
}

func (a *Authority) write(t testing.TB, name, kind string, raw []byte) (path, text string) {
	t.Helper()
	encoded := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: raw})
	path = filepath.Join(a.folder, name)
	if err := os.WriteFile(path, encoded, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, string(encoded)
}

func newKey(t testing.TB) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func template(name string) *x509.Certificate {
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<62)) // never fails
	now := time.Now()
	return &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(24 * time.Hour),
	}
}
