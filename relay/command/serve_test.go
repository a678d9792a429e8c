package command

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/front"
	"github.com/netpilot/netpilot/relay/store/storetest"
)

// relay is a serving relay.
type relay struct {
	t     *testing.T
	url   string
	data  string
	http  *http.Client
	stop  func()
	ended chan error
}

// start serves a relay until the test ends, or stop.
func start(t *testing.T, cfg Config) *relay {
	t.Helper()
	t.Cleanup(func() { goleak.VerifyNone(t) })
	ctx, stop := context.WithCancel(context.Background())
	r := &relay{t: t, data: cfg.Data, stop: stop, ended: make(chan error, 1), http: &http.Client{Transport: &http.Transport{}}}
	ready := make(chan string, 1)
	cfg.Listen = "127.0.0.1:0"
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	cfg.Ready = func(url string) error { ready <- url; return nil }
	go func() { r.ended <- Serve(ctx, cfg) }() // awaited by end
	t.Cleanup(func() {
		r.http.CloseIdleConnections()
		stop()
		if err := <-r.ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
	select {
	case r.url = <-ready:
	case err := <-r.ended:
		r.ended <- err
		t.Fatalf("Serve: %v", err)
	}
	return r
}

// get asks the REST API.
func (r *relay) get(path, key string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), "GET", r.url+path, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Errorf("GET %s: %v", path, err)
		return 0, ""
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.t.Errorf("GET %s: %v", path, err)
	}
	return resp.StatusCode, string(body)
}

// connect enrols router n with a token of the command line and links it.
func (r *relay) connect(n int) *websocket.Conn {
	r.t.Helper()
	id := string(storetest.RouterID(n))
	body, _ := json.Marshal(wire.EnrolRequest{Token: must(r.t, "enrolment", "create", "--data", r.data), RouterID: id})
	resp, err := r.http.Post(r.url+wire.EnrolPath, "application/json", strings.NewReader(string(body)))
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	var enrolled wire.EnrolReply
	if err := json.NewDecoder(resp.Body).Decode(&enrolled); err != nil || enrolled.Secret == "" {
		r.t.Fatalf("enrol: %d, %+v, %v", resp.StatusCode, enrolled, err)
	}
	d := websocket.Dialer{Subprotocols: []string{wire.Subprotocol}}
	ws, _, err := d.Dial("ws"+strings.TrimPrefix(r.url, "http")+wire.ConnectPath, http.Header{"Authorization": {"Bearer " + enrolled.Secret}})
	if err != nil {
		r.t.Fatalf("dial: %v", err)
	}
	r.t.Cleanup(func() { ws.Close() })
	hello, _ := json.Marshal(wire.Hello{RouterID: id, Name: "attic", AgentVersion: "9.9.9"})
	if err := ws.WriteMessage(websocket.TextMessage, wire.AppendCall(nil, 1, "hello", hello, 0)); err != nil {
		r.t.Fatal(err)
	}
	if _, frame, err := ws.ReadMessage(); err != nil {
		r.t.Fatalf("welcome: %s, %v", frame, err)
	}
	return ws
}

// wantClose reads until the relay closes the link with the code.
func wantClose(t *testing.T, ws *websocket.Conn, code int) {
	t.Helper()
	_, frame, err := ws.ReadMessage()
	var closed *websocket.CloseError
	if !errors.As(err, &closed) || closed.Code != code {
		t.Errorf("got %s, %v, want close code %d", frame, err, code)
	}
}

func TestServe(t *testing.T) {
	data := filepath.Join(t.TempDir(), "data")
	r := start(t, Config{Data: data})
	key := must(t, "key", "create", "--data", data, "--name", "test")
	ws := r.connect(1)
	id := string(storetest.RouterID(1))

	answered := make(chan struct{})
	go func() { // ends after one call
		defer close(answered)
		_, frame, err := ws.ReadMessage()
		if err != nil {
			t.Errorf("read: %v", err)
			return
		}
		m, err := wire.Decode(frame)
		if err != nil || m.Method != "usage.current" {
			t.Errorf("got %s, %v", frame, err)
		}
		_ = ws.WriteMessage(websocket.TextMessage, wire.AppendResult(nil, m.ID, json.RawMessage(`{"devices": []}`)))
	}()
	status, body := r.get("/api/device-usage/current?routerId="+id, key)
	<-answered
	if want := `{"success":true,"data":{"devices": []},`; status != 200 || !strings.HasPrefix(body, want) {
		t.Errorf("got %d %s, want 200 %s", status, body, want)
	}
	if status, body := r.get("/agent/v2/connect", key); status != 404 || !strings.Contains(body, `"NOT_FOUND"`) {
		t.Errorf("unknown path: got %d %s", status, body)
	}

	if got := must(t, "router", "list", "--data", data, "--format", "json"); !strings.Contains(got, `"id": "`+id+`"`) {
		t.Errorf("router list: got %s", got)
	}
	must(t, "router", "revoke", "--data", data, id[:6])
	wantClose(t, ws, wire.CloseRevoked)
	code, _, stderr := run(t, "router", "revoke", "--data", data, id[:6]+"…")
	if code != exitFailed || !strings.Contains(stderr, "was revoked before") {
		t.Errorf("revoke again: got %d %s", code, stderr)
	}
	if status, body := r.get("/api/device-usage/records?routerId="+id, key); status != 503 || !strings.Contains(body, "revoked") {
		t.Errorf("revoked router: got %d %s", status, body)
	}
}

