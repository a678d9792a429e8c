package e2e

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/relay/front"
)

// authority is a private CA, which signs for the relay and for routers.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string // PEM
	made int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, file: filepath.Join(t.TempDir(), "ca.pem")}
	der, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "e2e CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign})
	a.key = key
	var err error
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.write(a.file, "CERTIFICATE", der)
	return a
}

// sign signs a certificate, the first one by its own key.
func (a *authority) sign(template *x509.Certificate) ([]byte, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.made++
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(a.made), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		a.t.Fatal(err)
	}
	return der, key
}

// issue writes a certificate of that name for 127.0.0.1, and its key.
func (a *authority) issue(name, certFile, keyFile string) {
	a.t.Helper()
	der, key := a.sign(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(certFile, "CERTIFICATE", der)
	a.write(keyFile, "PRIVATE KEY", pkcs8)
}

func (a *authority) write(file, kind string, der []byte) {
	a.t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		a.t.Fatal(err)
	}
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// write puts a file below the router's root.
func (r *router) write(path, text string) {
	r.t.Helper()
	path = filepath.Join(r.root, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		r.t.Fatal(err)
	}
}

// uplink is what the agent's status says of its link.
func (r *router) uplink() (connected bool, why string) {
	r.t.Helper()
	_, stdout, stderr := r.command("", "status", "--json")
	var s struct {
		Uplink struct {
			Connected bool
			Error     string
		}
	}
	if err := json.Unmarshal([]byte(stdout), &s); err != nil {
		r.t.Fatalf("status: %q %s", stdout, stderr)
	}
	return s.Uplink.Connected, s.Uplink.Error
}

// TestClientCertificate: over real TLS, a relay that wants certificates takes
// the router with its own, and tells one without and one with another's why
// not.
func TestClientCertificate(t *testing.T) {
	ca := newAuthority(t)
	dir := t.TempDir()
	cert, key := filepath.Join(dir, "relay.pem"), filepath.Join(dir, "relay.key")
	ca.issue("relay", cert, key)
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	s := newServerWith(t, func(c *relay.Config) {
		c.TLS, c.RequireClientCert = front.TLS{CertFile: cert, KeyFile: key, ClientCAFile: ca.file, Log: c.Log}, true
	}, &tls.Config{RootCAs: pool})
	r := newRouter(t, lab, "live-lab")
	text, err := os.ReadFile(ca.file)
	if err != nil {
		t.Fatal(err)
	}
	r.write("etc/netpilot/ca.pem", string(text))
	plain := "config agent 'agent'\n\toption ca_file '/etc/netpilot/ca.pem'\n"
	r.write("etc/config/netpilot", plain)
	r.enrol(s)
	own := filepath.Join(r.root, "etc/netpilot")
	withCert := plain + "\toption client_cert '/etc/netpilot/router.pem'\n\toption client_key '/etc/netpilot/router.key'\n"
	for _, c := range []struct {
		what, name, config, want string
	}{
		{"none", "", plain, "wants a client certificate and the secret"},
		{"another's", strings.Repeat("a", 64), withCert, "the certificate is another router's than the secret"},
		{"its own", r.id(), withCert, ""},
	} {
		if c.name != "" {
			ca.issue(c.name, filepath.Join(own, "router.pem"), filepath.Join(own, "router.key"))
		}
		r.write("etc/config/netpilot", c.config)
		r.run()
		until(t, "certificate "+c.what+": the relay's word", func() bool {
			connected, why := r.uplink()
			return connected == (c.want == "") && strings.Contains(why, c.want)
		})
		if c.want == "" {
			s.online(1)
			if a := s.get("/api/device-usage/current?routerId=" + r.id()); a.status != 200 {
				t.Errorf("got %d %v", a.status, a.Error)
			}
		}
		r.stop()
	}
}

// TestRotation: asked on the command line, agent and relay change the secret
// over their link; the agent has it on disk, comes back with it, and the one
// before opens nothing.
func TestRotation(t *testing.T) {
	s, r := newServer(t), newRouter(t, lab, "live-lab")
	r.enrol(s)
	read := func() string {
		text, err := os.ReadFile(filepath.Join(r.root, "etc/netpilot/identity.json"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	old := read()
	r.run()
	s.online(1)
	s.admin("router", "rotate", "--overlap", "0s", r.id())
	until(t, "the audit log says that the secret changed", func() bool {
		return strings.Contains(s.admin("audit", "--format=json"), `"secret.rotate"`)
	})
	fresh := read()
	if fresh == old {
		t.Fatal("the agent's secret is the old one")
	}
	if a := s.get("/api/device-usage/current?routerId=" + r.id()); a.status != 200 {
		t.Errorf("on the link of before: %d %v", a.status, a.Error)
	}
	r.stop()
	s.online(0)
	r.run() // with what is on disk
	s.online(1)
	if a := s.get("/api/device-usage/current?routerId=" + r.id()); a.status != 200 {
		t.Errorf("with the new secret: %d %v", a.status, a.Error)
	}
	r.stop()
	s.online(0)
	r.write("etc/netpilot/identity.json", old)
	r.run()
	until(t, "the old secret is refused", func() bool {
		connected, why := r.uplink()
		if connected {
			t.Fatal("the old secret opens")
		}
		return strings.Contains(why, "enrol")
	})
}
