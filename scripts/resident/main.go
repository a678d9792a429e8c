// Resident measures what memory and time the agent's daemon takes. It has two
// ways: simulated days one after the other, and with --calls the agent that is
// shipped, by the machine's own clock (calls.go).
//
// Of simulated days it says VmRSS as the kernel has it, at the end of each. A
// day takes about half a minute: a look takes some milliseconds, and the days
// follow each other as fast as the machine computes.
//
// What is real: the daemon (all of agent/command, in a process of its own, as
// the service sets its garbage collector), its history with 35 days of a
// household in it, the files, the TLS link over loopback to a real relay, and
// the calls that come over it. What is simulated: nlbwmon, whose table has
// 1,000 rows of 60 devices, one in four of which grows at each refresh; and
// the time, which stands still while the daemon works and then jumps to its
// next look. Link and calls run by the machine's own clock.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	devices = 60
	rows    = 1000
	refresh = 30 * time.Second
	before  = 35 * usage.Day // of history at the start
	ready   = 60 * time.Second

	callEvery = 4 * time.Hour
)

// simulated is when the simulated days begin, as daemon/main.go has it; the
// router booted an hour before.
var simulated = time.Date(2026, 11, 5, 0, 0, 0, 0, time.UTC)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := measure(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "resident:", err)
		os.Exit(1)
	}
}

// bench is the parent's state.
type bench struct {
	out               io.Writer
	bin, dir, root    string
	url, key, router  string
	http              *http.Client
	begin             time.Time // when the history made beforehand ends
	nlbwmon           *nlbwmontest.Daemon
	since             time.Duration
	mu                sync.Mutex // guards since
	table             []usage.Record
	relay, agent      *exec.Cmd
	waits             *bufio.Reader
	passed            io.Writer
	limit, growth     float64
	calls, failed     int
	looks             int
	memLimit, percent string
}

// env is the agent's environment, as the service makes it.
func (b *bench) env() []string {
	return append(os.Environ(), "GOMEMLIMIT="+b.memLimit, "GOGC="+b.percent, "GOMAXPROCS=1")
}

