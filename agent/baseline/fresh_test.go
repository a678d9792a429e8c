package baseline

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// service is nlbwmon's init script: it ends the simulated daemon as SIGTERM
// does, and starts one.
type service struct {
	r     *router
	calls []string
	fail  string // the action that fails, once
	kill  bool   // stop kills before anything is saved
	deaf  bool   // stop does nothing
}

func (s *service) do(_ context.Context, action string) error {
	s.calls = append(s.calls, action)
	if s.fail == action {
		s.fail = ""
		return errors.New("exit status 1")
	}
	switch {
	case action == "start":
		select {
		case <-s.r.daemon.Done():
			s.r.startNlbwmon()
		default: // it runs: nothing to do
		}
	case s.deaf:
	case s.kill:
		s.kill = false
		return s.r.daemon.Close()
	default:
		s.r.daemon.Commit()
		_ = os.Remove(s.r.opts.SnapshotPath)
		return s.r.daemon.Close()
	}
	return nil
}

func (r *router) fresh(s *service) *Fresh {
	return &Fresh{
		Dir: r.opts.Dir, Snapshot: r.opts.SnapshotPath, Client: r.source.Client(""), Now: r.source.Now, Service: s.do,
		Poll: func(_ context.Context, done func() bool) bool { return done() }, // all here happens at once
	}
}

// files lists nlbwmon's directory.
func (r *router) files() string {
	r.t.Helper()
	entries, err := os.ReadDir(r.opts.Dir)
	if err != nil {
		r.t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

func TestFresh(t *testing.T) {
	r := newRouter(t)
	r.pass(rx(tv, 443, 1000), rx(laptop, 443, 700))
	s := &service{r: r}
	at, _, err := r.store.Reset(Request{ID: "hard"}, func(sink usage.Sink) (nlbwmon.Period, error) {
		sink.Begin(0)
		kept, period, err := r.fresh(s).Begin(t.Context())
		if want := filepath.Join(r.opts.Dir, "20261101.db.before-20261123T120030Z"); len(kept) != 1 || kept[0] != want || period != 20261101 {
			t.Errorf("kept %q of %s, want %s", kept, period, want)
		}
		return period, err
	})
	if err != nil || !at.Equal(r.now) {
		t.Fatal(at, err)
	}
	if got := r.files(); got != "20261101.db.before-20261123T120030Z" {
		t.Errorf("files: %s", got)
	}
	r.began, r.since = r.since+1, r.since+2
	r.pass(rx(tv, 443, 7))
	r.want("after a fresh start", 7, 0)
	var raw list
	if _, err := r.read(&raw); err != nil || len(raw.records) != 1 || raw.records[0].RxBytes != 7 {
		t.Errorf("nlbwmon has %+v, %v", raw.records, err)
	}
	file, err := nlbwmon.OpenFile(filepath.Join(r.opts.Dir, "20261101.db.before-20261123T120030Z"), nlbwmon.NativeOrder())
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if n, err := countRows(file); n != 2 || err != nil {
		t.Errorf("the old file has %d rows, %v", n, err)
	}
}

// TestFreshFails: whatever goes wrong, nlbwmon runs in the end with what it
// had counted.
func TestFreshFails(t *testing.T) {
	for _, tt := range []struct {
		name  string
		set   func(*router, *service)
		want  string // in the error
		calls string
	}{
		{"stop fails", func(_ *router, s *service) { s.fail = "stop" }, "could not be stopped, nothing was changed", "stop start"},
		{"stop does nothing", func(_ *router, s *service) { s.deaf = true }, "goes on running", "stop start"},
		{"killed unsaved", func(_ *router, s *service) { s.kill = true }, "left " /* the snapshot */, "stop start"},
		{"start fails", func(_ *router, s *service) { s.fail = "start" }, "does not start", "stop start stop start"},
		{"commit refused", func(r *router, _ *service) {
			if err := os.Mkdir(filepath.Join(r.opts.Dir, "20261101.db"), 0o755); err != nil {
				r.t.Fatal(err)
			}
		}, "did not save its table, nothing was changed", ""},
		{"the name is taken", func(r *router, _ *service) {
			if err := os.WriteFile(filepath.Join(r.opts.Dir, "20261101.db.before-20261123T120030Z"), []byte("x"), 0o600); err != nil {
				r.t.Fatal(err)
			}
		}, "is there already", "stop start"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRouter(t)
			r.pass(rx(tv, 443, 1000), rx(laptop, 443, 700))
			s := &service{r: r}
			tt.set(r, s)
			_, _, err := r.fresh(s).Begin(t.Context())
			if usage.KindOf(err) != usage.Unavailable || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
			if got := strings.Join(s.calls, " "); got != tt.calls {
				t.Errorf("service was called to %q, want %q", got, tt.calls)
			}
			r.refresh()
			r.want("nlbwmon's own numbers", 1000, 700)
		})
	}
	t.Run("not running", func(t *testing.T) {
		r := newRouter(t)
		r.daemon.Close()
		s := &service{r: r}
		if _, _, err := r.fresh(s).Begin(t.Context()); usage.KindOf(err) != usage.Unavailable || len(s.calls) > 0 {
			t.Errorf("got %v after %q", err, s.calls)
		}
	})
}
