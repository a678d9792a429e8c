package nlbw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

func writeFile(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestErrorsBecomeExitCodes(t *testing.T) {
	unavailable := func(cause error) error { return usage.Errorf(usage.Unavailable, "nlbwmon: %w", cause) }
	for _, tt := range []struct {
		err    error
		exit   int
		reason string
	}{
		{unavailable(fs.ErrNotExist), 247, "Bad file descriptor"},
		{unavailable(syscall.ENOENT), 247, "Bad file descriptor"},
		{unavailable(syscall.ECONNREFUSED), 247, "Bad file descriptor"},
		{unavailable(syscall.EACCES), 247, "Bad file descriptor"},
		{unavailable(nlbwmon.ErrEmpty), 195, "No data available"},
		{unavailable(&nlbwmon.DataError{Kind: nlbwmon.ErrTruncated}), 195, "No data available"},
		{usage.Errorf(usage.NotFound, "no period: %w", nlbwmon.ErrEmpty), 195, "No data available"},
		{errors.New("anything"), 195, "No data available"},
		{unavailable(os.ErrDeadlineExceeded), 146, "Operation timed out"}, // of the socket: the daemon hangs
		{unavailable(context.DeadlineExceeded), 146, "Operation timed out"},
		{usage.Errorf(usage.Timeout, "given up: %w", context.Canceled), 146, "Operation timed out"},
	} {
		for _, command := range []string{"json", "csv", "show", "list", "commit"} {
			exit, stdout, stderr := runNlbw(t, &fakeDaemon{err: tt.err, rows: nlbwmontest.Generate(3, 1), periods: []nlbwmon.Period{1}, reply: "0 ok"}, "-c "+command)
			if want := "Error while processing command: " + tt.reason + "\n"; exit != tt.exit || stdout != "" || stderr != want {
				t.Errorf("%v, %s: got exit %d, stdout %q, stderr %q, want %d, %q", tt.err, command, exit, stdout, stderr, tt.exit, want)
			}
		}
	}
}

func TestCommitReplies(t *testing.T) {
	for reply, want := range map[string]struct {
		exit   int
		reason string
	}{
		"0 ok":                        {0, ""},
		"17 File exists":              {239, "File exists"},
		"2 No such file or directory": {254, "No such file or directory"},
		"28 No space left on device":  {228, "No space left on device"},
		"5 Input/output error":        {251, "I/O error"}, // the client's own strerror, musl's
		"30 Read-only file system":    {226, "Read-only file system"},
		"999 Unknown":                 {25, "No error information"},
		"":                            {0, ""},
		"ok":                          {0, ""},
		"not a number":                {0, ""},
	} {
		exit, stdout, stderr := runNlbw(t, &fakeDaemon{reply: reply}, "-c commit")
		wantErr := ""
		if want.reason != "" {
			wantErr = "Error while processing command: " + want.reason + "\n"
		}
		if exit != want.exit || stdout != reply+"\n" || stderr != wantErr {
			t.Errorf("%q: got exit %d, stdout %q, stderr %q, want %d, %q", reply, exit, stdout, stderr, want.exit, wantErr)
		}
	}
}

// Which question each command line asks the daemon.
func TestWhatIsAsked(t *testing.T) {
	for args, want := range map[string]string{
		"-c json":                      "[live]",
		"-c show -t 0-0-0":             "[live]",
		"-c csv -S /s":                 `[dump "/s" 0]`,
		"-c json -t 2026-11-01":        `[dump "" 20261101]`,
		"-c json -t 2026-13-45 -S /s":  `[dump "/s" 20261345]`,
		"-c list":                      `[list ""]`,
		"-c list -S /s":                `[list "/s"]`,
		"-c commit -S /s":              `[commit "/s"]`,
		"-c bogus":                     "[]",
		"-c json -p /nonexistent/file": "[]",
	} {
		d := &fakeDaemon{reply: "0 ok"}
		runNlbw(t, d, args)
		if got := fmt.Sprint(d.asked); got != want {
			t.Errorf("%s: asked %s, want %s", args, got, want)
		}
	}
}

func TestListPrintsDates(t *testing.T) {
	exit, got, _ := runNlbw(t, &fakeDaemon{periods: []nlbwmon.Period{20261101, 20260931, 20261101}}, "-c list")
	if exit != 0 || got != "2026-11-01\n2026-09-31\n2026-11-01\n" {
		t.Errorf("got exit %d, %q", exit, got)
	}
	if exit, got, stderr := runNlbw(t, &fakeDaemon{}, "-c list"); exit != 0 || got != "" || stderr != "" {
		t.Errorf("no periods: got exit %d, %q, %q", exit, got, stderr)
	}
}

// The protocols file must be there for every command, and why it is not reads
// as musl says it.
func TestProtocolsFile(t *testing.T) {
	dir := t.TempDir()
	plain := writeFile(t, dir+"/plain", "6 80 HTTP\n")
	for path, want := range map[string]string{
		dir + "/absent": "No such file or directory",
		plain + "/sub":  "Not a directory",
	} {
		for _, command := range []string{"json", "list", "commit"} {
			d := &fakeDaemon{protocols: path, reply: "0 ok"}
			exit, stdout, stderr := runNlbw(t, d, "-c "+command)
			if want := "Unable to read protocol list " + path + ": " + want + "\n"; exit != 1 || stdout != "" || stderr != want || len(d.asked) > 0 {
				t.Errorf("%s: got exit %d, stdout %q, stderr %q after %v, want %q", command, exit, stdout, stderr, d.asked, want)
			}
		}
	}
	// -p goes before what the daemon is set up with.
	d := &fakeDaemon{protocols: dir + "/absent", rows: []usage.Record{{Family: 2, Proto: 6, Port: 80}}}
	if exit, stdout, stderr := runNlbw(t, d, "-c csv -g layer7 -s, -q -p "+plain); exit != 0 || stderr != "" || stdout != "proto,port,conns,rx_bytes,rx_pkts,tx_bytes,tx_pkts,layer7\nTCP,80,0,0,0,0,0,HTTP\n" {
		t.Errorf("got exit %d, %q, %q", exit, stdout, stderr)
	}
}

// BenchmarkRun is what nlbw costs beside reading the rows: grouping, ordering
// and printing.
func BenchmarkRun(b *testing.B) {
	protocols, err := nlbwmon.LoadProtocols(protocolsFile)
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{10, 1_000, 10_000, 100_000} {
		rows := nlbwmontest.Generate(n, 1)
		for _, args := range [][]string{{"-c", "json"}, {"-c", "csv", "-g", "mac"}} {
			o, _, ok := parse(args, io.Discard)
			if !ok {
				b.Fatal(args)
			}
			b.Run(fmt.Sprintf("%s/%d", o.command, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					t := newTable(o.group, nlbwmon.OrderLittle)
					t.Begin(0)
					for i := range rows {
						t.Add(&rows[i])
					}
					t.sort(o.order)
					p := &printer{w: io.Discard, buf: make([]byte, 0, flushAt+4<<10), protocols: protocols}
					if o.command == "json" {
						err = p.json(t)
					} else {
						err = p.csv(t, &o)
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
