package wireless

import (
	"encoding/binary"
	"errors"
	"reflect"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/netpilot/netpilot/agent/netlink"
	"github.com/netpilot/netpilot/pkg/usage"
)

func u32(n uint32) []byte { return binary.NativeEndian.AppendUint32(nil, n) }
func u64(n uint64) []byte { return binary.NativeEndian.AppendUint64(nil, n) }

// message lays a station out as nl80211.h says; no recording of a real one
// was at hand.
func message(mac []byte, info ...[]byte) []byte {
	var nested []byte
	for _, i := range info {
		nested = append(nested, i...)
	}
	body := netlink.AppendAttr(head(unix.NL80211_CMD_NEW_STATION), unix.NL80211_ATTR_IFINDEX, u32(7))
	body = netlink.AppendAttr(body, unix.NL80211_ATTR_MAC, mac)
	return netlink.AppendAttr(body, unix.NL80211_ATTR_STA_INFO|unix.NLA_F_NESTED, nested)
}

func attr(kind uint16, value []byte) []byte { return netlink.AppendAttr(nil, kind, value) }

func TestStation(t *testing.T) {
	mac := []byte{2, 0x77, 0, 0, 0, 1}
	full := message(mac, attr(unix.NL80211_STA_INFO_RX_BYTES, u32(5)), attr(unix.NL80211_STA_INFO_RX_BYTES64, u64(1<<33)), attr(unix.NL80211_STA_INFO_TX_BYTES64, u64(1<<40)),
		attr(unix.NL80211_STA_INFO_RX_PACKETS, u32(3)), attr(unix.NL80211_STA_INFO_TX_PACKETS, u32(4)))
	for _, tt := range []struct {
		name string
		body []byte
		want Station
		ok   bool
	}{
		{"full", full, Station{usage.MAC(mac), usage.Counters{RxBytes: 1 << 40, TxBytes: 1 << 33, RxPackets: 4, TxPackets: 3}}, true},
		{"32 bits", message(mac, attr(unix.NL80211_STA_INFO_RX_BYTES, u32(5)), attr(unix.NL80211_STA_INFO_TX_BYTES, u32(6))), Station{usage.MAC(mac), usage.Counters{RxBytes: 6, TxBytes: 5}}, true},
		{"no counters", message(mac), Station{MAC: usage.MAC(mac)}, true},
		{"no MAC", message(nil), Station{}, false},
		{"another message", head(unix.NL80211_CMD_NEW_INTERFACE), Station{}, false},
		{"empty", nil, Station{}, false},
	} {
		got, ok, err := station(tt.body)
		if err != nil || ok != tt.ok || ok && !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: got %+v, %t, %v, want %+v", tt.name, got, ok, err, tt.want)
		}
	}
	for cut := range full {
		if s, ok, err := station(full[:cut]); ok && err == nil && s.RxBytes > 1<<40 {
			t.Errorf("cut at %d: got %+v", cut, s)
		}
	}
}

// TestThisKernel: the real nl80211 or its absence.
func TestThisKernel(t *testing.T) {
	stations, err := Stations(t.Context())
	if err != nil && !errors.Is(err, ErrNone) {
		t.Errorf("got %v", err)
	}
	t.Logf("%d stations, %v", len(stations), err)
}

func FuzzStation(f *testing.F) {
	f.Add(message([]byte{2, 0x77, 0, 0, 0, 1}, attr(unix.NL80211_STA_INFO_RX_BYTES64, u64(9))))
	f.Fuzz(func(t *testing.T, body []byte) {
		if s, ok, err := station(body); ok && (err != nil || s.MAC.IsZero()) {
			t.Errorf("got %+v, %v", s, err)
		}
	})
}
