package usage_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// hostile are names as a device on the LAN may give itself, raw.
var hostile = []string{
	"", "plain", `"quoted"`, `back\slash`, "</script><script>alert(1)</script>", "a&b", "\x00\x1b[31m\x7f\u009b", "\xff\xfe\xc3",
	"line\nbreak\r\n", "\u2028\u2029", "\u202egnp.exe", "日本語🙂", "=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1",
	",;\t\"'", strings.Repeat("\"", 63), strings.Repeat("\u2028", 21), "{}", "null", "=\"x\"", "'=1",
}

var answeredAt = time.Date(2026, 11, 2, 12, 0, 5, 123456789, time.FixedZone("", 3600))

// answerOf answers for every view from the same rows.
func answerOf(rows []usage.Record, view usage.View, names usage.Names, known usage.Services) *usage.Answer {
	tally := tallied(rows)
	a := &usage.Answer{
		Timestamp: answeredAt, Source: "snapshot", AsOf: answeredAt.Add(-5 * time.Second), Period: "2026-11-01",
		View: view, Total: tally.Total(), Known: known,
	}
	switch view {
	case usage.ByDevice:
		a.Devices, a.Unresolved = tally.Devices(usage.ByTotal, names)
	case usage.ByHost:
		a.Hosts = tally.Hosts(usage.ByTotal, names)
	case usage.ByService:
		a.Services = tally.Services(usage.ByTotal, known)
	case usage.ByRecord:
		a.Records = append([]usage.Record(nil), rows...)
		usage.SortRecords(a.Records, usage.ByTotal)
	}
	return a
}

var views = []usage.View{usage.ByDevice, usage.ByHost, usage.ByService, usage.ByRecord}

// listed is the part of an answer that paging is about.
type listed struct {
	Devices    []map[string]any
	Hosts      []map[string]any
	Services   []map[string]any
	Records    []map[string]any
	Unresolved []map[string]any
	Next       *int `json:"next_offset"`
	Of         struct {
		Devices, Hosts, Services, Records int
	}
}

func parseAnswer(t *testing.T, text []byte) listed {
	t.Helper()
	if !json.Valid(text) {
		t.Fatalf("not JSON: %.500q", text)
	}
	for _, c := range text {
		if c < 0x20 || c == '<' || c == '>' || c == '&' {
			t.Fatalf("byte %#x in %.500q", c, text)
		}
	}
	var l listed
	if err := json.Unmarshal(text, &l); err != nil {
		t.Fatal(err)
	}
	return l
}

func (l listed) rows(v usage.View) []map[string]any {
	return [][]map[string]any{l.Devices, l.Hosts, l.Services, l.Records}[v]
}

// hostileRows is one row per hostile name, both as host and as service.
func hostileRows() (rows []usage.Record, names people, known ports) {
	names, known = people{}, ports{}
	for i, name := range hostile {
		rows = append(rows, row(macOf(i+1), fmt.Sprintf("10.0.0.%d", i+1), 6, uint16(i+1), uint64(1000-i), 5))
		names[macOf(i+1)] = struct {
			name string
			ips  []netip.Addr
		}{name: name}
		known[uint16(i+1)] = name
	}
	return rows, names, known
}

// Whatever a name holds, the answer is JSON that a page may embed, and the
// name in it is the name, but for bytes that are not UTF-8.
func TestJSONOfHostileNames(t *testing.T) {
	rows, names, known := hostileRows()
	for _, view := range views {
		a := answerOf(rows, view, names, known)
		a.Source = "/tmp/\x1b\"\xff/0.db"
		a.Damage = "bad \x00 <file>"
		got := a.AppendJSON(nil, 1<<20)
		var streamed bytes.Buffer
		if err := a.WriteJSON(&streamed); err != nil || !bytes.Equal(streamed.Bytes(), got) {
			t.Errorf("%v: WriteJSON differs from AppendJSON, %v", view, err)
		}
		list := parseAnswer(t, got).rows(view)
		if len(list) != a.Len() {
			t.Errorf("%v: got %d rows, want %d", view, len(list), a.Len())
		}
		if view != usage.ByDevice {
			continue
		}
		for i, d := range list {
			want := any(strings.ToValidUTF8(hostile[i], "\ufffd"))
			switch hostile[i] {
			case "":
				want = nil
			case "\xff\xfe\xc3":
				want = "\ufffd\ufffd\ufffd" // one for each byte
			}
			if d["hostname"] != want {
				t.Errorf("name %q: got %q, want %q", hostile[i], d["hostname"], want)
			}
		}
	}
}

// Of any size that leaves room for a row, the object is not larger, and going
// on at next_offset gives every row exactly once, in order.
func TestJSONFitsAndGoesOn(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	rows := randomRows(rng, 200)
	names, known := people{}, ports{}
	for i := range 13 {
		names[macOf(i)] = struct {
			name string
			ips  []netip.Addr
		}{name: hostile[i]}
		known[uint16(i)] = hostile[i]
	}
	for _, view := range views {
		a := answerOf(rows, view, names, known)
		all := parseAnswer(t, a.AppendJSON(nil, 1<<20)).rows(view)
		if len(all) == 0 || len(all) != a.Len() {
			t.Fatalf("%v: got %d rows of %d", view, len(all), a.Len())
		}
		// Room for head, unresolved addresses, one row and what follows.
		a.Page.Limit = 1
		least := len(a.AppendJSON(nil, 1<<20)) + 1000
		for max := least; max < least+4000; max += 1 + rng.IntN(300) {
			a.Page = usage.Page{Limit: rng.IntN(2) * rng.IntN(40)}
			var got []map[string]any
			for pages := 0; ; pages++ {
				if pages > a.Len() {
					t.Fatalf("%v, %d bytes: no end", view, max)
				}
				prefix := []byte("kept")
				text := a.AppendJSON(prefix, max)
				if !bytes.HasPrefix(text, prefix) || len(text)-len(prefix) > max {
					t.Fatalf("%v: got %d bytes, want at most %d", view, len(text)-len(prefix), max)
				}
				l := parseAnswer(t, text[len(prefix):])
				got = append(got, l.rows(view)...)
				if l.Next == nil {
					break
				}
				if *l.Next != len(got) {
					t.Fatalf("%v, %d bytes: next_offset %d after %d rows", view, max, *l.Next, len(got))
				}
				a.Page.Offset = *l.Next
			}
			if fmt.Sprint(got) != fmt.Sprint(all) {
				t.Fatalf("%v, %d bytes, limit %d: got %d rows, want the %d in order", view, max, a.Page.Limit, len(got), len(all))
			}
		}
	}
}

