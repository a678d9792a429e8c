package history

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/checksum"
	"github.com/netpilot/netpilot/pkg/usage"
)

// seeds makes a directory in RAM with segments of each kind and a state, and
// gives its files.
func seeds(f *testing.F) map[string][]byte {
	f.Helper()
	dir := f.TempDir()
	s, err := Open(Options{Dir: dir, Keep5m: time.Hour, KeepHour: 20 * time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	base := time.Date(2026, 3, 1, 0, 1, 0, 0, time.UTC)
	for i := range 5 {
		now := base.Add(time.Duration(i) * 13 * time.Hour)
		r := usage.Range{From: now, To: now.Add(time.Second)}
		rows := []usage.Record{{MAC: usage.MAC{2, 0, 0, 0, 0, byte(i)}, Family: 2, RxBytes: 1 << (5 * i), Conns: 1}}
		if s.Add(r, rows) != nil || s.AddQuarantined(r, rows) != nil || s.AddGap(usage.Gap{Range: r, Reason: "why"}) != nil || s.Advance(now.Add(time.Hour)) != nil {
			f.Fatal("no seeds")
		}
		if s.Add(r, rows) != nil || s.PutBlob("ledger", []byte{1, 2, 3}) != nil || s.Save() != nil {
			f.Fatal("no seeds")
		}
	}
	files := make(map[string][]byte)
	names, _ := OS{}.Names(dir)
	for _, name := range names {
		if files[name], err = os.ReadFile(filepath.Join(dir, name)); err != nil {
			f.Fatal(err)
		}
	}
	return files
}

// reseal sets the CRC of every frame that has its length right, so that the
// fuzzer gets behind it.
func reseal(g *segment, data []byte) []byte {
	for off := magicLen; off+frameHead < len(data) && data[off] == frameMark; {
		n := int(binary.LittleEndian.Uint16(data[off+1:]))
		if off+frameHead+n > len(data) {
			break
		}
		binary.LittleEndian.PutUint32(data[off+3:], frameCRC(g.seed(), int64(off), data[off+frameHead:][:n]))
		off += frameHead + n
	}
	return data
}

// FuzzSegment opens a directory with one segment of any content, asks it all
// there is to ask, and writes behind it.
func FuzzSegment(f *testing.F) {
	for name, data := range seeds(f) {
		if g := parseName(name); g != nil {
			f.Add(byte(g.kind), data, false)
			f.Add(byte(g.kind), data, true)
		}
	}
	f.Fuzz(func(t *testing.T, k byte, data []byte, sealed bool) {
		base := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
		g := &segment{kind: kind(k % numKinds), span: span{start: base.Unix()}}
		if sealed {
			data = reseal(g, data)
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, g.name()), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: dir, Keep5m: time.Hour, KeepHour: 20 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		all := usage.Range{From: base.AddDate(-1, 0, 0), To: base.AddDate(1, 0, 0)}
		ask := func() (total uint64) {
			if _, err := s.Query(context.Background(), Query{Range: all}, func(slot usage.Slot) error {
				total += slot.RxBytes
				return nil
			}); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Gaps(all); err != nil {
				t.Fatal(err)
			}
			if err := s.Since(context.Background(), 0, func(*Change) error { return nil }); err != nil {
				t.Fatal(err)
			}
			return total
		}
		before := ask()
		now := base.Add(time.Minute)
		if err := s.Add(usage.Range{From: now, To: now}, []usage.Record{{RxBytes: 7}}); err != nil {
			t.Fatal(err)
		}
		for i := range 6 {
			if err := s.Advance(base.Add(time.Duration(i) * 12 * time.Hour)); err != nil {
				t.Fatal(err)
			}
		}
		if after := ask(); after != before+7 && len(s.Health().LeftAlone) == 0 && s.Repairs() == nil {
			t.Errorf("got %d bytes after adding 7 to %d", after, before)
		}
		if err := s.Close(base.Add(73 * time.Hour)); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzState reads state files of any content; what parses is what the Store
// would write again.
func FuzzState(f *testing.F) {
	f.Add(seeds(f)[stateName], false)
	f.Add(seeds(f)[stateName], true)
	f.Fuzz(func(t *testing.T, data []byte, sealed bool) {
		if sealed && len(data) >= stateHead {
			copy(data, stateMagic)
			binary.LittleEndian.PutUint32(data[magicLen:], uint32(len(data)-stateHead))
			binary.LittleEndian.PutUint32(data[magicLen+4:], checksum.Of(data[stateHead:]))
		}
		st, err := parseState(data)
		if err != nil {
			return
		}
		if len(st.open) > len(data) || len(st.segs) > len(data) || len(st.blobs) > maxBlobs {
			t.Errorf("%d bytes made %d buckets, %d segments, %d blobs", len(data), len(st.open), len(st.segs), len(st.blobs))
		}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, stateName), data, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(Options{Dir: dir, FlashDir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Advance(time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC)); err != nil {
			t.Fatal(err)
		}
	})
}