// A relay that stops ends its links and answers each call that waits.
func TestStop(t *testing.T) {
	data := t.TempDir()
	r := start(t, Config{Data: data, Drain: 10 * time.Second}) // half of it for the calls, half for the goodbye
	key := must(t, "key", "create", "--data", data, "--name", "test")
	ws := r.connect(1)
	type answer struct {
		status int
		body   string
	}
	answers := make(chan answer, 3)
	for i := range cap(answers) {
		go func() { // ends with the answer
			status, body := r.get(fmt.Sprintf("/api/device-usage/records?limit=%d&routerId=%s", i+1, storetest.RouterID(1)), key)
			answers <- answer{status, body}
		}()
	}
	for range cap(answers) {
		if _, _, err := ws.ReadMessage(); err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	wantClose(t, ws, wire.CloseWait)
	ws.Close()
	for range cap(answers) {
		if a := <-answers; a.status != 503 || !strings.Contains(a.body, "link to the router was lost") {
			t.Errorf("got %d %s, want 503 and that the link was lost", a.status, a.body)
		}
	}
}

func TestReadyFile(t *testing.T) {
	t.Cleanup(func() { goleak.VerifyNone(t) })
	dir := t.TempDir()
	file := filepath.Join(dir, "ready")
	if err := os.WriteFile(file, []byte("stale"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	log, served := newTap("msg=serving"), make(chan int, 1)
	go func() { // ends with cancel
		served <- Run(ctx, "1.2.3", []string{"netpilot-relay", "serve", "--listen", "127.0.0.1:0", "--data", dir,
			"--ready-file", file, "--log-level", "info"}, nil, io.Discard, log)
	}()
	<-log.seen
	cancel()
	if code := <-served; code != exitDone {
		t.Errorf("got exit code %d, want %d; log:\n%s", code, exitDone, log.String())
	}
	if got, err := os.ReadFile(file); err != nil || !strings.HasPrefix(string(got), "http://127.0.0.1:") {
		t.Errorf("ready file: got %q, %v", got, err)
	}
}

func TestServeTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key, pool := selfSigned(t, dir)
	r := start(t, Config{Data: dir, TLS: front.TLS{CertFile: cert, KeyFile: key, Log: slog.New(slog.DiscardHandler)}})
	r.http.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: pool}
	status, body := r.get("/health", "")
	if !strings.HasPrefix(r.url, "https://") || status != 200 || !strings.Contains(body, "Server is healthy") {
		t.Errorf("%s: got %d %s", r.url, status, body)
	}
}

// selfSigned makes a certificate for 127.0.0.1.
func selfSigned(t *testing.T, dir string) (cert, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return cert, key, pool
}

// Metrics want a key of scope admin, but on their own address.
func TestServeMetrics(t *testing.T) {
	data := t.TempDir()
	log := newTap("serving metrics")
	r := start(t, Config{Data: data, Metrics: "127.0.0.1:0", MetricsUsage: 9, Log: slog.New(slog.NewTextHandler(log, nil))})
	<-log.seen
	_, own, _ := strings.Cut(log.String(), `msg="serving metrics" url=`)
	own, _, _ = strings.Cut(own, "\n")
	admin := must(t, "key", "create", "--data", data, "--name", "admin", "--scope", "admin")
	reader := must(t, "key", "create", "--data", data, "--name", "reader")
	for key, want := range map[string]int{admin: 200, reader: 403, "": 401, "npk_wrong": 401} {
		status, body := r.get("/metrics", key)
		if status != want || (want == 200) != strings.Contains(body, "netpilot_links 0") {
			t.Errorf("got %d %.200s, want %d", status, body, want)
		}
		status, body = r.get("/metrics/usage", key)
		if status != want || (want == 200) != strings.Contains(body, "netpilot_usage_devices_left_out 0") {
			t.Errorf("usage: got %d %.200s, want %d", status, body, want)
		}
	}
	r.url = own
	if status, body := r.get("/metrics/usage", ""); status != 200 || !strings.Contains(body, "netpilot_usage_devices_left_out 0") {
		t.Errorf("usage on its own address: got %d %.200s", status, body)
	}
	if status, body := r.get("/metrics", ""); status != 200 || !strings.Contains(body, "netpilot_build_info") {
		t.Errorf("on its own address: got %d %.200s", status, body)
	}
	if status, _ := r.get("/health", ""); status != 404 {
		t.Errorf("another path on the address of the metrics: got %d, want 404", status)
	}
}

// Without the option there are no counters of devices, on neither address.
func TestServeNoUsageMetrics(t *testing.T) {
	data := t.TempDir()
	r := start(t, Config{Data: data})
	admin := must(t, "key", "create", "--data", data, "--name", "admin", "--scope", "admin")
	if status, body := r.get("/metrics/usage", admin); status != 404 || !strings.Contains(body, "NOT_FOUND") {
		t.Errorf("got %d %.200s, want 404", status, body)
	}
	err := Serve(t.Context(), Config{Listen: "127.0.0.1:0", Data: data, MetricsUsage: 1, NoHistory: true})
	if err == nil || !strings.Contains(err.Error(), "give one of them") {
		t.Errorf("with --store none: got %v", err)
	}
}
