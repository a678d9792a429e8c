package source

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/sqlitetable"
	"github.com/netpilot/netpilot/pkg/usage"
)

// The columns of a table that holds usage, each by the names it goes by. A
// table needs the first three.
const (
	colMAC = iota
	colRx
	colTx
	colIP
	colHostname
	colFamily
	colProto
	colPort
	colService
	colConns
	colRxPackets
	colTxPackets
	colSeen
	numColumns
)

func columnNames() [numColumns]string {
	return [numColumns]string{
		colMAC:       "mac mac_address src_mac",
		colRx:        "bytes_rx rx_bytes in_bytes download",
		colTx:        "bytes_tx tx_bytes out_bytes upload",
		colIP:        "ip ip_address src_ip address",
		colHostname:  "hostname host name",
		colFamily:    "family",
		colProto:     "proto protocol",
		colPort:      "port dst_port",
		colService:   "layer7 service",
		colConns:     "conns connections count",
		colRxPackets: "packets_rx rx_packets rx_pkts in_pkts",
		colTxPackets: "packets_tx tx_packets tx_pkts out_pkts",
		colSeen:      "last_seen timestamp updated_at time",
	}
}

// maxHostnames bounds the names of devices, and those of services, taken from
// a file.
const maxHostnames = 10_000

// isSQLite tells whether the file at path begins as an SQLite database.
func isSQLite(path string) bool {
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() {
		return false // opening a pipe would wait for its writer
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	head := make([]byte, 16)
	_, err = io.ReadFull(f, head)
	return err == nil && string(head) == "SQLite format 3\x00"
}

// readSQLite reads the table of an SQLite file that holds usage by device.
// Rows of one device are added, as nlbwmon adds rows of one key. A row that has
// no port and names its service is one of the port that service stands for; a
// name that find does not know is "other", as every port without a name is.
func readSQLite(ctx context.Context, path string, find FindService, sink usage.Sink) (Reading, error) {
	db, err := sqlitetable.Open(path)
	if err != nil {
		return Reading{}, explainSQLite(path, err)
	}
	defer db.Close()
	table, at, err := usageTable(path, db)
	if err != nil {
		return Reading{}, err
	}
	rows, err := db.Rows(table.Name)
	if err != nil {
		return Reading{}, explainSQLite(path, err)
	}
	reading := Reading{Source: filepath.Clean(path), Table: table.Name}
	if info, err := os.Stat(path); err == nil {
		reading.AsOf = info.ModTime()
	}
	var newest time.Time
	skipped := 0
	services := make(map[string]usage.Record) // what was found, for its protocol and port
	sink.Begin(0)
	for rows.Next() {
		if ctx.Err() != nil {
			return Reading{}, context.Cause(ctx)
		}
		rec, name, seen, ok := decodeRow(rows.Values(), at)
		if !ok {
			skipped++
			continue
		}
		if name := serviceOf(rows.Values(), at); name != "" && rec.Port == 0 && find != nil {
			s, known := services[name]
			if !known && len(services) < maxHostnames {
				s.Proto, s.Port, _ = find(name)
				services[name] = s
			}
			if s.Proto != 0 && (rec.Proto == 0 || rec.Proto == s.Proto) {
				rec.Proto, rec.Port = s.Proto, s.Port
			}
		}
		sink.Add(&rec)
		if seen.After(newest) {
			newest = seen
		}
		if name != "" && len(reading.Hostnames) < maxHostnames {
			if reading.Hostnames == nil {
				reading.Hostnames = make(map[usage.MAC]string)
			}
			reading.Hostnames[rec.MAC] = name
		}
	}
	if !newest.IsZero() {
		reading.AsOf = newest
	}
	if err := rows.Err(); err != nil {
		reading.Damage = explainSQLite(path, err)
	} else if skipped > 0 {
		reading.Damage = usage.Errorf(usage.Unavailable, "%s: %d rows of table %s have no MAC or no whole byte counts and were left out",
			path, skipped, usage.Clean(table.Name, 64))
	}
	return reading, nil
}

// usageTable finds the table whose columns tell usage: the one with most of
// them, the first of equals. at is where each column stands, -1 for none.
func usageTable(path string, db *sqlitetable.DB) (best sqlitetable.Table, at [numColumns]int, err error) {
	names, most := columnNames(), 0
	var seen []string
	var broken error
	for _, t := range db.Tables() {
		if len(seen) < 8 {
			seen = append(seen, usage.Clean(t.Name, 40))
		}
		var found [numColumns]int
		n := 0
		for c := range found {
			found[c] = -1
			for name := range strings.FieldsSeq(names[c]) {
				i := slices.IndexFunc(t.Columns, func(col sqlitetable.Column) bool { return strings.EqualFold(col.Name, name) })
				if i >= 0 {
					found[c] = i
					n++
					break
				}
			}
		}
		if t.Err != nil { // WITHOUT ROWID, a view: what stands in it is not known
			if broken == nil {
				broken = t.Err
			}
			continue
		}
		if found[colMAC] < 0 || found[colRx] < 0 || found[colTx] < 0 {
			continue
		}
		if n > most {
			best, at, most = t, found, n
		}
	}
	switch {
	case most > 0:
		return best, at, nil
	case broken != nil:
		return best, at, explainSQLite(path, broken)
	}
	return best, at, usage.Errorf(usage.Unavailable, "%s is an SQLite database without a table of usage: it takes columns mac, bytes_rx and bytes_tx (tables: %s)",
		path, strings.Join(seen, ", "))
}

// explainSQLite names the file; what to do stands in the error.
func explainSQLite(path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return err // names the path
	}
	return usage.Errorf(usage.Unavailable, "%s: %w", path, err)
}

