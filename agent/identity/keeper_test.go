package identity

import (
	"bytes"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/pkg/oui"
	"github.com/netpilot/netpilot/pkg/usage"
)

// blobs are kept in memory.
type blobs map[string][]byte

func (b blobs) Blob(name string) []byte { return b[name] }
func (b blobs) PutBlob(name string, data []byte) error {
	b[name] = bytes.Clone(data)
	return nil
}

// keeper is a Keeper whose clock the test moves.
func keeper(t *testing.T, dir string, b Blobs) (*Keeper, *time.Time) {
	t.Helper()
	now := began
	k := Open(Options{Root: dir, Now: func() time.Time { return now }, Blobs: b})
	t.Cleanup(func() { _ = k.Close() })
	return k, &now
}

func write(t *testing.T, dir, path, text string) {
	t.Helper()
	writeTB(t, dir, path, text)
}

func writeTB(t testing.TB, dir, path, text string) {
	t.Helper()
	path = filepath.Join(dir, path)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func identityOf(t *testing.T, k *Keeper, m usage.MAC, at time.Time) usage.Identity {
	t.Helper()
	names, err := k.Names()
	if err != nil {
		t.Fatal(err)
	}
	return names.Identity(m, at)
}

// lines of a lease file and of /proc/net/arp.
func leaseLine(m usage.MAC, ip, name string) string {
	return fmt.Sprintf("1900000000 %v %s %s *\n", m, ip, name)
}
func arpLine(m usage.MAC, ip string) string {
	return fmt.Sprintf("%s 0x1 0x2 %v * br-lan\n", ip, m)
}

// TestLastTuesday: bytes of an earlier day carry the name of that day, also
// after a restart and after a reboot.
func TestLastTuesday(t *testing.T) {
	dir, ram := t.TempDir(), blobs{}
	k, now := keeper(t, dir, ram)
	write(t, dir, "/tmp/dhcp.leases", leaseLine(mac(1), "10.0.0.1", "phone"))
	write(t, dir, "/proc/net/arp", arpLine(mac(1), "10.0.0.1"))
	k.Look()
	tuesday := *now
	sent := usage.Record{MAC: mac(1), TxBytes: 1}
	sent.SetIP(netip.MustParseAddr("10.0.0.1"))
	k.Moved(*now, []usage.Record{sent})
	*now = now.Add(48 * time.Hour)
	write(t, dir, "/tmp/dhcp.leases", leaseLine(mac(1), "10.0.0.1", "Annas-phone"))
	k.Look()
	ask := func(k *Keeper, when string) {
		t.Helper()
		for at, want := range map[time.Time]string{tuesday.Add(time.Hour): "phone", now.Add(time.Minute): "Annas-phone", {}: "Annas-phone"} {
			if got := identityOf(t, k, mac(1), at); got.Hostname != want || got.NameSource != usage.NameLease {
				t.Errorf("%s, at %v: got %+v, want %s", when, at, got, want)
			}
		}
		if got, ok := k.Attribute(netip.MustParseAddr("10.0.0.1"), tuesday); !ok || got != mac(1) {
			t.Errorf("%s: 10.0.0.1 was of %v, %v", when, got, ok)
		}
	}
	ask(k, "at once")
	if err := k.Close(); err != nil {
		t.Fatal(err)
	}
	later := *now
	k, now = keeper(t, dir, ram)
	*now = later
	ask(k, "after a restart")
	if err := os.RemoveAll(dir + "/tmp"); err != nil { // leases are in RAM
		t.Fatal(err)
	}
	k, now = keeper(t, dir, blobs{})
	*now = later
	ask(k, "after a reboot")
	if got := k.Past(mac(1)); len(got.Names) != 2 || len(got.Addresses) != 1 || got.Addresses[0].From != tuesday {
		t.Errorf("the past is %+v", got)
	}
}

// TestFlashSeldom: the copy on flash is written when something changed, and
// not often.
func TestFlashSeldom(t *testing.T) {
	dir := t.TempDir()
	k, now := keeper(t, dir, blobs{})
	path := filepath.Join(dir, KnownPath)
	writes := 0
	var last os.FileInfo
	for i := range 4 * 60 * 24 { // a day, a look each half minute twice
		*now = now.Add(30 * time.Second)
		m := mac(1 + i%50)
		if i%2 == 0 {
			continue
		}
		sent := usage.Record{MAC: m, TxBytes: 1}
		sent.SetIP(netip.AddrFrom4([4]byte{10, 0, 0, byte(i % 50)}))
		k.Moved(*now, []usage.Record{sent})
		if i%10 != 1 {
			continue
		}
		k.Look()
		if info, err := os.Stat(path); err == nil && (last == nil || !os.SameFile(info, last)) {
			writes, last = writes+1, info
		}
	}
	if writes < 2 || writes > 9 || last.Size() > 8<<10 {
		t.Errorf("%d writes in two days, the last of %d bytes", writes, last.Size())
	}
	if last.Mode().Perm() != 0o600 {
		t.Errorf("mode %v: who is at home is nobody's business", last.Mode())
	}
}

// TestDamagedMemory: what is known starts anew, with a line in the log.
func TestDamagedMemory(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, KnownPath, "NPIDEN\x01\nhalf")
	var log strings.Builder
	k := Open(Options{Root: dir, Now: func() time.Time { return began }, Blobs: blobs{blobName: []byte("x")}, Log: slog.New(slog.NewTextHandler(&log, nil))})
	defer k.Close()
	if k.Look(); strings.Count(log.String(), "learnt anew") != 2 {
		t.Errorf("the log says %s", log.String())
	}
}

