package usage_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

func TestCounting(t *testing.T) {
	half := 0.5
	c := &usage.Counting{OK: true, Accuracy: &half}
	c.Add(false, usage.Reason{ID: "a", Text: "not <all>\x1b"})
	if !c.OK {
		t.Error("what is not wrong made it wrong")
	}
	c.Add(true, usage.Reason{ID: "b", Text: "less", Cure: "more"})
	c.Add(true, usage.Reason{ID: "b", Text: "said twice"})
	if c.OK || len(c.Reasons) != 2 {
		t.Errorf("got %+v", c)
	}
	for _, want := range []*usage.Counting{c, {Reasons: []usage.Reason{}}} {
		var back usage.Counting
		if err := json.Unmarshal(want.AppendJSON(nil), &back); err != nil || !reflect.DeepEqual(&back, want) {
			t.Errorf("%s: got %+v, %v, want %+v", want.AppendJSON(nil), back, err, want)
		}
	}
	var text bytes.Buffer
	if err := c.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if want := "counting: NOT RIGHT, 50.0 % of what the WAN moved\n  not <all>\n  less; try: more\n"; text.String() != want {
		t.Errorf("got %q, want %q", text.String(), want)
	}
}

// Every kind of answer carries it in its head, before any list that could
// be cut.
func TestCountingInAnswers(t *testing.T) {
	c := &usage.Counting{Reasons: []usage.Reason{{ID: "x", Text: "y"}}}
	answer := usage.Answer{Counting: c, Devices: []usage.Device{{}}}
	line := usage.Timeline{Counting: c, Span: usage.Span{Resolution: time.Hour}}
	sum := usage.Summary{Counting: c}
	for name, got := range map[string][]byte{
		"list": answer.AppendJSON(nil, 1<<20), "device": answer.AppendDeviceJSON(nil, 1<<20),
		"history": line.AppendJSON(nil, 0), "summary": sum.AppendJSON(nil, 10),
	} {
		var back struct{ Counting *usage.Counting }
		if err := json.Unmarshal(got, &back); err != nil || !reflect.DeepEqual(back.Counting, c) {
			t.Errorf("%s: got %s, %v", name, got, err)
		}
		if list := strings.IndexByte(string(got), '['); !strings.Contains(string(got[:list]), "counting") {
			t.Errorf("%s: a list comes before it: %s", name, got)
		}
	}
	var table bytes.Buffer
	if err := answer.WriteTable(&table); err != nil || !strings.Contains(table.String(), "\ncounting: NOT RIGHT") {
		t.Errorf("got %q, %v", table.String(), err)
	}
}

// TestCountingInReports: a report says it in each of its forms, and a hostile
// text stays text.
func TestCountingInReports(t *testing.T) {
	r := usage.Report{Counting: &usage.Counting{Reasons: []usage.Reason{{ID: "x", Text: "<b>less</b>", Cure: "more"}}}}
	for name, c := range map[string]struct {
		write func(io.Writer) error
		want  string
	}{
		"text": {r.WriteText, "\ncounting: NOT RIGHT\n  <b>less</b>; try: more\n"},
		"md":   {r.WriteMarkdown, "\ncounting: NOT RIGHT\n\n\\<b\\>less\\</b\\>; try: more\n"},
		"html": {r.WriteHTML, "<p class=\"gap\">counting: NOT RIGHT</p>\n<p class=\"gap\">&lt;b&gt;less&lt;/b&gt;; try: more</p>\n"},
	} {
		var text strings.Builder
		if err := c.write(&text); err != nil || !strings.Contains(text.String(), c.want) {
			t.Errorf("%s: got %v\n%s\nwant %q in it", name, err, text.String(), c.want)
		}
	}
	r.Counting = nil // nobody looked
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || strings.Contains(text.String(), "counting") {
		t.Errorf("got %v, %s", err, text.String())
	}
}

// TestInterfacesCSV: where interfaces stand in for devices the rows are theirs.
func TestInterfacesCSV(t *testing.T) {
	a := usage.Answer{Interfaces: []usage.Interface{{Name: "br-lan", Counters: usage.Counters{RxBytes: 1, TxBytes: 2, RxPackets: 3, TxPackets: 4}}, {Name: "=\x1bx"}}}
	var text strings.Builder
	want := "interface,bytes_rx,bytes_tx,total_bytes,packets_rx,packets_tx\nbr-lan,1,2,3,3,4\n'=x,0,0,0,0,0\n"
	if err := a.WriteCSV(&text); err != nil || text.String() != want {
		t.Errorf("got %v\n%s\nwant\n%s", err, text.String(), want)
	}
}
