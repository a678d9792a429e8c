package identity

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/netlink"
	"github.com/netpilot/netpilot/pkg/usage"
)

// message builds an rtnetlink message: a fixed part, then attributes.
func message(typ uint16, fixed []byte, attrs ...[]byte) []byte {
	body := append([]byte(nil), fixed...)
	for _, a := range attrs {
		body = append(body, a...)
	}
	head := make([]byte, unix.SizeofNlMsghdr)
	binary.NativeEndian.PutUint32(head, uint32(len(head)+len(body)))
	binary.NativeEndian.PutUint16(head[4:], typ)
	binary.NativeEndian.PutUint32(head[8:], 7) // sequence
	return append(head, body...)
}

func attr(typ uint16, value []byte) []byte { return netlink.AppendAttr(nil, typ, value) }

// table is a lister of recorded or made up messages, in datagrams of one.
func table(messages ...[]byte) lister {
	return func(_ uint16, _ []byte, visit func(uint16, []byte) error) error {
		for _, m := range messages {
			if done, err := netlink.Each(m, visit); done || err != nil {
				return err
			}
		}
		return nil
	}
}

func neighMessage(link int32, state uint16, ip string, lladdr []byte, confirmed uint32) []byte {
	addr := netip.MustParseAddr(ip)
	fixed := make([]byte, unix.SizeofNdMsg)
	fixed[0] = unix.AF_INET
	if addr.Is6() {
		fixed[0] = unix.AF_INET6
	}
	binary.NativeEndian.PutUint32(fixed[4:], uint32(link))
	binary.NativeEndian.PutUint16(fixed[8:], state)
	attrs := [][]byte{attr(unix.NDA_DST, addr.AsSlice())}
	if lladdr != nil {
		attrs = append(attrs, attr(unix.NDA_LLADDR, lladdr))
	}
	info := make([]byte, 16)
	binary.NativeEndian.PutUint32(info, confirmed)
	return message(unix.RTM_NEWNEIGH, fixed, append(attrs, attr(unix.NDA_CACHEINFO, info), attr(99, []byte{1}))...)
}

func linkMessage(link int32, name string) []byte {
	fixed := make([]byte, unix.SizeofIfInfomsg)
	binary.NativeEndian.PutUint32(fixed[4:], uint32(link))
	return message(unix.RTM_NEWLINK, fixed, attr(unix.IFLA_IFNAME, append([]byte(name), 0)), attr(1, []byte{1, 2, 3, 4, 5, 6}))
}

