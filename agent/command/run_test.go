package command

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/agent/local"
)

// TestDaemonStopsClean starts the daemon on a fake router that is not
// enrolled, asks it through the local socket, and ends it.
func TestDaemonStopsClean(t *testing.T) {
	defer goleak.VerifyNone(t)
	root, err := os.MkdirTemp("", "np") // short: a unix socket's path has 108 bytes
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(root)
	for path, text := range map[string]string{"sys/class/net/br-lan/address": "02:77:00:00:00:01\n", "var/run/.keep": "", "etc/config/.keep": ""} {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan int, 1)
	var log bytes.Buffer // read after the daemon has ended
	go func() {          // ends with ctx
		ended <- Run(ctx, []string{"netpilot-agent", "--root", root, "run", "--remote-access", "read"}, Build{Version: "1.2.3"}, nil, io.Discard, &log)
	}()
	socket := filepath.Join(root, local.Path)
	for { // until it answers or has ended
		reply, err := local.Call(ctx, socket, "status", nil)
		if err == nil {
			if text := string(reply); !strings.Contains(text, `"remote_access":"read"`) || !strings.Contains(text, "not enrolled") ||
				!strings.Contains(text, `"running":true`) {
				t.Errorf("status: %s", text)
			}
			break
		}
		select {
		case <-time.After(5 * time.Millisecond):
		case exit := <-ended:
			t.Fatalf("exit code %d: %s", exit, log.String())
		}
	}
	// Options are in force at once, but for those that the start alone reads
	// and the one that a flag has the place of.
	reply, err := local.Call(ctx, socket, "preferences.set", json.RawMessage(
		`{"log_level":"debug","history_days":60,"history_kib":2000,"remote_access":"off","memory_limit":12,"history_flash":false}`))
	if err != nil {
		t.Fatal(err)
	}
	if text := string(reply); !strings.Contains(text, `"restart_required":["history_flash","memory_limit","remote_access"]`) {
		t.Errorf("preferences: %s", text)
	}
	if reply, err := local.Call(ctx, socket, "status", nil); err != nil || !strings.Contains(string(reply), `"remote_access":"read"`) {
		t.Errorf("status: %s, %v", reply, err)
	}
	// A second daemon on the same router is refused.
	var complaint bytes.Buffer
	if exit := Run(ctx, []string{"netpilot-agent", "--root", root, "run"}, Build{Version: "1.2.3"}, nil, io.Discard, &complaint); exit != exitFailed ||
		!strings.Contains(complaint.String(), "another netpilot-agent") {
		t.Errorf("second daemon: exit code %d, %s", exit, complaint.String())
	}
	cancel()
	if exit := <-ended; exit != exitDone {
		t.Errorf("exit code %d: %s", exit, log.String())
	}
	if !strings.Contains(log.String(), "log_level=DEBUG remote_access=read history_days=60 history_kib=2000") {
		t.Errorf("the log lacks the options: %s", log.String())
	}
	if _, err := os.Stat(socket); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}
}
