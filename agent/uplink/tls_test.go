package uplink

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gorilla/websocket"
)

// authority is a private CA.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM
}

func newAuthority(t *testing.T, from, to time.Time) *authority {
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test CA"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	var der []byte
	der, a.key = a.sign(template, nil)
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

func (a *authority) sign(template *x509.Certificate, parent *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	signer := a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// server is an HTTPS server for 127.0.0.1 with a certificate of a.
func (a *authority) server(handler http.Handler, name string, from, to time.Time) string {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "relay"}, NotBefore: from, NotAfter: to,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, DNSNames: []string{"relay.example.net"},
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, key := a.sign(template, a.cert)
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // it would report each refused handshake
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.StartTLS()
	a.t.Cleanup(server.Close)
	return server.URL
}

func TestTLS(t *testing.T) {
	day := func(n int) time.Time { return time.Date(2026, 11, n, 0, 0, 0, 0, time.UTC) }
	boot := time.Date(1970, 1, 1, 0, 5, 0, 0, time.UTC)
	ca := newAuthority(t, day(1), day(30))
	other := newAuthority(t, day(1), day(30))
	noPEM := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(noPEM, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	r := &relay{t: t, link: func(ws *websocket.Conn, _ int) { _ = readUntilClosed(ws, nil) }}
	good := ca.server(r, "127.0.0.1", day(10), day(20))
	wrongName := ca.server(r, "relay.example.net", day(10), day(20))
	for _, tt := range []struct {
		name, url, ca        string
		now, build, lastGood time.Time
		cause                Cause // "": the link comes up
		message              string
	}{
		{name: "good", url: good, ca: ca.file, now: day(15), build: day(12)},
		{name: "unset clock, build date counts", url: good, ca: ca.file, now: boot, build: day(12)},
		{name: "unset clock, last good time counts", url: good, ca: ca.file, now: boot, build: day(5), lastGood: day(11)},
		{name: "unset clock, new certificate", url: good, ca: ca.file, now: boot, build: day(5),
			cause: CauseClock, message: "the router's clock is not set (it says 1970-01-01)"},
		{name: "not yet valid", url: good, ca: ca.file, now: day(9), build: day(5),
			cause: CauseTLS, message: "is valid from 2026-11-10T00:00:00Z, the router's clock says 2026-11-09T00:00:00Z"},
		{name: "expired", url: good, ca: ca.file, now: day(21), build: day(5), cause: CauseTLS, message: "expired on 2026-11-20T00:00:00Z"},
		{name: "expired before the build", url: good, ca: ca.file, now: boot, build: day(21), cause: CauseTLS, message: "expired on 2026-11-20"},
		{name: "nobody's", url: good, now: day(15), cause: CauseTLS, message: "signed by nobody this router trusts"},
		{name: "another CA", url: good, ca: other.file, now: day(15), cause: CauseTLS, message: "signed by nobody this router trusts"},
		{name: "another name", url: wrongName, ca: ca.file, now: day(15), cause: CauseTLS, message: "is for another name"},
		{name: "no TLS", url: "https" + strings.TrimPrefix(plain.URL, "http"), ca: ca.file, now: day(15), cause: CauseTLS, message: "does not speak TLS"},
		{name: "no ca_file", url: good, ca: "/nonexistent/ca.pem", now: day(15), cause: CauseConfig, message: "ca_file: open /nonexistent/ca.pem: no such file"},
		{name: "bad ca_file", url: good, ca: noPEM, now: day(15), cause: CauseConfig, message: "has no certificate in PEM form; see option ca_file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(tt.url, echo)
			o.CAFile, o.BuildTime, o.Client.LastGood = tt.ca, tt.build, tt.lastGood
			o.Now = func() time.Time { return tt.now }
			c, raw, err := dial(t.Context(), o.Client.withDefaults(), o.Identity)
			if tt.cause == "" {
				if err != nil {
					t.Fatalf("got %v, want a link", err)
				}
				_ = c.WriteControl(websocket.CloseMessage, nil, time.Now().Add(time.Second))
				_ = raw.Close()
				return
			}
			var f *Failure
			if !errors.As(err, &f) || f.Cause != tt.cause || !strings.Contains(f.Message, tt.message) {
				t.Errorf("got %v, want %s: %s", err, tt.cause, tt.message)
			}
		})
	}
}

func TestExplain(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	// Made by hand: emulators of foreign processors do not translate the
	// number of a connection's late error.
	fails := func(e error) func(context.Context, string, string) (net.Conn, error) {
		return func(context.Context, string, string) (net.Conn, error) {
			return nil, &net.OpError{Op: "dial", Net: "tcp", Err: e}
		}
	}
	for _, tt := range []struct {
		name, url string
		dial      func(context.Context, string, string) (net.Conn, error)
		cause     Cause
		message   string
	}{
		{"refused", "https://relay.example.net", fails(os.NewSyscallError("connect", syscall.ECONNREFUSED)), CauseConnect,
			"refuses the connection; is the relay running?"},
		{"no way", "https://relay.example.net", fails(os.NewSyscallError("connect", syscall.ENETUNREACH)), CauseConnect,
			"no connection to relay.example.net (network is unreachable); is the WAN up?"},
		{"no name", "https://relay.example.net", fails(&net.DNSError{Err: "no such host", IsNotFound: true}), CauseDNS,
			"cannot find the address of relay.example.net (no such host); try: nslookup relay.example.net"},
		{"no name server", "https://relay.example.net", fails(&net.DNSError{Err: "read udp 127.0.0.1:41234->127.0.0.1:53: i/o timeout", IsTimeout: true}), CauseDNS,
			"(the name server does not answer)"},
		{"no answer", "http://" + silent.Addr().String(), nil, CauseConnect, "did not answer in time"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(tt.url, echo)
			o.Dial = tt.dial
			ctx := t.Context()
			if tt.name == "no answer" { // without the 20 s
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 50*time.Millisecond)
				defer cancel()
			}
			_, _, err := dial(ctx, o.Client.withDefaults(), o.Identity)
			var f *Failure
			if !errors.As(err, &f) || f.Cause != tt.cause || !strings.Contains(f.Message, tt.message) {
				t.Errorf("got %v, want %s: %s", err, tt.cause, tt.message)
			}
		})
	}
}

func mustParse(t *testing.T, s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
