package identity

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/netpilot/netpilot/pkg/usage"
)

// Numbers of rtnetlink, from Linux's uapi/linux/netlink.h, rtnetlink.h and
// neighbour.h; the layouts are those of rtnetlink(7).
const (
	nlmsgHead = 16 // struct nlmsghdr
	ndmsgSize = 12 // struct ndmsg
	ifmsgSize = 16 // struct ifinfomsg

	ndaDst       = 1
	ndaLLAddr    = 2
	ndaCacheInfo = 3 // struct nda_cacheinfo: confirmed, used, updated, refcnt
	iflaIfname   = 3

	nudReachable = 0x02
	nudStale     = 0x04
	nudDelay     = 0x08
	nudProbe     = 0x10
	nudPermanent = 0x80

	// userHz is the unit of nda_cacheinfo's ages (neigh_fill_info uses
	// jiffies_to_clock_t), the same on every architecture Linux runs Go on.
	userHz = 100
)

var errNetlink = errors.New("netlink: malformed message")

// dumpTable asks the kernel for one of its tables, of both address families.
// It needs no rights.
func dumpTable(what int) ([]byte, error) {
	data, err := syscall.NetlinkRIB(what, syscall.AF_UNSPEC)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	return data, nil
}

// neighbour is an entry of the kernel's table that has a MAC.
type neighbour struct {
	link int32 // the interface's number
	mac  usage.MAC
	addr netip.Addr
	seen uint32 // seconds since the kernel last knew it to be there
}

// decodeNeighbours gives the neighbours of a dump by RTM_GETNEIGH to add:
// those that are or were reachable. Entries without a MAC are incomplete or
// failed; those the kernel made itself, for group addresses, are no devices.
func decodeNeighbours(data []byte, order binary.ByteOrder, add func(neighbour)) error {
	return eachMessage(data, order, syscall.RTM_NEWNEIGH, ndmsgSize, func(head, attrs []byte) error {
		n := neighbour{link: int32(order.Uint32(head[4:]))}
		state := order.Uint16(head[8:])
		if state&(nudReachable|nudStale|nudDelay|nudProbe|nudPermanent) == 0 {
			return nil
		}
		family := head[0]
		confirmed := uint32(0)
		err := eachAttr(attrs, order, func(typ uint16, value []byte) {
			switch {
			case typ == ndaDst && family == syscall.AF_INET && len(value) == 4, typ == ndaDst && family == syscall.AF_INET6 && len(value) == 16:
				n.addr, _ = netip.AddrFromSlice(value)
			case typ == ndaLLAddr && len(value) == len(n.mac):
				copy(n.mac[:], value)
			case typ == ndaCacheInfo && len(value) >= 4:
				confirmed = order.Uint32(value) / userHz
			}
		})
		if err != nil {
			return err
		}
		if state&(nudStale|nudPermanent) != 0 {
			n.seen = confirmed
		}
		if n.addr.IsValid() && isDevice(n.mac) {
			add(n)
		}
		return nil
	})
}

// decodeLinks gives number and name of each interface of a dump by
// RTM_GETLINK to add.
func decodeLinks(data []byte, order binary.ByteOrder, add func(link int32, name string)) error {
	return eachMessage(data, order, syscall.RTM_NEWLINK, ifmsgSize, func(head, attrs []byte) error {
		return eachAttr(attrs, order, func(typ uint16, value []byte) {
			if n := len(value); typ == iflaIfname && n > 1 && n <= syscall.IFNAMSIZ {
				add(int32(order.Uint32(head[4:])), string(value[:n-1])) // NUL at its end
			}
		})
	})
}

// eachMessage calls do for the messages of a type with its fixed part and its
// attributes. What stands before a malformed message is given.
func eachMessage(data []byte, order binary.ByteOrder, typ uint16, fixed int, do func(head, attrs []byte) error) error {
	for len(data) >= nlmsgHead {
		n := order.Uint32(data)
		if n < nlmsgHead || uint64(n) > uint64(len(data)) {
			return errNetlink
		}
		switch t := order.Uint16(data[4:]); {
		case t == syscall.NLMSG_DONE:
			return nil
		case t == syscall.NLMSG_ERROR:
			if n >= nlmsgHead+4 {
				if errno := -int32(order.Uint32(data[nlmsgHead:])); errno > 0 {
					return fmt.Errorf("netlink: %w", syscall.Errno(errno))
				}
			}
			return errNetlink
		case t == typ:
			if int(n) < nlmsgHead+fixed {
				return errNetlink
			}
			if err := do(data[nlmsgHead:nlmsgHead+fixed], data[nlmsgHead+fixed:n]); err != nil {
				return err
			}
		}
		data = data[min(align4(int(n)), len(data)):]
	}
	if len(data) > 0 {
		return errNetlink
	}
	return nil
}

// eachAttr calls do for each attribute (struct rtattr: length and type).
func eachAttr(data []byte, order binary.ByteOrder, do func(typ uint16, value []byte)) error {
	for len(data) >= 4 {
		n := int(order.Uint16(data))
		if n < 4 || n > len(data) {
			return errNetlink
		}
		do(order.Uint16(data[2:]), data[4:n])
		data = data[min(align4(n), len(data)):]
	}
	return nil
}

func align4(n int) int { return (n + 3) &^ 3 }

// isDevice tells whether mac can be a device's: not zero and not a group's
// (IEEE 802-2014 section 8.4).
func isDevice(mac usage.MAC) bool { return !mac.IsZero() && mac[0]&1 == 0 }