func TestDecodeNetlink(t *testing.T) {
	one, two := mac(1), mac(2)
	list := table(
		neighMessage(3, unix.NUD_REACHABLE, "192.168.1.5", one[:], 4200),
		neighMessage(3, unix.NUD_STALE, "192.168.1.6", two[:], 12_345),
		neighMessage(4, unix.NUD_PERMANENT, "fd00::1", one[:], 0),
		neighMessage(3, unix.NUD_INCOMPLETE, "192.168.1.7", nil, 0),
		neighMessage(3, unix.NUD_FAILED, "192.168.1.8", one[:], 0),
		neighMessage(3, unix.NUD_NOARP, "224.0.0.1", []byte{1, 0, 0x5e, 0, 0, 1}, 0),
		neighMessage(3, unix.NUD_REACHABLE, "10.0.0.1", make([]byte, 6), 0),          // no MAC
		neighMessage(3, unix.NUD_REACHABLE, "10.0.0.1", []byte{1, 2, 3, 4}, 0),       // a tunnel's
		neighMessage(3, unix.NUD_REACHABLE, "10.0.0.1", []byte{3, 0, 0, 0, 0, 1}, 0), // a group
		linkMessage(3, "br-lan"),
		message(unix.NLMSG_DONE, make([]byte, 4)),
		neighMessage(3, unix.NUD_REACHABLE, "192.168.1.9", one[:], 0), // behind the end
	)
	var got []neighbour
	if err := list.eachNeighbour(func(n neighbour) { got = append(got, n) }); err != nil {
		t.Fatal(err)
	}
	want := []neighbour{
		{3, one, netip.MustParseAddr("192.168.1.5"), unix.NUD_REACHABLE, 0},
		{3, two, netip.MustParseAddr("192.168.1.6"), unix.NUD_STALE, 123},
		{4, one, netip.MustParseAddr("fd00::1"), unix.NUD_PERMANENT, 0},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if names, err := list.links(); err != nil || names[3] != "br-lan" || len(names) != 1 {
		t.Errorf("got %v, %v", names, err)
	}
	whole := neighMessage(3, unix.NUD_REACHABLE, "192.168.1.5", one[:], 0)
	for i := range whole {
		err := table(whole[:i]).eachNeighbour(func(neighbour) { t.Errorf("a neighbour out of %d bytes", i) })
		if (err == nil) != (i == 0) {
			t.Errorf("%d bytes: got %v", i, err)
		}
	}
	refused := message(unix.NLMSG_ERROR, make([]byte, 20))
	binary.NativeEndian.PutUint32(refused[unix.SizeofNlMsghdr:], uint32(0xffffffff)) // -EPERM
	if err := table(refused).eachNeighbour(nil); !errors.Is(err, syscall.EPERM) {
		t.Errorf("got %v, want EPERM", err)
	}
}

// The kernel of an x86_64 machine (6.18) said this of neighbours that were
// added by hand to a veth interface: ip neigh add ... nud stale.
func TestDecodeRecorded(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("recorded on a little-endian machine")
	}
	text, err := os.ReadFile("testdata/netlink/neighbours.hex")
	if err != nil {
		t.Fatal(err)
	}
	data, err := hex.DecodeString(strings.Join(strings.Fields(string(text)), ""))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	if err := table(data).eachNeighbour(func(n neighbour) { got = append(got, n.addr.String()+" "+n.mac.String()) }); err != nil {
		t.Fatal(err)
	}
	if want := []string{"10.77.0.3 02:77:00:00:00:12", "10.77.0.2 02:77:00:00:00:11", "fd77::3 02:77:00:00:00:12"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func FuzzNetlink(f *testing.F) {
	one := mac(1)
	f.Add(append(neighMessage(3, unix.NUD_STALE, "192.168.1.5", one[:], 9), linkMessage(3, "br-lan")...))
	f.Add(append(neighMessage(3, unix.NUD_REACHABLE, "fd00::1", one[:], 9), message(unix.NLMSG_DONE, make([]byte, 4))...))
	f.Fuzz(func(t *testing.T, data []byte) {
		list := table(data)
		_ = list.eachNeighbour(func(n neighbour) {
			if !n.addr.IsValid() || !isDevice(n.mac) {
				t.Errorf("gave %+v", n)
			}
		})
		names, _ := list.links()
		for _, name := range names {
			if name == "" || len(name) >= unix.IFNAMSIZ {
				t.Errorf("gave the name %q", name)
			}
		}
	})
}

// TestNetlinkRefused: a kernel that refuses, or answers nonsense, costs the
// IPv6 neighbours and nothing else.
func TestNetlinkRefused(t *testing.T) {
	for name, netlink := range map[string]lister{
		"refused":  func(uint16, []byte, func(uint16, []byte) error) error { return syscall.EPERM },
		"nonsense": table([]byte("nonsense, of more than a head's length")),
	} {
		r := reader{root: root(t, map[string]string{"/proc/net/arp": testARP}), netlink: netlink}
		b, err := r.read(began)
		if err != nil || b.source != neighboursARP || !b.Present(mac(1)) {
			t.Errorf("%s: got %v, neighbours by %q", name, err, b.source)
		}
	}
}

// TestNeighboursOfThisKernel: a network namespace with a device behind a
// link, which answers ARP and neighbour discovery, and a modem behind the
// uplink. The kernel's table is read as on a router.
func TestNeighboursOfThisKernel(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("makes a network namespace, which only root may")
	}
	for _, tool := range []string{"ip", "unshare", "nsenter"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("needs the program %s", tool)
		}
	}
	type outcome struct {
		book   *Book
		err    error
		refuse error // no namespace
	}
	done := make(chan outcome)
	dir := t.TempDir()
	go func() { // on a thread of its own, which ends with it
		runtime.LockOSThread()
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- outcome{refuse: err}
			return
		}
		b, err := namespaceNeighbours(dir)
		done <- outcome{book: b, err: err}
	}()
	o := <-done
	if o.refuse != nil {
		t.Skipf("no network namespace: %v", o.refuse)
	}
	if o.err != nil {
		t.Fatal(o.err)
	}
	got := o.book
	for m, want := range map[usage.MAC][]netip.Addr{
		mac(0x11): addrs("10.77.0.2", "fd77::2"), // talked to
		mac(0x12): addrs("10.77.1.3"),            // in the second LAN
		mac(0x13): nil,                           // behind the uplink
	} {
		have := got.IPs(m)
		if len(have) != len(want) || got.Present(m) != (want != nil) {
			t.Errorf("%v: got %v, want %v", m, have, want)
		}
		for _, a := range want {
			if !slices.Contains(have, a) {
				t.Errorf("%v: got %v, want %v", m, have, a)
			}
		}
	}
	if d := got.find(mac(0x12)); d == nil || got.networks[d.network] != "guest" {
		t.Errorf("the second LAN's device is in no network: %+v", d)
	}
	if got.source != neighboursNetlink {
		t.Errorf("read from %q", got.source)
	}
}

