package identity

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

func root(t *testing.T, files map[string]string) string {
	dir := t.TempDir()
	for path, text := range files {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func read(dir string) (*Book, error) {
	r := reader{root: dir}
	return r.read(time.Unix(1_800_000_000, 0))
}

func mac(n int) usage.MAC { return usage.MAC{0x02, 0x77, 0, 0, byte(n >> 8), byte(n)} }

func addrs(texts ...string) []netip.Addr {
	var a []netip.Addr
	for _, text := range texts {
		a = append(a, netip.MustParseAddr(text))
	}
	return a
}

const (
	testDHCP = `
config dnsmasq
	option leasefile '/tmp/dhcp.leases'

config odhcpd 'odhcpd'
	option leasefile '/tmp/hosts/odhcpd'

config host
	option name 'printer'
	option mac '02:77:00:00:00:01 02-77-00-00-00-02'
	option ip '192.168.1.10'

config host
	option name 'laptop'
	list mac '02:77:00:00:00:03'
	list mac '02:77:00:00:00:*'
	list mac 'nonsense'
	option ip 'ignore'

config host
	option mac '02:77:00:00:00:04'
	option ip '192.168.1.14'
`
	testLeases = `1763928000 02:77:00:00:00:01 192.168.1.10 EPSON-1234 01:02:77:00:00:00:01
1763928001 02:77:00:00:00:04 192.168.1.14 phone *
1763928002 02:77:00:00:00:05 192.168.1.15 * *
0 02:77:00:00:00:06 192.168.1.16 forever *
1763928003 06-02:77:00:00:00:07 192.168.1.17 firewire *
nonsense
1763928004 00:00:00:00:00:00 192.168.1.18 nobody *
1763928004 02:77:00:00:00:09 fd00::9 six *
duid 00:01:00:01:2b:2b:2b:2b:02:77:00:00:00:01
1763928005 123456 fd00::10 printer 00:01:00:01:aa
1763928006 02:77:00:00:00:0a 192.168.1.20`
	testOdhcpd = `# br-lan 02770000000b ipv4 tablet 1763928000 c0a80115 32 192.168.1.21/32
# br-lan 02770000000c ipv4 - 1763928000 c0a80116 32 192.168.1.22/32
# br-lan 02770000000d ipv4 broken\x20name 1763928000 c0a80117 32 192.168.1.23/32
# br-lan 000100012b2b2b2b02770000000e 7b laptop6 1763928000 10 128 fd00::11/128
# br-lan 00010001zzzz ipv4 x 1 2 3 4
# br-lan
fd00::11	laptop6.lan	laptop6
`
	testEthers = `# comment
02:77:00:00:00:0b old-tablet
02:77:00:00:00:0f nas # behind the door
02:77:00:00:00:10 192.168.1.30
02:77:00:00:00:11
2:77:0:0:0:12 short
`
	testARP = `IP address       HW type     Flags       HW address            Mask     Device
192.168.1.110    0x1         0x2         02:77:00:00:00:01     *        br-lan
192.168.1.111    0x1         0x0         00:00:00:00:00:00     *        br-lan
192.168.1.112    0x1         0x0         02:77:00:00:00:05     *        br-lan
192.168.1.113    0x1         0x6         02:77:00:00:00:13     *        br-lan
192.168.1.114    0x20        0x2         02:77:00:00:00:14     *        ib0
`
)

func TestRead(t *testing.T) {
	b, err := read(root(t, map[string]string{
		"/etc/config/dhcp": testDHCP, "/tmp/dhcp.leases": testLeases, "/tmp/hosts/odhcpd": testOdhcpd,
		"/etc/ethers": testEthers, "/proc/net/arp": testARP,
	}))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		mac     int
		name    Name
		ips     []netip.Addr
		present bool
	}{
		{0x01, Name{"printer", usage.NameStatic}, addrs("192.168.1.110", "192.168.1.10"), true},
		{0x02, Name{"printer", usage.NameStatic}, addrs("192.168.1.10"), false},
		{0x03, Name{"laptop", usage.NameStatic}, nil, false},
		{0x04, Name{"phone", usage.NameLease}, addrs("192.168.1.14"), false},
		{0x05, Name{}, addrs("192.168.1.15"), false},
		{0x06, Name{"forever", usage.NameLease}, addrs("192.168.1.16"), false},
		{0x07, Name{}, nil, false},
		{0x09, Name{}, nil, false},
		{0x0a, Name{}, nil, false},
		{0x0b, Name{"tablet", usage.NameOdhcpd}, addrs("192.168.1.21"), false},
		{0x0c, Name{}, addrs("192.168.1.22"), false},
		{0x0d, Name{}, addrs("192.168.1.23"), false},
		{0x0e, Name{}, nil, false},
		{0x0f, Name{"nas", usage.NameEthers}, nil, false},
		{0x10, Name{}, addrs("192.168.1.30"), false},
		{0x11, Name{}, nil, false},
		{0x12, Name{}, nil, false},
		{0x13, Name{}, addrs("192.168.1.113"), true},
		{0x14, Name{}, nil, false},
		{0, Name{}, nil, false},
	} {
		m := mac(tt.mac)
		if name, ok := b.Lookup(m); name != tt.name || ok != (tt.name.Text != "") {
			t.Errorf("%v: got name %v, %v, want %v", m, name, ok, tt.name)
		}
		if got := b.IPs(m); !slices.Equal(got, tt.ips) {
			t.Errorf("%v: got addresses %v, want %v", m, got, tt.ips)
		}
		if got := b.Present(m); got != tt.present {
			t.Errorf("%v: got present %v, want %v", m, got, tt.present)
		}
	}
}

func TestReadNothing(t *testing.T) {
	b, err := read(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if name, ok := b.Lookup(mac(1)); ok || b.Present(mac(1)) || b.IPs(mac(1)) != nil {
		t.Errorf("an empty router knows %v", name)
	}
}

func TestReadOtherPlaces(t *testing.T) {
	b, err := read(root(t, map[string]string{
		"/etc/config/dhcp": "config dnsmasq\n option leasefile /mnt/leases\nconfig odhcpd\n option leasefile /mnt/odhcpd\n",
		"/mnt/leases":      testLeases, "/mnt/odhcpd": testOdhcpd,
	}))
	if name, _ := b.Lookup(mac(6)); err != nil || name.Text != "forever" {
		t.Errorf("leases: got %v, %v", name, err)
	}
	if name, _ := b.Lookup(mac(11)); name.Text != "tablet" {
		t.Errorf("odhcpd: got %v", name)
	}
}

// TestReadBroken: what can be read is there, and the error says the rest.
func TestReadBroken(t *testing.T) {
	dir := root(t, map[string]string{"/etc/config/dhcp": "confg", "/tmp/dhcp.leases": testLeases, "/etc/ethers/x": ""})
	b, err := read(dir)
	if err == nil || !strings.Contains(err.Error(), `dhcp:1: "confg" is none of`) || !strings.Contains(err.Error(), "/etc/ethers") {
		t.Errorf("got %v, want errors of dhcp and ethers", err)
	}
	if name, _ := b.Lookup(mac(6)); name.Text != "forever" {
		t.Errorf("got %v from the good file", name)
	}
}

func TestHostile(t *testing.T) {
	var leases strings.Builder
	for i := range 3 * maxAddrs { // one device takes many addresses
		fmt.Fprintf(&leases, "1 02:77:00:00:00:01 192.168.1.%d n%d *\n", i, i)
	}
	leases.WriteString("1 02:77:00:00:00:02 192.168.1.200 \x1b[2J\u202e\x00evil" + strings.Repeat("e", 100) + " *\n")
	leases.WriteString("1 02:77:00:00:00:03 192.168.1.201 " + strings.Repeat("x", 2*maxLine) + " *\n")
	leases.WriteString("1 02:77:00:00:00:04 192.168.1.202 \xff\xfe *\n")
	leases.WriteString("1 02:77:00:00:00:05 192.168.1.203 after *\n")
	for i := range 2 * maxFacts {
		fmt.Fprintf(&leases, "1 %v 10.0.0.1 n *\n", mac(0x100+i))
	}
	b, err := read(root(t, map[string]string{"/tmp/dhcp.leases": leases.String(), "/etc/ethers": mac(5).String() + " fd00::1%\x1b[2J\n" + mac(5).String() + " fe80::1"}))
	if err != nil {
		t.Fatal(err)
	}
	if n := len(b.IPs(mac(1))); n != maxAddrs {
		t.Errorf("kept %d addresses, want %d", n, maxAddrs)
	}
	if name, _ := b.Lookup(mac(2)); !strings.HasPrefix(name.Text, "[2Jevileee") || len(name.Text) != usage.MaxName {
		t.Errorf("got name %q", name.Text)
	}
	if _, ok := b.Lookup(mac(3)); ok {
		t.Error("a line over the limit was used")
	}
	if _, ok := b.Lookup(mac(4)); ok {
		t.Error("a name without a printable character was used")
	}
	if name, _ := b.Lookup(mac(5)); name.Text != "after" {
		t.Errorf("got %v after bad lines", name)
	}
	if got, want := b.IPs(mac(5)), addrs("192.168.1.203", "fd00::1"); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q: no zone, nothing link-local", got, want)
	}
	if n := len(b.devices); n > maxFacts {
		t.Errorf("kept %d devices, over %d", n, maxFacts)
	}
}

// TestCutAtEveryByte: a file that its writer has not finished makes no device
// and no name that is not in the whole one, and what is wrong names the file.
func TestCutAtEveryByte(t *testing.T) {
	files := map[string]string{"/etc/config/dhcp": testDHCP, "/tmp/dhcp.leases": testLeases, "/tmp/hosts/odhcpd": testOdhcpd, "/proc/net/arp": testARP}
	names, devices := make(map[string]bool), make(map[usage.MAC]bool)
	dir := root(t, files)
	whole, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for i := range whole.devices {
		devices[whole.devices[i].mac] = true
	}
	for _, name := range []string{"", "printer", "laptop", "EPSON-1234", "phone", "forever", "tablet"} {
		names[name] = true
	}
	for cut, text := range files {
		for n := range text {
			write(t, dir, cut, text[:n])
			b, err := read(dir)
			if err != nil && !strings.Contains(err.Error(), cut) {
				t.Fatalf("%s cut at %d: %v does not name it", cut, n, err)
			}
			for i := range b.devices {
				if d := &b.devices[i]; !devices[d.mac] || !names[b.nameOf(d).Text] {
					t.Fatalf("%s cut at %d: made %v %q", cut, n, d.mac, b.nameOf(d).Text)
				}
			}
			// The other files are not held up by it.
			if name, _ := b.Lookup(mac(6)); cut != "/tmp/dhcp.leases" && name.Text != "forever" {
				t.Fatalf("%s cut at %d: the leases were not read, %v", cut, n, name)
			}
		}
		write(t, dir, cut, text)
	}
}

// TestLongNames: a name of 10 KB, wherever it stands, costs its own line or
// is refused with its place, and hides nobody else.
func TestLongNames(t *testing.T) {
	long := strings.Repeat("n", 10<<10)
	b, err := read(root(t, map[string]string{
		"/etc/config/dhcp":  "config host\n option name '" + long + "'\n option mac '" + mac(1).String() + "'\n",
		"/tmp/dhcp.leases":  "1 " + mac(2).String() + " 192.168.1.2 " + long + " *\n1 " + mac(3).String() + " 192.168.1.3 phone *\n",
		"/tmp/hosts/odhcpd": "# br-lan 027700000004 ipv4 " + long + " 1 c0a80115 32 192.168.1.4/32\n# br-lan 027700000005 ipv4 tablet 1 c0a80115 32 192.168.1.5/32\n",
		"/etc/ethers":       mac(6).String() + " " + long + "\n" + mac(7).String() + " nas\n",
	}))
	if err == nil || !strings.Contains(err.Error(), "etc/config/dhcp:2: line is over") {
		t.Errorf("got %v", err)
	}
	for n, want := range []string{1: "", 2: "", 3: "phone", 4: "", 5: "tablet", 6: "", 7: "nas"} {
		if name, _ := b.Lookup(mac(n)); name.Text != want {
			t.Errorf("%v is %q, want %q", mac(n), name.Text, want)
		}
	}
}

func FuzzDecoders(f *testing.F) {
	for _, seed := range []string{testLeases, testOdhcpd, testEthers, testARP} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var c collector
		c.reset()
		from := fromNeighbours
		add := func(h host) {
			if !isDevice(h.mac) {
				t.Errorf("%q: gave %v", text, h.mac)
			}
			c.add(h, from)
			from = (from + 1) % sources
		}
		if err := leases(strings.NewReader(text), add); err != nil {
			t.Errorf("leases: %v", err)
		}
		if err := odhcpdLeases(strings.NewReader(text), add); err != nil {
			t.Errorf("odhcpd: %v", err)
		}
		if err := ethers(strings.NewReader(text), add); err != nil {
			t.Errorf("ethers: %v", err)
		}
		if err := arpTable(strings.NewReader(text), add); err != nil {
			t.Errorf("neighbours: %v", err)
		}
		b := c.book(time.Unix(1, 0))
		for i := range b.devices {
			d := &b.devices[i]
			if i > 0 && slices.Compare(b.devices[i-1].mac[:], d.mac[:]) >= 0 {
				t.Errorf("%v stands behind %v", d.mac, b.devices[i-1].mac)
			}
			if name := b.nameOf(d).Text; usage.Clean(name, usage.MaxName) != name {
				t.Errorf("%v has the name %q", d.mac, name)
			}
			for _, a := range b.IPs(d.mac) {
				if a.Zone() != "" || !a.IsValid() {
					t.Errorf("%v has the address %q", d.mac, a)
				}
			}
		}
	})
}

func BenchmarkRead(b *testing.B) {
	dir := b.TempDir()
	var leases strings.Builder
	for i := range 60 {
		fmt.Fprintf(&leases, "1763928000 %v 192.168.1.%d device-%d *\n", mac(i+1), i, i)
	}
	if err := os.MkdirAll(dir+"/tmp", 0o700); err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(dir+"/tmp/dhcp.leases", []byte(leases.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := read(dir); err != nil {
			b.Fatal(err)
		}
	}
}
