// Package netlink exchanges messages with the kernel over netlink sockets
// (RFC 3549 and Linux's uapi/linux/netlink.h): enough to ask for a list and to
// hear announcements. Numbers of the head and of attributes are the machine's
// own.
package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrMalformed says that a message is not what the kernel sends.
var ErrMalformed = errors.New("netlink: malformed message")

// Conn is a socket, owned by one goroutine.
type Conn struct {
	fd  int
	end time.Time
	buf []byte
}

const (
	longest = 5 * time.Second // of an exchange whose context has no end
	bufSize = 64 << 10        // of a datagram: the kernel fills 32 KiB at most
	maxList = 64 << 20        // bytes of an answer
	attrs   = 0x3fff          // an attribute's kind without its flags
)

// Open opens a socket of a netlink family that hears the multicast groups of
// the mask. Every wait on it ends when the context's deadline comes.
func Open(ctx context.Context, family int, groups uint32) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, family)
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK, Groups: groups}); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("bind a netlink socket: %w", err)
	}
	end, ok := ctx.Deadline()
	if !ok {
		end = time.Now().Add(longest)
	}
	return &Conn{fd: fd, end: end, buf: make([]byte, bufSize)}, nil
}

// Close closes the socket.
func (c *Conn) Close() { _ = unix.Close(c.fd) }

// Receive waits for one datagram of the kernel. It is good until the next. One
// that is there already is given also after the deadline: on a busy machine it
// may be the reader that came late.
func (c *Conn) Receive() ([]byte, error) {
	for {
		left, flags := time.Until(c.end), 0
		if left <= 0 {
			flags = unix.MSG_DONTWAIT
		}
		wait := unix.NsecToTimeval(max(left, time.Millisecond).Nanoseconds())
		if err := unix.SetsockoptTimeval(c.fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait); err != nil {
			return nil, err
		}
		n, from, err := unix.Recvfrom(c.fd, c.buf, flags)
		switch {
		case errors.Is(err, syscall.EAGAIN) && left <= 0:
			return nil, os.ErrDeadlineExceeded
		case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		// Only the kernel has port 0: another process may send to this one's.
		if k, ok := from.(*unix.SockaddrNetlink); ok && k.Pid == 0 {
			return c.buf[:n], nil
		}
	}
}

// List asks for all of something: a message of the kind, with the fixed head
// and attributes in body. visit gets the body of each answer.
func (c *Conn) List(kind, flags uint16, body []byte, visit func(kind uint16, body []byte) error) error {
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = binary.NativeEndian.AppendUint16(m, unix.NLM_F_REQUEST|flags)
	m = append(append(m, make([]byte, 8)...), body...)
	if err := unix.Sendto(c.fd, m, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return err
	}
	for size := 0; size < maxList; {
		text, err := c.Receive()
		if err != nil {
			return err
		}
		size += len(text)
		if done, err := Each(text, visit); done || err != nil {
			return err
		}
	}
	return fmt.Errorf("%w: an answer without an end", ErrMalformed)
}

// Each gives the body of each message of a datagram to visit, and tells
// whether the last of an answer came. A refusal is a syscall.Errno.
func Each(text []byte, visit func(kind uint16, body []byte) error) (done bool, err error) {
	for len(text) >= unix.SizeofNlMsghdr {
		length := int(binary.NativeEndian.Uint32(text))
		kind := binary.NativeEndian.Uint16(text[4:])
		if length < unix.SizeofNlMsghdr || length > len(text) {
			return false, ErrMalformed
		}
		body := text[unix.SizeofNlMsghdr:length]
		text = text[min((length+3)&^3, len(text)):]
		switch kind {
		case unix.NLMSG_DONE:
			return true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return false, ErrMalformed
			}
			if code := -int32(binary.NativeEndian.Uint32(body)); code != 0 {
				return false, syscall.Errno(code)
			}
			return true, nil
		}
		if err := visit(kind, body); err != nil {
			return false, err
		}
	}
	if len(text) > 0 {
		return false, ErrMalformed
	}
	return false, nil
}

// Attrs gives each attribute behind a fixed head of that length to visit.
func Attrs(body []byte, head int, visit func(kind uint16, value []byte) error) error {
	if len(body) < head {
		return ErrMalformed
	}
	for body = body[head:]; len(body) >= 4; {
		length := int(binary.NativeEndian.Uint16(body))
		kind := binary.NativeEndian.Uint16(body[2:]) & attrs
		if length < 4 || length > len(body) {
			return ErrMalformed
		}
		value := body[4:length]
		body = body[min((length+3)&^3, len(body)):]
		if err := visit(kind, value); err != nil {
			return err
		}
	}
	return nil
}

// AppendAttr appends an attribute, padded.
func AppendAttr(dst []byte, kind uint16, value []byte) []byte {
	dst = binary.NativeEndian.AppendUint16(dst, uint16(4+len(value)))
	dst = binary.NativeEndian.AppendUint16(dst, kind)
	dst = append(dst, value...)
	for len(dst)%4 != 0 {
		dst = append(dst, 0)
	}
	return dst
}
