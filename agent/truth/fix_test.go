package truth

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
)

// files are all texts below the root, with their modes.
func (s *staged) files() map[string]string {
	s.t.Helper()
	all := make(map[string]string)
	err := filepath.WalkDir(string(s.Root), func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || strings.HasSuffix(path, "/lock") || strings.HasSuffix(path, "/tmp/0.db") {
			return err
		}
		text, err := os.ReadFile(path)
		info, _ := e.Info()
		all[path] = info.Mode().String() + string(text)
		return err
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return all
}

// TestFixAndUndo: each cure that is offered does what it says, and its undo
// puts every byte back; also when power was cut after any of its steps.
func TestFixAndUndo(t *testing.T) {
	fixed := make(map[string]bool)
	for _, f := range faults() {
		s := healthy(t)
		f.stage(s)
		report := s.Examine(t.Context())
		if len(report.Findings) != 1 {
			continue
		}
		found := report.Findings[0]
		if found.fix == nil {
			if err := s.Fix(t.Context(), found.ID); usage.KindOf(err) != usage.Invalid || !strings.Contains(err.Error(), found.Cure) {
				t.Errorf("%s: got %v, want the cure for a person", f.name, err)
			}
			continue
		}
		if fixed[found.ID] && strings.HasPrefix(found.ID, "nlbwmon") {
			continue // each waits for a daemon that hangs
		}
		fixed[found.ID] = true
		before, tables := s.files(), s.kernel.tables
		if err := s.Fix(t.Context(), found.ID); err != nil {
			t.Errorf("%s: %v", f.name, err)
			continue
		}
		record := s.Root.Path(undoDir + "/" + found.ID + ".json")
		if info, err := os.Stat(record); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: record %v, %v", f.name, info, err)
		}
		var ran []string
		for _, run := range found.fix.Services {
			ran = append(ran, run.Name+" "+run.Action)
		}
		if !slices.Equal(s.kernel.ran, ran) {
			t.Errorf("%s: ran %q, want %q", f.name, s.kernel.ran, ran)
		}
		if err := s.Fix(t.Context(), found.ID); usage.KindOf(err) != usage.Invalid || !strings.Contains(err.Error(), "--undo "+found.ID) {
			t.Errorf("%s: a second fix: got %v", f.name, err)
		}
		if len(found.fix.Steps) > 0 && found.ID != "period-interval" {
			// What a restart of nlbwmon would bring about a simulated one cannot.
			for _, g := range s.Quick(t.Context()) {
				if g.ID == found.ID && found.ID != "netlink-drops" {
					t.Errorf("%s: still there after the fix: %+v", f.name, g)
				}
			}
		}
		if err := s.Undo(t.Context(), found.ID); err != nil {
			t.Errorf("%s: %v", f.name, err)
		}
		if after := s.files(); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: undone, but not as before: %v", f.name, different(before, after))
		}
		s.kernel.tables = tables
		if err := s.Undo(t.Context(), found.ID); usage.KindOf(err) != usage.NotFound {
			t.Errorf("%s: a second undo: got %v", f.name, err)
		}
		for k := range len(found.fix.Steps) + 1 {
			found.fix.ID = found.ID
			if err := s.record(found.fix); err != nil {
				t.Fatal(err)
			}
			if err := s.apply(found.fix.Steps[:k]); err != nil {
				t.Fatal(err)
			}
			// The power is back: all that is known is on the disk.
			again := &Router{Root: s.Root, Kernel: s.Kernel, Now: s.Now}
			if err := again.Undo(t.Context(), found.ID); err != nil {
				t.Errorf("%s: cut after step %d: %v", f.name, k, err)
			}
			if after := s.files(); !reflect.DeepEqual(after, before) {
				t.Errorf("%s: cut after step %d: %v", f.name, k, different(before, after))
			}
		}
	}
	want := []string{"agent-silent", "agent-stopped", "clock-unset", "conntrack-acct", "conntrack-events-off", "local-network", "netlink-drops", "nlbwmon-failing",
		"nlbwmon-frozen", "nlbwmon-stopped", "offload-hardware", "offload-software", "period-interval", "rmem-max", "stale-gz", "table-full"}
	if got := slices.Sorted(maps.Keys(fixed)); !slices.Equal(got, want) {
		t.Errorf("fixed %q, want %q", got, want)
	}
}

func different(a, b map[string]string) (paths []string) {
	for path := range a {
		if a[path] != b[path] {
			paths = append(paths, path)
		}
	}
	for path := range b {
		if _, ok := a[path]; !ok {
			paths = append(paths, path)
		}
	}
	return paths
}

