package history_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/history/faultfs"
	"github.com/netpilot/netpilot/pkg/usage"
)

// script is a short life whose every operation is then disturbed: three
// buckets, compaction to hours and on to a day. done is told what is acknowledged.
func script(s *history.Store, done func(flushed int)) error {
	for i, now := range scriptTimes {
		if err := s.Add(usage.Range{From: now.Add(-time.Minute), To: now}, scriptRows(i)); err != nil {
			return err
		}
		if err := errors.Join(s.Advance(now.Add(tick)), s.Flush(now.Add(tick))); err != nil {
			return err
		}
		done(i + 1)
	}
	return nil
}

var scriptTimes = []time.Time{
	epoch.Add(time.Minute), epoch.Add(7 * time.Minute), epoch.Add(7 * time.Hour), epoch.Add(9 * time.Hour), epoch.Add(31 * time.Hour), epoch.Add(54 * time.Hour),
}

func scriptRows(i int) []usage.Record {
	var rows []usage.Record
	for n := range 3 {
		rows = append(rows, usage.Record{MAC: device(n + i%2), Family: usage.FamilyIPv4, Proto: 6, Port: uint16(n), RxBytes: uint64(1000 + i), TxBytes: 7, RxPackets: 2, TxPackets: 1, Conns: 1})
	}
	return rows
}

// scriptSums is what the first n steps booked.
func scriptSums(n int) sums {
	m := &model{added: sums{}}
	for i, now := range scriptTimes[:n] {
		m.book(usage.Range{From: now, To: now}, scriptRows(i), options(nil).Service)
	}
	return m.added
}

func scriptOptions(disk history.FS) history.Options {
	o := options(disk)
	o.Keep5m, o.KeepHour = time.Hour, 20*time.Hour
	return o
}

// TestCutEverywhere cuts the power at each operation of the script, and at
// each byte of each write: what was acknowledged is there, once, and the rest
// whole buckets or nothing.
func TestCutEverywhere(t *testing.T) {
	var ops []faultfs.Op
	disk := faultfs.New("/tmp")
	disk.Fault(func(op faultfs.Op) (int, error) { ops = append(ops, op); return 0, nil })
	must(t, script(open(t, scriptOptions(disk)), func(int) {}))
	r := rand.New(rand.NewPCG(1, 2))
	cuts := 0
	for at, op := range ops {
		bytes := []int{0}
		if op.Kind == "write" && strings.HasPrefix(op.Name, "/etc") {
			bytes = nil
			for n := range op.N + 1 {
				bytes = append(bytes, n)
			}
		}
		for _, n := range bytes {
			for _, power := range []bool{true, false} {
				cutOnce(t, r, fmt.Sprintf("operation %d %s %s after %d bytes, power %v", at, op.Kind, op.Name, n, power), at, n, power)
				cuts++
			}
		}
	}
	t.Logf("%d cuts in %d operations", cuts, len(ops))
}

func cutOnce(t *testing.T, r *rand.Rand, what string, at, bytes int, power bool) {
	t.Helper()
	disk := faultfs.New("/tmp")
	n := -1
	disk.Fault(func(op faultfs.Op) (int, error) {
		if n++; n == at {
			disk.CutNow()
			return min(bytes, op.N), faultfs.ErrCut
		}
		return 0, nil
	})
	acknowledged := 0
	s, err := history.Open(scriptOptions(disk))
	if err == nil {
		err = script(s, func(n int) { acknowledged = n })
	}
	if err == nil && at < n {
		t.Fatalf("%s: the script did not notice", what)
	}
	if power {
		disk.Reboot(r)
	} else {
		disk.Kill()
	}
	s = open(t, scriptOptions(disk))
	low, high := scriptSums(acknowledged), scriptSums(min(acknowledged+1, len(scriptTimes)))
	if differs(s, low) != nil && differs(s, high) != nil {
		t.Fatalf("%s: %d steps acknowledged: %v\nnor: %v\n%v", what, acknowledged, differs(s, low), differs(s, high), s.Repairs())
	}
	// And it goes on: the whole script once more, on top.
	was := maps.Clone(low)
	if differs(s, low) != nil {
		was = high
	}
	if err := script(s, func(int) {}); err != nil {
		t.Fatalf("%s: afterwards: %v", what, err)
	}
	for c, v := range scriptSums(len(scriptTimes)) {
		was.add(c, v)
	}
	disk.Reboot(r)
	s = open(t, scriptOptions(disk))
	if err := differs(s, was); err != nil {
		t.Fatalf("%s: afterwards: %v\n%v", what, err, s.Repairs())
	}
}

