package netfilter

import (
	"encoding/binary"
	"errors"
	"os"
	"testing"

	"github.com/netpilot/netpilot/agent/netlink"
)

// message lays a flowtable out as nf_tables.h says.
func message(flags uint32) []byte {
	body := netlink.AppendAttr([]byte{1, 0, 0, 0}, attrTable, []byte("fw4\x00"))
	body = netlink.AppendAttr(body, attrName, []byte("ft\x00"))
	return netlink.AppendAttr(body, attrFlags, binary.BigEndian.AppendUint32(nil, flags))
}

func TestFlowtable(t *testing.T) {
	for flags, want := range map[uint32]Flowtable{
		0: {"fw4", "ft", false, false}, 1: {"fw4", "ft", true, false}, 2: {"fw4", "ft", false, true}, 3: {"fw4", "ft", true, true},
	} {
		if got, err := flowtable(message(flags)); got != want || err != nil {
			t.Errorf("flags %d: got %+v, %v", flags, got, err)
		}
	}
	for _, bad := range [][]byte{nil, {1}, {1, 0, 0, 0, 2, 0, 0, 0}, {1, 0, 0, 0, 255, 255, 1, 0}, message(0)[:len(message(0))-2]} {
		if got, err := flowtable(bad); !errors.Is(err, netlink.ErrMalformed) {
			t.Errorf("%x: got %+v, %v", bad, got, err)
		}
	}
}

// TestThisKernel: the real nftables answers, or says that it may not.
func TestThisKernel(t *testing.T) {
	tables, err := Flowtables(t.Context())
	if err != nil && !errors.Is(err, os.ErrPermission) {
		t.Errorf("got %v, %v", tables, err)
	}
	t.Logf("%+v, %v", tables, err)
}

func FuzzFlowtable(f *testing.F) {
	f.Add(message(3))
	f.Fuzz(func(t *testing.T, body []byte) {
		_, err := netlink.Each(body, func(_ uint16, body []byte) error {
			_, err := flowtable(body)
			return err
		})
		_, _ = flowtable(body)
		_ = err
	})
}
