package nlbw

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/nlbwmon/nlbwmontest"
	"github.com/netpilot/netpilot/pkg/usage"
)

// inet_ntop of musl 1.2: tables of RFC 5952 do not fit, as ties go elsewhere.
func TestAppendIPv6(t *testing.T) {
	for in, want := range map[string]string{
		"::":                            "::",
		"::1":                           "::1",
		"1::":                           "1::",
		"fd77::11":                      "fd77::11",
		"2001:db8::1":                   "2001:db8::1",
		"2001:db8:0:1:1:1:1:1":          "2001:db8:0:1:1:1:1:1", // one zero group is not worth it
		"0:1:1:1:1:1:1:1":               "0:1:1:1:1:1:1:1",
		"1:1:1:1:1:1:1:0":               "1:1:1:1:1:1:1:0",
		"0:0:1:1:1:1:1:1":               "::1:1:1:1:1:1",
		"1:1:1:1:1:1:0:0":               "1:1:1:1:1:1::",
		"2001:db8:0:0:1:0:0:1":          "2001:db8::1:0:0:1", // a tie inside: the first
		"0:0:0:1:0:0:0:1":               "0:0:0:1::1",        // 7 characters inside beat 6 at the start
		"0:0:1:0:0:1:1:1":               "0:0:1::1:1:1",
		"0:0:1:1:1:1:0:0":               "::1:1:1:1:0:0", // 4 at either end: the first
		"0:0:0:1:1:0:0:1":               "::1:1:0:0:1",   // 6 beat 5
		"1:0:0:1:1:0:0:0":               "1:0:0:1:1::",
		"0:0:0:0:1:0:0:0":               "::1:0:0:0",
		"10:0:0:100:0:0:0:1000":         "10:0:0:100::1000", // zeros at a group's end are no run
		"::ffff:192.168.77.11":          "::ffff:192.168.77.11",
		"::ffff:0.0.0.0":                "::ffff:0.0.0.0",
		"::192.168.77.11":               "::c0a8:4d0b", // compatible, not mapped
		"::fffe:192.168.77.11":          "::fffe:c0a8:4d0b",
		"64:ff9b::192.0.2.1":            "64:ff9b::c000:201",
		"FE80:0:0:0:ABCD:EF01:2345:678": "fe80::abcd:ef01:2345:678",
		"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
	} {
		got := string(appendIPv6([]byte("kept "), netip.MustParseAddr(in).As16()))
		if got != "kept "+want {
			t.Errorf("%s: got %s, want %s", in, got, want)
		}
	}
}

// The rule stands in musl's source as a regular expression: the longest match
// of (^0|:)[:0]{2,} of the full text becomes "::", the first of equals. And
// whatever it becomes is the same address.
func TestAppendIPv6ByRule(t *testing.T) {
	rule := regexp.MustCompile(`^0[:0]{2,}|:[:0]{2,}`)
	rng := rand.New(rand.NewPCG(1, 1))
	groups := []uint16{0, 0, 0, 0, 1, 0x10, 0xffff}
	for range 20_000 {
		var a [16]byte
		var full []string
		for i := range 8 {
			g := groups[rng.IntN(len(groups))]
			a[2*i], a[2*i+1] = byte(g>>8), byte(g)
			full = append(full, fmt.Sprintf("%x", g))
		}
		got := string(appendIPv6(nil, a))
		addr := netip.AddrFrom16(a)
		if netip.MustParseAddr(got) != addr {
			t.Fatalf("%v: got %s, another address", addr, got)
		}
		if addr.Is4In6() {
			continue
		}
		text := strings.Join(full, ":")
		best := []int{0, 0}
		// Matches may begin in one another, so each start is tried.
		for i := range text {
			if i > 0 && text[i] != ':' {
				continue
			}
			if m := rule.FindStringIndex(text[i:]); m != nil && m[0] == 0 && m[1] > best[1]-best[0] && (i == 0 || text[i] == ':') {
				best = []int{i, i + m[1]}
			}
		}
		want := text
		if best[1]-best[0] > 3 {
			want = text[:best[0]] + "::" + text[best[1]:]
		}
		if got != want {
			t.Fatalf("%s: got %s, want %s", text, got, want)
		}
	}
}

func TestNumber(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "       0 ", 1023: "    1023 ", 1024: "    1024 ", 1025: "   1.00 K", 1034: "   1.00 K", 1035: "   1.01 K", 2047: "   1.99 K",
		1<<20 - 1: "1023.99 K", 1 << 20: "1024.00 K", 1<<20 + 1: "   1.00 M", 1 << 30: "1024.00 M", 1<<30 + 1: "   1.00 G",
		1<<40 + 1: "   1.00 T", 1<<50 + 1: "   1.00 P", 1 << 60: "1024.00 P", 1<<60 + 1: "   1.00 E",
		// Hundredths come out of (n % unit) * 100 in 64 bits, which overflows.
		1<<60 + 1<<59: "   1.02 E", math.MaxUint64: "  15.03 E",
	} {
		p := printer{}
		p.number(n, false, "|")
		if got := string(p.buf); got != want+"|" {
			t.Errorf("%d: got %q, want %q", n, got, want)
		}
		p.buf = nil
		p.number(n, true, "|")
		if got, want := string(p.buf), fmt.Sprintf("%8d |", n); got != want {
			t.Errorf("%d plain: got %q, want %q", n, got, want)
		}
	}
}

