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
	attrTypeMask   = 0x3fff
	maxFlowtables  = 64
	nfgenmsgLength = 4
)

// Flowtables lists those of all families. It needs CAP_NET_ADMIN: without it
// the error matches os.ErrPermission. A kernel without nftables has none.
func Flowtables(ctx context.Context) ([]Flowtable, error) {
	s, err := open(ctx, 0)
	if err != nil {
		return nil, err
	}
	defer s.close()
	request := binary.NativeEndian.AppendUint32(nil, unix.SizeofNlMsghdr+nfgenmsgLength)
	request = binary.NativeEndian.AppendUint16(request, unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_GETFLOWTABLE)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	request = append(request, make([]byte, 8+nfgenmsgLength)...) // sequence, port; family any, version 0
	if err := unix.Sendto(s.fd, request, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("ask nftables for its flowtables: %w", err)
	}
	var tables []Flowtable
	for {
		text, err := s.receive()
		if err != nil {
			return nil, fmt.Errorf("ask nftables for its flowtables: %w", err)
		}
		done, err := parse(text, &tables)
		var errno syscall.Errno
		switch {
		case errors.As(err, &errno) && (errno == syscall.EOPNOTSUPP || errno == syscall.EINVAL || errno == syscall.EPROTONOSUPPORT):
			return nil, nil // no nftables, or one from before flowtables
		case err != nil:
			return nil, fmt.Errorf("ask nftables for its flowtables: %w", err)
		case done:
			return tables, nil
		}
	}
}

var errMalformed = errors.New("malformed message from the kernel")

// parse reads the messages of one datagram and tells whether the last came.
func parse(text []byte, tables *[]Flowtable) (done bool, err error) {
	for len(text) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(text))
		kind := binary.NativeEndian.Uint16(text[4:])
		if length < unix.SizeofNlMsghdr || length > len(text) {
			return false, errMalformed
		}
		body := text[unix.SizeofNlMsghdr:length]
		text = text[min((length+3)&^3, len(text)):]
		switch {
		case kind == unix.NLMSG_DONE:
			return true, nil
		case kind == unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, errMalformed
			}
			if code := -int32(binary.NativeEndian.Uint32(body)); code != 0 {
				return false, syscall.Errno(code)
			}
			return true, nil
		case kind == unix.NFNL_SUBSYS_NFTABLES<<8|newFlowtable && len(*tables) < maxFlowtables:
			t, err := flowtable(body)
			if err != nil {
				return false, err
			}
			*tables = append(*tables, t)
		}
	}
	return false, nil
}

func flowtable(body []byte) (t Flowtable, err error) {
	if len(body) < nfgenmsgLength {
		return t, errMalformed
	}
	for attrs := body[nfgenmsgLength:]; len(attrs) >= 4; {
		length := int(binary.NativeEndian.Uint16(attrs))
		kind := binary.NativeEndian.Uint16(attrs[2:]) & attrTypeMask
		if length < 4 || length > len(attrs) {
			return t, errMalformed
		}
		value := attrs[4:length]
		attrs = attrs[min((length+3)&^3, len(attrs)):]
		switch kind {
		case attrTable:
			t.Table = unix.ByteSliceToString(value)
		case attrName:
			t.Name = unix.ByteSliceToString(value)
		case attrFlags:
			if len(value) < 4 {
				return t, errMalformed
			}
			flags := binary.BigEndian.Uint32(value)
			t.Hardware, t.Counted = flags&flagHardware != 0, flags&flagCounter != 0
		}
	}
	return t, nil
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
	s, err := open(ctx, groups)
	if err != nil {
		return false, 0, err
	}
	defer s.close()
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
	switch _, err := s.receive(); {
	case err == nil || errors.Is(err, syscall.ENOBUFS): // so many that some were lost
		return true, port, nil
	case errors.Is(err, os.ErrDeadlineExceeded):
		return false, port, nil
	default:
		return false, port, err
	}
}

// socket is a netlink socket of the netfilter family, owned by one goroutine.
type socket struct {
	fd  int
	end time.Time
	buf []byte
}

const (
	longest = 5 * time.Second // of an exchange whose context has no end
	bufSize = 64 << 10        // of a datagram: the kernel fills 32 KiB at most
)

func open(ctx context.Context, groups uint32) (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("open a netfilter socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind a netfilter socket: %w", err)
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(longest)
	}
	return &socket{fd: fd, end: end, buf: make([]byte, bufSize)}, nil
}

func (s *socket) close() { _ = unix.Close(s.fd) }

// receive waits for one datagram, at most until the socket's end.
func (s *socket) receive() ([]byte, error) {
	for {
		left := time.Until(s.end)
		if left <= 0 {
			return nil, os.ErrDeadlineExceeded
		}
		wait := unix.NsecToTimeval(max(left, time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(s.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return nil, err
		}
		n, from, err := unix.Recvfrom(s.fd, s.buf, 0)
		switch {
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		// Only the kernel has port 0: another process may send to this one's.
		if k, ok := from.(*unix.SockaddrNetlink); ok && k.Pid == 0 {
			return s.buf[:n], nil
		}
	}
}
