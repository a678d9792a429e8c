// Package netfiltertest sets up the netfilter of a network namespace for
// tests: it speaks nfnetlink itself, so that they need no nft.
package netfiltertest

import (
	"encoding/binary"
	"fmt"
	"syscall"

	"golang.org/x/sys/unix"
)

// LoopbackUp sets interface lo up.
func LoopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// Numbers of Linux's nf_tables.h.
const (
	familyInet   = 1
	batchBegin   = 0x10
	batchEnd     = 0x11
	newTable     = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWTABLE
	newChain     = unix.NFNL_SUBSYS_NFTABLES<<8 | 3
	newRule      = unix.NFNL_SUBSYS_NFTABLES<<8 | 6
	newFlowtable = unix.NFNL_SUBSYS_NFTABLES<<8 | 22
)

// Track has the kernel track connections: a chain on the way in with one rule
// that looks at their state.
func Track() error {
	return batch(
		message(newTable, familyInet, attr(1, text("t"))),
		message(newChain, familyInet, attr(1, text("t")), attr(3, text("c")),
			nest(4, attr(1, be32(1)), attr(2, be32(0))), // hook input, priority 0
			attr(7, text("filter"))),
		message(newRule, familyInet, attr(1, text("t")), attr(2, text("c")),
			nest(4, nest(1, attr(1, text("ct")), nest(2, attr(1, be32(1)), attr(2, be32(0)))))), // ct state into register 1
	)
}

// AddFlowtable adds a table with a flowtable on no device.
func AddFlowtable(table, name string) error {
	return batch(
		message(newTable, familyInet, attr(1, text(table))),
		message(newFlowtable, familyInet, attr(1, text(table)), attr(2, text(name)), nest(3, attr(1, be32(0)), attr(2, be32(0)))),
	)
}

func be32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

func text(s string) []byte { return append([]byte(s), 0) }

func attr(kind uint16, value []byte) []byte {
	a := binary.NativeEndian.AppendUint16(nil, uint16(4+len(value)))
	a = binary.NativeEndian.AppendUint16(a, kind)
	return pad(append(a, value...))
}

func nest(kind uint16, attrs ...[]byte) []byte {
	var all []byte
	for _, a := range attrs {
		all = append(all, a...)
	}
	return attr(kind|unix.NLA_F_NESTED, all)
}

func pad(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// Message makes one netlink message with a netfilter head.
func message(kind uint16, family byte, attrs ...[]byte) []byte {
	flags := uint16(unix.NLM_F_REQUEST | unix.NLM_F_ACK | unix.NLM_F_CREATE)
	resource := uint16(0)
	if kind == batchBegin || kind == batchEnd {
		flags, resource = unix.NLM_F_REQUEST, unix.NFNL_SUBSYS_NFTABLES
	}
	body := binary.BigEndian.AppendUint16([]byte{family, 0}, resource)
	for _, a := range attrs {
		body = append(body, a...)
	}
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, flags)
	m = append(m, make([]byte, 8)...)
	return append(m, body...)
}

// batch does all or none, and says what the kernel said first.
func batch(messages ...[]byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_NETFILTER)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	all := message(batchBegin, 0)
	for _, m := range messages {
		all = append(all, m...)
	}
	all = append(all, message(batchEnd, 0)...)
	if err := unix.Sendto(fd, all, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	wait := unix.NsecToTimeval(2e9)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
		return err
	}
	for acks := 0; acks < len(messages); {
		buf := make([]byte, 8192)
		n, _, err := unix.Recvfrom(fd, buf, 0)
		if err != nil {
			return fmt.Errorf("wait for the kernel: %w", err)
		}
		for buf = buf[:n]; len(buf) >= unix.SizeofNlMsghdr+4; acks++ {
			length := int(binary.NativeEndian.Uint32(buf))
			if code := -int32(binary.NativeEndian.Uint32(buf[unix.SizeofNlMsghdr:])); code != 0 {
				return syscall.Errno(code)
			}
			buf = buf[min((length+3)&^3, len(buf)):]
		}
	}
	return nil
}
