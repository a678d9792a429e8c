//go:build amd64 || arm64

package source

import (
	"database/sql"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // writes the files; the agent has no engine

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/sqlitetable"
	"github.com/netpilot/netpilot/pkg/usage"
)

// newSQLite writes a file with SQLite itself.
func newSQLite(t *testing.T, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nlbw.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := db.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	return path
}

func record(mac, ip string, rx, tx uint64) usage.Record {
	r := usage.Record{RxBytes: rx, TxBytes: tx}
	r.MAC, _ = usage.ParseMAC(mac)
	if ip != "" {
		r.SetIP(netip.MustParseAddr(ip))
	}
	return r
}

func of(r usage.Record, proto uint8, port uint16) usage.Record {
	r.Proto, r.Port = proto, port
	return r
}

func TestSQLite(t *testing.T) {
	const a, b = "02:77:00:00:00:01", "02:77:00:00:00:02"
	full := record(a, "192.168.1.2", 10, 20)
	full.Proto, full.Port, full.Conns, full.RxPackets, full.TxPackets = 6, 443, 3, 4, 5
	six := record(b, "fd00::1", 1<<62, 0)
	for _, tt := range []struct {
		name   string
		sql    []string
		want   []usage.Record
		names  map[usage.MAC]string
		damage string
	}{
		{"plan's names", []string{
			"CREATE TABLE devices (id INTEGER PRIMARY KEY, mac_address TEXT, hostname TEXT, ip TEXT, download INTEGER, upload INTEGER, last_seen TEXT)",
			"INSERT INTO devices VALUES (1, '" + a + "', 'lap' || char(27) || 'top', '192.168.1.2', 10, 20, '2026-11-23 12:00:00')",
		}, []usage.Record{record(a, "192.168.1.2", 10, 20)}, map[usage.MAC]string{full.MAC: "laptop"}, ""},
		{"every column, numbers as text", []string{
			"CREATE TABLE t (MAC, bytes_rx, bytes_tx, ip, family, proto, port, conns, packets_rx, packets_tx, timestamp)",
			"INSERT INTO t VALUES ('" + a + "', '10', 20.0, '192.168.1.2', 4, 'TCP', 443, 3, 4, 5, 1795435200)",
			"INSERT INTO t VALUES ('" + b + "', 4611686018427387904, 0, 'fd00::1', 6, 'other', 99999, NULL, NULL, NULL, NULL)",
		}, []usage.Record{full, six}, nil, ""},
		{"the table with most of it", []string{
			"CREATE TABLE settings (k, v)",
			"CREATE TABLE less (mac, rx_bytes, tx_bytes)", "INSERT INTO less VALUES ('" + a + "', 1, 1)",
			"CREATE TABLE more (src_mac, in_bytes, out_bytes, ip)", "INSERT INTO more VALUES ('" + a + "', 10, 20, '192.168.1.2')",
		}, []usage.Record{record(a, "192.168.1.2", 10, 20)}, nil, ""},
		{"rows that are none", []string{
			"CREATE TABLE t (mac, rx_bytes, tx_bytes, ip)",
			"INSERT INTO t VALUES (NULL, 1, 1, ''), ('" + a + "', -1, 1, ''), ('" + a + "', 1.5, 1, ''), ('x', 1, 1, ''), ('" + a + "', 10, 20, 'nowhere')",
		}, []usage.Record{record(a, "", 10, 20)}, nil, "4 rows of table t"},
		{"services by name", []string{
			"CREATE TABLE t (mac, rx_bytes, tx_bytes, ip, proto, port, layer7)",
			"INSERT INTO t VALUES ('" + a + "', 10, 20, '192.168.1.2', NULL, NULL, 'HTTPS'), ('" + a + "', 1, 2, NULL, NULL, NULL, 'Unheard-of')," +
				"('" + a + "', 3, 4, NULL, 'udp', 0, 'HTTPS'), ('" + a + "', 5, 6, NULL, 17, 8080, 'HTTPS'), ('" + a + "', 7, 8, NULL, NULL, 0, 'ICMP'), ('" + a + "', 9, 9, NULL, NULL, NULL, NULL)",
		}, []usage.Record{of(record(a, "192.168.1.2", 10, 20), 6, 443), record(a, "", 1, 2), of(record(a, "", 3, 4), 17, 0), of(record(a, "", 5, 6), 17, 8080),
			of(record(a, "", 7, 8), 1, 0), record(a, "", 9, 9)}, nil, ""},
		{"no rows", []string{"CREATE TABLE t (mac, rx_bytes, tx_bytes)"}, nil, nil, ""},
		{"in the write-ahead log", []string{
			"PRAGMA journal_mode=WAL", "CREATE TABLE t (mac, rx_bytes, tx_bytes, ip)", "INSERT INTO t VALUES ('" + a + "', 10, 20, '192.168.1.2')",
		}, []usage.Record{record(a, "192.168.1.2", 10, 20)}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := newSQLite(t, tt.sql...)
			var got rowList
			r := &Router{Service: func(name string) (uint8, uint16, bool) {
				at, ok := map[string][2]int{"HTTPS": {6, 443}, "ICMP": {1, 0}}[name]
				return uint8(at[0]), uint16(at[1]), ok
			}}
			reading, err := r.Read(t.Context(), Request{Source: path}, &got)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.rows, tt.want) || !reflect.DeepEqual(reading.Hostnames, tt.names) {
				t.Errorf("got %+v, %v, want %+v, %v", got.rows, reading.Hostnames, tt.want, tt.names)
			}
			if reading.Source != path || reading.Rows != len(tt.want) || reading.AsOf.IsZero() {
				t.Errorf("got %+v", reading)
			}
			if text := errText(reading.Damage); tt.damage == "" && text != "" || !strings.Contains(text, tt.damage) {
				t.Errorf("got %q, want %q", text, tt.damage)
			}
		})
	}
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// TestSQLiteFaults: what cannot be read says why and what to do.
func TestSQLiteFaults(t *testing.T) {
	const table = "CREATE TABLE t (mac PRIMARY KEY, rx_bytes, tx_bytes)"
	row := "INSERT INTO t VALUES ('02:77:00:00:00:01', 1, 2)"
	for _, tt := range []struct {
		name  string
		sql   []string
		spoil func(t *testing.T, path string)
		want  error
		text  string
	}{
		{"no such table", []string{"CREATE TABLE other (a, b)"}, nil, nil, "without a table of usage: it takes columns mac, bytes_rx and bytes_tx (tables: other)"},
		{"without rowid", []string{table + " WITHOUT ROWID", row}, nil, nil, "WITHOUT ROWID"},
		{"hot journal", []string{table, row}, func(t *testing.T, path string) {
			// A head that says it belongs to this file (fileformat2.html, section 3).
			journal := append([]byte("\xd9\xd5\x05\xf9\x20\xa1\x63\xd7\x00\x00\x00\x01"), make([]byte, 8192)...)
			if err := os.WriteFile(path+"-journal", journal, 0o644); err != nil {
				t.Fatal(err)
			}
		}, sqlitetable.ErrHotJournal, ""},
		{"cut off", []string{table, row}, func(t *testing.T, path string) {
			if err := os.Truncate(path, 600); err != nil {
				t.Fatal(err)
			}
		}, sqlitetable.ErrTruncated, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := newSQLite(t, tt.sql...)
			if tt.spoil != nil {
				tt.spoil(t, path)
			}
			reading, err := new(Router).Read(t.Context(), Request{Source: path}, &rowList{})
			err = errors.Join(err, reading.Damage)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.text) || !strings.Contains(err.Error(), path) {
				t.Errorf("got %v, want %v %q with the path", err, tt.want, tt.text)
			}
		})
	}
}

