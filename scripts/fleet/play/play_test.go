package play

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/usage"
	relay "github.com/netpilot/netpilot/relay/command"
	"github.com/netpilot/netpilot/relay/store"
	"github.com/netpilot/netpilot/relay/store/sqlite"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// soon bounds what waits for something that is about to happen, on a machine
// that has other things to do.
const soon = 3 * time.Minute

// serve runs a relay in this process with the network enrolled.
func serve(t *testing.T, n *Network) (url, key string) {
	t.Helper()
	data := t.TempDir()
	db, err := sqlite.Open(t.Context(), filepath.Join(data, "relay.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := n.Enrol(t.Context(), db, nil); err != nil {
		t.Fatal(err)
	}
	key, hash := store.NewSecret(store.KeyPrefix)
	if err := db.CreateKey(t.Context(), store.Key{ID: store.NewKeyID(), Name: "test", Scope: store.ScopeRead, CreatedAt: time.Now()}, hash); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, ended := make(chan string, 1), make(chan error, 1)
	go func() { // ends with ctx
		ended <- relay.Serve(ctx, relay.Config{Version: "test", Listen: "127.0.0.1:0", Data: data, Log: slog.New(slog.DiscardHandler), Drain: time.Second,
			Ready: func(url string) error { ready <- url; return nil }})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case url := <-ready:
		return url, key
	case err := <-ended:
		ended <- err
		t.Fatal(err)
	}
	return "", ""
}

// TestFleet: routers come up, every answer is right, they come back after
// their links were cut, and a wrong answer is told.
func TestFleet(t *testing.T) {
	n := &Network{Seed: t.Name(), Routers: 12, Devices: 3, Services: 22}
	url, key := serve(t, n)
	f, err := NewFleet(n, url, "")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var playing sync.WaitGroup
	playing.Go(func() { f.Run(ctx) })
	defer func() { stop(); playing.Wait() }()
	soon, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if err := f.AwaitUp(soon, n.Routers); err != nil {
		t.Fatal(err)
	}
	client := NewClient(4, nil)
	defer client.CloseIdleConnections()
	load := Load{Base: url, Key: key, Client: client, Callers: 4, Calls: 200, Next: n.AskAny}
	if tally := load.Run(ctx); tally.Calls != 200 || tally.Wrong != 0 || len(tally.Times) != 200 {
		t.Errorf("%d calls, %d wrong: %q", tally.Calls, tally.Wrong, tally.Faults)
	}
	load.Next = func(number uint64) Question {
		q := n.AskAny(number)
		q.Want = n.AskAny(number + 1).Want
		return q
	}
	load.Calls = 5
	if tally := load.Run(ctx); tally.Wrong != 5 || !strings.Contains(tally.Faults[0], "not the answer") {
		t.Errorf("%d of 5 wrong answers told: %q", tally.Wrong, tally.Faults)
	}
	if cut := f.Cut(1); cut != n.Routers {
		t.Errorf("cut %d links, want %d", cut, n.Routers)
	}
	if err := f.AwaitUp(soon, 2*n.Routers); err != nil {
		t.Error(err)
	}
}

// TestPush: the relay ends with the rows that the routers have, through links
// that break, and a difference is told.
func TestPush(t *testing.T) {
	n := &Network{Seed: t.Name(), Routers: 12, Devices: 5, Since: time.Now().Add(-20 * time.Hour).Truncate(usage.FiveMinutes)}
	url, key := serve(t, n)
	f, err := NewFleet(n, url, "")
	if err != nil {
		t.Fatal(err)
	}
	p := f.PushEvery(time.Second, 0)
	p.AtOnce = true
	ctx, stop := context.WithCancel(t.Context())
	var playing sync.WaitGroup
	playing.Go(func() { f.Run(ctx) })
	defer func() { stop(); playing.Wait() }()
	soon, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	if err := f.AwaitUp(soon, n.Routers); err != nil {
		t.Fatal(err)
	}
	p.Begin()
	f.Cut(0.5)
	if err := p.AwaitAll(soon); err != nil {
		t.Fatal(err)
	}
	rows, err := p.Verify(soon, url, key)
	if err != nil || rows < n.Routers*n.Devices*20*12 {
		t.Errorf("%d rows compared: %v", rows, err)
	}
	stop()
	playing.Wait()
	n.Since = n.Since.Add(usage.FiveMinutes) // as if the routers had had other rows
	if _, err := p.Verify(t.Context(), url, key); err == nil || !strings.Contains(err.Error(), "the relay has") {
		t.Errorf("other rows: got %v", err)
	}
}

func TestFleetOnLoopbackOnly(t *testing.T) {
	if _, err := NewFleet(&Network{Routers: 1}, "https://relay.example", ""); err == nil || !strings.Contains(err.Error(), "loopback only") {
		t.Errorf("got %v", err)
	}
}

// TestQuestionsDiffer: no two numbers in a run have the same right answer.
func TestQuestionsDiffer(t *testing.T) {
	n := &Network{Routers: 100, Devices: 20}
	seen := make(map[string]uint64)
	for number := range uint64(50_000) {
		q := n.AskAny(number)
		if before, ok := seen[q.Want]; ok {
			t.Fatalf("questions %d and %d have one answer", before, number)
		}
		seen[q.Want] = number
	}
}