func measure(ctx context.Context, args []string, out io.Writer) (err error) {
	b := &bench{out: out, begin: simulated}
	f := flag.NewFlagSet("resident", flag.ContinueOnError)
	f.StringVar(&b.bin, "bin", "bin", "folder of the two binaries and of resident-daemon")
	days := f.Int("days", 10, "simulated days")
	f.Float64Var(&b.limit, "limit", 0, "MB of resident memory allowed at the end (default: 14, with --calls 11)")
	f.Float64Var(&b.growth, "growth", 5, "percent that the last days but the first may add")
	rest := f.Duration("rest", 5*time.Second, "of the machine's own time before memory is measured; a router rests 30 s between two looks, in which Go gives memory back")
	f.StringVar(&b.memLimit, "gomemlimit", "10MiB", "as the service sets it: 10MiB on a router with 64 MB of RAM")
	f.StringVar(&b.percent, "gogc", "50", "as the service sets it")
	calls := f.Int("calls", 0, "instead: ask the agent that is shipped so many times, and measure then")
	idle := f.Duration("idle", 0, "with --calls: and then what it costs for so long when nobody asks")
	anon := f.Float64("anon-limit", 5, "with --calls: MB of it allowed that are no file's")
	if err := f.Parse(args); err != nil {
		return err
	}
	allowed := 14.0
	if *calls > 0 {
		b.begin, allowed = time.Now().UTC().Truncate(5*time.Minute), 11
	}
	if b.limit == 0 {
		b.limit = allowed
	}
	if b.dir, err = os.MkdirTemp(memory(), "np"); err != nil {
		return err
	}
	b.root = filepath.Join(b.dir, "router")
	defer func() { err = errors.Join(err, b.stop(), os.RemoveAll(b.dir)) }()
	start := b.startAgent
	if *calls > 0 {
		start = b.startShipped
	}
	for _, step := range []func(context.Context) error{b.makeRouter, b.fill, b.startRelay, start} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	fmt.Fprintf(out, "history of %s at the start: %s; GOMEMLIMIT=%s GOGC=%s GOMAXPROCS=1\n", before, size(filepath.Join(b.root, "tmp/netpilot")), b.memLimit, b.percent)
	if *calls > 0 {
		return b.used(ctx, *calls, *rest, *idle, *anon)
	}
	var first, last float64
	for day := 1; day <= *days; day++ {
		if err := b.day(ctx); err != nil {
			return fmt.Errorf("day %d: %w", day, err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(*rest):
		}
		var private, peak float64
		if last, private, peak, err = b.resident(); err != nil {
			return err
		}
		if day == 1 {
			first = last
		}
		fmt.Fprintf(out, "day %2d: VmRSS %.2f MB (%.2f MB of it not of files), at most %.2f MB since the start; history %s; %.2f ms of CPU a look, calls included\n",
			day, last, private, peak, size(filepath.Join(b.root, "tmp/netpilot")), b.cpu()/float64(b.looks))
	}
	grown := 100 * (last - first) / first
	fmt.Fprintf(out, "%d calls, %d failed; VmRSS %.2f MB at the end, %+.1f %% since day 1\n", b.calls, b.failed, last, grown)
	switch {
	case b.failed > 0:
		return fmt.Errorf("%d calls failed", b.failed)
	case last > b.limit:
		return fmt.Errorf("%.2f MB are more than %.0f", last, b.limit)
	case grown > b.growth:
		return fmt.Errorf("memory grew by %.1f %%, more than %.0f", grown, b.growth)
	}
	return nil
}

// memory is a folder in RAM, as a router's /tmp is; "" for the usual one where
// this machine has none.
func memory() string {
	const dir = "/dev/shm"
	if unix.Access(dir, unix.W_OK) != nil {
		return ""
	}
	return dir
}

// day plays a day of looks, with calls each few hours.
func (b *bench) day(ctx context.Context) error {
	b.mu.Lock()
	end := b.since + usage.Day
	b.mu.Unlock()
	hour := time.Duration(0)
	for ctx.Err() == nil {
		line, err := b.waits.ReadString('\n')
		if err != nil {
			return fmt.Errorf("the daemon ended: %w", err)
		}
		ns, err := strconv.ParseInt(strings.TrimSpace(line), 10, 64)
		if err != nil {
			return err
		}
		b.mu.Lock()
		b.since += time.Duration(ns)
		since := b.since
		b.mu.Unlock()
		if err := b.refresh(since); err != nil {
			return err
		}
		b.looks++
		// Not at the end of a day: what calls take for a moment is in the peak.
		if now := (since + callEvery/2) / callEvery; now != hour {
			hour = now
			b.call(ctx)
		}
		if _, err := fmt.Fprintln(b.passed); err != nil {
			return err
		}
		if since >= end {
			return nil
		}
	}
	return ctx.Err()
}

// refresh is nlbwmon's: one row in four grew, and 0.db is written.
func (b *bench) refresh(since time.Duration) error {
	for i := int(since/refresh) % 4; i < len(b.table); i += 4 {
		b.table[i].RxBytes += uint64(1400 * (1 + i%50))
		b.table[i].RxPackets += uint64(1 + i%50)
		b.table[i].TxBytes += uint64(100 * (1 + i%50))
		b.table[i].TxPackets += uint64(1 + i%50)
	}
	b.nlbwmon.SetRows(b.table)
	if err := b.nlbwmon.Refresh(); err != nil {
		return err
	}
	at := b.begin.Add(since - time.Second)
	return os.Chtimes(filepath.Join(b.root, "tmp/0.db"), at, at)
}

// call asks the router what a backend asks.
func (b *bench) call(ctx context.Context) {
	ask := func(err error) {
		if b.calls++; err != nil {
			if b.failed++; b.failed < 4 {
				fmt.Fprintln(os.Stderr, "resident:", err)
			}
		}
	}
	for _, path := range []string{"current?", "records?limit=1000&", "status?"} {
		_, err := b.get(ctx, "/api/device-usage/"+path+"routerId="+b.router)
		ask(err)
	}
	// The history through the other door: it answers a technician.
	for _, args := range [][]string{{"summary", "--days", "35"}, {"history", "--days", "35", "--resolution", "1d", "--by", "device", "--format", "json"}} {
		_, err := b.output(ctx, nil, "netpilot-agent", append([]string{"--root", b.root}, args...)...)
		ask(err)
	}
}

// resident is VmRSS of the daemon in MB, what of it is no part of files, and
// the most it ever was.
func (b *bench) resident() (all, anon, peak float64, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", b.agent.Process.Pid))
	if err != nil {
		return 0, 0, 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue
		}
		kib, _ := strconv.Atoi(f[1]) // of other lines it is 0
		switch f[0] {
		case "VmRSS:":
			all = float64(kib) * 1024 / 1e6
		case "VmHWM:":
			peak = float64(kib) * 1024 / 1e6
		case "RssAnon:":
			anon = float64(kib) * 1024 / 1e6
		}
	}
	if all == 0 {
		return 0, 0, 0, errors.New("no VmRSS")
	}
	return all, anon, peak, nil
}

