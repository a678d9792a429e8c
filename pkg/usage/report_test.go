package usage

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
)

func sampleReport() *Report {
	from := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	r := &Report{
		Router: "lab<1>", Generated: from.AddDate(0, 0, 3), Span: Span{Range{from, from.AddDate(0, 0, 3)}, Day},
		Devices: []Device{
			{MAC: MAC{2, 0x77, 0, 0, 0, 0x11}, Identity: Identity{Hostname: "<img src=x>|`pipe`"}, Counters: Counters{RxBytes: 3 << 30, TxBytes: 1 << 30}},
			{Counters: Counters{RxBytes: 1 << 20}},
		},
		Services: []Service{{Name: "HTTPS", Counters: Counters{RxBytes: 3 << 30}}, {Name: "a&b\x1b[31m", Counters: Counters{TxBytes: 1 << 30}}},
		Gaps:     []Gap{{Range{from, from.Add(time.Hour)}, "nlbwmon was killed & lost <10 min>"}},
	}
	for day := range 3 {
		if day != 1 {
			r.Slots = append(r.Slots, Slot{Start: from.AddDate(0, 0, day), Length: Day, Counters: Counters{RxBytes: uint64(day+1) << 30, TxBytes: 1 << 29}})
		}
	}
	for _, d := range r.Devices {
		r.Total.Add(d.Counters)
	}
	return r
}

func TestReportFormats(t *testing.T) {
	r := sampleReport()
	for name, write := range map[string]func(io.Writer) error{"text": r.WriteText, "md": r.WriteMarkdown, "html": r.WriteHTML} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		text := b.String()
		if strings.Contains(text, "\x1b") {
			t.Errorf("%s: an escape sequence came through", name)
		}
		for _, want := range []string{"4.0 GiB", "3.0 GiB", "2026-11-22", "(no device found)"} {
			if !strings.Contains(strings.ReplaceAll(text, "\\", ""), want) {
				t.Errorf("%s lacks %q:\n%s", name, want, text)
			}
		}
		if strings.Contains(text, "2026-11-21 ") {
			t.Errorf("%s shows a day on which nothing was counted", name)
		}
	}
}

// TestReportHTML reads the page as XML, which a stray name would break.
func TestReportHTML(t *testing.T) {
	var b bytes.Buffer
	if err := sampleReport().WriteHTML(&b); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "<img") || strings.Contains(b.String(), "<script") || strings.Contains(b.String(), "http://") {
		t.Error("the page has foreign markup or loads something")
	}
	d := xml.NewDecoder(&b)
	d.Strict = false
	d.AutoClose = xml.HTMLAutoClose
	d.Entity = xml.HTMLEntity
	bars := 0
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("the page does not parse: %v", err)
		}
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "g" {
			bars++
		}
	}
	if bars != 2 {
		t.Errorf("%d bars, want 2", bars)
	}
}

func TestReportEmpty(t *testing.T) {
	r := &Report{Span: Span{Range{time.Unix(0, 0), time.Unix(86400, 0)}, Day}}
	var b bytes.Buffer
	if err := r.WriteHTML(&b); err != nil || !strings.Contains(b.String(), "Nothing was counted") {
		t.Errorf("%v: %s", err, b.String())
	}
	if err := r.WriteText(io.Discard); err != nil {
		t.Error(err)
	}
}