func TestOwner(t *testing.T) {
	dir := root(t, map[string]string{
		"/tmp/dhcp.leases": leaseLine(mac(1), "10.0.0.1", "phone") + leaseLine(mac(2), "10.0.0.2", "phone-eth"),
		"/proc/net/arp":    arpLine(mac(2), "10.0.0.2"),
		config.Path:        "# mine\nconfig agent 'agent'\n\toption enabled '1'\n",
	})
	k, now := keeper(t, dir, blobs{})
	k.Look()
	set := func(m usage.MAC, change func(*config.Device)) {
		t.Helper()
		if err := k.Set(m, change); err != nil {
			t.Fatal(err)
		}
	}
	set(mac(1), func(d *config.Device) { d.Alias, d.Group, d.Category = "Anna's", "kids", "gaming" })
	if got := identityOf(t, k, mac(1), time.Time{}); got.Alias != "Anna's" || got.Group != "kids" || got.Category != "gaming" ||
		got.NameSource != usage.NameAlias || got.Hostname != "phone" || got.Name() != "Anna's" {
		t.Errorf("got %+v", got)
	}
	// Two MACs of one device, and back.
	set(mac(2), func(d *config.Device) { d.SameAs = mac(1) })
	if got := identityOf(t, k, mac(2), time.Time{}); got.Primary != mac(1) {
		t.Errorf("got %+v", got)
	}
	if got := identityOf(t, k, mac(1), time.Time{}); got.Presence != usage.Online {
		t.Errorf("its second interface is there, and it is %+v", got)
	}
	if all := k.Devices(); len(all) != 1 || !slices.Equal(all[0].MACs, []usage.MAC{mac(2)}) || len(all[0].IPs) != 2 {
		t.Errorf("got %+v", all)
	}
	set(mac(2), func(d *config.Device) { d.SameAs = usage.MAC{} })
	if all := k.Devices(); len(all) != 2 {
		t.Errorf("after the undo: got %+v", all)
	}
	// A file that is half written leaves the last good one.
	good, err := os.ReadFile(filepath.Join(dir, config.Path))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{string(good[:len(good)-3]), "config device\n\toption mac 'x'\n", "config device\n\toption alias 'A"} {
		write(t, dir, config.Path, text)
		*now = now.Add(time.Minute)
		if got := identityOf(t, k, mac(1), time.Time{}); got.Alias != "Anna's" {
			t.Errorf("with %q: got %+v", text, got)
		}
	}
	write(t, dir, config.Path, string(good))
	if err := k.Forget(mac(1)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, config.Path))
	if err != nil || string(text) != "# mine\nconfig agent 'agent'\n\toption enabled '1'\n" {
		t.Errorf("the file is %q, %v", text, err)
	}
}

