package nlbw

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// somebody knows one device.
type somebody struct{}

var laptop = usage.MAC{2, 0x77, 0, 0, 0, 0x11}

func (somebody) Identity(mac usage.MAC, _ time.Time) usage.Identity {
	if mac == laptop {
		return usage.Identity{Hostname: `=lap"top`, Vendor: "Acme", Alias: "mine"}
	}
	return usage.Identity{}
}
func (s somebody) Hostname(mac usage.MAC) string {
	id := s.Identity(mac, time.Time{})
	return id.Hostname
}
func (somebody) IPs(usage.MAC) []netip.Addr { return nil }

func ownRows() []usage.Record {
	a := usage.Record{MAC: laptop, Proto: 6, Port: 443, Conns: 1, RxBytes: 3000}
	a.SetIP(netip.MustParseAddr("192.168.77.11"))
	b := usage.Record{MAC: usage.MAC{2, 0x77, 0, 0, 0, 0x13}, Proto: 6, Port: 80, Conns: 2, RxBytes: 20}
	b.SetIP(netip.MustParseAddr("192.168.77.13"))
	return []usage.Record{a, b}
}

// TestNames: -i adds three columns behind all others, whatever the command.
func TestNames(t *testing.T) {
	for args, want := range map[string]string{
		"-c json -g mac -i": `{"columns":["mac","conns","rx_bytes","rx_pkts","tx_bytes","tx_pkts","hostname","vendor","alias"],"data":[` +
			`["02:77:00:00:00:11",1,3000,0,0,0,"=lap\"top","Acme","mine"],["02:77:00:00:00:13",2,20,0,0,0,null,null,null]]}`,
		"-c csv -g mac -i -s;": `"mac";"conns";"rx_bytes";"rx_pkts";"tx_bytes";"tx_pkts";"hostname";"vendor";"alias"` + "\n" +
			`"02:77:00:00:00:11";1;3000;0;0;0;"'=lap""top";"Acme";"mine"` + "\n" + `"02:77:00:00:00:13";2;20;0;0;0;;;` + "\n",
		// A row that is not one device's has no name.
		"-c json -g family -i": `{"columns":["family","conns","rx_bytes","rx_pkts","tx_bytes","tx_pkts","hostname","vendor","alias"],"data":[[4,3,3020,0,0,0,null,null,null]]}`,
	} {
		exit, stdout, stderr := runNlbw(t, &fakeDaemon{rows: ownRows(), names: somebody{}}, args)
		if exit != 0 || stdout != want || stderr != "" {
			t.Errorf("%q: exit %d, %q\ngot  %s\nwant %s", args, exit, stderr, stdout, want)
		}
	}
	_, stdout, _ := runNlbw(t, &fakeDaemon{rows: ownRows(), names: somebody{}}, "-c show -g mac -i")
	if lines := strings.Split(stdout, "\n"); len(lines) != 4 || !strings.HasSuffix(lines[0], ")  Hostname  Vendor  Alias") ||
		!strings.HasSuffix(lines[1], `)  =lap"top  Acme  mine`) || !strings.HasSuffix(lines[2], ")  -  -  -") {
		t.Errorf("show:\n%s", stdout)
	}
	if exit, stdout, _ := runNlbw(t, &fakeDaemon{rows: ownRows()}, "-c json -g mac -i"); exit != 0 || strings.Count(stdout, "null,null,null") != 2 {
		t.Errorf("nobody is known: exit %d, %s", exit, stdout)
	}
}

// TestOwnOptions: each asks for what it means, and a failure names the reason.
func TestOwnOptions(t *testing.T) {
	for args, want := range map[string]string{
		"-c json -t 24": "history 24 device", "-c csv -t 720 -g layer7": "history 720 service", "-c show -t 1 -g family": "history 1 family",
		"-c json -t 168 -g mac": "history 168 device", "-z": "reset", "-d F": `file "F"`, "-c json -d F": `file "F"`,
	} {
		d := &fakeDaemon{rows: ownRows()}
		if exit, _, stderr := runNlbw(t, d, args); exit != 0 || stderr != "" || !slices.Equal(d.asked, []string{want}) {
			t.Errorf("%q: exit %d, %q, asked %q, want %q", args, exit, stderr, d.asked, want)
		}
		d = &fakeDaemon{err: errors.New("no history is kept")}
		if exit, stdout, stderr := runNlbw(t, d, args); exit != 1 || stdout != "" || stderr != "Error while processing command: no history is kept\n" {
			t.Errorf("%q: exit %d, %q, %q", args, exit, stdout, stderr)
		}
	}
	exit, stdout, stderr := runNlbw(t, &fakeDaemon{rows: ownRows(), damage: errors.New("cut off")}, "-c csv -d F -g mac")
	if exit != 1 || strings.Count(stdout, "\n") != 3 || !strings.Contains(stderr, "only the good part is printed: cut off") {
		t.Errorf("a damaged file: exit %d, %q, %q", exit, stdout, stderr)
	}
	_, stdout, _ = runNlbw(t, &fakeDaemon{rows: ownRows()}, "-c json -t 24")
	if want := `{"columns":["mac","ip","conns",`; !strings.HasPrefix(stdout, want) {
		t.Errorf("hours without -g: %s, want %s", stdout, want)
	}
}
