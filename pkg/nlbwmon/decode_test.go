package nlbwmon_test

import (
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

// databases are all undamaged database files and recorded dumps.
func databases(t testing.TB) []string {
	return slices.Concat(glob(t, "*/db/*.db*"), glob(t, "arch/*/db/*"), glob(t, "arch/*/gz-of-current/*"),
		glob(t, "*/db-before/*"), glob(t, "*/raw/dump0.bin*"), glob(t, "*/raw/dump-2*.bin"), glob(t, "arch/*/raw/dump*.bin"))
}

// What is decoded encodes to the same bytes again.
func TestDecodeEncodesBack(t *testing.T) {
	for _, path := range databases(t) {
		b := load(t, path)
		order := orderOf(path)
		h, recs := decode(t, b, order)
		var out bytes.Buffer
		if err := nlbwmon.Encode(&out, h, order, recs); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(out.Bytes(), b) {
			t.Errorf("%s: re-encoded bytes differ", path)
		}
		if h.Compact != strings.Contains(path, "i386") {
			t.Errorf("%s: got compact %t", path, h.Compact)
		}
		if h.Size() != int64(len(b)) {
			t.Errorf("%s: got size %d, want %d", path, h.Size(), len(b))
		}
	}
}

// Files hold the logical records that were fed in, in that order.
func TestDecodeRecords(t *testing.T) {
	for _, tsv := range append(glob(t, "*/records.tsv"), glob(t, "generations-*/records-*.tsv")...) {
		dir, name := filepath.Split(tsv)
		if strings.Contains(dir, "arch") || strings.Contains(dir, "damaged") {
			continue // below, and in TestDamaged
		}
		want := readTSV(t, tsv)
		period, isNamed := strings.CutPrefix(strings.TrimSuffix(name, ".tsv"), "records-")
		if !isNamed {
			period = "20261101"
		}
		_, got := decode(t, load(t, filepath.Join(dir, "db", period+".db")), nlbwmon.OrderLittle)
		if strings.Contains(dir, "limit-loaded") {
			// The table was full at eight rows: later ones took the oldest slots.
			want = slices.Concat(want[8:13], want[5:8])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: rows differ:\n got %v\nwant %v", tsv, got, want)
		}
	}
	for _, db := range slices.Concat(glob(t, "arch/*/db/20261101.db"), glob(t, "arch/*/gz-of-current/*"), glob(t, "arch/*/db/0.db")) {
		_, got := decode(t, load(t, db), orderOf(db))
		if want := readTSV(t, recordings+"/arch/records.tsv"); !slices.Equal(got, want) {
			t.Errorf("%s: rows differ:\n got %v\nwant %v", db, got, want)
		}
	}
	for _, db := range glob(t, "arch/*/db/20261001.db.gz") {
		_, got := decode(t, load(t, db), orderOf(db))
		if want := readTSV(t, recordings+"/arch/records-previous-period.tsv"); !slices.Equal(got, want) {
			t.Errorf("%s: rows differ:\n got %v\nwant %v", db, got, want)
		}
	}
}

func TestDecodeHeader(t *testing.T) {
	monthly := nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: 1}
	for path, want := range map[string]nlbwmon.Header{
		"single/db/20261101.db":                   {Entries: 1, Period: 20261101, Interval: monthly},
		"single/db/0.db":                          {Entries: 1, Period: 0, Interval: monthly},
		"arch/i386/db/20261101.db":                {Entries: 9, Period: 20261101, Interval: monthly, Compact: true},
		"arch/mips-be/db/20261101.db":             {Entries: 9, Period: 20261101, Interval: monthly},
		"generations-negative-day/db/20260929.db": {Entries: 5, Period: 20260929, Interval: nlbwmon.Interval{Type: nlbwmon.IntervalMonthly, Value: -1}},
		"generations-ndays/db/20261109.db":        {Entries: 5, Period: 20261109, Interval: nlbwmon.Interval{Type: nlbwmon.IntervalFixed, Base: 1767571200, Value: 7}},
	} {
		if got, _ := decode(t, load(t, filepath.Join(recordings, path)), nlbwmon.OrderLittle); got != want {
			t.Errorf("%s: got %+v, want %+v", path, got, want)
		}
	}
}

