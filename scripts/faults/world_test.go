package faults

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/pkg/usage"
	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
	"github.com/netpilot/netpilot/scripts/fleet/play"
)

// soon bounds every wait for something that is about to happen, on a machine
// that has other things to do.
const soon = 3 * time.Minute

// playAs is the environment variable that makes this test binary another
// program.
const playAs = "NETPILOT_FAULTS_AS"

func TestMain(m *testing.M) {
	switch os.Getenv(playAs) {
	case "":
		goleak.VerifyTestMain(m)
	case "relay": // netpilot-relay itself
		ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM)
		exit := relay.Run(ctx, "1.2.3", os.Args, os.Stdin, os.Stdout, os.Stderr)
		stop()
		os.Exit(exit)
	case "lock": // holds a database locked until its input ends
		if err := lock(os.Args[1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func lock(path string) error {
	db, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate&_pragma=busy_timeout(10000)")
	if err != nil {
		return err
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	fmt.Println("locked")
	_, _ = io.ReadAll(os.Stdin)
	return errors.Join(tx.Rollback(), db.Close())
}

// otherProgram is this test binary as another program.
func otherProgram(as string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), playAs+"="+as)
	return cmd
}

// tmpfs makes an empty file system of that size at dir, or skips the test.
func tmpfs(t *testing.T, dir, size string) {
	t.Helper()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Skipf("a file system of one's own wants root: %v", err)
	}
	t.Cleanup(func() {
		if err := withoutChildren(func() error { return unix.Unmount(dir, 0) }); err != nil {
			t.Error(err)
		}
	})
}

// withoutChildren does what the kernel refuses while a file is open: a child of
// another test has all of this process's files from its fork to its exec.
func withoutChildren(do func() error) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return do()
}

// world is a relay in this process and the routers that it knows. The fleet is
// a simulator and says so.
type world struct {
	t         *testing.T
	data      string
	url, key  string
	network   *play.Network
	fleet     *play.Fleet
	pushes    *play.Pushes
	log       *logBuffer
	soon      context.Context
	client    *http.Client
	stopRelay func()
}

