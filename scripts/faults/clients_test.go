package faults

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/wire"
	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/relay/front"
	"github.com/netpilot/netpilot/relay/store/storetest"
	"github.com/netpilot/netpilot/scripts/fleet/play"
)

// certificate writes one for loopback, and its key, and gives a pool that
// trusts it.
func certificate(t *testing.T, dir string) (certFile, keyFile string, _ *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	pool := x509.NewCertPool()
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool.AppendCertsFromPEM(certPEM)
	for file, text := range map[string][]byte{certFile: certPEM, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})} {
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, pool
}

// TestHalfOpenHandshakes: beside 10,000 clients that begin a TLS handshake and
// do not go on, others shake hands and are served; the relay keeps no more of
// them than it is told to.
func TestHalfOpenHandshakes(t *testing.T) {
	t.Parallel()
	const clients, most = 10_000, 4096
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil {
		t.Fatal(err)
	}
	if want := uint64(clients + most + 500); files.Cur < want { // Go has raised it as far as it may
		t.Skipf("both ends of %d connections want %d open files, and this process may have %d; raise it with ulimit -n", clients, want, files.Cur)
	}
	dir := t.TempDir()
	cert, key, pool := certificate(t, dir)
	url, stop, err := serve(dir, new(logBuffer), func(cfg *relay.Config) {
		cfg.TLS = front.TLS{CertFile: cert, KeyFile: key, Log: cfg.Log}
		cfg.MaxWaiting = most
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	}()
	healthy := func(beside int) {
		t.Helper()
		client := &http.Client{Timeout: soon, Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: &tls.Config{RootCAs: pool}}}
		resp, err := client.Get(url + "/health")
		if err != nil {
			t.Fatalf("beside %d half-open handshakes: %v", beside, err)
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 {
			t.Errorf("beside %d half-open handshakes: got %d %s, %v", beside, resp.StatusCode, body, err)
		}
	}
	addr := strings.TrimPrefix(url, "https://")
	conns := make([]net.Conn, 0, clients)
	defer func() {
		for _, c := range conns {
			c.Close()
		}
	}()
	for i := range clients {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		conns = append(conns, c)
		// The head of a ClientHello of 200 bytes (RFC 8446 section 5.1), and no more.
		if _, err := c.Write([]byte{22, 3, 1, 0, 200, 1, 0}); err != nil && i < most {
			t.Fatalf("connection %d: %v", i, err)
		}
		if i%1000 == 999 {
			healthy(i + 1)
		}
	}
}

// TestSlowClients: clients that send their header or their body byte by byte are
// hung up on, and others are served meanwhile.
func TestSlowClients(t *testing.T) {
	t.Parallel()
	w := newWorld(t, t.TempDir(), 3, time.Hour)
	w.play()
	addr := strings.TrimPrefix(w.url, "http://")
	const each = 100
	ids := "?routerId=" + string(w.network.ID(0))
	begin := map[string]string{
		"header": "GET /health HTTP/1.1\r\nHost: relay\r\nX-Slow: ",
		"body":   "POST /api/device-usage/reset" + ids + " HTTP/1.1\r\nHost: relay\r\nAuthorization: Bearer " + w.key + "\r\nContent-Type: application/json\r\nContent-Length: 60000\r\n\r\n{",
	}
	ctx, cancel := context.WithTimeout(t.Context(), soon)
	defer cancel()
	var slow, ready sync.WaitGroup
	for name, text := range begin {
		for range each {
			ready.Add(1)
			slow.Go(func() { // ends when the relay hangs up, or with ctx
				c, err := net.Dial("tcp", addr)
				if err == nil {
					_, err = c.Write([]byte(text))
				}
				ready.Done()
				if err != nil {
					t.Errorf("slow %s: %v", name, err)
					return
				}
				defer c.Close()
				ended := make(chan []byte, 1)
				go func() { // ends when the connection does
					answer, _ := io.ReadAll(c)
					ended <- answer
				}()
				tick := time.NewTicker(500 * time.Millisecond)
				defer tick.Stop()
				for {
					select {
					case <-tick.C:
						_, _ = c.Write([]byte(" ")) // the reader sees the end
					case answer := <-ended:
						if name == "body" && !bytes.Contains(answer, []byte(`"the body did not arrive"`)) {
							t.Errorf("slow body: got %.300q, want a word", answer)
						}
						return
					case <-ctx.Done():
						t.Errorf("slow %s: the relay has not hung up", name)
						c.Close()
						<-ended
						return
					}
				}
			})
		}
	}
	ready.Wait()
	w.calls(300)
	slow.Wait()
	w.calls(100)
}

// TestOneToken: of 50 routers that redeem one token at the same time, at two
// relay processes on one database, exactly one is enrolled.
func TestOneToken(t *testing.T) {
	t.Parallel()
	data := t.TempDir()
	const relays, routers = 2, 50
	var urls []string
	for i := range relays {
		ready := filepath.Join(t.TempDir(), "ready")
		cmd := otherProgram("relay", "serve", "--data", data, "--listen", "127.0.0.1:0", "--ready-file", ready)
		cmd.Stderr = new(bytes.Buffer)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Signal(unix.SIGTERM)
			if err := cmd.Wait(); err != nil {
				t.Errorf("relay %d: %v: %s", i, err, cmd.Stderr)
			}
		})
		until(t, "the relay serves", func() bool { _, err := os.Stat(ready); return err == nil })
		url, err := os.ReadFile(ready)
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, strings.TrimSpace(string(url)))
	}
	admin := func(args ...string) string {
		t.Helper()
		out, err := otherProgram("relay", append(args, "--data", data)...).Output()
		if err != nil {
			t.Fatalf("%v: %v", args, err)
		}
		return strings.TrimSpace(string(out))
	}
	token := admin("enrolment", "create")
	client := play.NewClient(routers, nil)
	defer client.CloseIdleConnections()
	type answer struct {
		router, status int
		secret         string
	}
	answers := make(chan answer, routers)
	start := make(chan struct{})
	for i := range routers {
		go func() { // each sends one answer
			body, _ := json.Marshal(wire.EnrolRequest{Token: token, RouterID: string(storetest.RouterID(i))})
			<-start
			resp, err := client.Post(urls[i%relays]+wire.EnrolPath, "application/json", bytes.NewReader(body))
			if err != nil {
				t.Errorf("router %d: %v", i, err)
				answers <- answer{}
				return
			}
			defer resp.Body.Close()
			var reply wire.EnrolReply
			text, _ := io.ReadAll(resp.Body)
			_ = json.Unmarshal(text, &reply) // a refusal is another object
			answers <- answer{i, resp.StatusCode, reply.Secret}
		}()
	}
	close(start)
	winner, statuses := -1, make(map[int]int)
	for range routers {
		a := <-answers
		statuses[a.status]++
		if a.status == 200 {
			winner = a.router
			if a.secret == "" {
				t.Error("the winner has no secret")
			}
		} else if a.secret != "" {
			t.Errorf("router %d got %d and a secret", a.router, a.status)
		}
	}
	if statuses[200] != 1 || statuses[200]+statuses[403]+statuses[429] != routers {
		t.Fatalf("got statuses %v, want one 200 and refusals", statuses)
	}
	list := admin("router", "list", "--format", "json")
	if n := strings.Count(list, `"id"`); n != 1 || !strings.Contains(list, string(storetest.RouterID(winner))) {
		t.Errorf("%d routers are enrolled, want the winner alone: %s", n, list)
	}
}
