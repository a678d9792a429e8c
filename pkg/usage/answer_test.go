package usage_test

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

var update = flag.Bool("update", false, "write the golden files anew")

const recordings = "../nlbwmon/testdata/recordings/"

func recordedRows(t *testing.T, path string) []usage.Record {
	t.Helper()
	f, err := nlbwmon.OpenFile(recordings+path, nlbwmon.OrderLittle)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var rows []usage.Record
	for {
		var r usage.Record
		switch err := f.Next(&r); {
		case err == nil:
			rows = append(rows, r)
		case errors.Is(err, io.EOF):
			return rows
		default:
			t.Fatal(err)
		}
	}
}

// Each view of real rows, in each format, is as it was when a person last
// looked at it: go test -update writes the files anew.
func TestGolden(t *testing.T) {
	rows := recordedRows(t, "live-lab/db/20261101.db")
	lost := row(usage.MAC{}, "192.168.77.200", 17, 123, 76, 76)
	rows = append(rows, lost)
	names := people{
		{0x02, 0x77, 0, 0, 0, 0x11}: {"laptop", []netip.Addr{netip.MustParseAddr("192.168.77.101")}},
		{0x02, 0x77, 0, 0, 0, 0x12}: {"=phone", nil},
	}
	known, err := nlbwmon.LoadProtocols(recordings + "protocols")
	if err != nil {
		t.Fatal(err)
	}
	for _, view := range views {
		a := answerOf(rows, view, names, known)
		for format, write := range map[string]func(io.Writer) error{".json": a.WriteJSON, ".csv": a.WriteCSV, ".txt": a.WriteTable} {
			var got bytes.Buffer
			if err := write(&got); err != nil {
				t.Fatal(err)
			}
			golden(t, view.String()+format, got.Bytes())
		}
	}
	var own []usage.Record
	for _, r := range rows {
		if r.MAC == (usage.MAC{0x02, 0x77, 0, 0, 0, 0x11}) {
			own = append(own, r)
		}
	}
	a := answerOf(own, usage.ByDevice, names, known)
	a.Services = tallied(own).Services(usage.ByTotal, known)
	golden(t, "one-device.json", a.AppendDeviceJSON(nil, 1<<20))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", "answer", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s: got\n%s\nwant\n%s", path, got, want)
	}
}
