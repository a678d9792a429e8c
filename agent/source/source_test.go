package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

const recordings = "../../pkg/nlbwmon/testdata/recordings/"

// rowList keeps the rows of the last attempt.
type rowList struct {
	begun int
	rows  []usage.Record
}

func (l *rowList) Begin(int)           { l.begun, l.rows = l.begun+1, nil }
func (l *rowList) Add(r *usage.Record) { l.rows = append(l.rows, *r) }

// sorted is the rows in one order, whatever order a source has.
func (l *rowList) sorted() []usage.Record {
	rows := slices.Clone(l.rows)
	usage.SortRecords(rows, usage.ByTotal)
	return rows
}

// lab is a router on which nlbwmon plays the recording live-lab.
type lab struct {
	*Router
	*nlbwmontest.Daemon
	now  time.Time      // the router's clock, which stands still
	want []usage.Record // its rows
}

// newLab sets the router up, its snapshot fresh. Options that change it are
// applied before nlbwmon starts.
func newLab(t *testing.T, change func(*nlbwmontest.Options)) *lab {
	t.Helper()
	// Short, as a socket's path must be.
	dir, err := os.MkdirTemp("", "src")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	opts, err := nlbwmontest.FromRecording(recordings+"live-lab", dir)
	if err != nil {
		t.Fatal(err)
	}
	if change != nil {
		change(&opts)
	}
	d, err := nlbwmontest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	l := &lab{Daemon: d, now: time.Now(), Router: &Router{
		SnapshotPath: filepath.Join(dir, "0.db"),
		SocketPath:   opts.Socket,
		LockPath:     filepath.Join(dir, "lock"),
		NlbwPath:     filepath.Join(dir, "nlbw"),
		NlbwWithin:   10 * time.Second,
		DatabaseDir:  dir,
		Refresh:      30 * time.Second,
		Order:        opts.Order,
		Location:     time.UTC,
	}}
	l.Now = func() time.Time { return l.now }
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	l.age(t, 0)
	var rows rowList
	if _, err := l.Read(t.Context(), Request{Source: filepath.Join(dir, "20261101.db")}, &rows); err != nil {
		t.Fatal(err)
	}
	if l.want = rows.sorted(); len(l.want) != 15 {
		t.Fatalf("got %d rows of live-lab, want 15", len(l.want))
	}
	return l
}

// age makes the snapshot as old as that.
func (l *lab) age(t *testing.T, age time.Duration) {
	t.Helper()
	at := l.now.Add(-age)
	if err := os.Chtimes(l.SnapshotPath, at, at); err != nil {
		t.Fatal(err)
	}
}

// nlbw puts a shell script in the place of stock nlbw.
func (l *lab) nlbw(t *testing.T, script string) {
	t.Helper()
	if err := os.WriteFile(l.NlbwPath, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// recorded is a script that prints what stock nlbw printed, if asked for that.
func recorded(t *testing.T) string {
	t.Helper()
	path, err := filepath.Abs(recordings + "live-lab/nlbw-musl/json-g-all.out")
	if err != nil {
		t.Fatal(err)
	}
	return `[ "$*" = "-c json -g family,proto,port,mac,ip" ] || { echo "arguments: $*" >&2; exit 9; }
exec cat ` + path + "\n"
}

func (l *lab) read(t *testing.T, req Request) (Reading, *rowList, error) {
	t.Helper()
	rows := new(rowList)
	reading, err := l.Read(t.Context(), req, rows)
	return reading, rows, err
}

// wants checks who answered, that all rows came, and what each better source
// said.
func (l *lab) wants(t *testing.T, req Request, source string, tried ...string) Reading {
	t.Helper()
	reading, rows, err := l.read(t, req)
	if err != nil {
		t.Fatalf("%+v: %v", req, err)
	}
	if reading.Source != source || reading.Damage != nil || reading.Rows != len(l.want) || !slices.Equal(rows.sorted(), l.want) {
		t.Errorf("%+v: got %d of %d rows from %s (%v), want %d from %s", req, len(rows.rows), reading.Rows, reading.Source, reading.Damage, len(l.want), source)
	}
	if len(reading.Tried) != len(tried) {
		t.Fatalf("%+v: tried %v, want %d", req, reading.Tried, len(tried))
	}
	for i, want := range tried {
		if got := fmt.Sprintf("%s: %v", reading.Tried[i].Source, reading.Tried[i].Err); !strings.Contains(got, want) || usage.KindOf(reading.Tried[i].Err) == usage.Internal {
			t.Errorf("%+v: got %s, want %q in it and a kind", req, got, want)
		}
	}
	return reading
}

const november = nlbwmon.Period(20261101)

// The live table: snapshot, then socket, then nlbw, each saying why the better
// ones failed.
func TestOrderOfSources(t *testing.T) {
	l := newLab(t, nil)
	l.nlbw(t, recorded(t))
	r := l.wants(t, Request{}, Snapshot)
	if !r.AsOf.Equal(l.now) {
		t.Errorf("the snapshot's rows are of %s", r.AsOf)
	}
	if now := l.now.UTC(); int(r.Period) != now.Year()*10000+int(now.Month())*100+1 {
		t.Errorf("the snapshot's period is %s", r.Period)
	}
	if err := os.Remove(l.SnapshotPath); err != nil {
		t.Fatal(err)
	}
	r = l.wants(t, Request{Source: Auto}, Socket, "snapshot: no nlbwmon snapshot at")
	if r.Period != november || !r.AsOf.IsZero() {
		t.Errorf("socket: got period %s as of %s, want %s of unknown age", r.Period, r.AsOf, november)
	}
	_ = l.Daemon.Close()
	r = l.wants(t, Request{}, Nlbw, "snapshot: no nlbwmon snapshot", "socket: nlbwmon left its socket")
	if r.Period != 0 || r.Interval.Type != 0 {
		t.Errorf("nlbw prints no period: got %s, %v", r.Period, r.Interval)
	}
	if err := os.Remove(l.NlbwPath); err != nil {
		t.Fatal(err)
	}
	reading, _, err := l.read(t, Request{})
	if usage.KindOf(err) != usage.Unavailable || len(reading.Tried) != 3 || reading.Rows != 0 {
		t.Fatalf("got %+v, %v", reading, err)
	}
	for _, want := range []string{"service nlbwmon status", "snapshot: no nlbwmon snapshot", "socket: nlbwmon left", "nlbw: run " + l.NlbwPath} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q in it", err, want)
		}
	}
}