// TestSQLiteInOrder: the SQLite file answers when nlbwmon does not, is named,
// and never stands in for nlbwmon's own table, whose differences the ledger
// books.
func TestSQLiteInOrder(t *testing.T) {
	l := newLab(t, nil)
	l.SQLitePath = newSQLite(t, "CREATE TABLE t (mac, rx_bytes, tx_bytes)", "INSERT INTO t VALUES ('02:77:00:00:00:01', 1, 2)")
	read := func(source string, want string) {
		t.Helper()
		reading, err := l.Read(t.Context(), Request{Source: source}, &rowList{})
		if want == "" && usage.KindOf(err) != usage.Unavailable || want != "" && (err != nil || reading.Source != want) {
			t.Errorf("%s: got %+v, %v, want %q", source, reading, err, want)
		}
	}
	read(Auto, Snapshot)
	read(SQLite, SQLite)
	if err := l.Daemon.Close(); err != nil {
		t.Fatal(err)
	}
	l.SnapshotPath, l.NlbwPath = l.SnapshotPath+".gone", l.NlbwPath+".gone"
	read(Auto, SQLite)
	read(Nlbwmon, "")
	l.SQLitePath += ".gone"
	reading, err := l.Read(t.Context(), Request{}, &rowList{})
	if usage.KindOf(err) != usage.Unavailable || len(reading.Tried) != 3 {
		t.Errorf("got %v, %d tried, want nothing said of a file hardly any router has", err, len(reading.Tried))
	}
	if _, err := l.Read(t.Context(), Request{Source: SQLite}, &rowList{}); usage.KindOf(err) != usage.NotFound {
		t.Errorf("got %v, want not found", err)
	}
	if _, err := l.Read(t.Context(), Request{Source: SQLite, Period: nlbwmon.Period(20261101)}, &rowList{}); usage.KindOf(err) != usage.Invalid {
		t.Errorf("got %v, want invalid", err)
	}
}
