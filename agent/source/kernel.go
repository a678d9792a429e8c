package source

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/agent/wireless"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// The kernel's own counters, for when nlbwmon does not serve; in this order.
// None is as good as nlbwmon, and Reading.Blind says why.
const (
	Conntrack  = "conntrack"  // connections that live now, by device
	Stations   = "stations"   // devices on the router's own access points
	Interfaces = "interfaces" // the router's interfaces, no devices
)

// Kernel is how a router's kernel is read. Its fields are set once.
type Kernel struct {
	ConntrackPath string // /proc/net/nf_conntrack
	DevPath       string // /proc/net/dev
	// Counted tells whether nlbwmon runs: it zeroes the connections' counters
	// at each refresh, so that what is left in them is no sum.
	Counted func() bool
	// Local tells whether an address is of a local network, as they are now.
	Local func() (func(netip.Addr) bool, error)
	// MAC finds the device that has an address; the zero MAC if nobody knows.
	MAC func(netip.Addr) usage.MAC
	// Stations lists wireless devices; nil where the files are not this
	// machine's.
	Stations func(context.Context) ([]wireless.Station, error)
}

// readKernel reads one of the kernel's sources. They know no periods.
func (r *Router) readKernel(ctx context.Context, name string, sink usage.Sink) (Reading, error) {
	k := r.Kernel
	if k == nil {
		return Reading{}, usage.Errorf(usage.Unavailable, "the kernel's counters are not read here")
	}
	reading := Reading{AsOf: r.Now()}
	sink.Begin(0)
	var err error
	switch name {
	case Conntrack:
		reading.Blind = []string{"the kernel's table of connections stands in for nlbwmon: only connections that live now are in it, what has ended is not counted"}
		err = k.readConntrack(sink)
	case Stations:
		reading.Blind = []string{"the access points' own counters stand in for nlbwmon: only wireless devices that are connected now, since they joined, traffic within the network included, wired devices not"}
		err = k.readStations(ctx, sink)
	case Interfaces:
		reading.Blind = []string{"the interfaces' counters stand in for nlbwmon: whole networks since each was set up, no devices; bytes_rx is what the router received on it"}
		reading.Interfaces, err = k.readInterfaces()
	}
	return reading, err
}

// maxFlow bounds a line of the kernel's table; the longest has some 400 bytes.
const maxFlow = 4 << 10

func (k *Kernel) readConntrack(sink usage.Sink) error {
	if k.Counted() {
		return usage.Errorf(usage.Unavailable, "nlbwmon runs and zeroes the counters of connections at each refresh; they are no sum")
	}
	local, err := k.Local()
	if err != nil {
		return fmt.Errorf("which networks are local: %w", err)
	}
	f, err := os.Open(k.ConntrackPath)
	if errors.Is(err, fs.ErrPermission) {
		return usage.Errorf(usage.Unavailable, "no permission for %s; run as root: %w", k.ConntrackPath, err)
	}
	if err != nil {
		return err // names the path
	}
	defer f.Close()
	return k.decodeConntrack(f, local, sink.Add)
}

// decodeConntrack reads /proc/net/nf_conntrack (nf_conntrack_standalone.c):
//
//	ipv4  2 tcp  6 431999 ESTABLISHED src=192.168.1.2 dst=203.0.113.9 sport=50000 dport=443 packets=9 bytes=900
//	  src=203.0.113.9 dst=198.51.100.1 sport=443 dport=50000 packets=8 bytes=8000 [ASSURED] mark=0 use=2
//
// on one line. The first addresses are those of who began, the second those of
// the answer as it comes, which differ where addresses are translated.
func (k *Kernel) decodeConntrack(r io.Reader, local func(netip.Addr) bool, add func(*usage.Record)) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxFlow), maxFlow)
	counted := 0
	for lines.Scan() {
		flow, ok := parseFlow(lines.Text())
		if !ok {
			continue
		}
		if !flow.counted {
			continue
		}
		counted++
		rec := usage.Record{Proto: flow.proto, Conns: 1}
		var device netip.Addr
		orig, reply := &flow.ways[0], &flow.ways[1]
		switch {
		case local(orig.src) && !local(orig.dst):
			device, rec.Port = orig.src, orig.dport
			rec.TxBytes, rec.TxPackets, rec.RxBytes, rec.RxPackets = orig.bytes, orig.packets, reply.bytes, reply.packets
		case local(reply.src) && !local(orig.src): // a port forward, or IPv6 from outside
			device, rec.Port = reply.src, reply.sport
			rec.RxBytes, rec.RxPackets, rec.TxBytes, rec.TxPackets = orig.bytes, orig.packets, reply.bytes, reply.packets
		default:
			continue
		}
		rec.SetIP(device)
		rec.MAC = k.MAC(device)
		add(&rec)
	}
	switch err := lines.Err(); {
	case err != nil:
		return fmt.Errorf("read %s: %w", k.ConntrackPath, err)
	case counted == 0: // not one is the rule where the kernel does not count
		return usage.Errorf(usage.Unavailable, "%s has no connection with counters; try: sysctl -w net.netfilter.nf_conntrack_acct=1", k.ConntrackPath)
	}
	return nil
}