func TestVendors(t *testing.T) {
	table, err := oui.Build([]oui.Block{{Prefix: usage.MAC{0, 0x1b, 0x63}, Bits: 24, Vendor: "Apple"}}, began)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write(t, dir, VendorPath, string(table))
	write(t, dir, "/proc/net/arp", "")
	k, _ := keeper(t, dir, nil)
	for m, want := range map[usage.MAC]string{
		{0, 0x1b, 0x63, 1, 2, 3}: "Apple", {2, 0x1b, 0x63, 1, 2, 3}: "", {0, 0x1b, 0x64, 1, 2, 3}: "", {}: "",
	} {
		if got := identityOf(t, k, m, time.Time{}); got.Vendor != want {
			t.Errorf("%v: got %q, want %q", m, got.Vendor, want)
		}
	}
	if !k.State().Vendors {
		t.Error("the table is not reported")
	}
	if k, _ := keeper(t, t.TempDir(), nil); identityOf(t, k, usage.MAC{0, 0x1b, 0x63, 1, 2, 3}, time.Time{}).Vendor != "" || k.State().Vendors {
		t.Error("a vendor without a table")
	}
}

func TestPresence(t *testing.T) {
	dir := root(t, map[string]string{"/proc/net/arp": arpLine(mac(1), "10.0.0.1"), "/tmp/dhcp.leases": leaseLine(mac(2), "10.0.0.2", "two")})
	k, now := keeper(t, dir, blobs{})
	k.Look()
	seen := *now
	write(t, dir, "/proc/net/arp", "")
	*now = now.Add(time.Hour)
	sent := usage.Record{MAC: mac(3), TxBytes: 1}
	got := usage.Record{MAC: mac(4), RxBytes: 1} // sent to it, whether it is there or not
	k.Moved(*now, []usage.Record{sent, got})
	k.Look()
	for n, want := range map[int]usage.Identity{
		1: {Presence: usage.Away, LastSeen: seen}, 2: {Presence: usage.Away}, 3: {Presence: usage.Online, LastSeen: *now}, 4: {Presence: usage.Away},
	} {
		if id := identityOf(t, k, mac(n), time.Time{}); id.Presence != want.Presence || !id.LastSeen.Equal(want.LastSeen) {
			t.Errorf("device %d: got %+v, want %+v", n, id, want)
		}
	}
	if s := k.State(); s.Online != 1 || s.Neighbours != neighboursARP || s.Flood != nil {
		t.Errorf("got %+v", s)
	}
	nothing, _ := keeper(t, t.TempDir(), nil)
	if id := identityOf(t, nothing, mac(1), time.Time{}); id.Presence != usage.PresenceUnknown {
		t.Errorf("nobody looked: got %+v", id)
	}
}

// TestClockUnset: nothing is remembered that could not be dated.
func TestClockUnset(t *testing.T) {
	dir, ram := root(t, map[string]string{"/proc/net/arp": arpLine(mac(1), "10.0.0.1"), "/tmp/dhcp.leases": leaseLine(mac(1), "10.0.0.1", "one")}), blobs{}
	k := Open(Options{Root: dir, Now: func() time.Time { return time.Unix(9, 0) }, NotBefore: began, Blobs: ram})
	defer k.Close()
	k.Look()
	k.Moved(time.Unix(9, 0), []usage.Record{{MAC: mac(1), TxBytes: 1}})
	if got := identityOf(t, k, mac(1), time.Time{}); got.Hostname != "one" || len(ram) != 0 || len(k.memory.devices) != 0 {
		t.Errorf("got %+v; kept %d blobs", got, len(ram))
	}
	if _, err := os.Stat(filepath.Join(dir, KnownPath)); err == nil {
		t.Error("written to flash")
	}
}

func TestNetworks(t *testing.T) {
	dir := root(t, map[string]string{
		"/etc/config/network": `
config interface 'loopback'
	option device 'lo'
config interface 'lan'
	option device 'br-lan.1'
config interface 'iot'
	option ifname 'eth0.3 eth0.4'
config interface 'old'
	option type 'bridge'
	option ifname 'eth0.5'
config interface 'wan'
	option device 'eth1'
config interface 'wan6'
	option device '@wan'
config interface 'lte'
	option device 'wwan0'
config interface 'ring'
	option device '@ring'
config device
	option name 'br-lan'
	option shiny '1'
`,
		"/etc/config/firewall": "config zone\n option name lan\n list network lan\n option masq 1\nconfig zone\n option name cell\n list network lte\n option masq 1\n",
	})
	n, err := readNetworks(dir)
	if err != nil {
		t.Fatal(err)
	}
	for device, want := range map[string]string{
		"br-lan.1": "lan", "eth0.3": "iot", "eth0.4": "iot", "br-old": "old", "docker0": "docker0", "eth1": "-", "wwan0": "-", "lo": "-",
	} {
		name, ok := n.of(device)
		if !ok {
			name = "-"
		}
		if name != want {
			t.Errorf("%s: got %s, want %s", device, name, want)
		}
	}
}

