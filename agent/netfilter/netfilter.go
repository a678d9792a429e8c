// Package netfilter asks the running kernel's netfilter, over nfnetlink, what
// its files do not tell: which flowtables take flows off the normal path, and
// whether connection tracking tells listeners of new flows.
//
// The messages are those of Linux's uapi/linux/netfilter/nfnetlink.h,
// nf_tables.h and nfnetlink_conntrack.h.
package netfilter

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/netlink"
)

// Flowtable is one of nftables'.
type Flowtable struct {
	Table, Name string
	Hardware    bool // flows may go to the network chip
	Counted     bool // packets on the fast path are counted in the flow's entry
}

// From nf_tables.h.
const (
	newFlowtable   = 22 // NFT_MSG_NEWFLOWTABLE
	attrTable      = 1  // NFTA_FLOWTABLE_TABLE
	attrName       = 2  // NFTA_FLOWTABLE_NAME
	attrFlags      = 7  // NFTA_FLOWTABLE_FLAGS
	flagHardware   = 1  // NFT_FLOWTABLE_HW_OFFLOAD
	flagCounter    = 2  // NFT_FLOWTABLE_COUNTER
	maxFlowtables  = 64
	nfgenmsgLength = 4
)

// Flowtables lists those of all families. It needs CAP_NET_ADMIN: without it
// the error matches os.ErrPermission. A kernel without nftables has none.
func Flowtables(ctx context.Context) ([]Flowtable, error) {
	c, err := netlink.Open(ctx, unix.NETLINK_NETFILTER, 0)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	var tables []Flowtable
	var errno syscall.Errno
	err = c.List(unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETFLOWTABLE, unix.NLM_F_DUMP, make([]byte, nfgenmsgLength), func(kind uint16, body []byte) error {
		if kind != unix.NFNL_SUBSYS_NFTABLES<<8|newFlowtable || len(tables) == maxFlowtables {
			return nil
		}
		t, err := flowtable(body)
		tables = append(tables, t)
		return err
	})
	switch {
	case errors.As(err, &errno) && (errno == syscall.EOPNOTSUPP || errno == syscall.EINVAL || errno == syscall.EPROTONOSUPPORT):
		return nil, nil // no nftables, or one from before flowtables
	case err != nil:
		return nil, fmt.Errorf("ask nftables for its flowtables: %w", err)
	}
	return tables, nil
}

func flowtable(body []byte) (t Flowtable, err error) {
	err = netlink.Attrs(body, nfgenmsgLength, func(kind uint16, value []byte) error {
		switch kind {
		case attrTable:
			t.Table = unix.ByteSliceToString(value)
		case attrName:
			t.Name = unix.ByteSliceToString(value)
		case attrFlags:
			if len(value) < 4 {
				return netlink.ErrMalformed
			}
			flags := binary.BigEndian.Uint32(value)
			t.Hardware, t.Counted = flags&flagHardware != 0, flags&flagCounter != 0
		}
		return nil
	})
	return t, err
}

// eventWithin is how long a new flow's event may take: the kernel sends it as
// it makes the entry.
const eventWithin = time.Second

// Event makes a flow, one datagram over loopback, and tells whether connection
// tracking told of any flow within a second, on this machine and in this
// network namespace. port is the flow's destination, by which its entry can
// be found.
func Event(ctx context.Context) (heard bool, port int, err error) {
	const groups = 1<<(unix.NFNLGRP_CONNTRACK_NEW-1) | 1<<(unix.NFNLGRP_CONNTRACK_UPDATE-1) | 1<<(unix.NFNLGRP_CONNTRACK_DESTROY-1)
	ctx, cancel := context.WithTimeout(ctx, eventWithin)
	defer cancel()
	c, err := netlink.Open(ctx, unix.NETLINK_NETFILTER, groups)
	if err != nil {
		return false, 0, err
	}
	defer c.Close()
	to, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return false, 0, err
	}
	defer to.Close()
	from, err := net.DialUDP("udp4", nil, to.LocalAddr().(*net.UDPAddr))
	if err != nil {
		return false, 0, err
	}
	defer from.Close()
	port = to.LocalAddr().(*net.UDPAddr).Port
	if _, err := from.Write([]byte("netpilot")); err != nil {
		return false, port, err
	}
	switch _, err := c.Receive(); {
	case err == nil || errors.Is(err, syscall.ENOBUFS): // so many that some were lost
		return true, port, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, port, nil
	default:
		return false, port, err
	}
}
