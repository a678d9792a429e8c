package nlbwmon_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// textRows is what both text decoders offer.
type textRows interface {
	nlbwmon.Rows
	Layer7() string
}

// columns tells which key columns an output has.
type columns struct{ family, proto, port, mac, ip, layer7 bool }

var allColumns = columns{family: true, proto: true, port: true, mac: true, ip: true}

// sum groups rows as nlbw does: absent columns are zero, and an address keeps
// its family.
func sum(recs []usage.Record, c columns) []usage.Record {
	var out []usage.Record
	at := make(map[usage.Record]int)
	for _, r := range recs {
		k := usage.Record{}
		if c.family || c.ip {
			k.Family = r.Family
		}
		if c.proto {
			k.Proto = r.Proto
		}
		if c.port {
			k.Port = r.Port
		}
		if c.mac {
			k.MAC = r.MAC
		}
		if c.ip {
			k.Addr = r.Addr
		}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k] = i
			out = append(out, k)
		}
		out[i].Conns += r.Conns
		out[i].RxBytes += r.RxBytes
		out[i].RxPackets += r.RxPackets
		out[i].TxBytes += r.TxBytes
		out[i].TxPackets += r.TxPackets
	}
	return out
}

// headerColumns finds the columns of an output in its first line.
func headerColumns(b []byte) columns {
	line, _, _ := bytes.Cut(b, []byte("\n"))
	line, _, _ = bytes.Cut(line, []byte("]"))
	has := func(name string) bool { return regexp.MustCompile(`\b` + name + `\b`).Match(line) }
	return columns{has("family"), has("proto"), has("port"), has("mac"), has("ip"), has("layer7")}
}

// outputs are all recorded outputs of nlbw -c json and -c csv, which include
// those of failed commands (empty).
func outputs(t testing.TB) []string {
	return slices.Concat(glob(t, "*/nlbw-*/json*.out*"), glob(t, "*/nlbw-*/csv*.out*"),
		glob(t, "arch/*/nlbw/json*.out"), glob(t, "arch/*/nlbw/csv*.out"))
}

func openText(t testing.TB, path string, b []byte) (textRows, error) {
	t.Helper()
	if strings.HasPrefix(filepath.Base(path), "json") {
		return nlbwmon.NewJSONDecoder(bytes.NewReader(b))
	}
	d, err := nlbwmon.NewCSVDecoder(bytes.NewReader(b))
	if err == nil && strings.Contains(path, "squote") {
		d.Escape = '\\'
	}
	return d, err
}

