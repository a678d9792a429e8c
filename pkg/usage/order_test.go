package usage_test

import (
	"math"
	"strings"
	"testing"

	"github.com/netpilot/netpilot/pkg/usage"
)

func TestParseOrder(t *testing.T) {
	for i, name := range usage.Orders {
		if got, err := usage.ParseOrder(name); err != nil || int(got) != i {
			t.Errorf("%q: got %d, %v, want %d", name, got, err, i)
		}
	}
	for _, name := range []string{"TOTAL", "total ", "rx,tx", "\x1b[31m", strings.Repeat("x", 10_000)} {
		_, err := usage.ParseOrder(name)
		if usage.KindOf(err) != usage.Invalid || len(err.Error()) > 200 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: got %v, want a short error of kind invalid", name, err)
		}
	}
}

func TestParseView(t *testing.T) {
	for _, v := range []usage.View{usage.ByDevice, usage.ByHost, usage.ByService, usage.ByRecord, usage.ByGroup, usage.ByCategory} {
		if got, err := usage.ParseView(v.String()); err != nil || got != v {
			t.Errorf("%s: got %v, %v", v, got, err)
		}
	}
	if got, err := usage.ParseView(""); err != nil || got != usage.ByDevice {
		t.Errorf("none: got %v, %v, want device", got, err)
	}
	for _, name := range []string{"devices", "Device", "\x1b", strings.Repeat("x", 10_000)} {
		_, err := usage.ParseView(name)
		if usage.KindOf(err) != usage.Invalid || len(err.Error()) > 200 || strings.Contains(err.Error(), "\x1b") {
			t.Errorf("%q: got %v, want a short error of kind invalid", name, err)
		}
	}
}

func TestPageBounds(t *testing.T) {
	for _, tt := range []struct {
		page        usage.Page
		n, from, to int
	}{
		{usage.Page{}, 0, 0, 0},
		{usage.Page{}, 5, 0, 5},
		{usage.Page{Limit: 2}, 5, 0, 2},
		{usage.Page{Limit: 2, Offset: 4}, 5, 4, 5},
		{usage.Page{Limit: 5, Offset: 0}, 5, 0, 5},
		{usage.Page{Offset: 5}, 5, 5, 5},
		{usage.Page{Offset: 6}, 5, 5, 5},
		{usage.Page{Limit: 3, Offset: 9}, 5, 5, 5},
		{usage.Page{Offset: -1}, 5, 0, 5},
		{usage.Page{Limit: -1}, 5, 0, 5},
		{usage.Page{Limit: math.MaxInt, Offset: 1}, 5, 1, 5}, // their sum overflows
		{usage.Page{Limit: math.MaxInt, Offset: math.MaxInt}, 5, 5, 5},
	} {
		if from, to := tt.page.Bounds(tt.n); from != tt.from || to != tt.to {
			t.Errorf("%+v of %d: got %d to %d, want %d to %d", tt.page, tt.n, from, to, tt.from, tt.to)
		}
	}
}
