package usage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

// labelledDevices are of two groups and none, with traffic of no device.
func labelledDevices() []Device {
	return []Device{
		{MAC: MAC{2, 1}, Identity: Identity{Group: "kids", Category: "gaming"}, Counters: Counters{RxBytes: 10}},
		{MAC: MAC{2, 2}, Identity: Identity{Group: "=kids|<b>\x1b[31m", Category: "gaming"}, Counters: Counters{RxBytes: 400}},
		{MAC: MAC{2, 3}, Identity: Identity{Group: "kids", Category: "work"}, Counters: Counters{RxBytes: 20, Conns: 3}},
		{MAC: MAC{2, 4}, Counters: Counters{TxBytes: 5}},
		{Counters: Counters{RxBytes: 1000}},
	}
}

func TestShares(t *testing.T) {
	show := func(shares []Share) (list []string) {
		for _, s := range shares {
			list = append(list, fmt.Sprintf("%s %d %d", s.Label, s.Devices, s.Total()))
		}
		return list
	}
	devices := labelledDevices()
	devices[1].Group = "parents"
	if got, want := show(Shares(devices, "group", ByTotal)), []string{" 1 1005", "parents 1 400", "kids 2 30"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := show(Shares(devices, "category", ByConns)), []string{"work 1 20", " 1 1005", "gaming 2 410"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := Shares(nil, "group", ByTotal); got == nil || len(got) != 0 {
		t.Errorf("of nothing: got %v", got)
	}
	if LabelBy("device") != nil || LabelBy("") != nil {
		t.Error("device is a label")
	}
}

// TestLabelsOut: shares of hostile labels in every form they leave in.
func TestLabelsOut(t *testing.T) {
	devices := labelledDevices()
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	a := &Answer{Timestamp: at, View: ByGroup, Shares: Shares(devices, "group", ByTotal)}
	r := &Report{Span: Span{Range{at, at.Add(Day)}, Day}, Devices: devices, Total: Counters{RxBytes: 1430, TxBytes: 5}}
	for name, out := range map[string]struct {
		write func(io.Writer) error
		want  []string
	}{
		"table": {a.WriteTable, []string{"devices", "group", "(no group)", "rows"[:0], "kids"}},
		"csv":   {a.WriteCSV, []string{"group,devices,bytes_rx", "\n,1,1000,5,1005", "\n'=kids|", "\nkids,2,30,"}},
		"text":  {r.WriteText, []string{"group ", "(no group) ", "category ", "gaming "}},
		"md":    {r.WriteMarkdown, []string{"| group | devices |", `| =kids\|\<b\>`, "| gaming | 2 |"}},
		"html":  {r.WriteHTML, []string{"<h2>By group</h2>", "=kids|&lt;b&gt;", "<td>(no category)</td><td>1</td>"}},
	} {
		var b bytes.Buffer
		if err := out.write(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, want := range out.want {
			if !strings.Contains(b.String(), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, &b)
			}
		}
		if name != "csv" && strings.Contains(b.String(), "\x1b") || name == "html" && strings.Contains(b.String(), "<b>") {
			t.Errorf("%s: something came through: %q", name, &b)
		}
	}
	var got struct {
		Groups []struct {
			Group   *string
			Devices int
			Total   uint64 `json:"total_bytes"`
		}
		Rows int `json:"total_groups"`
	}
	if err := json.Unmarshal(a.AppendJSON(nil, 1<<20), &got); err != nil || got.Rows != 3 || len(got.Groups) != 3 ||
		got.Groups[0].Group != nil || got.Groups[0].Devices != 1 || *got.Groups[2].Group != "kids" || got.Groups[2].Total != 30 {
		t.Errorf("got %+v, %v", got, err)
	}
	// A report of devices that nobody labelled is as it always was.
	for i := range devices {
		devices[i].Identity = Identity{}
	}
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil || strings.Contains(b.String(), "group") {
		t.Errorf("without labels: %v\n%s", err, &b)
	}
}

// TestSlotLabels: a slot listed by a label has it, null for those without.
func TestSlotLabels(t *testing.T) {
	s := Slot{Label: `a"b`, Counters: Counters{RxBytes: 1}}
	if got := string(s.AppendJSON(nil, "group", nil)); !strings.Contains(got, `,"group":"a\"b",`) {
		t.Errorf("got %s", got)
	}
	s.Label = ""
	if got := string(s.AppendJSON(nil, "category", nil)); !strings.Contains(got, `,"category":null,`) {
		t.Errorf("got %s", got)
	}
}
