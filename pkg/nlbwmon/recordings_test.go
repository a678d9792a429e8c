package nlbwmon_test

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// recordings are files and answers of the real nlbwmon and nlbw.
const recordings = "testdata/recordings"

// glob finds recorded files and fails if there are none.
func glob(t testing.TB, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(recordings, filepath.FromSlash(pattern)))
	if err != nil || len(files) == 0 {
		t.Fatalf("no recording matches %s (%v)", pattern, err)
	}
	return files
}

// orderOf is the byte order of a recorded file's router.
func orderOf(path string) nlbwmon.AddrOrder {
	if strings.Contains(path, "mips-be") {
		return nlbwmon.OrderBig
	}
	return nlbwmon.OrderLittle
}

// load reads path, or path.gz unpacked.
func load(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		b, err = os.ReadFile(path + ".gz")
	}
	if err != nil {
		t.Fatal(err)
	}
	return unzip(t, b)
}

// unzip unpacks b if it is gzip.
func unzip(t testing.TB, b []byte) []byte {
	t.Helper()
	if !bytes.HasPrefix(b, []byte{0x1f, 0x8b}) {
		return b
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if b, err = io.ReadAll(z); err != nil {
		t.Fatal(err)
	}
	return b
}

// collect reads all rows up to the end or the first fault.
func collect(src nlbwmon.Rows) ([]usage.Record, error) {
	var recs []usage.Record
	for {
		var rec usage.Record
		switch err := src.Next(&rec); err {
		case nil:
			recs = append(recs, rec)
		case io.EOF:
			return recs, nil
		default:
			return recs, err
		}
	}
}

// decode reads a whole database and wants it to be good.
func decode(t testing.TB, b []byte, order nlbwmon.AddrOrder) (nlbwmon.Header, []usage.Record) {
	t.Helper()
	d, err := nlbwmon.NewDecoder(bytes.NewReader(b), order)
	if err != nil {
		t.Fatal(err)
	}
	recs, err := collect(d)
	if err != nil {
		t.Fatal(err)
	}
	return d.Header(), recs
}

// readTSV reads logical records: family proto port mac ip conns rx_bytes
// rx_pkts tx_bytes tx_pkts.
func readTSV(t testing.TB, path string) []usage.Record {
	t.Helper()
	r := csv.NewReader(bytes.NewReader(load(t, path)))
	r.Comma = '\t'
	lines, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	number := func(s string) uint64 {
		n, err := strconv.ParseUint(s, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return n
	}
	var recs []usage.Record
	for _, f := range lines[1:] {
		mac, err := usage.ParseMAC(f[3])
		if err != nil {
			t.Fatal(err)
		}
		rec := usage.Record{
			Proto: uint8(number(f[1])), Port: uint16(number(f[2])), MAC: mac, Conns: number(f[5]),
			RxBytes: number(f[6]), RxPackets: number(f[7]), TxBytes: number(f[8]), TxPackets: number(f[9]),
		}
		rec.SetIP(netip.MustParseAddr(f[4]))
		recs = append(recs, rec)
	}
	return recs
}

// counted is a set of records that may hold one twice.
func counted(recs []usage.Record) map[usage.Record]int {
	m := make(map[usage.Record]int)
	for _, r := range recs {
		m[r]++
	}
	return m
}
