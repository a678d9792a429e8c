package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/scripts/fleet/play"
)

// rest is longer than what comes every half minute.
const rest = 60 * time.Second

// links weighs the relay's memory for a link, after calls to random routers.
func links(ctx context.Context, b *bench) error {
	fmt.Printf("\n## Memory\n\nResident bytes of the relay for each of %d links: at once after %d calls to random routers, and after %v without any.\n\n| | before the links | after the calls | a link | at rest | a link |\n|---|---:|---:|---:|---:|---:|\n",
		b.routers, 2*b.routers, rest)
	for _, secure := range []bool{false, true} {
		if err := b.weigh(ctx, secure); err != nil {
			return err
		}
	}
	return nil
}

func (b *bench) weigh(ctx context.Context, secure bool) error {
	stage, err := b.newStage(ctx, secure)
	if err != nil {
		return err
	}
	defer stage.close()
	load := b.askers(stage, 16)
	load.Calls = 2 * b.routers
	if tally := load.Run(ctx); tally.Wrong > 0 {
		return fmt.Errorf("%d of %d answers were wrong: %q", tally.Wrong, tally.Calls, tally.Faults)
	}
	load.Client.CloseIdleConnections()
	full, err := stage.relay.Resident()
	if err != nil {
		return err
	}
	select {
	case <-time.After(rest):
	case <-ctx.Done():
		return ctx.Err()
	}
	resting, err := stage.relay.Resident()
	if err != nil {
		return err
	}
	each := func(n int) float64 { return float64(n-stage.empty) / 1024 / float64(b.routers) }
	scheme := map[bool]string{false: "ws", true: "wss"}[secure]
	fmt.Printf("| %s | %.1f MB | %.1f MB | %.1f KiB | %.1f MB | %.1f KiB |\n", scheme, float64(stage.empty)/1e6,
		float64(full)/1e6, each(full), float64(resting)/1e6, each(resting))
	return nil
}

// askers are callers about random devices of random routers.
func (b *bench) askers(s *stage, callers int) *play.Load {
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots(s.dir)}}
	return &play.Load{Base: s.relay.URL, Key: s.key, Callers: callers, Client: play.NewClient(callers, transport),
		Next: b.network.AskAny}
}

// storm breaks all links at once and asks on meanwhile.
func storm(ctx context.Context, b *bench) error {
	stage, err := b.newStage(ctx, false)
	if err != nil {
		return err
	}
	defer stage.close()
	load := b.askers(stage, 4)
	calling, stop := context.WithCancel(ctx)
	answered := make(chan play.Tally, 1)
	if err := stage.fleet.Signal(syscall.SIGUSR1); err != nil {
		stop()
		return err
	}
	go func() { answered <- load.Run(calling) }() // ends with calling
	line, err := stage.line("storm ")
	stop()
	tally := <-answered
	if err != nil {
		return err
	}
	offline, other := 0, 0
	for _, f := range tally.Faults {
		if strings.Contains(f, "ROUTER_OFFLINE") {
			offline++
		} else {
			other++
		}
	}
	fmt.Printf("\n## Storm\n\n%s. Meanwhile 4 callers asked random routers: %d answered, p50 %v, p99 %v; %d met a router that was not back yet",
		line, len(tally.Times), tally.Percentile(0.5).Round(time.Microsecond), tally.Percentile(0.99).Round(time.Microsecond), tally.Wrong)
	if other > 0 {
		fmt.Printf(" (of the first %d faults %d were others: %q)", offline+other, other, tally.Faults)
	}
	fmt.Println(".")
	return nil
}

// certificate makes a key pair for 127.0.0.1 that vouches for itself.
func certificate(dir string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "netpilot bench"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", "", err
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := os.WriteFile(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		return "", "", err
	}
	return cert, key, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600)
}

// roots trusts the stage's own certificate, if it has one.
func roots(dir string) *x509.CertPool {
	pool := x509.NewCertPool()
	if text, err := os.ReadFile(filepath.Join(dir, "cert.pem")); err == nil {
		pool.AppendCertsFromPEM(text)
	}
	return pool
}