// Every recorded output says the same as the dump of the same period.
func TestTextAgreesWithDump(t *testing.T) {
	date := regexp.MustCompile(`-t-(2026\d{4})`)
	read := 0
	for _, path := range outputs(t) {
		if strings.HasSuffix(path, ".err") {
			continue
		}
		scenario := filepath.Dir(filepath.Dir(path))
		b := load(t, path)
		src, err := openText(t, path, b)
		if len(b) == 0 {
			if !errors.Is(err, nlbwmon.ErrEmpty) {
				t.Errorf("%s: got %v, want ErrEmpty", path, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", path, err)
			continue
		}
		dump := "dump0.bin"
		if m := date.FindStringSubmatch(path); m != nil {
			dump = "dump-" + m[1] + ".bin"
		} else if strings.Contains(path, "t-prev") {
			dump = "dump-20261001.bin"
		}
		_, recs := decode(t, load(t, filepath.Join(scenario, "raw", dump)), orderOf(path))
		cols := headerColumns(b)
		want := counted(sum(recs, cols))
		got := make(map[usage.Record]int)
		protocols := protocolsOf(t, scenario)
		for {
			var rec usage.Record
			if err = src.Next(&rec); err != nil {
				break
			}
			got[rec]++
			if name, _ := protocols.Lookup(rec.Proto, rec.Port); cols.layer7 && name != src.Layer7() {
				t.Errorf("%s: got name %q for %d/%d, want %q", path, src.Layer7(), rec.Proto, rec.Port, name)
			}
		}
		var data *nlbwmon.DataError
		if errors.As(err, &data) {
			t.Errorf("%s: %v", path, err)
		}
		if !maps.Equal(got, want) {
			t.Errorf("%s: rows differ:\n got %v\nwant %v", path, got, want)
		}
		read++
	}
	if read < 450 {
		t.Errorf("only %d outputs were compared", read)
	}
}

func protocolsOf(t testing.TB, scenario string) *nlbwmon.Protocols {
	t.Helper()
	path := filepath.Join(scenario, "protocols")
	if _, err := os.Stat(path); err != nil {
		path = filepath.Join(recordings, "protocols")
	}
	p, err := nlbwmon.LoadProtocols(path)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// The recording with odd names is really no valid JSON.
func TestOddProtocolsAreNotJSON(t *testing.T) {
	if json.Valid(load(t, recordings+"/odd-protocols/nlbw-musl/json.out")) {
		t.Error("got valid JSON, want none: the test is moot")
	}
}

// nlbw prints an unknown family as 6 with the address of the row before.
func TestTextUnknownFamily(t *testing.T) {
	d, err := nlbwmon.NewCSVDecoder(bytes.NewReader(load(t, recordings+"/damaged/plain-unknown-family/old-csv.out")))
	if err != nil {
		t.Fatal(err)
	}
	recs, err := collect(d)
	if err != nil || len(recs) != 3 {
		t.Fatalf("got %d rows, %v", len(recs), err)
	}
	if recs[1].Family != usage.FamilyIPv6 || recs[1].Addr != [16]byte{} || recs[0].IP().String() != "192.168.9.3" {
		t.Errorf("got %+v", recs[1])
	}
}

func TestTextFaults(t *testing.T) {
	const columns = `{"columns":["mac","conns","rx_bytes","rx_pkts","tx_bytes","tx_pkts"],"data":[`
	const row = `["02:77:00:00:00:11",1,2,3,4,5]`
	const head = "mac\tconns\trx_bytes\trx_pkts\ttx_bytes\ttx_pkts\n"
	const line = "02:77:00:00:00:11\t1\t2\t3\t4\t5\n"
	for _, tt := range []struct {
		in   string
		rows int
		want error
	}{
		{columns + `]}`, 0, nil},
		{columns + row + "]}\n", 1, nil},
		{columns + row + `]}x`, 1, nlbwmon.ErrTrailing},
		{columns + row + `,` + row + `]}`, 2, nil},
		{columns + row + row + `]}`, 1, nlbwmon.ErrSyntax},
		{columns + row + `,]}`, 1, nlbwmon.ErrSyntax},
		{columns + `,` + row + `]}`, 0, nlbwmon.ErrSyntax},
		{columns + row + `]`, 1, nlbwmon.ErrTruncated},
		{columns + row + `,` + row[:20], 1, nlbwmon.ErrTruncated},
		{columns + `["02:77:00:00:00:11",-1,2,3,4,5]]}`, 0, nlbwmon.ErrSyntax},
		{columns + `["02:77:00:00:00:11",18446744073709551616,2,3,4,5]]}`, 0, nlbwmon.ErrSyntax},
		{columns + `["02:77",1,2,3,4,5]]}`, 0, nlbwmon.ErrSyntax},
		{columns + `["` + strings.Repeat("x", 100) + `",1,2,3,4,5]]}`, 0, nlbwmon.ErrSyntax},
		{columns[:30], 0, nlbwmon.ErrTruncated},
		{`{"columns":["conns","mac"],"data":[]}`, 0, nlbwmon.ErrSyntax},
		{`{"columns":["conns","conns"],"data":[]}`, 0, nlbwmon.ErrSyntax},
		{`{"columns":["bogus"],"data":[]}`, 0, nlbwmon.ErrSyntax},
		{`{"columns":["family"],"data":[[4],[6]]}`, 2, nil},
		{`{"columns":["family"],"data":[[4],[5]]}`, 1, nlbwmon.ErrSyntax},
		{`{"columns":["port"],"data":[[65535],[65536]]}`, 1, nlbwmon.ErrSyntax},
		{`{"columns":["proto"],"data":[["   unspec."],["FOO"]]}`, 1, nlbwmon.ErrSyntax},
		{`{"columns":["ip"],"data":[["::1"],["10.0.0.1"],[""],["fe80::1%eth0"]]}`, 3, nlbwmon.ErrSyntax},
		{`{"columns":["family","ip"],"data":[[6,"10.0.0.1"],[6,"::1"],[4,"::1"]]}`, 2, nlbwmon.ErrSyntax},
		{`{"columns":["family","ip"],"data":[[6,""],[4,""]]}`, 1, nlbwmon.ErrSyntax},
		{`{"columns":["layer7"],"data":[[null],["a"b],["],["x"]]}`, 3, nil},
		{`{"columns":["layer7"],"data":[["a"],"]]}`, 1, nil}, // named a"],
		{`{"columns":["layer7"],"data":[["a"],"]`, 0, nlbwmon.ErrTruncated},
		{`No command specified`, 0, nlbwmon.ErrSyntax},
		{``, 0, nlbwmon.ErrEmpty},

		{head, 0, nil},
		{head + line, 1, nil},
		{strings.ReplaceAll(head+line, "\t", "\x00"), 1, nil},
		{head + line + line[:20], 1, nlbwmon.ErrTruncated},
		{head + line + "\n", 1, nlbwmon.ErrSyntax},
		{head + line[:len(line)-1] + "\t6\n", 0, nlbwmon.ErrSyntax},
		{head + strings.Replace(line, "\t5", "", 1), 0, nlbwmon.ErrSyntax},
		{head + strings.Repeat("x", 2000) + "\n", 0, nlbwmon.ErrSyntax},
		{head[:10], 0, nlbwmon.ErrTruncated},
		{"mac\n", 0, nlbwmon.ErrSyntax},
		{"'mac;\n", 0, nlbwmon.ErrSyntax},
		{"\n", 0, nlbwmon.ErrSyntax},
		{"Unrecognized command 'bogus'\n", 0, nlbwmon.ErrSyntax},
	} {
		name := "csv"
		if strings.HasPrefix(tt.in, "{") || strings.HasPrefix(tt.in, "No") {
			name = "json"
		}
		src, err := openText(t, name, []byte(tt.in))
		var recs []usage.Record
		if err == nil {
			recs, err = collect(src)
		}
		if !errors.Is(err, tt.want) || len(recs) != tt.rows {
			t.Errorf("%s %q: got %d rows and %v, want %d and %v", name, tt.in, len(recs), err, tt.rows, tt.want)
		}
	}
}
