package nlbwmontest_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scratch is a directory whose path is short enough for a socket's.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "nl")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func start(t *testing.T, opts nlbwmontest.Options) *nlbwmontest.Daemon {
	t.Helper()
	if opts.Socket == "" {
		opts.Socket = filepath.Join(scratch(t), "s")
	}
	d, err := nlbwmontest.Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func connect(t *testing.T, path string) net.Conn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// ask sends one request and reads the answer to its end.
func ask(t *testing.T, path, request string) ([]byte, error) {
	t.Helper()
	conn := connect(t, path)
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}

func load(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func rowsOf(t *testing.T, src nlbwmon.Rows) []usage.Record {
	t.Helper()
	var recs []usage.Record
	for {
		var rec usage.Record
		switch err := src.Next(&rec); err {
		case nil:
			recs = append(recs, rec)
		case io.EOF:
			return recs
		default:
			t.Fatal(err)
		}
	}
}

func TestRequests(t *testing.T) {
	path := filepath.Join(scratch(t), "s")
	d := start(t, nlbwmontest.Options{Socket: path})
	d.SetRows(nlbwmontest.Generate(2, 1))
	for request, want := range map[string]int{
		"dump": 184, "dump 0": 184, "dump\n": 184, " \tdump 0 more": 184, "dump 0\x00x": 184, "dump +0": 184,
		"dump x": 0, "dump 2026-11-01": 0, "dump -1": 0, "dump 20010101": 0, "DUMP": 0, "dumpx": 0, "LIST": 0, "list": 0,
	} {
		if got, err := ask(t, path, request); err != nil || len(got) != want {
			t.Errorf("%q: got %d bytes, %v, want %d", request, len(got), err, want)
		}
	}
	// Only 31 bytes are read; what is left makes the close a reset.
	got, err := ask(t, path, "dump 0"+strings.Repeat(" ", 40))
	if len(got) != 184 && !errors.Is(err, syscall.ECONNRESET) || err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("long request: got %d bytes, %v", len(got), err)
	}
}

// A request without a word crashes it, and the socket file stays behind.
func TestBlankRequestCrashes(t *testing.T) {
	for _, request := range []string{" ", "\n", " \t\n ", "\x00dump"} {
		path := filepath.Join(scratch(t), "s")
		d := start(t, nlbwmontest.Options{Socket: path})
		if got, err := ask(t, path, request); len(got) != 0 {
			t.Errorf("%q: got %d bytes, %v", request, len(got), err)
		}
		<-d.Done()
		if _, err := net.Dial("unix", path); !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%q: got %v, want ECONNREFUSED", request, err)
		}
		start(t, nlbwmontest.Options{Socket: path}) // a new one takes the path over
		if _, err := ask(t, path, "list"); err != nil {
			t.Errorf("after restart: %v", err)
		}
	}
}

// A silent client is sent away, and the next one is served then.
func TestSilentClient(t *testing.T) {
	path := filepath.Join(scratch(t), "s")
	start(t, nlbwmontest.Options{Socket: path, ClientTimeout: time.Second})
	silent := connect(t, path)
	if _, err := ask(t, path, "dump"); err != nil {
		t.Errorf("second client: %v", err)
	}
	if n, err := silent.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("silent client: got %d bytes, %v, want io.EOF", n, err)
	}
}