// A closed period: its file costs nlbwmon nothing, so it comes first.
func TestOrderOfSourcesForAPeriod(t *testing.T) {
	l := newLab(t, nil)
	req := Request{Period: november}
	if r := l.wants(t, req, File); r.Period != november || r.AsOf.IsZero() {
		t.Errorf("got %s as of %s", r.Period, r.AsOf)
	}
	// nlbwmon reads its file from elsewhere than we do.
	l.DatabaseDir = filepath.Join(l.DatabaseDir, "elsewhere")
	if r := l.wants(t, req, Socket, "file: no nlbwmon data for the period 2026-11-01"); r.Period != november || !r.AsOf.IsZero() {
		t.Errorf("got %s as of %s", r.Period, r.AsOf)
	}
	_ = l.Daemon.Close()
	script := recorded(t)
	l.nlbw(t, strings.Replace(script, `mac,ip"`, `mac,ip -t 2026-11-01"`, 1))
	l.wants(t, req, Nlbw, "file: no nlbwmon data", "socket: nlbwmon left its socket")
	l.nlbw(t, "echo 'Error while processing command: No data available' >&2; exit 195")
	_, _, err := l.read(t, req)
	if usage.KindOf(err) != usage.NotFound || !strings.Contains(err.Error(), "2026-11-01") || !strings.Contains(err.Error(), "nlbw -c list") {
		t.Errorf("got %v, want a period that is not found", err)
	}
}

// A period that nobody has is not found, rather than unavailable.
func TestUnknownPeriod(t *testing.T) {
	l := newLab(t, nil)
	for _, name := range []string{Auto, File, Socket} {
		_, _, err := l.read(t, Request{Source: name, Period: 20010101})
		if usage.KindOf(err) != usage.NotFound || !strings.Contains(err.Error(), "2001-01-01") {
			t.Errorf("%s: got %v, want not found", name, err)
		}
	}
}

