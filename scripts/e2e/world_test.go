package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	agent "github.com/netpilot/netpilot/agent/command"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/scripts/home"
)

const recordings = "../../pkg/nlbwmon/testdata/recordings"

// soon bounds every wait for something that is about to happen, on a machine
// that has other things to do.
const soon = 4 * time.Minute

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// server is a relay that can be stopped and started again on its address.
type server struct {
	t    testing.TB
	data string
	addr string
	url  string
	key  string
	stop func()

	change func(*relay.Config) // of what start serves with
	trust  *tls.Config         // of who asks
}

func newServer(t testing.TB) *server { return newServerWith(t, func(*relay.Config) {}, nil) }

// newServerWith starts a relay whose configuration was changed, and to whose
// certificate trust vouches.
func newServerWith(t testing.TB, change func(*relay.Config), trust *tls.Config) *server {
	s := &server{t: t, data: filepath.Join(t.TempDir(), "relay"), addr: home.Reserve(t), stop: func() {}, change: change, trust: trust}
	s.start()
	t.Cleanup(func() { s.stop() })
	s.key = strings.TrimSpace(s.admin("key", "create", "--name", "e2e"))
	return s
}

func (s *server) start() {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { // ends with ctx; stop waits for it
		cfg := relay.Config{
			Version: "1.2.3", Listen: s.addr, Data: s.data, Log: slog.New(slog.DiscardHandler), Drain: time.Second,
			Ready: func(url string) error { ready <- url; return nil },
		}
		s.change(&cfg)
		ended <- relay.Serve(ctx, cfg)
	}()
	select {
	case s.url = <-ready:
	case err := <-ended:
		cancel()
		s.t.Fatalf("relay: %v", err)
	}
	s.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			s.t.Errorf("relay: %v", err)
		}
	})
}

// admin runs one of netpilot-relay's commands beside the server.
func (s *server) admin(args ...string) string {
	s.t.Helper()
	var out, complaints bytes.Buffer
	args = slices.Concat([]string{"netpilot-relay"}, args[:2], []string{"--data", s.data}, args[2:])
	if exit := relay.Run(context.Background(), "1.2.3", args, strings.NewReader(""), &out, &complaints); exit != 0 {
		s.t.Fatalf("%s: exit code %d: %s", args, exit, complaints.String())
	}
	return out.String()
}

// answer is the envelope of a REST answer.
type answer struct {
	status  int
	Success bool
	Data    json.RawMessage
	Error   struct{ Code, Message string }

	Metadata struct {
		Stale bool
		AsOf  string
	}
}

func (s *server) get(path string) answer {
	s.t.Helper()
	a, err := s.ask(path)
	if err != nil {
		s.t.Fatalf("GET %s: %v", path, err)
	}
	return a
}

func (s *server) put(path, body string) answer {
	s.t.Helper()
	a, err := s.send(http.MethodPut, path, body)
	if err != nil {
		s.t.Fatalf("PUT %s: %v", path, err)
	}
	return a
}

func (s *server) ask(path string) (answer, error) { return s.send(http.MethodGet, path, "") }

func (s *server) send(method, path, body string) (answer, error) {
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Authorization", "Bearer "+s.key)
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true, TLSClientConfig: s.trust}, Timeout: soon}
	resp, err := client.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	reply, err := io.ReadAll(resp.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode}
	return a, json.Unmarshal(reply, &a)
}

// router is a fake router with a simulated nlbwmon and, once run, an agent.
type router struct {
	t       testing.TB
	root    string
	nlbwmon nlbwmontest.Options
	daemon  *nlbwmontest.Daemon
	log     *lockedBuffer
	stop    func()
}