// fakeDaemon is a router without nlbwmon: its answers are fields.
type fakeDaemon struct {
	rows      []usage.Record
	periods   []nlbwmon.Period
	reply     string
	err       error
	protocols string
	damage    error
	names     usage.Names
	asked     []string
}

func (d *fakeDaemon) Live(_ context.Context, sink usage.Sink) error { return d.serve("live", sink) }
func (d *fakeDaemon) Dump(_ context.Context, path string, p nlbwmon.Period, sink usage.Sink) error {
	return d.serve(fmt.Sprintf("dump %q %d", path, p), sink)
}
func (d *fakeDaemon) List(_ context.Context, path string) ([]nlbwmon.Period, error) {
	d.asked = append(d.asked, fmt.Sprintf("list %q", path))
	return d.periods, d.err
}
func (d *fakeDaemon) Commit(_ context.Context, path string) (string, error) {
	d.asked = append(d.asked, fmt.Sprintf("commit %q", path))
	return d.reply, d.err
}
func (d *fakeDaemon) History(_ context.Context, hours int, subject string, sink usage.Sink) error {
	return d.serve(fmt.Sprintf("history %d %s", hours, subject), sink)
}
func (d *fakeDaemon) Reset(context.Context) error {
	d.asked = append(d.asked, "reset")
	return d.err
}
func (d *fakeDaemon) File(_ context.Context, path string, sink usage.Sink) (nlbwmon.AddrOrder, error, error) {
	return nlbwmon.OrderBig, d.damage, d.serve(fmt.Sprintf("file %q", path), sink)
}
func (d *fakeDaemon) Names() usage.Names       { return d.names }
func (d *fakeDaemon) Protocols() string        { return d.protocols }
func (d *fakeDaemon) Order() nlbwmon.AddrOrder { return nlbwmon.OrderLittle }

// serve sends the first row twice, as a torn reading does that is begun anew.
func (d *fakeDaemon) serve(what string, sink usage.Sink) error {
	d.asked = append(d.asked, what)
	sink.Begin(1)
	if len(d.rows) > 0 {
		sink.Add(&d.rows[0])
	}
	sink.Begin(len(d.rows))
	for i := range d.rows {
		r := d.rows[i]
		sink.Add(&r)
		r = usage.Record{} // a sink that kept the pointer would lose the row
	}
	return d.err
}

const protocolsFile = "../../pkg/nlbwmon/testdata/recordings/protocols"

func runNlbw(t *testing.T, d *fakeDaemon, args string) (exit int, stdout, stderr string) {
	t.Helper()
	if d.protocols == "" {
		d.protocols = protocolsFile
	}
	var out, complaints bytes.Buffer
	exit = Run(t.Context(), words(args), d, &out, &complaints)
	return exit, out.String(), complaints.String()
}