// cpu is what the daemon has computed so far, in milliseconds (proc(5),
// /proc/PID/stat, fields 14 and 15).
func (b *bench) cpu() float64 {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", b.agent.Process.Pid))
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return float64(user+system) * 10 // USER_HZ is 100 wherever Linux runs Go
}

func size(dir string) string {
	var sum int64
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err.Error()
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil && strings.Contains(e.Name(), "Z.") {
			sum += info.Size()
		}
	}
	return fmt.Sprintf("%.2f MB", float64(sum)/1e6)
}

func (b *bench) makeRouter(context.Context) error {
	for path, text := range map[string]string{
		"sys/class/net/br-lan/address": "02:77:00:00:00:01\n",
		"etc/TZ":                       "UTC0\n",
		"etc/config/system":            "config system\n\toption hostname 'resident'\n\toption timezone 'UTC0'\n",
		"etc/config/netpilot":          "config agent 'agent'\n\toption ca_file '/etc/ca.pem'\n",
		"proc/100/comm":                "nlbwmon\n",
		"proc/100/stat":                "100 (nlbwmon) S 1 1 1 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 4000 1000 200\n",
		"usr/share/nlbwmon/protocols":  "6 443 HTTPS\n17 443 QUIC\n17 53 DNS\n6 80 HTTP\n17 123 NTP\n6 993 IMAPS\n6 22 SSH\n6 8080 HTTP-ALT\n",
		"var/lib/nlbwmon/.keep":        "",
		"var/run/.keep":                "",
		"tmp/dhcp.leases":              "",
	} {
		path = filepath.Join(b.root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			return err
		}
	}
	b.table = nlbwmontest.Generate(rows, 1)
	for i := range b.table {
		b.table[i].MAC = device(i % devices)
	}
	var err error
	b.nlbwmon, err = nlbwmontest.Start(nlbwmontest.Options{
		Socket: filepath.Join(b.root, "var/run/nlbwmon.sock"), Dir: filepath.Join(b.root, "var/lib/nlbwmon"),
		SnapshotPath: filepath.Join(b.root, "tmp/0.db"), Interval: nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1},
		Now: func() time.Time {
			b.mu.Lock()
			defer b.mu.Unlock()
			return b.begin.Add(b.since)
		},
	})
	if err != nil {
		return err
	}
	return b.refresh(0)
}

func device(n int) usage.MAC { return usage.MAC{0x02, 0x77, 0, 0, 0, byte(n + 1)} }

// fill makes the history there is at the start: 40 of the 60 devices move
// something in each five minutes, over 8 services.
func (b *bench) fill(context.Context) error {
	conf := config.Default().History
	store, err := history.Open(history.Options{
		Dir: filepath.Join(b.root, conf.Dir), FlashDir: filepath.Join(b.root, conf.FlashDir),
		Service: func(_ uint8, port uint16) string { return "SERVICE" + strconv.Itoa(int(port)) },
	})
	if err != nil {
		return err
	}
	const step = 5 * time.Minute
	records := make([]usage.Record, 40)
	for now := b.begin.Add(-before); now.Before(b.begin); {
		for i := range records {
			n := uint64((now.Unix()/300*31 + int64(i)*977) % 30_000_000)
			records[i] = usage.Record{MAC: device((i + now.Hour()*7) % devices), Family: usage.FamilyIPv4, Proto: 6, Port: uint16(i % 8),
				Conns: n%20 + 1, RxBytes: n + 1, RxPackets: n/1200 + 1, TxBytes: n/9 + 1, TxPackets: n/2000 + 1}
		}
		if err := store.Add(usage.Range{From: now, To: now.Add(step)}, records); err != nil {
			return err
		}
		if now = now.Add(step); now.Unix()%int64(time.Hour/time.Second) != 0 {
			continue // an agent writes each bucket as it closes; this makes the same files sooner
		}
		if err := errors.Join(store.Advance(now), store.Flush(now)); err != nil {
			return err
		}
	}
	return store.Close(b.begin)
}

