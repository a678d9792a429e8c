package netlink

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func message(kind uint16, body []byte) []byte {
	m := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	m = binary.NativeEndian.AppendUint16(m, kind)
	m = append(append(m, make([]byte, 10)...), body...)
	for len(m)%4 != 0 {
		m = append(m, 0)
	}
	return m
}

func errno(e syscall.Errno) []byte { return binary.NativeEndian.AppendUint32(nil, uint32(-int32(e))) }

func TestEach(t *testing.T) {
	one := message(20, []byte("abc")) // padded
	long := binary.NativeEndian.AppendUint32(nil, 1000)
	for _, tt := range []struct {
		name string
		text []byte
		want string // the bodies
		done bool
		err  error
	}{
		{"empty", nil, "", false, nil},
		{"two", append(one[:len(one):len(one)], message(21, []byte("de"))...), "abcde", false, nil},
		{"done", append(message(unix.NLMSG_DONE, make([]byte, 4)), one...), "", true, nil},
		{"acknowledged", message(unix.NLMSG_ERROR, errno(0)), "", true, nil},
		{"refused", append(one[:len(one):len(one)], message(unix.NLMSG_ERROR, errno(syscall.EPERM))...), "abc", false, syscall.EPERM},
		{"an error without a number", message(unix.NLMSG_ERROR, nil), "", false, ErrMalformed},
		{"longer than the datagram", append(long, make([]byte, 20)...), "", false, ErrMalformed},
		{"shorter than its head", append([]byte{0, 0, 0, 0}, make([]byte, 20)...), "", false, ErrMalformed},
		{"half a head", append(one[:len(one):len(one)], 1, 2, 3, 4), "abc", false, ErrMalformed},
	} {
		got := ""
		done, err := Each(tt.text, func(_ uint16, body []byte) error { got += string(body); return nil })
		if got != tt.want || done != tt.done || !errors.Is(err, tt.err) {
			t.Errorf("%s: got %q, %t, %v", tt.name, got, done, err)
		}
	}
}

func TestAttrs(t *testing.T) {
	body := AppendAttr(AppendAttr([]byte("head"), 7|unix.NLA_F_NESTED, []byte("abc")), 8, nil)
	var kinds []uint16
	var values string
	if err := Attrs(body, 4, func(kind uint16, value []byte) error {
		kinds = append(kinds, kind)
		values += string(value)
		return nil
	}); err != nil || len(kinds) != 2 || kinds[0] != 7 || kinds[1] != 8 || values != "abc" {
		t.Errorf("got %v, %q, %v", kinds, values, err)
	}
	stop := errors.New("enough")
	if err := Attrs(body, 4, func(uint16, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v", err)
	}
	for _, bad := range [][]byte{nil, []byte("hea"), body[:9], {0, 0, 0, 0, 3, 0, 1, 0}, {0, 0, 0, 0, 255, 255, 1, 0}} {
		if err := Attrs(bad, 4, func(uint16, []byte) error { return nil }); !errors.Is(err, ErrMalformed) {
			t.Errorf("%x: got %v", bad, err)
		}
	}
}

// TestThisKernel: the loopback stands in the real kernel's list, no table is
// asked for in vain, and nobody is waited for beyond the context's end.
func TestThisKernel(t *testing.T) {
	c, err := Open(t.Context(), unix.NETLINK_ROUTE, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	loopback := false
	if err := c.List(unix.RTM_GETLINK, unix.NLM_F_DUMP, make([]byte, unix.SizeofIfInfomsg), func(kind uint16, body []byte) error {
		return Attrs(body, unix.SizeofIfInfomsg, func(kind uint16, value []byte) error {
			loopback = loopback || kind == unix.IFLA_IFNAME && string(value) == "lo\x00"
			return nil
		})
	}); err != nil || !loopback {
		t.Errorf("got %v, loopback found: %t", err, loopback)
	}
	var refused syscall.Errno
	if err := c.List(0xfff0, unix.NLM_F_DUMP, nil, func(uint16, []byte) error { return nil }); !errors.As(err, &refused) {
		t.Errorf("a kind the kernel has not: got %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	silent, err := Open(ctx, unix.NETLINK_ROUTE, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	if _, err := silent.Receive(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("nothing was asked: got %v", err)
	}
	// What the kernel has said by then is not lost on a reader that comes late.
	<-ctx.Done()
	late, err := Open(ctx, unix.NETLINK_ROUTE, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer late.Close()
	if err := late.List(0xfff0, unix.NLM_F_DUMP, nil, func(uint16, []byte) error { return nil }); !errors.As(err, &refused) {
		t.Errorf("after the deadline: got %v, want the kernel's refusal", err)
	}
}

func FuzzEach(f *testing.F) {
	f.Add(append(message(20, AppendAttr([]byte("head"), 1, []byte("abc"))), message(unix.NLMSG_DONE, make([]byte, 4))...))
	f.Add(message(unix.NLMSG_ERROR, errno(syscall.EPERM)))
	f.Fuzz(func(t *testing.T, text []byte) {
		size := 0
		_, _ = Each(text, func(_ uint16, body []byte) error {
			size += unix.SizeofNlMsghdr + len(body)
			held := 0
			_ = Attrs(body, 4, func(_ uint16, value []byte) error { held += 4 + len(value); return nil })
			if held > len(body) {
				t.Errorf("%d bytes of attributes in %d", held, len(body))
			}
			return nil
		})
		if size > len(text) {
			t.Errorf("%d bytes of messages in %d", size, len(text))
		}
	})
}
