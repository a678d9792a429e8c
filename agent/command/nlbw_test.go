package command

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

// TestNlbwPrintsWhatStockPrints holds the nlbw verb against every command that
// was recorded of stock nlbw linked with musl: the same bytes on stdout and
// stderr, the same exit code, by the socket and by the snapshot.
func TestNlbwPrintsWhatStockPrints(t *testing.T) {
	found, err := filepath.Glob(recordings + "/*/cmd.txt")
	if err != nil {
		t.Fatal(err)
	}
	arch, err := filepath.Glob(recordings + "/arch/*/cmd.txt")
	if err != nil {
		t.Fatal(err)
	}
	if found = append(found, arch...); len(found) < 20 {
		t.Fatalf("only %d recordings", len(found))
	}
	for _, path := range found {
		dir := filepath.Dir(path)
		t.Run(strings.TrimPrefix(dir, recordings+"/"), func(t *testing.T) { compareWithStock(t, dir) })
	}
}

func compareWithStock(t *testing.T, dir string) {
	root := t.TempDir()
	if err := os.MkdirAll(filepath.Join(root, "var/run"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(root, "tmp"), 0o755); err != nil {
		t.Fatal(err)
	}
	opts, err := onRouter(root, dir)
	if err != nil {
		t.Fatal(err)
	}
	d, err := nlbwmontest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	protocols := recordings + "/protocols"
	if own := filepath.Join(dir, "protocols"); fileExists(own) {
		protocols = own
	}
	head := []string{"--root", root, "--byte-order", orderOf(opts.Order), "nlbw", "-p", protocols}
	for _, r := range commands(t, dir) {
		if strings.HasPrefix(r.output, "nlbw-glibc/") || isOurs(r.args) {
			continue
		}
		want := string(recordedFile(t, filepath.Join(dir, r.output)))
		wantErr := string(recordedFile(t, filepath.Join(dir, r.output+".err")))
		check := func(source string, args []string) {
			t.Helper()
			// The bytes are what is looked at, however long this machine takes for them.
			exit, stdout, stderr := runAgentBy(t, Clock{Exchange: time.Hour}, args...)
			if exit != r.exit {
				t.Errorf("%s, by %s: exit code %d, want %d; stderr %s", r.args, source, exit, r.exit, stderr)
			}
			if stdout != want {
				t.Errorf("%s, by %s: stdout differs: %s", r.args, source, firstDifference(stdout, want))
			}
			if stderr != wantErr {
				t.Errorf("%s, by %s: stderr %q, want %q", r.args, source, stderr, wantErr)
			}
		}
		check("socket", slices.Concat(head, []string{"-S", opts.Socket}, r.args))
		if !slices.Contains(r.args, "-t") && !slices.Contains(r.args, "commit") {
			if err := d.Refresh(); err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			if err := os.Chtimes(opts.SnapshotPath, now, now); err != nil {
				t.Fatal(err)
			}
			check("snapshot", slices.Concat(head, r.args))
		}
	}
}

// isOurs tells the options that stock nlbw does not have and netpilot's next
// versions do.
func isOurs(args []string) bool {
	return slices.Contains(args, "-z") || slices.Contains(args, "-i") || slices.Contains(args, "-d") ||
		slices.Contains(args, "-t") && slices.Contains(args, "24")
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func firstDifference(got, want string) string {
	i := 0
	for i < len(got) && i < len(want) && got[i] == want[i] {
		i++
	}
	cut := func(s string) string { return s[max(0, min(i-40, len(s))):min(len(s), i+80)] }
	return "got ..." + cut(got) + "..., want ..." + cut(want) + "..."
}