// next_offset stands only where rows follow.
func TestNextOffset(t *testing.T) {
	rows, names, known := hostileRows()
	a := answerOf(rows, usage.ByDevice, names, known)
	n := a.Len()
	for _, tt := range []struct {
		page usage.Page
		rows int
		next int // 0: none
	}{
		{usage.Page{}, n, 0},
		{usage.Page{Limit: n}, n, 0},
		{usage.Page{Limit: n - 1}, n - 1, n - 1},
		{usage.Page{Limit: 1, Offset: n - 1}, 1, 0},
		{usage.Page{Limit: 1, Offset: n - 2}, 1, n - 1},
		{usage.Page{Offset: n + 5}, 0, 0},
	} {
		a.Page = tt.page
		l := parseAnswer(t, a.AppendJSON(nil, 1<<20))
		next := 0
		if l.Next != nil {
			next = *l.Next
		}
		if len(l.Devices) != tt.rows || next != tt.next {
			t.Errorf("%+v: got %d rows and next_offset %d, want %d and %d", tt.page, len(l.Devices), next, tt.rows, tt.next)
		}
	}
}

// Side lists are bounded: a device's addresses and the unresolved ones.
func TestSideListsAreBounded(t *testing.T) {
	var rows []usage.Record
	for i := range 150 {
		ip := fmt.Sprintf("fd77::%x", i+1)
		rows = append(rows, row(macOf(1), ip, 6, 80, 10, 0), row(usage.MAC{}, ip, 6, 80, 10, 0))
	}
	l := parseAnswer(t, answerOf(rows, usage.ByDevice, nil, nil).AppendJSON(nil, 1<<20))
	if ips := l.Devices[0]["ips"].([]any); len(ips) != 100 || len(l.Unresolved) != 100 {
		t.Errorf("got %d addresses and %d unresolved, want 100 and 100", len(ips), len(l.Unresolved))
	}
}

// One device with more services than fit: fewer are listed, all are counted.
func TestDeviceJSONFits(t *testing.T) {
	known := ports{}
	var rows []usage.Record
	for i := range 200 {
		known[uint16(i)] = fmt.Sprintf("service %d", i)
		rows = append(rows, row(macOf(1), "10.0.0.1", 6, uint16(i), uint64(1000-i), 0))
	}
	a := answerOf(rows, usage.ByDevice, nil, nil)
	a.Services = tallied(rows).Services(usage.ByTotal, known)
	for _, max := range []int{2000, 5000, 100_000} {
		text := a.AppendDeviceJSON(nil, max)
		var got struct {
			Device   map[string]any
			Services []struct{ Service string }
			Total    int `json:"total_services"`
		}
		if err := json.Unmarshal(text, &got); err != nil || len(text) > max {
			t.Fatalf("%d bytes: got %d, %v", max, len(text), err)
		}
		whole := max == 100_000
		if got.Total != 200 || (len(got.Services) == 200) != whole || len(got.Services) == 0 || got.Services[0].Service != "service 0" {
			t.Errorf("%d bytes: got %d services of %d", max, len(got.Services), got.Total)
		}
	}
}

// A writer that fails ends the answer with its error.
func TestWriteJSONFails(t *testing.T) {
	want := errors.New("pipe closed")
	r, w := io.Pipe()
	_ = r.CloseWithError(want)
	rows, names, known := hostileRows()
	for _, view := range views {
		a := answerOf(rows, view, names, known)
		if err := a.WriteJSON(w); !errors.Is(err, want) {
			t.Errorf("JSON by %v: got %v, want %v", view, err, want)
		}
		if err := a.WriteCSV(w); !errors.Is(err, want) {
			t.Errorf("CSV by %v: got %v, want %v", view, err, want)
		}
		if err := a.WriteTable(w); !errors.Is(err, want) {
			t.Errorf("table by %v: got %v, want %v", view, err, want)
		}
	}
}

func BenchmarkWriteJSON(b *testing.B) {
	for _, n := range []int{10, 1_000, 10_000, 100_000} {
		rows := make([]usage.Record, n)
		for i := range rows {
			rows[i] = row(macOf(i), fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&0xff, i&0xff), 6, uint16(i%1000), uint64(i)*1000, uint64(i))
			rows[i].MAC[3] = byte(i >> 16)
		}
		for _, view := range []usage.View{usage.ByDevice, usage.ByRecord} {
			a := answerOf(rows, view, nil, ports{80: "HTTP", 443: "HTTPS"})
			b.Run(fmt.Sprintf("%v/%d", view, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := a.WriteJSON(io.Discard); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
