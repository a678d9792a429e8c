package front

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// lookEvery is how often the certificate's files are looked at, at most.
	lookEvery = 10 * time.Second
	// warnBefore is how long before its end a certificate is warned of: ACME
	// clients renew 30 days before, so this one was not renewed.
	warnBefore = 14 * 24 * time.Hour
	maxCA      = 1 << 20 // bytes of a file of CAs
)

// TLS is where the relay's certificate comes from, and whose it accepts.
type TLS struct {
	CertFile, KeyFile string // PEM; read again when they change

	ACMEDomains   []string // or else: get certificates for these names
	ACMECache     string   // directory, made with mode 0700
	ACMEEmail     string   // "" for none
	ACMEDirectory string   // URL, "" for Let's Encrypt

	ClientCAFile string // PEM; "" asks routers for no certificate
	Log          *slog.Logger
	Now          func() time.Time // time.Now if nil
}

// Config makes the server's configuration. Its first certificate is loaded at
// once, so that a bad file shows at the start.
func (t TLS) Config() (*tls.Config, error) {
	if t.Now == nil {
		t.Now = time.Now
	}
	// WebSocket as agents speak it needs HTTP/1.1 (RFC 9110 section 7.8), and
	// backends lose nothing by it.
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if len(t.ACMEDomains) > 0 {
		m := &autocert.Manager{
			Prompt:     autocert.AcceptTOS,
			Cache:      autocert.DirCache(t.ACMECache),
			HostPolicy: autocert.HostWhitelist(t.ACMEDomains...),
			Email:      t.ACMEEmail,
		}
		if t.ACMEDirectory != "" {
			m.Client = &acme.Client{DirectoryURL: t.ACMEDirectory}
		}
		cfg.GetCertificate = m.GetCertificate
		cfg.NextProtos = append(cfg.NextProtos, acme.ALPNProto) // RFC 8737: the challenge comes to the same port
	} else {
		files := &certFiles{cert: t.CertFile, key: t.KeyFile, log: t.Log, now: t.Now}
		if err := files.load(); err != nil {
			return nil, fmt.Errorf("load the certificate: %w", err)
		}
		cfg.GetCertificate = files.get
	}
	if t.ClientCAFile != "" {
		pool, err := readPool(t.ClientCAFile)
		if err != nil {
			return nil, err
		}
		// Backends have keys and no certificate; the gateway asks routers.
		cfg.ClientCAs, cfg.ClientAuth = pool, tls.VerifyClientCertIfGiven
	}
	return cfg, nil
}

func readPool(file string) (*x509.CertPool, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("read the CA of routers: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxCA))
	if err != nil {
		return nil, fmt.Errorf("read the CA of routers: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, errors.New("read the CA of routers: " + file + " has no certificate in PEM form")
	}
	return pool, nil
}

// certFiles is a certificate that is read again when its files change.
type certFiles struct {
	cert, key string
	log       *slog.Logger
	now       func() time.Time

	mu     sync.Mutex // guards below
	pair   *tls.Certificate
	stamps [2]stamp
	looked time.Time
	bad    string // the failure that stands in the log
}

// stamp tells one state of a file from another.
type stamp struct {
	changed time.Time
	size    int64
}

func stampOf(file string) (stamp, error) {
	info, err := os.Stat(file) // follows links, as certbot's are
	if err != nil {
		return stamp{}, err
	}
	return stamp{info.ModTime(), info.Size()}, nil
}

// get answers a handshake. A pair that cannot be read leaves the one before in
// use: half of it may just be written.
func (c *certFiles) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.now().Sub(c.looked).Abs() >= lookEvery {
		if err := c.loadLocked(); err != nil && err.Error() != c.bad {
			c.bad = err.Error()
			c.log.Error("the new certificate cannot be used; the old one stays", "err", err)
		}
	}
	return c.pair, nil
}

func (c *certFiles) load() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.loadLocked()
}

func (c *certFiles) loadLocked() error {
	c.looked = c.now()
	var stamps [2]stamp
	for i, file := range []string{c.cert, c.key} {
		var err error
		if stamps[i], err = stampOf(file); err != nil {
			return err
		}
	}
	if c.pair != nil && stamps == c.stamps {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key) // checks that they belong together
	if err != nil {
		return err
	}
	c.pair, c.stamps, c.bad = &pair, stamps, ""
	end := pair.Leaf.NotAfter
	if left := end.Sub(c.now()); left < warnBefore {
		c.log.Warn("the certificate ends soon or has ended; renew it", "file", c.cert, "not_after", end)
	} else {
		c.log.Info("certificate loaded", "file", c.cert, "names", pair.Leaf.DNSNames, "not_after", end)
	}
	return nil
}