// A client that goes away in the middle is harmless.
func TestClientLeaves(t *testing.T) {
	path := filepath.Join(scratch(t), "s")
	d := start(t, nlbwmontest.Options{Socket: path})
	d.SetRows(nlbwmontest.Generate(5000, 1))
	conn := connect(t, path)
	if _, err := io.WriteString(conn, "dump 0"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1000)); err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	if got, err := ask(t, path, "dump 0"); err != nil || len(got) != 40+5000*72 {
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

// Close ends it while a client does not read.
func TestCloseWhileSending(t *testing.T) {
	path := filepath.Join(scratch(t), "s")
	d := start(t, nlbwmontest.Options{Socket: path})
	d.SetRows(nlbwmontest.Generate(10_000, 1))
	conn := connect(t, path)
	if _, err := io.WriteString(conn, "dump 0"); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	_ = d.Close()
	_ = d.Close()
	<-d.Done()
}

func TestCommitAndRollover(t *testing.T) {
	dir := scratch(t)
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	opts := nlbwmontest.Options{
		Socket: dir + "/s", Dir: dir, SnapshotPath: dir + "/0.db", Gzip: true,
		Now: func() time.Time { return now },
	}
	d := start(t, opts)
	recs := nlbwmontest.Generate(5, 1)
	d.SetRows(recs)
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	var live []usage.Record
	if _, err := nlbwmon.ReadSnapshot(opts.SnapshotPath, nlbwmon.OrderGuess, nil, func(r *usage.Record) { live = append(live, *r) }); err != nil || !slices.Equal(live, recs) {
		t.Errorf("got snapshot %v, %v", live, err)
	}
	if got, err := ask(t, opts.Socket, "commit"); err != nil || string(got) != "0 ok" {
		t.Errorf("got %q, %v", got, err)
	}
	now = now.AddDate(0, 0, 1)
	d.Add(recs[:1])
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, opts.Socket, "dump"); err != nil || len(got) != 40 {
		t.Errorf("got %d bytes after the change of period, %v, want an empty table", len(got), err)
	}
	if got, err := ask(t, opts.Socket, "list"); err != nil || len(got) != 0 {
		t.Errorf("got list % x, %v, want none before the next commit", got, err)
	}
	f, err := nlbwmon.OpenPeriod(dir, 20261101, nlbwmon.OrderGuess)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := rowsOf(t, f)
	if len(old) != 5 || old[0].RxBytes != 2*recs[0].RxBytes || old[1] != recs[1] {
		t.Errorf("got %v in the old period", old)
	}
	if text := d.Commit(); text != "0 ok" {
		t.Errorf("got %q", text)
	}
	if got, err := ask(t, opts.Socket, "list"); err != nil || len(got) != 8 {
		t.Errorf("got list % x, %v, want two", got, err)
	}
}

// A daemon that found no file does not overwrite one that came later.
func TestCommitOfPristine(t *testing.T) {
	dir := scratch(t)
	opts := nlbwmontest.Options{Socket: dir + "/s", Dir: dir, Now: func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) }}
	start(t, opts)
	if err := os.WriteFile(dir+"/20261101.db", []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := ask(t, opts.Socket, "commit"); err != nil || string(got) != "17 File exists" {
		t.Errorf("got %q, %v", got, err)
	}
	if got := load(t, dir+"/20261101.db"); string(got) != "kept" {
		t.Errorf("got %q", got)
	}
}

// At start the snapshot wins over the period's file.
func TestStartLoads(t *testing.T) {
	dir := scratch(t)
	opts := nlbwmontest.Options{Socket: dir + "/s", Dir: dir, SnapshotPath: dir + "/0.db", Now: func() time.Time { return time.Date(2026, 11, 23, 0, 0, 0, 0, time.UTC) }}
	d := start(t, opts)
	d.SetRows(nlbwmontest.Generate(1, 1))
	if text := d.Commit(); text != "0 ok" {
		t.Fatal(text)
	}
	d.SetRows(nlbwmontest.Generate(2, 1))
	if err := d.Refresh(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []int{2, 1} {
		_ = d.Close()
		d = start(t, opts)
		if got, err := ask(t, opts.Socket, "dump"); err != nil || len(got) != 40+want*72 {
			t.Errorf("got %d bytes, %v, want %d rows", len(got), err, want)
		}
		if want == 2 {
			if err := os.Remove(opts.SnapshotPath); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestGenerate(t *testing.T) {
	recs := nlbwmontest.Generate(2000, 3)
	keys := make(map[string]bool)
	for i := range recs {
		r := &recs[i]
		keys[fmt.Sprint(r.Family, r.Proto, r.Port, r.MAC, r.Addr)] = true
	}
	if len(keys) != len(recs) || !slices.Equal(recs, nlbwmontest.Generate(2000, 3)) {
		t.Errorf("got %d keys of %d rows", len(keys), len(recs))
	}
}
