package nlbwmontest_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

const recordings = "../testdata/recordings"

// dumpOf unpacks a recorded dump through decoder and encoder.
func dumpOf(t *testing.T, path string, order nlbwmon.AddrOrder) []byte {
	t.Helper()
	f, err := nlbwmon.OpenFile(path, order)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	recs := rowsOf(t, f)
	var b bytes.Buffer
	if err := nlbwmon.Encode(&b, f.Header(), order, recs); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// Every recorded request, in the recorded order, gets the recorded answer to
// the byte. The db/ folders show the state after the run; the run's commit
// only rewrote what was there, so the answers before it are the same. Where
// commit created the file (empty*, live-*), pristine is tested below.
func TestAnswersLikeTheRealOne(t *testing.T) {
	line := regexp.MustCompile(`^b'([^']*)' -> (\d+) bytes, end=eof`)
	var dirs []string
	for _, pattern := range []string{"/*/raw", "/arch/*/raw"} {
		d, _ := filepath.Glob(recordings + pattern)
		dirs = append(dirs, d...)
	}
	if len(dirs) != 25 {
		t.Fatalf("got %d recordings, want 25", len(dirs))
	}
	for _, raw := range dirs {
		opts, err := nlbwmontest.FromRecording(filepath.Dir(raw), scratch(t))
		if err != nil {
			t.Fatal(err)
		}
		start(t, opts)
		for _, entry := range strings.Split(strings.TrimSpace(string(load(t, raw+"/log.txt"))), "\n") {
			m := line.FindStringSubmatch(entry)
			if m == nil {
				t.Fatalf("%s: unknown line %q", raw, entry)
			}
			file := map[string]string{"dump 0": "dump0.bin", "dump 20010101": "dump-unknown.bin"}[m[1]]
			if file == "" {
				file = strings.ReplaceAll(m[1], " ", "-") + ".bin"
			}
			path := filepath.Join(raw, file)
			var want []byte
			if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
				// Only records-10000 keeps its dump compressed, and its
				// period's dump not at all: that one equals dump 0.
				want = dumpOf(t, filepath.Join(raw, "dump0.bin.gz"), opts.Order)
			} else {
				want = load(t, path)
			}
			got, err := ask(t, opts.Socket, m[1])
			if err != nil || !bytes.Equal(got, want) || m[2] != strconv.Itoa(len(got)) {
				t.Errorf("%s %q: got %d bytes, %v, want %d; equal %t", raw, m[1], len(got), err, len(want), bytes.Equal(got, want))
			}
		}
	}
}

// list with the clock moved, as recorded.
func TestListAtOtherTimes(t *testing.T) {
	for name, clock := range map[string]time.Time{
		"generations-monthly/list-at-2026-12-01.out":      time.Date(2026, 12, 1, 0, 0, 30, 0, time.UTC),
		"generations-negative-day/list-at-2026-11-29.out": time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC),
	} {
		opts, err := nlbwmontest.FromRecording(filepath.Join(recordings, filepath.Dir(name)), scratch(t))
		if err != nil {
			t.Fatal(err)
		}
		opts.Now = func() time.Time { return clock }
		start(t, opts)
		c := nlbwmon.Client{Path: opts.Socket, Order: opts.Order}
		periods, err := c.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var got strings.Builder
		for _, p := range periods {
			fmt.Fprintln(&got, p)
		}
		if want := string(load(t, filepath.Join(recordings, name))); got.String() != want {
			t.Errorf("%s: got %q, want %q", name, got.String(), want)
		}
	}
}

// Damaged files: dump and list of an old one, and start with a current one,
// are answered or refused as recorded.
func TestDamagedFiles(t *testing.T) {
	dirs, _ := filepath.Glob(recordings + "/damaged/*/old-dump.bin")
	if len(dirs) != 25 {
		t.Fatalf("got %d damages, want 25", len(dirs))
	}
	for _, dump := range dirs {
		damage := filepath.Dir(dump)
		dir := scratch(t)
		opts := nlbwmontest.Options{
			Socket: filepath.Join(dir, "s"), Dir: dir, Order: nlbwmon.OrderLittle,
			Now: func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
		}
		for _, p := range []nlbwmon.Period{20261101, 20260901} {
			f, err := os.Create(fmt.Sprintf("%s/%d.db", dir, p))
			if err != nil {
				t.Fatal(err)
			}
			err = nlbwmon.Encode(f, nlbwmontest.MonthlyHeader(p), nlbwmon.OrderLittle, nlbwmontest.Generate(3, 1))
			if err := errors.Join(err, f.Close()); err != nil {
				t.Fatal(err)
			}
		}
		copyFiles(t, damage+"/20261001.*", dir)
		d := start(t, opts)
		want := load(t, dump)
		if got, err := ask(t, opts.Socket, "dump 20261001"); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: got %d bytes, %v, want %d", damage, len(got), err, len(want))
		}
		if got, err := ask(t, opts.Socket, "list"); err != nil || !bytes.Equal(got, load(t, damage+"/old-list.bin")) {
			t.Errorf("%s: got list % x, %v", damage, got, err)
		}
		_ = d.Close()

		// The real one exits where there is no recording of its start.
		_ = os.Remove(dir + "/20261101.db")
		copyFiles(t, damage+"/20261101.*", dir)
		_, statErr := os.Stat(damage + "/start-csv.out")
		d, err := nlbwmontest.Start(opts)
		if err == nil {
			_ = d.Close()
		}
		if (err == nil) != (statErr == nil) {
			t.Errorf("%s: got %v at start, want success %t", damage, err, statErr == nil)
		}
	}
}

func copyFiles(t *testing.T, pattern, dir string) {
	t.Helper()
	files, _ := filepath.Glob(pattern)
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), load(t, f), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
