package command

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

const recordings = "../../pkg/nlbwmon/testdata/recordings"

func TestMain(m *testing.M) {
	agent := func(args []string) {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		defer stop()
		os.Exit(Run(ctx, args, Build{Version: "1.2.3", Time: "1700000000"}, os.Stdin, os.Stdout, os.Stderr))
	}
	testscript.Main(m, map[string]func(){
		"netpilot-agent": func() { agent(os.Args) },
		// As rpcd names it; testscript itself cuts the directory off.
		"netpilot": func() { agent(append([]string{"/usr/libexec/rpcd/netpilot"}, os.Args[1:]...)) },
	})
}

// TestScripts runs testdata/script: whole command lines on fake routers.
func TestScripts(t *testing.T) {
	abs, err := filepath.Abs(recordings)
	if err != nil {
		t.Fatal(err)
	}
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("RECORDINGS", abs)
			return nil
		},
		Cmds: map[string]func(ts *testscript.TestScript, neg bool, args []string){
			"router":  scriptRouter,
			"nlbwmon": scriptNlbwmon,
			"exits":   scriptExits,
			"touch":   scriptTouch,
		},
	})
}

// scriptRouter makes a fake router's root: router DIR
func scriptRouter(ts *testscript.TestScript, _ bool, args []string) {
	root := ts.MkAbs(args[0])
	for path, text := range map[string]string{
		"sys/class/net/br-lan/address": "02:77:00:00:00:01\n",
		"etc/TZ":                       "UTC0\n",
		"var/run/.keep":                "",
		"etc/config/.keep":             "",
		"tmp/.keep":                    "",
	} {
		ts.Check(os.MkdirAll(filepath.Dir(filepath.Join(root, path)), 0o755))
		ts.Check(os.WriteFile(filepath.Join(root, path), []byte(text), 0o644))
	}
	ts.Check(os.MkdirAll(filepath.Join(root, "usr/share/nlbwmon"), 0o755))
	protocols, err := os.ReadFile(filepath.Join(ts.Getenv("RECORDINGS"), "protocols"))
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(root, "usr/share/nlbwmon/protocols"), protocols, 0o644))
}

// scriptNlbwmon starts a simulated daemon that plays a recording on a fake
// router: nlbwmon DIR RECORDING [frozen|slow|dies|nosnapshot]...
func scriptNlbwmon(ts *testscript.TestScript, _ bool, args []string) {
	opts, err := onRouter(ts.MkAbs(args[0]), filepath.Join(ts.Getenv("RECORDINGS"), args[1]))
	ts.Check(err)
	for _, word := range args[2:] {
		switch word {
		case "frozen":
			opts.Frozen = true
		case "slow":
			opts.RowDelay = time.Second
		case "dies":
			opts.DieAfterRows = 3
		case "nosnapshot":
			ts.Check(os.Remove(opts.SnapshotPath))
			opts.SnapshotPath = ""
		default:
			ts.Fatalf("nlbwmon: no mode %q", word)
		}
	}
	d, err := nlbwmontest.Start(opts)
	ts.Check(err)
	ts.Defer(func() { ts.Check(d.Close()) })
}

// onRouter sets a simulated daemon up with a recording below a router's root.
func onRouter(root, recording string) (nlbwmontest.Options, error) {
	dir := filepath.Join(root, "var/lib/nlbwmon")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nlbwmontest.Options{}, err
	}
	opts, err := nlbwmontest.FromRecording(recording, dir)
	if err != nil {
		return opts, err
	}
	snapshot := filepath.Join(root, "tmp/0.db")
	if err := os.Rename(opts.SnapshotPath, snapshot); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return opts, err
	}
	opts.SnapshotPath = snapshot
	opts.Socket = filepath.Join(root, "var/run/nlbwmon.sock")
	return opts, nil
}

// scriptExits runs a program and checks its exit code: exits CODE PROGRAM ...
func scriptExits(ts *testscript.TestScript, _ bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	got := "0"
	if err != nil {
		got = strings.TrimPrefix(err.Error(), "exit status ")
	}
	if got != args[0] {
		ts.Fatalf("exit code %s, want %s", got, args[0])
	}
}

// scriptTouch sets a file's time: touch FILE now|AGE
func scriptTouch(ts *testscript.TestScript, _ bool, args []string) {
	at := time.Now()
	if args[1] != "now" {
		age, err := time.ParseDuration(args[1])
		ts.Check(err)
		at = at.Add(-age)
	}
	ts.Check(os.Chtimes(ts.MkAbs(args[0]), at, at))
}

// recorded is one line of a recording's cmd.txt.
type recorded struct {
	output string // file below the recording
	exit   int
	args   []string
}

// commands reads what stock nlbw was called with for a recording.
func commands(t *testing.T, dir string) []recorded {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "cmd.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var list []recorded
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimRight(line, "\n"), "\t")
		if len(cells) != 3 || !strings.HasPrefix(cells[2], "nlbw") {
			continue
		}
		r := recorded{output: cells[0]}
		if _, err := fmt.Sscan(cells[1], &r.exit); err != nil {
			continue // the head line
		}
		words := strings.TrimPrefix(cells[2], "nlbw ")
		if strings.HasPrefix(words, "'") {
			r.args = strings.Split(strings.TrimSuffix(strings.TrimPrefix(words, "'"), "'"), "' '")
		} else {
			r.args = strings.Fields(words)
		}
		list = append(list, r)
	}
	if len(list) == 0 {
		t.Fatalf("no commands in %s", dir)
	}
	return list
}

// recordedFile reads a file of a recording, which may be compressed there;
// one that is absent is empty.
func recordedFile(t *testing.T, path string) []byte {
	t.Helper()
	if text, err := os.ReadFile(path); err == nil {
		return text
	}
	f, err := os.Open(path + ".gz")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// runAgent runs a whole command line in this process.
func runAgent(t *testing.T, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	return runAgentBy(t, Clock{}, args...)
}

func runAgentBy(t *testing.T, clock Clock, args ...string) (exit int, stdout, stderr string) {
	t.Helper()
	var out, complaints bytes.Buffer
	exit = RunBy(t.Context(), clock, append([]string{"netpilot-agent"}, args...), Build{Version: "1.2.3", Time: "1700000000"},
		strings.NewReader(""), &out, &complaints)
	return exit, out.String(), complaints.String()
}

// orderOf is the byte order of a recording's router, as --byte-order takes it.
func orderOf(o nlbwmon.AddrOrder) string {
	if o == nlbwmon.OrderBig {
		return "big"
	}
	return "little"
}