// The order is guessed right wherever there is an IPv4 address to tell it by.
func TestDecodeGuessesOrder(t *testing.T) {
	for _, path := range databases(t) {
		b := load(t, path)
		want := orderOf(path)
		_, wantRecs := decode(t, b, want)
		if !slices.ContainsFunc(wantRecs, func(r usage.Record) bool { return r.Family == usage.FamilyIPv4 && r.IP().IsPrivate() }) {
			want = nlbwmon.NativeOrder()
		}
		d, err := nlbwmon.NewDecoder(bytes.NewReader(b), nlbwmon.OrderGuess)
		if err != nil {
			t.Fatal(err)
		}
		if got, guessed := d.Order(); got != want || !guessed {
			t.Errorf("%s: got order %v guessed %t, want %v guessed true", path, got, guessed, want)
		}
		recs, err := collect(d)
		if err != nil {
			t.Fatal(err)
		}
		if want == orderOf(path) && !slices.Equal(recs, wantRecs) {
			t.Errorf("%s: rows differ", path)
		}
	}
}

// A stream that arrives in pieces decodes the same.
func TestDecodeInPieces(t *testing.T) {
	for _, path := range glob(t, "generations-monthly/db/*") {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		_, want := decode(t, b, nlbwmon.OrderLittle)
		for name, r := range map[string]io.Reader{
			"one byte": iotest.OneByteReader(bytes.NewReader(b)),
			"half":     iotest.HalfReader(bytes.NewReader(b)),
			"data+err": iotest.DataErrReader(bytes.NewReader(b)),
		} {
			d, err := nlbwmon.NewDecoder(r, nlbwmon.OrderGuess)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := collect(d); err != nil || !slices.Equal(got, want) {
				t.Errorf("%s, %s: got %d rows, %v", path, name, len(got), err)
			}
		}
	}
}

// However a file is cut, the rows before the cut come first.
func TestDecodeCutAnywhere(t *testing.T) {
	recs := nlbwmontest.Generate(5, 1)
	for _, compact := range []bool{false, true} {
		h := nlbwmontest.MonthlyHeader(20261101)
		h.Compact = compact
		var whole bytes.Buffer
		if err := nlbwmon.Encode(&whole, h, nlbwmon.OrderBig, recs); err != nil {
			t.Fatal(err)
		}
		h.Entries = 5
		recordSize := int(h.Size()-(nlbwmon.Header{Compact: compact}).Size()) / 5
		for n := range whole.Len() {
			want := max(0, n-(whole.Len()-5*recordSize)) / recordSize
			d, err := nlbwmon.NewDecoder(bytes.NewReader(whole.Bytes()[:n]), nlbwmon.OrderBig)
			var got []usage.Record
			if err == nil {
				got, err = collect(d)
			}
			kind := nlbwmon.ErrTruncated
			if n == 0 {
				kind = nlbwmon.ErrEmpty
			}
			if !errors.Is(err, kind) || len(got) != want {
				t.Fatalf("compact %t, cut at %d: got %d rows and %v, want %d and %v", compact, n, len(got), err, want, kind)
			}
		}
	}
}

// gzip is read as zlib does: bytes after the last member are not looked at,
// a further member is.
func TestDecodeGzipMembers(t *testing.T) {
	recs := nlbwmontest.Generate(3, 1)
	var plain, first, second bytes.Buffer
	if err := nlbwmon.Encode(&plain, nlbwmontest.MonthlyHeader(20261101), nlbwmon.OrderBig, recs); err != nil {
		t.Fatal(err)
	}
	for w, b := range map[*bytes.Buffer][]byte{&first: plain.Bytes()[:100], &second: plain.Bytes()[100:]} {
		z := gzip.NewWriter(w)
		_, _ = z.Write(b)
		_ = z.Close()
	}
	both := slices.Concat(first.Bytes(), second.Bytes())
	for _, tt := range []struct {
		name string
		in   []byte
		rows int
		want error
	}{
		{"two members", both, 3, nil},
		{"garbage behind", append(slices.Clone(both), "xyz"...), 3, nil},
		{"zeros behind", append(slices.Clone(both), make([]byte, 600)...), 3, nil},
		{"member begins", append(slices.Clone(both), 0x1f, 0x8b), 3, nlbwmon.ErrTruncated},
		{"bad member", append(slices.Clone(both), "\x1f\x8b\x07\x00\x00\x00\x00\x00\x00\x00\x00\x00"...), 3, nlbwmon.ErrChecksum},
		{"second missing", first.Bytes(), 0, nlbwmon.ErrTruncated},
		{"second cut", both[:len(both)-3], 3, nlbwmon.ErrTruncated},
	} {
		d, err := nlbwmon.NewDecoder(bytes.NewReader(tt.in), nlbwmon.OrderBig)
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		got, err := collect(d)
		if len(got) != tt.rows || !errors.Is(err, tt.want) {
			t.Errorf("%s: got %d rows and %v, want %d and %v", tt.name, len(got), err, tt.rows, tt.want)
		}
	}
}

