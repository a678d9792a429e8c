package uplink

import (
	"crypto/x509"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/netpilot/netpilot/agent/config"
)

// Where OpenWrt's package ca-bundle has the roots, and ca-certificates, which
// has a file for each.
const (
	bundlePath = "/etc/ssl/certs/ca-certificates.crt"
	rootsDir   = "/etc/ssl/certs"
	maxRoots   = 4 << 20
)

// roots are the authorities to trust, those of the system and of CAFile, read
// anew: x509.SystemCertPool would keep its own, a quarter of a megabyte, for
// as long as the agent runs. Where the system's lie elsewhere, or the
// environment names others, that finds them.
func (c Client) roots() (*x509.CertPool, error) {
	pool, found := x509.NewCertPool(), false
	if os.Getenv("SSL_CERT_FILE") == "" && os.Getenv("SSL_CERT_DIR") == "" {
		found = addSystem(pool)
	}
	if !found {
		if system, err := x509.SystemCertPool(); err == nil {
			pool = system // else: a router without ca-bundle can still have a private CA
		}
	}
	if c.CAFile == "" {
		return pool, nil
	}
	pem, err := readFile(c.CAFile, maxCAFile)
	if err != nil {
		return nil, fmt.Errorf("ca_file: %w; see option ca_file in %s", err, config.Path)
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca_file: %s has no certificate in PEM form; see option ca_file in %s", c.CAFile, config.Path)
	}
	return pool, nil
}

// addSystem adds what OpenWrt has for the whole system, and tells whether
// there is any.
func addSystem(pool *x509.CertPool) bool {
	if pem, err := readFile(bundlePath, maxRoots); err == nil && pool.AppendCertsFromPEM(pem) {
		return true
	}
	found := false
	files, _ := filepath.Glob(rootsDir + "/*.crt")
	for _, file := range files {
		if pem, err := readFile(file, maxCAFile); err == nil {
			found = pool.AppendCertsFromPEM(pem) || found
		}
	}
	return found
}

func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, limit))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	return data, nil
}
