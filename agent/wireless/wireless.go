// Package wireless lists the stations of the router's access points with what
// they moved, as the kernel counts it. It asks nl80211 itself (Linux's
// uapi/linux/nl80211.h), as the program iw does, and needs no rights for it.
package wireless

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/netlink"
	"github.com/netpilot/netpilot/pkg/usage"
)

// ErrNone says that this machine has no access point.
var ErrNone = errors.New("no wireless access point on this router")

// Station is a device on an access point. Its counters are since it joined;
// rx is towards the device.
type Station struct {
	MAC usage.MAC
	usage.Counters
}

const (
	genlHead    = 4 // command, version, two bytes reserved
	maxStations = 4096
)

// Stations lists those of all access points. One on two of them is listed
// twice.
func Stations(ctx context.Context) ([]Station, error) {
	c, err := netlink.Open(ctx, unix.NETLINK_GENERIC, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	family, err := resolve(c)
	if err != nil {
		return nil, err
	}
	links, err := accessPoints(c, family)
	if err != nil {
		return nil, err
	}
	if len(links) == 0 {
		return nil, ErrNone
	}
	var stations []Station
	for _, link := range links {
		body := netlink.AppendAttr(head(unix.NL80211_CMD_GET_STATION), unix.NL80211_ATTR_IFINDEX, binary.NativeEndian.AppendUint32(nil, link))
		err := c.List(family, unix.NLM_F_DUMP, body, func(_ uint16, body []byte) error {
			s, ok, err := station(body)
			if ok && len(stations) < maxStations {
				stations = append(stations, s)
			}
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("list wireless stations: %w", err)
		}
	}
	return stations, nil
}

func head(command byte) []byte { return []byte{command, 0, 0, 0} }

// resolve asks the controller for nl80211's number.
func resolve(c *netlink.Conn) (family uint16, err error) {
	body := netlink.AppendAttr(head(unix.CTRL_CMD_GETFAMILY), unix.CTRL_ATTR_FAMILY_NAME, []byte("nl80211\x00"))
	err = c.List(unix.GENL_ID_CTRL, unix.NLM_F_ACK, body, func(_ uint16, body []byte) error {
		return netlink.Attrs(body, genlHead, func(kind uint16, value []byte) error {
			if kind == unix.CTRL_ATTR_FAMILY_ID && len(value) >= 2 {
				family = binary.NativeEndian.Uint16(value)
			}
			return nil
		})
	})
	if errors.Is(err, syscall.ENOENT) {
		return 0, ErrNone
	}
	if err == nil && family == 0 {
		err = netlink.ErrMalformed
	}
	if err != nil {
		return 0, fmt.Errorf("find nl80211: %w", err)
	}
	return family, nil
}

// accessPoints are the numbers of the interfaces that are one, or a VLAN of
// one.
func accessPoints(c *netlink.Conn, family uint16) (links []uint32, err error) {
	err = c.List(family, unix.NLM_F_DUMP, head(unix.NL80211_CMD_GET_INTERFACE), func(_ uint16, body []byte) error {
		var link, kind uint32
		err := netlink.Attrs(body, genlHead, func(attr uint16, value []byte) error {
			switch {
			case len(value) < 4:
			case attr == unix.NL80211_ATTR_IFINDEX:
				link = binary.NativeEndian.Uint32(value)
			case attr == unix.NL80211_ATTR_IFTYPE:
				kind = binary.NativeEndian.Uint32(value)
			}
			return nil
		})
		if (kind == unix.NL80211_IFTYPE_AP || kind == unix.NL80211_IFTYPE_AP_VLAN) && !slices.Contains(links, link) {
			links = append(links, link)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list wireless interfaces: %w", err)
	}
	return links, nil
}

// station reads a NEW_STATION message. What the access point received, the
// station sent.
func station(body []byte) (s Station, ok bool, err error) {
	if len(body) < genlHead || body[0] != unix.NL80211_CMD_NEW_STATION {
		return s, false, nil
	}
	var rx32, tx32 uint64
	err = netlink.Attrs(body, genlHead, func(attr uint16, value []byte) error {
		switch {
		case attr == unix.NL80211_ATTR_MAC && len(value) == len(s.MAC):
			copy(s.MAC[:], value)
		case attr == unix.NL80211_ATTR_STA_INFO:
			return netlink.Attrs(value, 0, func(attr uint16, value []byte) error {
				n := number(value)
				switch attr {
				case unix.NL80211_STA_INFO_RX_BYTES:
					rx32 = n
				case unix.NL80211_STA_INFO_TX_BYTES:
					tx32 = n
				case unix.NL80211_STA_INFO_RX_BYTES64:
					s.TxBytes = n
				case unix.NL80211_STA_INFO_TX_BYTES64:
					s.RxBytes = n
				case unix.NL80211_STA_INFO_RX_PACKETS:
					s.TxPackets = n
				case unix.NL80211_STA_INFO_TX_PACKETS:
					s.RxPackets = n
				}
				return nil
			})
		}
		return nil
	})
	// Kernels before 3.18 have 32 bits only.
	s.TxBytes, s.RxBytes = max(s.TxBytes, rx32), max(s.RxBytes, tx32)
	return s, err == nil && !s.MAC.IsZero(), err
}

func number(value []byte) uint64 {
	switch len(value) {
	case 4:
		return uint64(binary.NativeEndian.Uint32(value))
	case 8:
		return binary.NativeEndian.Uint64(value)
	}
	return 0
}