// A read error is passed on with what was read before it.
func TestDecodeReadError(t *testing.T) {
	var b bytes.Buffer
	if err := nlbwmon.Encode(&b, nlbwmontest.MonthlyHeader(20261101), nlbwmon.OrderBig, nlbwmontest.Generate(3, 1)); err != nil {
		t.Fatal(err)
	}
	broken := fmt.Errorf("disk: %w", os.ErrClosed)
	d, err := nlbwmon.NewDecoder(io.MultiReader(bytes.NewReader(b.Bytes()[:200]), iotest.ErrReader(broken)), nlbwmon.OrderGuess)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := collect(d)
	var data *nlbwmon.DataError
	if !errors.Is(err, os.ErrClosed) || !errors.As(err, &data) || data.Rows != 2 || len(recs) != 2 {
		t.Errorf("got %d rows and %v", len(recs), err)
	}
	if again := d.Next(new(usage.Record)); again != err {
		t.Errorf("got %v at the second call, want the same error", again)
	}
}

func TestDecodeDoesNotAllocatePerRow(t *testing.T) {
	var b bytes.Buffer
	if err := nlbwmon.Encode(&b, nlbwmontest.MonthlyHeader(20261101), nlbwmon.OrderLittle, nlbwmontest.Generate(1000, 1)); err != nil {
		t.Fatal(err)
	}
	d, err := nlbwmon.NewDecoder(bytes.NewReader(b.Bytes()), nlbwmon.OrderGuess)
	if err != nil {
		t.Fatal(err)
	}
	var rec usage.Record
	if n := testing.AllocsPerRun(900, func() {
		if err := d.Next(&rec); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("got %v allocations per row, want 0", n)
	}
}

// readAll reads to the end or the first fault and keeps nothing.
func readAll(src nlbwmon.Rows) error {
	var rec usage.Record
	for {
		if err := src.Next(&rec); err != nil {
			return err
		}
	}
}

// An entries field of 2^32-1 costs nothing.
func TestDecodeHugeCount(t *testing.T) {
	b := load(t, filepath.Join(recordings, "damaged/plain-entries-all-ones/20261101.db"))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	d, err := nlbwmon.NewDecoder(bytes.NewReader(b), nlbwmon.OrderGuess)
	if err != nil {
		t.Fatal(err)
	}
	if err := readAll(d); !errors.Is(err, nlbwmon.ErrTruncated) {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	if allocated > 256<<10 {
		t.Errorf("got %d bytes allocated, want at most 256 KiB", allocated)
	}
}

// Generated rows survive each layout and order.
func TestEncodeDecode(t *testing.T) {
	recs := nlbwmontest.Generate(1000, 7)
	for _, order := range []nlbwmon.AddrOrder{nlbwmon.OrderLittle, nlbwmon.OrderBig} {
		for _, compact := range []bool{false, true} {
			h := nlbwmontest.MonthlyHeader(20261101)
			h.Compact = compact
			var b bytes.Buffer
			if err := nlbwmon.Encode(&b, h, order, recs); err != nil {
				t.Fatal(err)
			}
			got, back := decode(t, b.Bytes(), nlbwmon.OrderGuess)
			h.Entries = 1000
			if got != h || !maps.Equal(counted(back), counted(recs)) {
				t.Errorf("%v, compact %t: got header %+v, rows equal %t", order, compact, got, slices.Equal(back, recs))
			}
		}
	}
}
