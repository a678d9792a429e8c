package front

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// authority signs certificates in a test.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, Subject: pkix.Name{CommonName: "test CA"}}
	_, a.cert, a.key = a.sign(template)
	return a
}

// sign signs a certificate, the first one by its own key.
func (a *authority) sign(template *x509.Certificate) ([]byte, *x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, cert, key
}

// issue writes a certificate for the name, and its key.
func (a *authority) issue(name string, serial int64, certFile, keyFile string) {
	a.t.Helper()
	der, _, key := a.sign(&x509.Certificate{SerialNumber: big.NewInt(serial), NotAfter: time.Now().Add(time.Hour),
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(certFile, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	a.write(keyFile, &pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})
}

func (a *authority) write(file string, blocks ...*pem.Block) {
	a.t.Helper()
	var text []byte
	for _, b := range blocks {
		text = append(text, pem.EncodeToMemory(b)...)
	}
	if err := os.WriteFile(file, text, 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// handshake does one over a pipe and gives the server's certificate.
func handshake(t *testing.T, server *tls.Config, name string) (*x509.Certificate, error) {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() { // ends with the handshake, or when the client hangs up
		s := tls.Server(there, server)
		_ = s.Handshake() // the client tells
		s.Close()
	}()
	c := tls.Client(here, &tls.Config{ServerName: name, InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func TestCertificateIsReloaded(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a := newAuthority(t)
	a.issue("relay.example", 10, cert, key)
	now := time.Now()
	var log bytes.Buffer
	cfg, err := TLS{CertFile: cert, KeyFile: key, Log: slog.New(slog.NewTextHandler(&log, nil)), Now: func() time.Time { return now }}.Config()
	if err != nil {
		t.Fatal(err)
	}
	serial := func(want int64) {
		t.Helper()
		got, err := handshake(t, cfg, "relay.example")
		if err != nil || got.SerialNumber.Int64() != want {
			t.Fatalf("got certificate %v, %v, want %d", got, err, want)
		}
	}
	serial(10)
	a.issue("relay.example", 11, cert, key)
	serial(10) // not looked at yet
	now = now.Add(lookEvery)
	serial(11)

	// Half of a new pair, or none, leaves the one before.
	a.issue("relay.example", 12, cert, filepath.Join(dir, "later.pem"))
	for range 3 {
		now = now.Add(lookEvery)
		serial(11)
	}
	if got := strings.Count(log.String(), "the old one stays"); got != 1 {
		t.Errorf("the failure is in the log %d times, want once:\n%s", got, log.String())
	}
	if err := os.Remove(cert); err != nil {
		t.Fatal(err)
	}
	now = now.Add(lookEvery)
	serial(11)
	a.issue("relay.example", 13, cert, key)
	now = now.Add(-24 * time.Hour) // also a clock that is set back does not hide it
	serial(13)
	if !strings.Contains(log.String(), "ends soon") {
		t.Errorf("a certificate of one hour was not warned of:\n%s", log.String())
	}
}

func TestBadFiles(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a := newAuthority(t)
	a.issue("relay.example", 10, cert, key)
	empty := filepath.Join(dir, "empty.pem")
	a.write(empty)
	log := slog.New(slog.DiscardHandler)
	for _, test := range []TLS{
		{CertFile: cert, KeyFile: filepath.Join(dir, "none.pem")},
		{CertFile: empty, KeyFile: key},
		{CertFile: key, KeyFile: cert},
		{CertFile: cert, KeyFile: key, ClientCAFile: empty},
		{CertFile: cert, KeyFile: key, ClientCAFile: filepath.Join(dir, "none.pem")},
	} {
		test.Log = log
		if _, err := test.Config(); err == nil {
			t.Errorf("%+v: got no error", test)
		}
	}
}

// ACME serves what its cache has and asks nobody for names that are not its own.
func TestACME(t *testing.T) {
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	a := newAuthority(t)
	a.issue("relay.example", 77, cert, key)
	var cached []byte
	for _, file := range []string{key, cert} { // autocert keeps both in one file, the key first
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		cached = append(cached, text...)
	}
	if err := os.WriteFile(filepath.Join(dir, "relay.example"), cached, 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, err := TLS{ACMEDomains: []string{"relay.example"}, ACMECache: dir, ACMEDirectory: "http://127.0.0.1:1/nobody",
		Log: slog.New(slog.DiscardHandler)}.Config()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(cfg.NextProtos, "acme-tls/1") {
		t.Errorf("got protocols %v, want acme-tls/1 among them, for the challenge", cfg.NextProtos)
	}
	if got, err := handshake(t, cfg, "relay.example"); err != nil || got.SerialNumber.Int64() != 77 {
		t.Errorf("got certificate %v, %v, want the one in the cache", got, err)
	}
	for _, name := range []string{"other.example", "", "127.0.0.1"} {
		if got, err := handshake(t, cfg, name); err == nil {
			t.Errorf("name %q: got certificate %v, want a refusal", name, got.Subject)
		}
	}
}
