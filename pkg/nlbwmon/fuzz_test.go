package nlbwmon_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
)

// seed adds the small ones of the recorded files.
func seed(f *testing.F, patterns ...string) {
	f.Helper()
	for _, pattern := range patterns {
		for _, path := range glob(f, pattern) {
			b, err := os.ReadFile(path)
			if err != nil {
				f.Fatal(err)
			}
			if len(b) < 4096 {
				f.Add(b)
			}
		}
	}
}

// Whatever the bytes, rows are bounded by them, errors are typed, and what was
// read encodes and decodes to itself.
func FuzzDecoder(f *testing.F) {
	seed(f, "*/db/*", "arch/*/db/*", "damaged/*/2026*")
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, order := range []nlbwmon.AddrOrder{nlbwmon.OrderGuess, nlbwmon.OrderLittle, nlbwmon.OrderBig} {
			d, err := nlbwmon.NewDecoder(bytes.NewReader(b), order)
			if err != nil {
				wantDataError(t, err)
				continue
			}
			recs, err := collect(d)
			wantDataError(t, err)
			h := d.Header()
			// deflate packs at most 1032 bytes into one.
			if uint64(len(recs)) > uint64(h.Entries) || len(recs)*68 > 1032*len(b)+68 {
				t.Fatalf("got %d rows from %d bytes", len(recs), len(b))
			}
			if err == nil && len(recs) != int(h.Entries) {
				t.Fatalf("got %d rows of %d and no error", len(recs), h.Entries)
			}
			order, _ := d.Order()
			var out bytes.Buffer
			if err := nlbwmon.Encode(&out, h, order, recs); err != nil {
				t.Fatal(err)
			}
			h.Entries = uint32(len(recs))
			if again, back := decode(t, out.Bytes(), order); again != h || !slices.Equal(back, recs) {
				t.Fatalf("got %+v %v back, want %+v %v", again, back, h, recs)
			}
			if bytes.HasPrefix(b, out.Bytes()) && d.Trailing() != int64(len(b)-out.Len()) && err == nil {
				t.Fatalf("got %d trailing bytes of %d", d.Trailing(), len(b))
			}
		}
	})
}

// wantDataError allows no other error.
func wantDataError(t *testing.T, err error) {
	t.Helper()
	var data *nlbwmon.DataError
	if err != nil && (!errors.As(err, &data) || err.Error() == "") {
		t.Fatalf("got %T %v", err, err)
	}
}

func fuzzText(f *testing.F, open string) {
	f.Fuzz(func(t *testing.T, b []byte) {
		src, err := openText(t, open, b)
		wantDataError(t, err)
		if err != nil {
			return
		}
		recs, err := collect(src)
		wantDataError(t, err)
		if len(recs)*12 > len(b) {
			t.Fatalf("got %d rows from %d bytes", len(recs), len(b))
		}
		if len(src.Layer7()) > len(b) {
			t.Fatalf("got name %q", src.Layer7())
		}
	})
}

func FuzzJSON(f *testing.F) {
	seed(f, "*/nlbw-*/json*.out", "arch/*/nlbw/json*.out")
	fuzzText(f, "json")
}

func FuzzCSV(f *testing.F) {
	seed(f, "*/nlbw-*/csv*.out", "arch/*/nlbw/csv*.out", "damaged/*/*.out")
	fuzzText(f, "csv")
}

// Names are bounded, and a table written line by line is read back.
func FuzzProtocols(f *testing.F) {
	seed(f, "protocols", "odd-protocols/protocols")
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := nlbwmon.ParseProtocols(bytes.NewReader(b))
		if err != nil {
			t.Fatal(err)
		}
		if p.Len()*5 > len(b)+1 {
			t.Fatalf("got %d entries from %d bytes", p.Len(), len(b))
		}
		var again bytes.Buffer
		for key, name := range nlbwmon.NamesOf(p) {
			if name == "" || len(name) > 32 || strings.ContainsAny(name, "\n\x00") {
				t.Fatalf("got name %q", name)
			}
			if got, ok := p.Lookup(uint8(key>>16), uint16(key)); !ok || got != name {
				t.Fatalf("got %q, %t for %#x, want %q", got, ok, key, name)
			}
			fmt.Fprintf(&again, "%d %d %s\n", key>>16, key&0xffff, name)
		}
		back, err := nlbwmon.ParseProtocols(&again)
		if err != nil || !maps.Equal(nlbwmon.NamesOf(back), nlbwmon.NamesOf(p)) {
			t.Fatalf("got %v back, %v", nlbwmon.NamesOf(back), err)
		}
	})
}

// FuzzReply lets a daemon answer anything to all three requests.
func FuzzReply(f *testing.F) {
	seed(f, "*/raw/*.bin", "arch/*/raw/*.bin")
	path := filepath.Join(f.TempDir(), "s")
	var answer []byte
	d, err := nlbwmontest.Start(nlbwmontest.Options{Socket: path, Reply: func(string) ([]byte, bool) { return answer, true }})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = d.Close() })
	c := nlbwmon.Client{Path: path, Order: nlbwmon.OrderBig}
	f.Fuzz(func(t *testing.T, b []byte) {
		answer = b
		_, recs, err := dump(t.Context(), &c, 0)
		if err == nil && len(recs) > len(b)*1032/68 {
			t.Fatalf("got %d rows from %d bytes", len(recs), len(b))
		}
		periods, err := c.List(t.Context())
		if err != nil {
			wantDataError(t, err)
			return
		}
		var back []byte
		for _, p := range periods {
			back = binary.BigEndian.AppendUint32(back, uint32(p))
		}
		if !bytes.Equal(back, b) {
			t.Fatalf("got periods %v from % x", periods, b)
		}
	})
}
