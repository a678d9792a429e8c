package usage_test

import (
	"bytes"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/netpilot/netpilot/pkg/usage"
)

// A table goes to a terminal: nothing in it but lines of printable text.
func TestTableHasNoControlCharacters(t *testing.T) {
	rows, names, known := hostileRows()
	rows = append(rows, row(usage.MAC{}, "10.0.0.99", 6, 80, 1, 1))
	for _, view := range views {
		a := answerOf(rows, view, names, known)
		a.Source = "/tmp/\x1b[2J\n\u202e\xff"
		a.Damage = "broke \x1b]0;title\x07 off\r"
		a.AddressOrder = "little (guessed)"
		var out bytes.Buffer
		if err := a.WriteTable(&out); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && !unicode.IsPrint(r) || r == unicode.ReplacementChar {
				t.Fatalf("%v: %U in %q", view, r, out.String())
			}
		}
		if want := "source /tmp/[2J, period since 2026-11-01, 5 s old, addresses little (guessed)\nincomplete: broke ]0;title off\n"; !strings.HasPrefix(out.String(), want) {
			t.Errorf("%v: got %q, want %q first", view, out.String(), want)
		}
	}
}

// The lines about what is not shown are true.
func TestTableSaysWhatIsNotShown(t *testing.T) {
	var rows []usage.Record
	for i := range 4 {
		rows = append(rows, row(macOf(i+1), fmt.Sprintf("10.0.0.%d", i+1), 6, 80, 10, 0))
	}
	for i := range 13 {
		rows = append(rows, row(usage.MAC{}, fmt.Sprintf("10.0.1.%d", i+1), 6, 80, 10, 0))
	}
	a := answerOf(rows, usage.ByDevice, nil, nil)
	for _, tt := range []struct {
		page usage.Page
		want string // "": no such line
	}{
		{usage.Page{}, ""},
		{usage.Page{Limit: 4}, ""},
		{usage.Page{Limit: 2}, "rows 1 to 2 of 4"},
		{usage.Page{Limit: 2, Offset: 2}, "rows 3 to 4 of 4"},
		{usage.Page{Offset: 4}, "no rows here, there are 4"},
		{usage.Page{Offset: 9, Limit: 1}, "no rows here, there are 4"},
	} {
		a.Page = tt.page
		var out bytes.Buffer
		if err := a.WriteTable(&out); err != nil {
			t.Fatal(err)
		}
		text := out.String()
		if got := strings.Contains(text, "rows "); got != (tt.want != "") || !strings.Contains(text, tt.want) {
			t.Errorf("%+v: got %s, want %q", tt.page, text, tt.want)
		}
		if !strings.Contains(text, "\nand 3 more addresses\n") || !strings.Contains(text, "\n  10.0.1.1  10 B down, 0 B up\n") {
			t.Errorf("%+v: got %s, want 10 addresses and 3 more", tt.page, text)
		}
	}
}

func TestBytes(t *testing.T) {
	for n, want := range map[uint64]string{
		0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1 << 20: "1.0 MiB", 1 << 30: "1.0 GiB",
		1 << 40: "1.0 TiB", 1 << 50: "1.0 PiB", 1 << 60: "1.0 EiB", math.MaxUint64: "16.0 EiB",
	} {
		if got := usage.Bytes(n); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestAge(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour: "0 s", 0: "0 s", 119 * time.Second: "119 s", 2 * time.Minute: "2 min", 119 * time.Minute: "119 min",
		2 * time.Hour: "2 h", 47 * time.Hour: "47 h", 48 * time.Hour: "2 days", 1000 * time.Hour: "41 days",
	} {
		if got := usage.Age(d); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}
