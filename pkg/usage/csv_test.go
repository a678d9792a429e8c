package usage_test

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
)

// What is written parses back, cell by cell, and no name is a formula. Names
// come cleaned from whoever read them.
func TestCSVOfHostileNames(t *testing.T) {
	rows, names, known := hostileRows()
	for mac, who := range names {
		who.name = usage.Clean(who.name, usage.MaxName)
		names[mac] = who
	}
	for _, view := range views {
		a := answerOf(rows, view, names, known)
		var out bytes.Buffer
		if err := a.WriteCSV(&out); err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(&out).ReadAll()
		if err != nil {
			t.Fatalf("%v: %v", view, err)
		}
		if len(lines) != 1+a.Len() {
			t.Fatalf("%v: got %d lines, want %d", view, len(lines), 1+a.Len())
		}
		column := map[usage.View]string{usage.ByDevice: "hostname", usage.ByHost: "hostname", usage.ByService: "service", usage.ByRecord: "service"}[view]
		at := -1
		for i, name := range lines[0] {
			if name == column {
				at = i
			}
		}
		var got []string
		for _, line := range lines[1:] {
			for _, cell := range line {
				if cell != "" && strings.Contains("=+-@\t\r", cell[:1]) {
					t.Errorf("%v: cell %q begins a formula", view, cell)
				}
			}
			got = append(got, line[at])
		}
		var want []string
		seen := map[string]bool{}
		for _, name := range hostile {
			name = usage.Clean(name, usage.MaxName)
			if view == usage.ByService && seen[name] {
				continue // once cleaned they are one service
			}
			seen[name] = true
			if name != "" && strings.ContainsAny(name[:1], "=+-@") {
				name = "'" + name
			}
			want = append(want, name)
		}
		if view == usage.ByService {
			slices.Sort(got)
			slices.Sort(want)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%v: got %q, want %q", view, got, want)
		}
	}
}

// Addresses without a device end the list once, on the last page.
func TestCSVPages(t *testing.T) {
	rows := []usage.Record{
		row(macOf(1), "10.0.0.1", 6, 80, 30, 0), row(macOf(2), "10.0.0.2", 6, 80, 20, 0), row(usage.MAC{}, "10.0.0.9", 6, 80, 90, 0),
	}
	a := answerOf(rows, usage.ByDevice, nil, nil)
	for _, tt := range []struct {
		page usage.Page
		want string
	}{
		{usage.Page{}, "10.0.0.1 10.0.0.2 10.0.0.9"},
		{usage.Page{Limit: 1}, "10.0.0.1"},
		{usage.Page{Limit: 1, Offset: 1}, "10.0.0.2 10.0.0.9"},
	} {
		a.Page = tt.page
		var out bytes.Buffer
		if err := a.WriteCSV(&out); err != nil {
			t.Fatal(err)
		}
		lines, err := csv.NewReader(&out).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, line := range lines[1:] {
			got = append(got, line[1])
			if (line[0] == "") != (line[1] == "10.0.0.9") {
				t.Errorf("%+v: got MAC %q for %s", tt.page, line[0], line[1])
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(strings.Fields(tt.want)) {
			t.Errorf("%+v: got %s, want %s", tt.page, got, tt.want)
		}
	}
}