// newRouter makes a router whose LAN bridge has that hardware address.
func newRouter(t testing.TB, mac, recording string) *router {
	t.Helper()
	root, err := os.MkdirTemp("", "np") // short: a unix socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	r := &router{t: t, root: root, log: new(lockedBuffer), stop: func() {}}
	protocols, err := os.ReadFile(recordings + "/protocols")
	if err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{
		"sys/class/net/br-lan/address": mac + "\n",
		"etc/TZ":                       "UTC0\n",
		"usr/share/nlbwmon/protocols":  string(protocols),
		"tmp/dhcp.leases":              "1800000000 02:77:00:00:00:11 192.168.77.11 laptop *\n1800000000 02:77:00:00:00:12 192.168.77.12 \x1b[2J<script>\u202e *\n",
		"var/run/.keep":                "",
		"var/lib/nlbwmon/.keep":        "",
	} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	database := filepath.Join(root, "var/lib/nlbwmon")
	if r.nlbwmon, err = nlbwmontest.FromRecording(filepath.Join(recordings, recording), database); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(r.nlbwmon.SnapshotPath, filepath.Join(root, "tmp/0.db")); err != nil {
		t.Fatal(err)
	}
	r.nlbwmon.SnapshotPath = filepath.Join(root, "tmp/0.db")
	r.nlbwmon.Socket = filepath.Join(root, "var/run/nlbwmon.sock")
	r.startNlbwmon()
	t.Cleanup(func() { r.daemon.Close() })
	t.Cleanup(func() { r.stop() })
	return r
}

func (r *router) startNlbwmon() {
	r.t.Helper()
	var err error
	if r.daemon, err = nlbwmontest.Start(r.nlbwmon); err != nil {
		r.t.Fatal(err)
	}
	if r.nlbwmon.SnapshotPath != "" {
		if err := r.daemon.Refresh(); err != nil {
			r.t.Fatal(err)
		}
	}
}

// only leaves nlbwmon's socket as the one source, in the given condition.
func (r *router) only(change func(*nlbwmontest.Options)) {
	r.t.Helper()
	if err := r.daemon.Close(); err != nil {
		r.t.Fatal(err)
	}
	if err := os.Remove(r.nlbwmon.SnapshotPath); err != nil && !os.IsNotExist(err) {
		r.t.Fatal(err)
	}
	r.nlbwmon.SnapshotPath = ""
	change(&r.nlbwmon)
	r.startNlbwmon()
}

// command runs one of netpilot-agent's verbs.
func (r *router) command(stdin string, args ...string) (exit int, stdout, stderr string) {
	var out, complaints bytes.Buffer
	args = append([]string{"netpilot-agent", "--root", r.root, "--byte-order", "little"}, args...)
	exit = agent.Run(context.Background(), args, agent.Build{Version: "1.2.3", Time: "1700000000"}, strings.NewReader(stdin), &out, &complaints)
	return exit, out.String(), complaints.String()
}

func (r *router) enrol(s *server) {
	r.t.Helper()
	token := s.admin("enrolment", "create")
	if exit, _, stderr := r.command(token, "enroll", "--relay", s.url); exit != 0 {
		r.t.Fatalf("enroll: exit code %d: %s", exit, stderr)
	}
}

// run starts the agent's daemon; stop ends it and waits.
func (r *router) run() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan int, 1)
	go func() { // ends with ctx; stop waits for it
		ended <- agent.Run(ctx, []string{"netpilot-agent", "--root", r.root, "--byte-order", "little", "run"},
			agent.Build{Version: "1.2.3", Time: "1700000000"}, strings.NewReader(""), io.Discard, r.log)
	}()
	r.stop = sync.OnceFunc(func() {
		cancel()
		if exit := <-ended; exit != 0 {
			r.t.Errorf("agent: exit code %d, log:\n%s", exit, r.log)
		}
	})
	// The CLI library sets package variables when it starts: one start at a time.
	until(r.t, "the agent answers its socket", func() bool {
		_, err := local.Call(ctx, filepath.Join(r.root, local.Path), "audit", nil)
		return err == nil
	})
}

// id is the router's id, by its own status.
func (r *router) id() string {
	r.t.Helper()
	_, stdout, stderr := r.command("", "status", "--json")
	var s struct {
		RouterID string `json:"router_id"`
	}
	if err := json.Unmarshal([]byte(stdout), &s); err != nil || len(s.RouterID) != 64 {
		r.t.Fatalf("status: %q %s", stdout, stderr)
	}
	return s.RouterID
}

// until polls what the other side will make true.
func until(t testing.TB, what string, true func() bool) {
	t.Helper()
	deadline := time.After(soon)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for !true() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", soon, what)
		}
	}
}

// online waits until the relay has n links.
func (s *server) online(n int) {
	s.t.Helper()
	until(s.t, "routers online", func() bool {
		a, err := s.ask("/api/routers")
		return err == nil && strings.Count(string(a.Data), `"online":true`) == n
	})
}

// lockedBuffer is a log that a test reads while the agent writes it.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