// A damaged period file is not taken where another source has it whole.
func TestDamagedPeriodFile(t *testing.T) {
	l := newLab(t, nil)
	path := filepath.Join(l.DatabaseDir, "20261101.db")
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	mine := t.TempDir()
	if err := os.WriteFile(filepath.Join(mine, "20261101.db"), whole[:len(whole)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	l.DatabaseDir = mine
	l.wants(t, Request{Period: november}, Socket, "file: read "+mine)
}

func TestWhatSourcesRefuse(t *testing.T) {
	l := newLab(t, nil)
	for _, tt := range []struct {
		req  Request
		kind usage.Kind
		want string
	}{
		{Request{Source: Snapshot, Period: november}, usage.Invalid, "running period only"},
		{Request{Source: File}, usage.Invalid, "YYYY-MM-DD"},
		{Request{Source: "bogus"}, usage.Invalid, `no source "bogus"`},
		{Request{Source: "SOCKET"}, usage.Invalid, "choose auto, snapshot"},
		{Request{Source: l.DatabaseDir + "/20261101.db", Period: november}, usage.Invalid, "leave the period out"},
	} {
		if _, _, err := l.read(t, tt.req); usage.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%+v: got %v, %v, want %v, %q", tt.req, usage.KindOf(err), err, tt.kind, tt.want)
		}
	}
}

func TestSnapshotThatDoesNotServe(t *testing.T) {
	l := newLab(t, nil)
	whole, err := os.ReadFile(l.SnapshotPath)
	if err != nil {
		t.Fatal(err)
	}
	for _, age := range []time.Duration{0, 59 * time.Second, -29 * time.Second} {
		l.age(t, age)
		l.wants(t, Request{}, Snapshot)
	}
	for age, want := range map[time.Duration]string{61 * time.Second: "stale", time.Hour: "stale", -31 * time.Second: "the clock was set", -time.Hour: "the clock was set"} {
		l.age(t, age)
		l.wants(t, Request{}, Socket, "snapshot: "+l.SnapshotPath+" was written")
		if _, _, err := l.read(t, Request{Source: Snapshot}); usage.KindOf(err) != usage.Unavailable || !strings.Contains(err.Error(), want) {
			t.Errorf("%s old: got %v, want %q", age, err, want)
		}
	}
	for name, data := range map[string][]byte{"torn": whole[:len(whole)/2], "empty": nil, "not a database": []byte(strings.Repeat("x", 500)), "more": append(slices.Clone(whole), 0)} {
		if err := os.WriteFile(l.SnapshotPath, data, 0o600); err != nil {
			t.Fatal(err)
		}
		// The counter is of the socket's rows alone.
		if r := l.wants(t, Request{}, Socket, "snapshot: read nlbwmon snapshot "+l.SnapshotPath); r.Rows != 15 {
			t.Errorf("%s: counted %d rows", name, r.Rows)
		}
	}
	// Something that is no file does not hold the reader up.
	if err := os.Remove(l.SnapshotPath); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(l.SnapshotPath, 0o600); err != nil {
		t.Fatal(err)
	}
	l.wants(t, Request{}, Socket, l.SnapshotPath+" is not a regular file")
}

// The rows of an attempt that failed are not counted with those of the next.
func TestRowsAreThoseOfTheLastAttempt(t *testing.T) {
	l := newLab(t, func(o *nlbwmontest.Options) { o.DieAfterRows = 3 })
	l.age(t, time.Hour) // 15 rows, read and then found stale
	l.nlbw(t, recorded(t))
	reading, rows, err := l.read(t, Request{})
	if err != nil {
		t.Fatal(err)
	}
	if reading.Source != Nlbw || reading.Rows != 15 || len(rows.rows) != 15 || rows.begun < 3 {
		t.Errorf("got %d rows, %d counted, from %s after %d attempts", len(rows.rows), reading.Rows, reading.Source, rows.begun)
	}
}

// A frozen nlbwmon costs its 2 s and no more, and the caller may give up sooner.
func TestFrozenSocket(t *testing.T) {
	l := newLab(t, func(o *nlbwmontest.Options) { o.Frozen = true })
	if err := os.Remove(l.SnapshotPath); err != nil {
		t.Fatal(err)
	}
	l.nlbw(t, recorded(t))
	start := time.Now()
	l.wants(t, Request{}, Nlbw, "snapshot: no nlbwmon snapshot", `socket: nlbwmon took the connection`)
	if took := time.Since(start); took > time.Minute {
		t.Errorf("it took %s", took)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := l.Read(ctx, Request{}, new(rowList)); usage.KindOf(err) != usage.Timeout || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("given up: got %v, want a timeout", err)
	}
}

func TestCommandThatDoesNotServe(t *testing.T) {
	l := newLab(t, nil)
	// Who reads it waits until the test has ended.
	never := filepath.Join(t.TempDir(), "never")
	if err := syscall.Mkfifo(never, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if f, err := os.OpenFile(never, os.O_WRONLY|syscall.O_NONBLOCK, 0); err == nil { // else nobody waits
			_ = f.Close()
		}
	})
	const short = 500 * time.Millisecond
	for name, tt := range map[string]struct {
		within       time.Duration
		script, want string
	}{
		"fails":               {time.Hour, "echo out; echo 'Error while processing command: Bad file descriptor' >&2; exit 247", "failed: Error while processing command: Bad file descriptor (exit status 247)"},
		"says nothing":        {time.Hour, "exit 3", "exit status 3"},
		"prints nothing":      {time.Hour, "exit 0", "no data at all"},
		"prints garbage":      {time.Hour, "echo hello world; exit 0", "not what nlbw prints"},
		"prints half":         {time.Hour, `printf '{"columns":["mac"],"data":[["02:77:00:00:00:01"]'`, "cut off"},
		"hangs":               {short, "exec cat " + never, "gave no answer within 500ms: nlbwmon hangs"},
		"hangs in a child":    {short, "cat " + never + "; echo", "gave no answer within 500ms"}, // the child keeps the pipe open when the shell is killed
		"never ends":          {short, "exec yes", "gave no answer within 500ms"},
		"too late":            {time.Nanosecond, "exec yes", "gave no answer within 1ns"},
		"complains at length": {time.Hour, `i=0; while [ $i -lt 3000 ]; do printf '\033[31mcomplaint %d\n' $i >&2; i=$((i+1)); done; exit 1`, "failed: [31mcomplaint 0"},
	} {
		l.nlbw(t, tt.script)
		l.NlbwWithin = tt.within
		reading, rows, err := l.read(t, Request{Source: Nlbw})
		if usage.KindOf(err) != usage.Unavailable || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: got %v, want %q", name, err, tt.want)
		} else if len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\x1b\n") {
			t.Errorf("%s: got %d bytes: %.700q", name, len(err.Error()), err)
		}
		if reading.Source != "" || len(rows.rows) > 1 {
			t.Errorf("%s: got %+v and %d rows", name, reading, len(rows.rows))
		}
	}
}