func (b *bench) startRelay(ctx context.Context) error {
	cert, key, ca := filepath.Join(b.dir, "relay.crt"), filepath.Join(b.dir, "relay.key"), filepath.Join(b.root, "etc/ca.pem")
	if err := b.certificate(cert, key, ca); err != nil {
		return err
	}
	data, readyFile := filepath.Join(b.dir, "relay"), filepath.Join(b.dir, "relay.url")
	b.relay = b.child(filepath.Join(b.bin, "netpilot-relay"), "serve", "--data", data, "--listen", "127.0.0.1:0",
		"--tls-cert", cert, "--tls-key", key, "--ready-file", readyFile, "--log-level", "error")
	if err := b.relay.Start(); err != nil {
		return fmt.Errorf("start the relay: %w; make build first", err)
	}
	if err := await(ctx, "the relay", func() bool {
		text, err := os.ReadFile(readyFile)
		b.url = strings.TrimSpace(string(text))
		return err == nil && b.url != ""
	}); err != nil {
		return err
	}
	token, err := b.output(ctx, nil, "netpilot-relay", "enrolment", "create", "--data", data)
	if err != nil {
		return err
	}
	if b.key, err = b.output(ctx, nil, "netpilot-relay", "key", "create", "--data", data, "--name", "resident"); err != nil {
		return err
	}
	b.key = strings.TrimSpace(b.key)
	_, err = b.output(ctx, strings.NewReader(token), "netpilot-agent", "--root", b.root, "enroll", "--relay", b.url)
	return err
}

// certificate makes a self-signed one for loopback.
func (b *bench) certificate(cert, key, ca string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: simulated.AddDate(-1, 0, 0), NotAfter: simulated.AddDate(20, 0, 0), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	public := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(public)
	b.http = &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}, Timeout: 30 * time.Second}
	return errors.Join(os.WriteFile(cert, public, 0o600), os.WriteFile(ca, public, 0o600),
		os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
}

func (b *bench) startAgent(ctx context.Context) error {
	fromAgent, waits, err := os.Pipe()
	if err != nil {
		return err
	}
	passed, toAgent, err := os.Pipe()
	if err != nil {
		return err
	}
	b.agent = b.child(filepath.Join(b.bin, "resident-daemon"), "--root", b.root, "run", "--log-level", "warn")
	b.agent.ExtraFiles = []*os.File{waits, passed}
	b.agent.Env = b.env()
	if err := b.agent.Start(); err != nil {
		return err
	}
	_, _ = waits.Close(), passed.Close() // they are the child's
	b.waits, b.passed = bufio.NewReader(fromAgent), toAgent
	return b.awaitLink(ctx)
}

// awaitLink waits until the relay has the router, and learns its id.
func (b *bench) awaitLink(ctx context.Context) error {
	return await(ctx, "the link", func() bool {
		body, err := b.get(ctx, "/api/routers")
		if err != nil || !bytes.Contains(body, []byte(`"online":true`)) {
			return false
		}
		_, rest, _ := strings.Cut(string(body), `"id":"`)
		b.router, _, _ = strings.Cut(rest, `"`)
		return b.router != ""
	})
}

func (b *bench) child(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	return cmd
}

func (b *bench) output(ctx context.Context, stdin io.Reader, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(b.bin, name), args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, args[0], err, stderr.String())
	}
	return stdout.String(), nil
}

func (b *bench) get(ctx context.Context, path string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, b.url+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+b.key)
	resp, err := b.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 8<<20))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s: %.300s", path, resp.Status, body)
	}
	return body, err
}

func await(ctx context.Context, what string, done func() bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, ready, fmt.Errorf("%s is not up after %s", what, ready))
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(20 * time.Millisecond):
		}
	}
	return nil
}

// stop ends the agent, the relay and nlbwmon.
func (b *bench) stop() error {
	for _, cmd := range []*exec.Cmd{b.agent, b.relay} {
		if cmd != nil && cmd.Process != nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait() // killed, as it was to be
		}
	}
	if b.nlbwmon != nil {
		return b.nlbwmon.Close()
	}
	return nil
}
