package command

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/baseline"
	"github.com/netpilot/netpilot/agent/local"
	"github.com/netpilot/netpilot/agent/method"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// TestHardResetBesideAJailedDaemon: a daemon that is no root refuses a hard
// reset; the verb does nlbwmon's part itself, and the daemon the rest.
func TestHardResetBesideAJailedDaemon(t *testing.T) {
	root := t.TempDir()
	r := &router{root: root, agent: &method.Agent{}}
	at := time.Date(2026, 11, 28, 12, 0, 0, 0, time.UTC)
	own := &baseline.Store{Path: filepath.Join(root, "reset"), Now: func() time.Time { return at }, Boot: func() string { return "boot" }}
	if err := own.Load(); err != nil {
		t.Fatal(err)
	}
	jailed := &method.Agent{Baseline: own}
	table := method.New(jailed)
	var fail error
	asked := []string{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	door, err := local.Listen(r.path(local.Path))
	if err != nil {
		t.Fatal(err)
	}
	go func() { // ends with ctx
		ended <- local.Serve(ctx, door, func(ctx context.Context, name string, params json.RawMessage) (json.RawMessage, error) {
			var req method.Reset
			if err := json.Unmarshal(params, &req); err != nil {
				return nil, err
			}
			if asked = append(asked, string(params)); req.Hard {
				return table.Call(ctx, method.AccessOwner, name, params) // no Fresh: refused
			}
			if fail != nil {
				return nil, fail
			}
			req.ResetAt = &at
			return json.Marshal(req)
		}, slog.New(slog.DiscardHandler))
	}()
	defer func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()

	p := &program{stderr: io.Discard}
	do := func(id string) (method.Reset, error) {
		req := method.Reset{ID: id, Hard: true}
		err := p.doReset(ctx, r, &req)
		return req, err
	}
	// A process that may not, either, hands the refusal on, with what to do.
	if _, err := do("a"); usage.KindOf(err) != usage.Forbidden || !strings.Contains(err.Error(), "netpilot-agent reset --hard") {
		t.Errorf("not root: %v", err)
	}
	began := 0
	r.agent.Baseline = &baseline.Store{Path: own.Path, Now: own.Now, Boot: own.Boot}
	if err := r.agent.Baseline.Load(); err != nil {
		t.Fatal(err)
	}
	r.agent.Fresh = func(context.Context) ([]string, nlbwmon.Period, error) {
		began++
		return []string{"/db/old"}, 20261101, nil
	}
	asked = asked[:0]
	req, err := do("a")
	if err != nil || began != 1 || req.ResetAt == nil || !req.ResetAt.Equal(at) || len(req.KeptFiles) != 1 || !req.Hard {
		t.Errorf("as root: %+v, %v, period begun %d times", req, err, began)
	}
	if len(asked) != 2 || strings.Contains(asked[1], "hard") {
		t.Errorf("asked the daemon %q, want a hard and then a soft reset", asked)
	}
	// What nlbwmon refuses changes nothing; what the daemon refuses after it
	// says where the numbers are, and what to do.
	fail = errors.New("its disk is full")
	if _, err := do("b"); err == nil || !strings.Contains(err.Error(), "/db/old") || !strings.Contains(err.Error(), "next: netpilot-agent reset --yes") {
		t.Errorf("the daemon refuses: %v", err)
	}
	// The same again does nothing.
	if _, _, err := r.agent.Baseline.Reset(baseline.Request{ID: "c"}, func(sink usage.Sink) (nlbwmon.Period, error) { sink.Begin(0); return 20261101, nil }); err != nil {
		t.Fatal(err)
	}
	began = 0
	if req, err := do("c"); err != nil || !req.Repeated || began != 0 {
		t.Errorf("repeated: %+v, %v, period begun %d times", req, err, began)
	}
}
