package main

import (
	"context"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"

	relay "github.com/netpilot/netpilot/relay/command"
)

// asRelay makes this test's program the relay that is killed.
const asRelay = "NETPILOT_KILLTEST_RELAY"

func TestMain(m *testing.M) {
	if os.Getenv(asRelay) != "" {
		os.Exit(relay.Run(context.Background(), "1.2.3", os.Args, os.Stdin, os.Stdout, os.Stderr))
	}
	goleak.VerifyTestMain(m)
}

// TestKill: a few kills in every test run; make kill does a hundred.
func TestKill(t *testing.T) {
	t.Setenv(asRelay, "1")
	var out strings.Builder
	if err := run(t.Context(), []string{"--kills", "4", "--within", "200ms", "--bin", os.Args[0]}, &out); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(out.String(), "4 kills in ") {
		t.Error(out.String())
	}
}

// TestKillFindsLoss: a bucket that is acknowledged and not kept is told.
func TestKillFindsLoss(t *testing.T) {
	t.Setenv(asRelay, "1")
	k := killtest{bin: os.Args[0], dir: t.TempDir(), out: new(strings.Builder), kills: 1, within: 1}
	k.network.Routers, k.network.Devices = 2, 2
	k.random = newRandom(1)
	if err := k.run(t.Context()); err != nil {
		t.Fatal(err)
	}
	clear(k.checked)
	k.network.Devices = 3
	if err := k.check(t.Context()); err == nil || !strings.Contains(err.Error(), "pushed was") {
		t.Errorf("other rows: got %v", err)
	}
	k.network.Devices = 2
	k.cursors[1].acknowledged.Add(1000)
	if err := k.check(t.Context()); err == nil || !strings.Contains(err.Error(), "router 1: lost") {
		t.Errorf("got %v", err)
	}
}