// newWorld enrols routers with that much past in a database in data, serves it
// and brings their links up. They push when they are let.
func newWorld(t *testing.T, data string, routers int, past time.Duration) *world {
	t.Helper()
	w := &world{t: t, data: data, log: new(logBuffer), client: play.NewClient(8, nil),
		network: &play.Network{Seed: t.Name(), Routers: routers, Devices: 5, Services: 4, Since: time.Now().Add(-past).Truncate(usage.FiveMinutes)}}
	t.Cleanup(w.client.CloseIdleConnections)
	var cancel context.CancelFunc
	w.soon, cancel = context.WithTimeout(context.Background(), soon)
	t.Cleanup(cancel)
	db, err := sqlite.Open(t.Context(), w.database())
	if err != nil {
		t.Fatal(err)
	}
	var hash store.Hash
	w.key, hash = store.NewSecret(store.KeyPrefix)
	err = errors.Join(w.network.Enrol(t.Context(), db, nil),
		db.CreateKey(t.Context(), store.Key{ID: store.NewKeyID(), Name: "test", Scope: store.ScopeAdmin, CreatedAt: time.Now()}, hash), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	w.serve()
	return w
}

func (w *world) database() string { return filepath.Join(w.data, "relay.db") }

// serve runs the relay until the test ends.
func (w *world) serve() {
	w.t.Helper()
	url, stop, err := serve(w.data, w.log, func(cfg *relay.Config) { cfg.MetricsUsage = 10_000 })
	if err != nil {
		w.t.Fatal(err)
	}
	w.url = url
	w.stopRelay = sync.OnceFunc(func() {
		if err := stop(); err != nil {
			w.t.Errorf("the relay ended with %v", err)
		}
	})
	w.t.Cleanup(w.stopRelay)
}

// serve runs a relay in this process, until stop; an error is why it does not
// serve.
func serve(data string, log io.Writer, change func(*relay.Config)) (url string, stop func() error, _ error) {
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	cfg := relay.Config{Version: "1.2.3", Listen: "127.0.0.1:0", Data: data, Log: slog.New(slog.NewTextHandler(log, nil)), Drain: time.Second,
		Ready: func(url string) error { ready <- url; return nil }}
	change(&cfg)
	go func() { ended <- relay.Serve(ctx, cfg) }() // ends with ctx; stop waits for it
	stop = func() error { cancel(); return <-ended }
	select {
	case url = <-ready:
		return url, stop, nil
	case err := <-ended:
		cancel()
		return "", nil, err
	}
}

// play brings the routers' links up, until the test ends.
func (w *world) play() {
	w.t.Helper()
	var err error
	if w.fleet, err = play.NewFleet(w.network, w.url, ""); err != nil {
		w.t.Fatal(err)
	}
	w.pushes = w.fleet.PushEvery(time.Second, 0)
	w.pushes.AtOnce = true
	ctx, stop := context.WithCancel(context.Background())
	var playing sync.WaitGroup
	playing.Go(func() { w.fleet.Run(ctx) })
	w.t.Cleanup(func() { stop(); playing.Wait() })
	if err := w.fleet.AwaitUp(w.soon, w.network.Routers); err != nil {
		w.t.Fatal(err)
	}
}

// calls asks routers n times; each answer must be right.
func (w *world) calls(n int) {
	w.t.Helper()
	load := play.Load{Base: w.url, Key: w.key, Client: w.client, Callers: 4, Calls: n, Next: w.network.AskAny}
	if tally := load.Run(w.soon); tally.Calls != n || tally.Wrong != 0 || len(tally.Times) != n {
		w.t.Errorf("%d calls of %d, %d wrong: %q", tally.Calls, n, tally.Wrong, tally.Faults)
	}
}

// pushedAll waits until the relay has all that the routers had, and compares
// every row, and the counters of every device. The routers come again at once, instead of after the half minute
// that a relay without room asks for.
func (w *world) pushedAll() {
	w.t.Helper()
	began := time.Now()
	up := w.fleet.Up()
	if err := w.fleet.AwaitUp(w.soon, up+w.fleet.Cut(1)); err != nil {
		w.t.Fatal(err)
	}
	if err := w.pushes.AwaitAll(w.soon); err != nil {
		w.t.Fatalf("%v; %s", err, w.pushes)
	}
	rows, err := w.pushes.Verify(w.soon, w.url, w.key)
	if err != nil || rows == 0 {
		w.t.Errorf("%d rows compared: %v", rows, err)
	}
	w.counted(began)
}

// counted checks that the counter of each device is what its router has
// counted in so many of its first buckets, at least those that it had closed
// when now was. It tells how many buckets that are in all.
func (w *world) counted(now time.Time) (buckets uint64) {
	w.t.Helper()
	status, text := w.do("GET", "/metrics/usage")
	if status != 200 {
		w.t.Fatalf("got %d %.300s", status, text)
	}
	got := make(map[string]uint64)
	line := regexp.MustCompile(`(?m)^netpilot_usage_rx_bytes_total{device="([0-9a-f:]+)",router="([0-9a-f]+)"} (\S+)$`)
	for _, m := range line.FindAllStringSubmatch(text, -1) {
		n, err := strconv.ParseFloat(m[3], 64)
		if err != nil {
			w.t.Fatal(err)
		}
		got[m[2]+m[1]] = uint64(n)
	}
	n := w.network
	if len(got) != n.Routers*n.Devices {
		w.t.Errorf("%d counters of %d devices", len(got), n.Routers*n.Devices)
	}
	closed := uint64(now.Sub(n.Since) / usage.FiveMinutes)
	for i := range n.Routers {
		for k := range n.Devices {
			counter, sum, b := got[string(n.ID(i))+n.MAC(i, k).String()], uint64(0), uint64(0)
			for ; sum < counter || b < closed; b++ {
				sum += n.Moved(i, k, b).RxBytes
			}
			if sum != counter || b > closed+2 {
				w.t.Errorf("the counter of device %d of router %d is %d; %d buckets come to %d", k, i, counter, b, sum)
			}
			buckets += b
		}
	}
	return buckets
}

// do makes a request of the relay.
func (w *world) do(method, path string) (int, string) {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.soon, method, w.url+path, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+w.key)
	resp, err := w.client.Do(req)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatalf("%s %s: %v", method, path, err)
	}
	return resp.StatusCode, string(body)
}

// says waits until the relay's log has the words.
func (w *world) says(words ...string) {
	w.t.Helper()
	until(w.t, fmt.Sprintf("the log says %q", words), func() bool {
		for _, line := range strings.Split(w.log.String(), "\n") {
			all := true
			for _, word := range words {
				all = all && strings.Contains(line, word)
			}
			if all {
				return true
			}
		}
		return false
	})
}

// until polls what the other side will make true.
func until(t *testing.T, what string, true func() bool) {
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

// logBuffer is a log that a test reads while the relay writes it.
type logBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