type flow struct {
	proto   uint8
	counted bool
	ways    [2]way
}

type way struct {
	src, dst       netip.Addr
	sport, dport   uint16
	packets, bytes uint64
}

func parseFlow(line string) (f flow, ok bool) {
	words := strings.Fields(line)
	if len(words) < 8 {
		return f, false
	}
	proto, err := strconv.ParseUint(words[3], 10, 8)
	if err != nil {
		return f, false
	}
	f.proto = uint8(proto)
	at := -1
	sums := 0
	for _, word := range words[4:] {
		name, value, found := strings.Cut(word, "=")
		if !found {
			continue
		}
		if name == "src" {
			if at++; at > 1 {
				return f, false
			}
		}
		if at < 0 {
			continue
		}
		w := &f.ways[at]
		switch name {
		case "src":
			w.src, err = netip.ParseAddr(value)
		case "dst":
			w.dst, err = netip.ParseAddr(value)
		case "sport":
			w.sport, err = port(value)
		case "dport":
			w.dport, err = port(value)
		case "packets":
			w.packets, err = strconv.ParseUint(value, 10, 64)
		case "bytes":
			w.bytes, err = strconv.ParseUint(value, 10, 64)
			sums++
		}
		if err != nil {
			return f, false
		}
	}
	f.counted = sums == 2
	return f, at == 1 && f.ways[0].src.IsValid() && f.ways[0].dst.IsValid() && f.ways[1].src.IsValid()
}

func port(s string) (uint16, error) {
	n, err := strconv.ParseUint(s, 10, 16)
	return uint16(n), err
}

func (k *Kernel) readStations(ctx context.Context, sink usage.Sink) error {
	if k.Stations == nil {
		return usage.Errorf(usage.Unavailable, "these are not this machine's access points")
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	stations, err := k.Stations(ctx)
	if err != nil {
		return usage.Errorf(usage.Unavailable, "%w", err)
	}
	if len(stations) == 0 {
		return usage.Errorf(usage.Unavailable, "no device is connected to this router's access points")
	}
	for i := range stations {
		s := &stations[i]
		sink.Add(&usage.Record{MAC: s.MAC, RxBytes: s.RxBytes, TxBytes: s.TxBytes, RxPackets: s.RxPackets, TxPackets: s.TxPackets})
	}
	return nil
}

// maxInterfaces bounds the list.
const maxInterfaces = 256

func (k *Kernel) readInterfaces() ([]usage.Interface, error) {
	f, err := os.Open(k.DevPath)
	if err != nil {
		return nil, err // names the path
	}
	defer f.Close()
	all, err := decodeDev(f)
	if err == nil && len(all) == 0 {
		err = usage.Errorf(usage.Unavailable, "%s lists no interface", k.DevPath)
	}
	return all, err
}

// decodeDev reads /proc/net/dev (dev_seq_printf_stats in net-procfs.c): name,
// eight numbers of what was received, eight of what was sent.
func decodeDev(r io.Reader) ([]usage.Interface, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxFlow), maxFlow)
	var all []usage.Interface
	for lines.Scan() && len(all) < maxInterfaces {
		name, rest, ok := strings.Cut(lines.Text(), ":")
		words := strings.Fields(rest)
		if name = strings.TrimSpace(name); !ok || len(words) < 10 || name == "lo" {
			continue
		}
		i := usage.Interface{Name: usage.Clean(name, usage.MaxName)}
		bad := false
		for at, to := range map[int]*uint64{0: &i.RxBytes, 1: &i.RxPackets, 8: &i.TxBytes, 9: &i.TxPackets} {
			n, err := strconv.ParseUint(words[at], 10, 64)
			*to, bad = n, bad || err != nil
		}
		if !bad {
			all = append(all, i)
		}
	}
	sorting.Func(all, func(a, b usage.Interface) int { return strings.Compare(a.Name, b.Name) })
	return all, lines.Err()
}
