package command

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"netpilot-relay": func() {
			os.Exit(Run(context.Background(), "1.2.3", os.Args, os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
			"mode":  mode,
		},
	})
}

// exits runs a command that must end with the exit code: exits 2 netpilot-relay bogus.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND...")
	}
	err := ts.Exec(args[1], args[2:]...)
	got := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		got = exit.ExitCode()
	} else if err != nil {
		ts.Fatalf("%v", err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("got exit code %d, want %s", got, args[0])
	}
}

// mode checks the permissions of a file: mode 600 data/relay.db.
func mode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode OCTAL FILE")
	}
	info, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", info.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s: got mode %s, want %s", args[1], got, args[0])
	}
}

// run runs the command line and gives its exit code and what it printed.
func run(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	code = Run(ctx, "1.2.3", append([]string{"netpilot-relay"}, args...), strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

// must is run for a command that must work; it gives stdout, trimmed.
func must(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := run(t, args...)
	if code != exitDone {
		t.Fatalf("%q: exit code %d, stderr %s", args, code, stderr)
	}
	return strings.TrimSpace(stdout)
}

// tap is a writer that tells when a text was written to it.
type tap struct {
	text string
	seen chan struct{}

	mu   sync.Mutex // guards below
	all  bytes.Buffer
	told bool
}

func newTap(text string) *tap { return &tap{text: text, seen: make(chan struct{})} }

func (w *tap) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n, err := w.all.Write(p)
	if !w.told && strings.Contains(w.all.String(), w.text) {
		w.told = true
		close(w.seen)
	}
	return n, err
}

func (w *tap) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all.String()
}
