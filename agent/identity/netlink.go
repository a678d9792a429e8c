package identity

import (
	"context"
	"encoding/binary"
	"errors"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/netlink"
	"github.com/netpilot/netpilot/pkg/usage"
)

// userHz is the unit of nda_cacheinfo's ages (neigh_fill_info uses
// jiffies_to_clock_t), the same on every architecture Linux runs Go on.
const userHz = 100

// lister gives each entry of one of the kernel's tables to visit, as
// netlink.Conn's List does.
type lister func(kind uint16, head []byte, visit func(kind uint16, body []byte) error) error

// kernelTable is the lister of the running kernel, of both address families.
// It needs no rights.
func kernelTable(kind uint16, head []byte, visit func(kind uint16, body []byte) error) error {
	c, err := netlink.Open(context.Background(), unix.NETLINK_ROUTE, 0)
	if err != nil {
		return err
	}
	defer c.Close()
	return c.List(kind, unix.NLM_F_DUMP, head, visit)
}

// neighbour is an entry of the kernel's table that has a MAC.
type neighbour struct {
	link  int32 // the interface's number
	mac   usage.MAC
	addr  netip.Addr
	state uint16
	seen  uint32 // seconds since the kernel last knew it to be there
}

// eachNeighbour gives the neighbours that are or were reachable. Entries
// without a MAC are incomplete or failed; those the kernel made itself, for
// group addresses, are no devices.
func (list lister) eachNeighbour(add func(neighbour)) error {
	return list(unix.RTM_GETNEIGH, make([]byte, unix.SizeofNdMsg), func(kind uint16, body []byte) error {
		if kind != unix.RTM_NEWNEIGH {
			return nil
		}
		n, ok, err := decodeNeighbour(body)
		if ok {
			add(n)
		}
		return err
	})
}

// decodeNeighbour decodes a message of the kind RTM_NEWNEIGH, laid out as
// rtnetlink(7) has it: a struct ndmsg and attributes.
func decodeNeighbour(body []byte) (n neighbour, ok bool, err error) {
	var confirmed uint32
	err = netlink.Attrs(body, unix.SizeofNdMsg, func(kind uint16, value []byte) error {
		switch {
		case kind == unix.NDA_DST && (len(value) == 4 && body[0] == unix.AF_INET || len(value) == 16 && body[0] == unix.AF_INET6):
			n.addr, _ = netip.AddrFromSlice(value)
		case kind == unix.NDA_LLADDR && len(value) == len(n.mac):
			copy(n.mac[:], value)
		case kind == unix.NDA_CACHEINFO && len(value) >= 4: // of a struct nda_cacheinfo the first
			confirmed = binary.NativeEndian.Uint32(value) / userHz
		}
		return nil
	})
	if err != nil {
		return n, false, err
	}
	n.link = int32(binary.NativeEndian.Uint32(body[4:]))
	state := binary.NativeEndian.Uint16(body[8:])
	n.state = state
	if state&(unix.NUD_STALE|unix.NUD_PERMANENT) != 0 {
		n.seen = confirmed
	}
	ok = state&(unix.NUD_REACHABLE|unix.NUD_STALE|unix.NUD_DELAY|unix.NUD_PROBE|unix.NUD_PERMANENT) != 0
	return n, ok && n.addr.IsValid() && isDevice(n.mac), nil
}

// links are the names of the interfaces by their numbers.
func (list lister) links() (map[int32]string, error) {
	names := make(map[int32]string)
	err := list(unix.RTM_GETLINK, make([]byte, unix.SizeofIfInfomsg), func(kind uint16, body []byte) error {
		if kind != unix.RTM_NEWLINK {
			return nil
		}
		link, name, err := decodeLink(body)
		if name != "" {
			names[link] = name
		}
		return err
	})
	return names, err
}

// decodeLink decodes a message of the kind RTM_NEWLINK: a struct ifinfomsg and
// attributes, of which one is the name with a NUL at its end.
func decodeLink(body []byte) (link int32, name string, err error) {
	err = netlink.Attrs(body, unix.SizeofIfInfomsg, func(kind uint16, value []byte) error {
		if n := len(value); kind == unix.IFLA_IFNAME && n > 1 && n <= unix.IFNAMSIZ {
			name = string(value[:n-1])
		}
		return nil
	})
	if err != nil {
		return 0, "", err
	}
	return int32(binary.NativeEndian.Uint32(body[4:])), name, nil
}

// stateNames are what ip neigh calls the states of neighbours.
var stateNames = map[uint16]string{
	unix.NUD_REACHABLE: "REACHABLE", unix.NUD_STALE: "STALE", unix.NUD_DELAY: "DELAY", unix.NUD_PROBE: "PROBE", unix.NUD_PERMANENT: "PERMANENT",
}

// maxTable bounds the text of the neighbour table in bytes: some 4,000 lines.
const maxTable = 256 << 10

// NeighbourTable is the kernel's neighbour table as ip neigh writes it, a line
// an entry: those that are or were reachable, on every interface.
func (k *Keeper) NeighbourTable() (string, error) {
	if k.reader.netlink == nil {
		return "", errors.New("the neighbour table is the running kernel's, and these are the files of another router")
	}
	return k.reader.netlink.text()
}

func (list lister) text() (string, error) {
	names, err := list.links()
	if err != nil {
		return "", err
	}
	var text []byte
	err = list.eachNeighbour(func(n neighbour) {
		if len(text) > maxTable {
			return
		}
		text = n.addr.AppendTo(text)
		text = append(append(text, " dev "...), names[n.link]...)
		text = n.mac.Append(append(text, " lladdr "...))
		text = append(append(append(text, ' '), stateNames[n.state]...), '\n')
	})
	return string(text), err
}

// isDevice tells whether mac can be a device's: not zero and not a group's
// (IEEE 802-2014 section 8.4).
func isDevice(mac usage.MAC) bool { return !mac.IsZero() && mac[0]&1 == 0 }