// TestLeaseFiles: several instances, each with its own file.
func TestLeaseFiles(t *testing.T) {
	dir := root(t, map[string]string{
		"/etc/config/dhcp": "config dnsmasq a\n option leasefile /tmp/a\nconfig dnsmasq b\nconfig dnsmasq c\n option leasefile /tmp/a\n" +
			"config odhcpd\n option leasefile /tmp/o\n",
		"/tmp/a": leaseLine(mac(1), "10.0.0.1", "a"), "/tmp/dhcp.leases": leaseLine(mac(2), "10.0.0.2", "b"), "/tmp/o": testOdhcpd,
	})
	b, err := read(dir)
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{1: "a", 2: "b", 11: "tablet"} {
		if name, _ := b.Lookup(mac(n)); name.Text != want {
			t.Errorf("%d: got %v, want %s", n, name, want)
		}
	}
}

// TestConflictingLeases: of two leases of one device the later one names it;
// of two devices with one address the later lease has it.
func TestConflictingLeases(t *testing.T) {
	lease := func(ends, n int, ip, name string) string {
		return fmt.Sprintf("%d %v %s %s *\n", ends, mac(n), ip, name)
	}
	for _, text := range []string{
		lease(100, 1, "10.0.0.1", "early") + lease(200, 1, "10.0.0.2", "late") + lease(300, 2, "10.0.0.9", "x") + lease(0, 3, "10.0.0.9", "for-ever"),
		lease(0, 3, "10.0.0.9", "for-ever") + lease(200, 1, "10.0.0.2", "late") + lease(300, 2, "10.0.0.9", "x") + lease(100, 1, "10.0.0.1", "early") +
			lease(100, 1, "10.0.0.1", "early"),
	} {
		k, _ := keeper(t, root(t, map[string]string{"/tmp/dhcp.leases": text}), blobs{})
		k.Look()
		names, _ := k.Names()
		if got := names.IPs(mac(1)); names.Hostname(mac(1)) != "late" || !slices.Equal(got, addrs("10.0.0.2", "10.0.0.1")) {
			t.Errorf("got %s at %v", names.Hostname(mac(1)), got)
		}
		if got, ok := k.Attribute(netip.MustParseAddr("10.0.0.9"), began); !ok || got != mac(3) {
			t.Errorf("10.0.0.9 is of %v, %v", got, ok)
		}
	}
}

// hostileLeases is a file of n lines no honest dnsmasq writes.
func hostileLeases(n int) string {
	var b strings.Builder
	for i := range n {
		name := [...]string{"\x1b[2J", "\u202egnp.exe", "\xff\xfe", "=cmd|'/C calc'!A0", strings.Repeat("n", 10<<10), "a\x00b", "<script>", "'; rm -rf /"}[i%8]
		if len(name) > 100 && i > 1000 {
			name = name[:900]
		}
		fmt.Fprintf(&b, "%d %v 10.%d.%d.%d %s *\n", i, usage.MAC{2, 0xee, 0, byte(i >> 16), byte(i >> 8), byte(i)}, i>>16, i>>8&255, i&255, name)
	}
	return b.String()
}

// TestHostileLeases: 50,000 lines that a hostile network made. Memory stays
// within its bounds, no name is unsafe, and who was known stays, behind them.
func TestHostileLeases(t *testing.T) {
	dir := root(t, map[string]string{"/tmp/dhcp.leases": leaseLine(mac(1), "10.200.0.1", "laptop"), "/proc/net/arp": arpLine(mac(1), "10.200.0.1")})
	k, now := keeper(t, dir, blobs{})
	k.Look()
	write(t, dir, "/tmp/dhcp.leases", hostileLeases(50_000)+leaseLine(mac(1), "10.200.0.1", "laptop"))
	*now = now.Add(time.Minute)
	k.Look()
	if got := identityOf(t, k, mac(1), time.Time{}); got.Hostname != "laptop" {
		t.Errorf("the laptop is %+v", got)
	}
	all := k.Devices()
	if len(all) > maxFacts+maxKnown {
		t.Errorf("%d devices", len(all))
	}
	for _, d := range all {
		if d.Hostname != usage.Clean(d.Hostname, usage.MaxName) {
			t.Errorf("%v is called %q", d.MAC, d.Hostname)
		}
	}
	if f := k.State().Flood; f == nil || f.MACs < 10_000 {
		t.Errorf("the flood is %+v", f)
	}
	check(t, k.memory)
}