// serviceOf is the service that a row names, "" for none.
func serviceOf(values []sqlitetable.Value, at [numColumns]int) string {
	if i := at[colService]; i >= 0 && i < len(values) {
		text, _ := values[i].Text()
		return usage.Clean(strings.TrimSpace(text), usage.MaxName)
	}
	return ""
}

// decodeRow makes a record of a row; false if it has no device or no counts.
func decodeRow(values []sqlitetable.Value, at [numColumns]int) (rec usage.Record, hostname string, seen time.Time, ok bool) {
	value := func(c int) sqlitetable.Value {
		if i := at[c]; i >= 0 && i < len(values) {
			return values[i]
		}
		return sqlitetable.Value{}
	}
	number := func(c int) (uint64, bool) { return wholeNumber(value(c)) }
	text, _ := value(colMAC).Text()
	mac, err := usage.ParseMAC(text)
	if err != nil {
		return rec, "", seen, false
	}
	rec.MAC = mac
	rx, okRx := number(colRx)
	tx, okTx := number(colTx)
	if !okRx || !okTx {
		return rec, "", seen, false
	}
	rec.RxBytes, rec.TxBytes = rx, tx
	rec.Conns, _ = number(colConns)
	rec.RxPackets, _ = number(colRxPackets)
	rec.TxPackets, _ = number(colTxPackets)
	if n, ok := number(colPort); ok && n <= math.MaxUint16 {
		rec.Port = uint16(n)
	}
	rec.Proto = protoOf(value(colProto))
	if n, ok := number(colFamily); ok && (n == 6 || n == usage.FamilyIPv6) {
		rec.Family = usage.FamilyIPv6
	} else if ok {
		rec.Family = usage.FamilyIPv4
	}
	if text, ok := value(colIP).Text(); ok {
		if addr, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			rec.SetIP(addr.Unmap().WithZone(""))
		}
	}
	if text, ok := value(colHostname).Text(); ok {
		hostname = usage.Clean(text, usage.MaxName)
	}
	return rec, hostname, timeOf(value(colSeen)), true
}

// wholeNumber reads a count from 0 up, stored as a number or as its text.
// Nothing else is a count: not 1.5, not -1.
func wholeNumber(v sqlitetable.Value) (uint64, bool) {
	if n, ok := v.Int(); ok {
		return uint64(n), n >= 0
	}
	if f, ok := v.Real(); ok && f >= 0 && f < 1<<63 && f == math.Trunc(f) {
		return uint64(f), true
	}
	if s, ok := v.Text(); ok {
		n, err := strconv.ParseUint(strings.TrimSpace(s), 10, 64)
		return n, err == nil
	}
	return 0, false
}

func protoOf(v sqlitetable.Value) uint8 {
	if n, ok := wholeNumber(v); ok && n <= math.MaxUint8 {
		return uint8(n)
	}
	s, _ := v.Text()
	switch strings.ToLower(s) {
	case "tcp":
		return 6
	case "udp":
		return 17
	case "icmp":
		return 1
	}
	return 0
}

// timeOf reads a time as programs store it in SQLite: seconds or milliseconds
// since 1970, or a date and time (in UTC, as SQLite's own functions write it).
func timeOf(v sqlitetable.Value) time.Time {
	if n, ok := wholeNumber(v); ok {
		switch {
		case n == 0 || n > 1<<42: // beyond the year 2109 in ms
			return time.Time{}
		case n > 1<<33: // beyond the year 2242 in s
			return time.UnixMilli(int64(n))
		}
		return time.Unix(int64(n), 0)
	}
	s, _ := v.Text()
	for _, layout := range []string{time.RFC3339, time.DateTime, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t
		}
	}
	return time.Time{}
}