// TestFailEverywhere fails each operation once, without a cut: nothing is lost.
func TestFailEverywhere(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO} {
		for at, failed := 0, true; failed; at++ {
			disk := faultfs.New("/tmp")
			n := -1
			failed = false
			disk.Fault(func(op faultfs.Op) (int, error) {
				if n++; n == at {
					failed = true
					return op.N / 2, cause
				}
				return 0, nil
			})
			s, err := history.Open(scriptOptions(disk))
			if err != nil { // the directory in RAM: the agent tries again
				disk.Kill()
				s = open(t, scriptOptions(disk))
			}
			for i, now := range scriptTimes {
				must(t, s.Add(usage.Range{From: now, To: now}, scriptRows(i)))
				if err := s.Advance(now.Add(tick)); err != nil && !errors.Is(err, cause) {
					t.Fatal(err)
				}
				if err := s.Flush(now.Add(tick)); err != nil && !errors.Is(err, cause) && s.Health().FlashErr == nil {
					t.Fatal(err)
				}
			}
			disk.Fault(nil)
			compare(t, fmt.Sprint(cause, " at operation ", at), s, scriptSums(len(scriptTimes)))
			must(t, s.Close(scriptTimes[5].Add(2*tick)))
			s = open(t, scriptOptions(disk))
			compare(t, fmt.Sprint(cause, " at operation ", at, ", again"), s, scriptSums(len(scriptTimes)))
		}
	}
}

// TestFlashFails: a flash that is full, broken or read-only costs nothing, is
// told by Health, and is caught up with later.
func TestFlashFails(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, syscall.EIO, syscall.EROFS} {
		t.Run(cause.Error(), func(t *testing.T) {
			disk := faultfs.New("/tmp")
			s := open(t, scriptOptions(disk))
			disk.Fault(func(op faultfs.Op) (int, error) {
				if strings.HasPrefix(op.Name, "/etc") && slices.Contains([]string{"make", "write", "mkdir", "sync", "truncate", "remove"}, op.Kind) {
					return op.N / 3, cause
				}
				return 0, nil
			})
			for i, now := range scriptTimes {
				must(t, s.Add(usage.Range{From: now, To: now}, scriptRows(i)))
				must(t, s.Advance(now.Add(tick)))
				if err := s.Flush(now.Add(tick)); !errors.Is(err, cause) || !strings.Contains(err.Error(), "try: df") {
					t.Fatalf("got %v, want %v and what to do", err, cause)
				}
				h := s.Health()
				if !errors.Is(h.FlashErr, cause) || h.Behind == 0 || !h.FlashSince.Equal(scriptTimes[0].Add(tick)) {
					t.Fatalf("got %+v, want the error, since when, and what is behind", h)
				}
			}
			compare(t, "in RAM", s, scriptSums(len(scriptTimes)))
			disk.Fault(nil)
			must(t, s.Flush(scriptTimes[5].Add(2*tick)))
			if h := s.Health(); h.FlashErr != nil || h.Behind != 0 {
				t.Errorf("got %+v, want no error", h)
			}
			disk.Reboot(rand.New(rand.NewPCG(1, 1)))
			compare(t, "on flash", open(t, scriptOptions(disk)), scriptSums(len(scriptTimes)))
		})
	}
}

// TestFlashUnreadable: what cannot be read at the start is not touched.
func TestFlashUnreadable(t *testing.T) {
	disk := faultfs.New("/tmp")
	must(t, script(open(t, scriptOptions(disk)), func(int) {}))
	disk.Reboot(rand.New(rand.NewPCG(1, 1)))
	before := disk.Files(rom)
	disk.Fault(func(op faultfs.Op) (int, error) {
		if op.Kind == "names" && op.Name == rom {
			return 0, syscall.EIO
		}
		return 0, nil
	})
	s := open(t, scriptOptions(disk))
	if !errors.Is(s.Health().FlashErr, syscall.EIO) {
		t.Errorf("got %v, want EIO", s.Health().FlashErr)
	}
	disk.Fault(nil)
	must(t, s.Add(usage.Range{From: epoch, To: epoch.Add(time.Minute)}, scriptRows(0)))
	must(t, s.Advance(epoch.Add(tick)))
	if err := s.Flush(epoch.Add(tick)); err == nil {
		t.Error("flushed over a history that it never read")
	}
	if after := disk.Files(rom); !slices.Equal(before, after) {
		t.Errorf("got %v on flash, want %v", after, before)
	}
	disk.Reboot(rand.New(rand.NewPCG(1, 1)))
	compare(t, "after the next reboot", open(t, scriptOptions(disk)), scriptSums(len(scriptTimes)))
}

// small is a flash with one segment of three buckets, and what is in it after
// each of them.
func small(t *testing.T) (disk *faultfs.FS, name string, states []sums) {
	t.Helper()
	disk = faultfs.New("/tmp")
	s := open(t, options(disk))
	m := &model{added: sums{}}
	states = []sums{{}}
	for i := range 3 {
		now := epoch.Add(time.Duration(i+1) * tick)
		must(t, s.Add(usage.Range{From: now, To: now}, scriptRows(i)))
		m.book(usage.Range{From: now, To: now}, scriptRows(i), options(nil).Service)
		must(t, s.Advance(now))
		must(t, s.Flush(now))
		states = append(states, maps.Clone(m.added))
	}
	disk.Reboot(rand.New(rand.NewPCG(1, 1)))
	files := disk.Files(rom)
	if len(files) != 1 {
		t.Fatalf("got %v, want one segment", files)
	}
	return disk, rom + "/" + files[0], states
}