// namespaceNeighbours runs in the new namespace's thread.
func namespaceNeighbours(dir string) (*Book, error) {
	peer := exec.Command("unshare", "-n", "sh", "-c", "echo ready; read x")
	stdin, err := peer.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := peer.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := peer.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = stdin.Close()
		_ = peer.Wait()
	}()
	if _, err := stdout.Read(make([]byte, 6)); err != nil {
		return nil, err
	}
	pid := strconv.Itoa(peer.Process.Pid)
	for _, line := range []string{
		"ip link add v0 type veth peer name v1 address 02:77:00:00:00:11",
		"ip link set v1 netns " + pid,
		"ip addr add 10.77.0.1/24 dev v0", "ip -6 addr add fd77::1/64 dev v0 nodad", "ip link set v0 up",
		"nsenter -t " + pid + " -n ip addr add 10.77.0.2/24 dev v1", "nsenter -t " + pid + " -n ip -6 addr add fd77::2/64 dev v1 nodad",
		"nsenter -t " + pid + " -n ip link set v1 up",
		"ip link add g0 type veth peer name g1", "ip addr add 10.77.1.1/24 dev g0", "ip link set g0 up",
		"ip link add w0 type veth peer name w1", "ip addr add 10.99.0.1/24 dev w0", "ip link set w0 up",
		"ip neigh add 10.77.1.3 lladdr 02:77:00:00:00:12 dev g0 nud reachable",
		"ip neigh add 10.99.0.3 lladdr 02:77:00:00:00:13 dev w0 nud reachable",
	} {
		words := strings.Fields(line)
		if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
			return nil, errors.New(line + ": " + string(out))
		}
	}
	if err := os.MkdirAll(dir+"/etc/config", 0o700); err != nil {
		return nil, err
	}
	if err := os.WriteFile(dir+"/etc/config/network", []byte("config interface lan\n option device v0\n"+
		"config interface guest\n option device g0\nconfig interface wan\n option device w0\n"), 0o600); err != nil {
		return nil, err
	}
	r := reader{root: dir, netlink: kernelTable}
	// The kernel resolves a neighbour in its own time: it is spoken to until
	// it is there.
	for range 200 {
		for _, to := range []string{"10.77.0.2", "fd77::2"} {
			conn, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.ParseIP(to), Port: 9})
			if err == nil {
				_, _ = conn.Write([]byte{0})
				_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
				_, _ = conn.Read(make([]byte, 1)) // refused, once it is resolved
				_ = conn.Close()
			}
		}
		b, err := r.read(began)
		if err != nil {
			return nil, err
		}
		if len(b.IPs(mac(0x11))) == 2 {
			return b, nil
		}
	}
	return r.read(began)
}

// Lines as ip neigh writes them.
func TestNeighbourTable(t *testing.T) {
	one, two := mac(1), mac(2)
	messages := [][]byte{
		neighMessage(3, unix.NUD_REACHABLE, "192.168.1.5", one[:], 0),
		neighMessage(4, unix.NUD_PERMANENT, "fd00::1", two[:], 0),
		neighMessage(3, unix.NUD_INCOMPLETE, "192.168.1.7", nil, 0),
		linkMessage(3, "br-lan"), linkMessage(4, "br-guest"),
	}
	want := "192.168.1.5 dev br-lan lladdr " + one.String() + " REACHABLE\nfd00::1 dev br-guest lladdr " + two.String() + " PERMANENT\n"
	if got, err := table(messages...).text(); err != nil || got != want {
		t.Errorf("got %q, %v, want %q", got, err, want)
	}
	messages[0] = messages[0][:len(messages[0])-3]
	if got, err := table(messages...).text(); err == nil {
		t.Errorf("a table that breaks off: got %q", got)
	}
}