// An address of a family that nlbw does not know reads like the one printed
// before: it formats into a static buffer and leaves it alone.
func TestUnknownFamilyRepeatsTheAddress(t *testing.T) {
	v4 := usage.Record{Proto: 6, Port: 80, RxBytes: 30}
	v4.SetIP(netip.MustParseAddr("10.0.0.1"))
	odd := usage.Record{Family: 7, Addr: [16]byte{9, 9, 9, 9}, Proto: 6, Port: 80, RxBytes: 20}
	v6 := usage.Record{Proto: 6, Port: 80, RxBytes: 10}
	v6.SetIP(netip.MustParseAddr("fd77::1"))
	first := odd
	first.RxBytes = 99
	first.Addr[0] = 8
	d := &fakeDaemon{rows: []usage.Record{v6, first, odd, v4}}
	_, got, _ := runNlbw(t, d, "-c json -g family,ip")
	want := `{"columns":["family","ip","conns","rx_bytes","rx_pkts","tx_bytes","tx_pkts"],"data":[[6,"",0,99,0,0,0],[4,"10.0.0.1",0,30,0,0,0],[6,"10.0.0.1",0,20,0,0,0],[6,"fd77::1",0,10,0,0,0]]}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCSVCharacters(t *testing.T) {
	dir := t.TempDir()
	protocols := writeFile(t, dir+"/protocols", "6 80 a\"b\\c,d'e\n")
	r := usage.Record{Proto: 6, Port: 80, Conns: 1}
	r.SetIP(netip.MustParseAddr("10.0.0.1"))
	for args, want := range map[string]string{
		"":               "\"6\"\t\"TCP\"",
		"-s,":            `"a""b\c,d'e"`,
		"-s; -q' -e\\":   `'a"b\\c,d'e'`, // it escapes the escape, not the quote
		"-s, -q":         `a""b\c,d'e`,
		"-s, -q -e":      `a"b\c,d'e`,
		"-s, -e\\":       `"a"b\\c,d'e"`,
		"-sxyz -q|| -ea": `|aa"b\c,d'e|`, // the first byte of each
	} {
		d := &fakeDaemon{rows: []usage.Record{r}, protocols: protocols}
		exit, got, stderr := runNlbw(t, d, "-c csv -g layer7 "+args)
		if exit != 0 || stderr != "" {
			t.Fatalf("%s: exit %d, %s", args, exit, stderr)
		}
		lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
		if len(lines) != 2 {
			t.Fatalf("%s: got %q", args, got)
		}
		if args == "" {
			want = "\"TCP\"\t80\t1\t0\t0\t0\t0\t\"a\"\"b\\c,d'e\""
			if lines[1] != want {
				t.Errorf("default: got %q, want %q", lines[1], want)
			}
			continue
		}
		if !strings.HasSuffix(lines[1], want) {
			t.Errorf("%s: got %q, want %q at the end", args, lines[1], want)
		}
	}
	// A comma that is not glued on makes the separator NUL and ends the options.
	d := &fakeDaemon{rows: []usage.Record{r}}
	_, got, _ := runNlbw(t, d, "-c csv -g mac -q -s ,")
	want := "mac\x00conns\x00rx_bytes\x00rx_pkts\x00tx_bytes\x00tx_pkts\n00:00:00:00:00:00\x001\x000\x000\x000\x000\n"
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// A torn reading that is begun anew leaves nothing behind, and grouping sums
// each row once, for any grouping: held against sums made one by one.
func TestGroupingSumsEachRowOnce(t *testing.T) {
	rows := nlbwmontest.Generate(3_000, 3)
	rows = append(rows, rows[:500]...) // keys twice
	var total usage.Counters
	for i := range rows {
		total.Add(rows[i].Counters())
	}
	for _, group := range [][]column{{colMAC}, {colIP}, {colHost}, {colLayer7}, {colFamily}, {colProto}, {colPort}, {colFamily, colHost, colLayer7}, {colMAC, colProto}} {
		table := newTable(group, nlbwmon.OrderLittle)
		d := &fakeDaemon{rows: rows}
		if err := d.serve("", table); err != nil {
			t.Fatal(err)
		}
		want := map[string]usage.Counters{}
		for i := range rows {
			key := string(table.appendKey(nil, &rows[i]))
			c := want[key]
			c.Add(rows[i].Counters())
			want[key] = c
		}
		table.sort([]key{{colRxBytes, true}})
		var sum usage.Counters
		for i := range table.rows {
			r := &table.rows[i]
			sum.Add(r.Counters())
			if got := r.Counters(); got != want[string(table.appendKey(nil, r))] {
				t.Fatalf("%v: got %+v for %v", group, got, r)
			}
			if i > 0 && table.rows[i-1].RxBytes < r.RxBytes {
				t.Fatalf("%v: row %d is out of order", group, i)
			}
		}
		if sum != total || len(table.rows) != len(want) {
			t.Errorf("%v: got %d groups of %+v, want %d of %+v", group, len(table.rows), sum, len(want), total)
		}
	}
}

// Of the fields outside the group, the row shows that would be sent first,
// whatever order the rows came in.
func TestGroupShowsTheFirstRow(t *testing.T) {
	var rows []usage.Record
	for i, ip := range []string{"10.0.0.9", "10.0.9.1", "10.9.0.1"} { // stored back to front, 10.0.9.1 > 10.9.0.1
		r := usage.Record{Proto: 6, Port: uint16(10 * i), MAC: usage.MAC{2}, RxBytes: 1}
		r.SetIP(netip.MustParseAddr(ip))
		r.Port = 80
		rows = append(rows, r)
	}
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 2, 0}} {
		d := &fakeDaemon{}
		for _, i := range order {
			d.rows = append(d.rows, rows[i])
		}
		_, got, _ := runNlbw(t, d, "-c show -n -g mac -o ip")
		if !strings.Contains(got, "10.9.0.1") || strings.Count(got, "\n") != 2 {
			t.Errorf("%v: got %s, want 10.9.0.1, whose stored bytes are the least", order, got)
		}
	}
}

// A pipe that closes ends with a complaint, not with a panic or a good exit.
func TestWriterFails(t *testing.T) {
	r, w := io.Pipe()
	_ = r.CloseWithError(errors.New("gone"))
	for _, command := range []string{"json", "csv", "show", "list", "commit"} {
		d := &fakeDaemon{rows: nlbwmontest.Generate(2_000, 1), periods: []nlbwmon.Period{20261101}, reply: "0 ok", protocols: protocolsFile}
		var stderr bytes.Buffer
		if exit := Run(t.Context(), []string{"-c", command}, d, w, &stderr); exit != 1 || !strings.Contains(stderr.String(), "gone") {
			t.Errorf("%s: got exit %d, %s, want 1", command, exit, stderr.String())
		}
	}
}