// TestBitFlips flips each bit of a segment: a frame is lost and reported, and
// no number is another than it was.
func TestBitFlips(t *testing.T) {
	disk, name, states := small(t)
	whole := states[3]
	for at := range disk.Bytes(name) {
		for bit := range 8 {
			d := disk.Copy()
			d.Bytes(name)[at] ^= 1 << bit
			s := open(t, options(d))
			if len(s.Repairs()) == 0 {
				t.Errorf("byte %d bit %d: not noticed", at, bit)
			}
			checkSubset(t, fmt.Sprintf("byte %d bit %d", at, bit), s, whole)
			must(t, s.Close(epoch.Add(5*tick)))
		}
	}
}

// checkSubset wants every slot to be one of whole's, or of a device whose
// definition was lost: then on the zero MAC, at most the slot's total.
func checkSubset(t *testing.T, what string, s *history.Store, whole sums) {
	t.Helper()
	all := usage.Range{From: epoch, To: epoch.Add(24 * time.Hour)}
	for _, by := range []history.By{history.Device, history.Service, history.Family} {
		_, err := s.Query(t.Context(), history.Query{Range: all, By: by}, func(slot usage.Slot) error {
			want := whole[cell{slot.Start.Unix(), slot.MAC, slot.Service, slot.Family}]
			if slot.MAC.IsZero() && slot.Service == "" && slot.Family == 0 || slot.Service == "other" {
				total := whole[cell{start: slot.Start.Unix(), family: usage.FamilyIPv4}]
				if slot.RxBytes > total.RxBytes || slot.TxBytes > total.TxBytes {
					t.Errorf("%s: %v: got more than there was", what, slot)
				}
				return nil
			}
			if slot.Counters != want {
				t.Errorf("%s: got %+v, want %+v", what, slot, want)
			}
			return nil
		})
		must(t, err)
	}
}

// TestTruncated cuts a segment at each byte: the good prefix stays, and what
// is booked then stands behind it.
func TestTruncated(t *testing.T) {
	disk, name, states := small(t)
	data := slices.Clone(disk.Bytes(name))
	for n := range data {
		d := disk.Copy()
		d.Set(name, data[:n])
		s := open(t, options(d))
		found := false
		for _, st := range states[:3] {
			found = found || differs(s, st) == nil
		}
		if !found {
			t.Fatalf("cut to %d bytes: got none of the prefixes", n)
		}
		if len(s.Repairs()) == 0 && differs(s, states[0]) == nil && n > 60 {
			t.Errorf("cut to %d bytes: not reported", n)
		}
		must(t, s.Close(epoch.Add(5*tick)))
	}
}

// TestNewer: segments of a newer version, and files that are none, are left
// as they are, reported, and in nobody's way.
func TestNewer(t *testing.T) {
	disk, name, states := small(t)
	for what, change := range map[string]func([]byte){
		"newer":   func(b []byte) { b[6] = 2 },
		"foreign": func(b []byte) { copy(b, "#!/bin/sh") },
	} {
		d := disk.Copy()
		before := slices.Clone(d.Bytes(name))
		change(before)
		d.Set(name, before)
		s := open(t, options(d))
		if r := s.Repairs(); len(r) != 1 || !strings.Contains(r[0].What, "left alone") {
			t.Errorf("%s: got %v, want one that says it is left alone", what, r)
		}
		if h := s.Health(); len(h.LeftAlone) != 1 {
			t.Errorf("%s: got %v left alone, want one", what, h.LeftAlone)
		}
		compare(t, what, s, states[0])
		for i := range 3 {
			now := epoch.Add(time.Duration(i+1) * tick)
			must(t, s.Add(usage.Range{From: now, To: now}, scriptRows(i)))
			must(t, s.Advance(now))
			must(t, s.Flush(now))
		}
		must(t, s.Close(epoch.Add(4*tick)))
		d.Reboot(rand.New(rand.NewPCG(1, 1)))
		s = open(t, options(d))
		compare(t, what, s, states[3])
		// Three days later everything else there is was compacted.
		must(t, s.Advance(epoch.Add(23*time.Hour)))
		must(t, s.Advance(epoch.Add(46*time.Hour)))
		must(t, s.Advance(epoch.Add(69*time.Hour)))
		must(t, s.Flush(epoch.Add(69*time.Hour)))
		compare(t, what, s, states[3])
		if after := d.Bytes(name); !slices.Equal(before, after) {
			t.Errorf("%s: the file was changed", what)
		}
	}
}