func TestNamedFile(t *testing.T) {
	l := newLab(t, nil)
	dir := recordings + "damaged/"
	for path, want := range map[string]struct {
		rows   int
		damage string
	}{
		"plain-truncated-record/20261001.db":            {2, "cut off"},
		"plain-header-only-entries-nonzero/20261001.db": {0, "cut off"},
		"gz-bad-crc/20261001.db.gz":                     {3, "damaged"},
	} {
		reading, rows, err := l.read(t, Request{Source: dir + path})
		if err != nil || len(rows.rows) != want.rows || reading.Rows != want.rows || reading.Source != filepath.Clean(dir+path) {
			t.Errorf("%s: got %d rows, %+v, %v, want %d", path, len(rows.rows), reading, err, want.rows)
		}
		if reading.Damage == nil || !strings.Contains(reading.Damage.Error(), want.damage) {
			t.Errorf("%s: got damage %v, want %q", path, reading.Damage, want.damage)
		}
	}
	scratch := t.TempDir()
	fifo := filepath.Join(scratch, "fifo.db")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		scratch:                               "is not a regular file",
		fifo:                                  "is not a regular file",
		l.SocketPath:                          "no such device or address",
		scratch + "/absent":                   "no such file",
		dir + "plain-wrong-magic/20261001.db": "not a database",
		dir + "plain-zero-length/20261001.db": "no data at all",
	} {
		_, rows, err := l.read(t, Request{Source: path})
		if err == nil || !strings.Contains(err.Error(), want) || len(rows.rows) > 0 {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
		if kind := usage.KindOf(err); kind != usage.Unavailable && kind != usage.NotFound && kind != usage.Invalid {
			t.Errorf("%s: got kind %v of %v, want one that a person may see", path, kind, err)
		}
	}
}

// dialFromChild, in the environment, makes the test program read nlbwmon's
// socket at that path and end.
const dialFromChild = "NETPILOT_TEST_SOCKET"

func dumpAsChild(path string) int {
	r := &Router{SocketPath: path, Now: time.Now, Location: time.UTC}
	_, err := r.Read(context.Background(), Request{Source: Socket}, new(rowList))
	if err != nil {
		fmt.Println(usage.KindOf(err), err)
		return 1
	}
	fmt.Println("read")
	return 0
}

// nlbwmon's socket is root's: who is not gets told.
func TestSocketNeedsRoot(t *testing.T) {
	l := newLab(t, nil)
	if err := errors.Join(os.Chmod(l.SocketPath, 0o755), os.Chmod(filepath.Dir(l.SocketPath), 0o755)); err != nil {
		t.Fatal(err)
	}
	for _, leg := range []struct {
		name string
		uid  uint32
		want string
	}{
		{"owner", 0, "read"},
		{"nobody", 65534, "unavailable no permission for nlbwmon's socket " + l.SocketPath + "; run as root"},
	} {
		t.Run(leg.name, func(t *testing.T) {
			if os.Geteuid() != 0 {
				t.Skip("only root can take another user's place")
			}
			self, err := os.Executable()
			if err != nil {
				t.Fatal(err)
			}
			// Where nobody can run it.
			program := filepath.Join(filepath.Dir(l.SocketPath), "child-"+leg.name)
			copyFile(t, self, program)
			cmd := exec.CommandContext(t.Context(), program)
			cmd.Env = append(os.Environ(), dialFromChild+"="+l.SocketPath)
			cmd.Dir = "/"
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: leg.uid, Gid: leg.uid}}
			out, _ := cmd.CombinedOutput() // its exit code says what its text says
			if !strings.HasPrefix(string(out), leg.want) {
				t.Errorf("got %q, want %q", out, leg.want)
			}
		})
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	src, err := os.Open(from)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.Copy(dst, src)
	if err := errors.Join(err, dst.Close()); err != nil {
		t.Fatal(err)
	}
}
