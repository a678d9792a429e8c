package identity

import (
	"net/netip"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// TestCategories: a week of each kind of device, as the history has it.
func TestCategories(t *testing.T) {
	zone := time.FixedZone("", 3600)
	monday := time.Date(2026, 11, 23, 0, 0, 0, 0, zone)
	type hour func(at time.Time) (rx, tx, rxPackets, txPackets uint64)
	always := func(rx, tx uint64) hour {
		return func(time.Time) (uint64, uint64, uint64, uint64) { return rx, tx, rx / 1000, tx / 1000 }
	}
	during := func(from, to int, rx, tx, packet uint64, weekend bool) hour {
		return func(at time.Time) (uint64, uint64, uint64, uint64) {
			free := at.Weekday() == time.Saturday || at.Weekday() == time.Sunday
			if at.Hour() < from || at.Hour() >= to || free && !weekend {
				return 0, 0, 0, 0
			}
			return rx, tx, rx / packet, tx / packet
		}
	}
	for _, tt := range []struct {
		name   string
		hour   hour
		vendor string
		rows   []usage.Record
		want   string
	}{
		{"television", during(19, 23, 2*gib, 20*mib, 1400, true), "", nil, "streaming"},
		{"console", during(18, 22, 30*mib, 25*mib, 150, true), "", nil, "gaming"},
		{"console by its services", during(18, 20, 30*mib, 25*mib, 1000, true), "",
			[]usage.Record{{Proto: 17, Port: 3074, RxBytes: 20 * mib}, {Proto: 6, Port: 443, RxBytes: 30 * mib}}, "gaming"},
		{"thermostat", always(20_000, 30_000), "", nil, "iot"},
		{"web server", always(50*mib, 400*mib), "", nil, "server"},
		{"NAS that saves itself elsewhere", during(1, 4, 20*mib, 900*mib, 1200, true), "", nil, "backup"},
		{"office laptop", during(9, 17, 100*mib, 20*mib, 900, false), "", nil, "work"},
		{"laptop in a tunnel", during(7, 23, 20*mib, 9*mib, 900, true), "", []usage.Record{{Proto: 17, Port: 51820, TxBytes: 9}, {Proto: 6, Port: 443, RxBytes: 9}}, "work"},
		{"printer", during(9, 17, 1000, 1000, 100, false), "Brother Industries", nil, "printer"},
		{"printer of a maker of laptops", during(9, 17, 1*mib, 1000, 100, true), "Hewlett Packard", []usage.Record{{Proto: 6, Port: 631, TxBytes: 9}}, "printer"},
		{"set-top box in a cupboard", always(100, 100), "", nil, "idle"},
		{"phone", during(7, 23, 60*mib, 10*mib, 900, true), "Apple", nil, ""},
	} {
		var u Use
		for i := range 7 * 24 {
			at := monday.Add(time.Duration(i) * time.Hour)
			s := usage.Slot{Start: at.UTC(), Length: time.Hour}
			s.RxBytes, s.TxBytes, s.RxPackets, s.TxPackets = tt.hour(at)
			u.Add(&s, zone)
		}
		for i := range tt.rows {
			u.AddService(&tt.rows[i])
		}
		got, bits, why := classify(&u, tt.vendor)
		if usage.Categories[got] != tt.want || (why == "") != (tt.want == "") || (bits == 0) != (tt.want == "") {
			t.Errorf("%s: got %q because %q, want %q", tt.name, usage.Categories[got], why, tt.want)
		}
	}
	// The zero Use, and one hour alone, are nothing.
	var u Use
	if got, _, _ := classify(&u, ""); got != 0 {
		t.Errorf("nothing is %q", usage.Categories[got])
	}
}

// TestCategoryReasons: the reason comes with the category, without its numbers
// also after a restart, and the owner's word needs none.
func TestCategoryReasons(t *testing.T) {
	ram, dir := blobs{}, t.TempDir()
	k, _ := keeper(t, dir, ram)
	sent := usage.Record{MAC: mac(1), TxBytes: 1}
	sent.SetIP(netip.MustParseAddr("10.0.0.1"))
	k.Moved(began, []usage.Record{sent})
	u := &Use{Heavy: 9, Total: usage.Counters{RxBytes: 9 * gib}}
	k.Categorize(map[usage.MAC]*Use{mac(1): u, mac(2): u})
	k.Look()
	if d := k.Devices(); len(d) != 1 || d[0].Category != "streaming" || len(d[0].Reasons) != 1 || d[0].Reasons[0] != "9 hours of half a GiB or more, 100 % received" {
		t.Errorf("got %+v", d)
	}
	k, _ = keeper(t, dir, ram)
	if d := k.Devices(); len(d) != 1 || d[0].Category != "streaming" || len(d[0].Reasons) != 1 || d[0].Reasons[0] != "hours of half a GiB or more, nearly all received" {
		t.Errorf("after a restart: got %+v", d)
	}
	write(t, dir, "/etc/config/netpilot", "config device\n option mac 02:77:00:00:00:01\n option category iot\n")
	k, _ = keeper(t, dir, ram)
	if d := k.Devices(); len(d) != 1 || d[0].Category != "iot" || d[0].Reasons != nil {
		t.Errorf("with the owner's word: got %+v", d)
	}
}