// TestFixRefuses: what was changed by somebody else is left alone, and what
// failed half-way can be taken back.
func TestFixRefuses(t *testing.T) {
	s := healthy(t)
	if err := s.Fix(t.Context(), "no-such"); usage.KindOf(err) != usage.Invalid {
		t.Errorf("got %v", err)
	}
	if err := s.Fix(t.Context(), "conntrack-acct"); usage.KindOf(err) != usage.NotFound || !strings.Contains(err.Error(), "nothing to fix") {
		t.Errorf("got %v", err)
	}
	s.remove(conntrackDir + "nf_conntrack_acct")
	s.mkdir(conntrackDir + "nf_conntrack_acct") // no text can be read of it
	if err := s.Fix(t.Context(), "conntrack-acct"); usage.KindOf(err) != usage.Unavailable || !strings.Contains(err.Error(), "could not look") {
		t.Errorf("got %v", err)
	}
	for _, id := range []string{"../../config/network", "conntrack-acct", ""} {
		if err := s.Undo(t.Context(), id); usage.KindOf(err) != usage.NotFound {
			t.Errorf("undo %q: got %v", id, err)
		}
	}
	// The owner edits after the fix.
	broken := strings.Replace(nlbwmonText, "192.168.0.0/16", "10.0.0.0/8", 1)
	s.write(nlbwmonConfig, broken)
	if err := s.Fix(t.Context(), "local-network"); err != nil {
		t.Fatal(err)
	}
	s.write(nlbwmonConfig, nlbwmonText+"# mine\n")
	err := s.Undo(t.Context(), "local-network")
	if err == nil || !strings.Contains(err.Error(), "changed meanwhile") || !strings.Contains(err.Error(), undoDir) {
		t.Errorf("got %v", err)
	}
	if got, _ := s.Root.Read(nlbwmonConfig); got != nlbwmonText+"# mine\n" {
		t.Errorf("the owner's text is gone: %q", got)
	}
	// A file cannot be written.
	s = healthy(t)
	s.write("/proc/net/netlink", strings.Replace(netlinkText, "2 0 1", "2 42 1", 1))
	if err := os.Symlink("nowhere", s.Root.Path("/etc/sysctl.d")); err != nil {
		t.Fatal(err)
	}
	before := s.files()
	if err := s.Fix(t.Context(), "netlink-drops"); err == nil {
		t.Fatal("done without a place for it")
	}
	s.kernel.runErr = errBroken
	if err := s.Undo(t.Context(), "netlink-drops"); err == nil || !strings.Contains(err.Error(), "files are as they were") {
		t.Errorf("got %v", err)
	}
	if after := s.files(); !reflect.DeepEqual(after, before) {
		t.Errorf("not as before: %v", different(before, after))
	}
	// A record that is none.
	s.write(undoDir+"/x.json", "{")
	if err := s.Undo(t.Context(), "x"); err == nil {
		t.Error("a damaged record was used")
	}
	s.write(undoDir+"/x.json", `{"services":[{"name":"../../bin/sh","action":"x","undo":"y"}]}`)
	if err := s.Undo(t.Context(), "x"); err == nil || len(s.kernel.ran) > 1 {
		t.Errorf("got %v, ran %q", err, s.kernel.ran)
	}
	// A router without its service, and one that is not this machine.
	s = healthy(t)
	s.write(conntrackDir+"nf_conntrack_events", "0\n")
	s.remove("/etc/init.d/nlbwmon")
	if err := s.Fix(t.Context(), "conntrack-events-off"); err == nil || !strings.Contains(err.Error(), "the files are changed") {
		t.Errorf("got %v", err)
	}
}

// TestService runs a real script.
func TestService(t *testing.T) {
	dir := t.TempDir()
	for name, script := range map[string]string{"good": "#!/bin/sh\necho \"$@\" > " + dir + "/said\n", "bad": "#!/bin/sh\necho out of order >&2\nexit 3\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := (Linux{}).Service(t.Context(), filepath.Join(dir, "good"), "restart"); err != nil {
		t.Error(err)
	}
	if said, _ := os.ReadFile(filepath.Join(dir, "said")); string(said) != "restart\n" {
		t.Errorf("got %q", said)
	}
	err := (Linux{}).Service(t.Context(), filepath.Join(dir, "bad"), "restart")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "out of order") {
		t.Errorf("got %v", err)
	}
	if free, size, err := (Linux{}).Space(dir); err != nil || size == 0 || free > size {
		t.Errorf("got %d of %d, %v", free, size, err)
	}
	if _, _, err := (Linux{}).Space(filepath.Join(dir, "none")); err == nil {
		t.Error("room in nothing")
	}
}
