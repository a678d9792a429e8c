// Package play is N simulated routers for load, soak and demonstration: the
// real link code of agent/uplink with made-up tables behind it, the callers
// that ask a relay about them and check every answer, and the relay itself as
// a process of its own. Everything it says of traffic is made up, and its
// hello says so.
package play

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
	"github.com/netpilot/netpilot/relay/store"
)

// Network is a set of simulated routers. The same numbers give the same
// routers, secrets and traffic in every process, so that whoever asks can
// tell a right answer from a wrong one.
type Network struct {
	Seed     string // of the secrets; anybody who knows it can play the routers
	Routers  int
	Devices  int // of each router
	Services int // of each device: what makes an answer long

	Since time.Time // when the routers' histories begin, a multiple of five minutes
}

// Model is what the routers say they are.
const Model = "netpilot simulator, not a router"

// ID is the id of router i.
func (n *Network) ID(i int) usage.RouterID {
	sum := sha256.Sum256(fmt.Appendf(nil, "netpilot simulated router %d", i))
	return usage.RouterID(hex.EncodeToString(sum[:]))
}

// secret is what router i proves itself with.
func (n *Network) secret(i int) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", n.Seed, i))
	return store.RouterPrefix + hex.EncodeToString(sum[:])
}

// MAC is device k of router i.
func (n *Network) MAC(i, k int) usage.MAC {
	m := usage.MAC{0x02, 0x51}
	binary.BigEndian.PutUint32(m[2:], uint32(i*n.Devices+k))
	return m
}

// Counters are what router i says device k moved in the period that begins on
// that day: other numbers for each of the three, so that an answer to another
// question shows.
func (n *Network) Counters(i, k int, period string) usage.Counters {
	h := fnv.New64a()
	fmt.Fprintf(h, "%d %d %s", i, k, period)
	x := h.Sum64()
	return usage.Counters{RxBytes: x >> 20, TxBytes: x & 0xffffffff, RxPackets: x >> 40, TxPackets: x & 0xffff, Conns: x & 0xff}
}

// Hello is how router i introduces itself.
func (n *Network) Hello(i int) wire.Hello {
	return wire.Hello{
		RouterID: string(n.ID(i)), Name: fmt.Sprintf("simulated-%d", i), Model: Model, Release: "none", Arch: "none", Timezone: "UTC0",
		AgentVersion: "0.0.0-simulator", Methods: []string{"status", "usage.current", "usage.device"},
		MaxCalls: wire.MaxCalls, MaxFrame: wire.MaxFrame, Time: time.Now(), ClockSane: true, StartedAt: time.Now(),
	}
}

// handle answers calls as router i.
func (n *Network) handle(i int) func(context.Context, string, json.RawMessage) (json.RawMessage, error) {
	return func(_ context.Context, method string, params json.RawMessage) (json.RawMessage, error) {
		var p struct {
			MAC    string `json:"mac"`
			Period string `json:"period"`
			Limit  int    `json:"limit"`
			Offset int    `json:"offset"`
		}
		if len(params) > 0 {
			if err := json.Unmarshal(params, &p); err != nil {
				return nil, usage.Errorf(usage.Invalid, "bad params: %w", err)
			}
		}
		switch method {
		case "status":
			return json.Marshal(map[string]any{"router_id": n.ID(i), "hostname": n.Hello(i).Name, "simulator": true,
				"nlbwmon": map[string]any{"ok": false, "error": "this is a simulator; there is no nlbwmon"}})
		case "usage.current":
			return n.current(i, p.Period, p.Limit, p.Offset), nil
		case "usage.device":
			mac, err := usage.ParseMAC(p.MAC)
			if err != nil {
				return nil, err
			}
			return n.device(i, mac, p.Period)
		}
		return nil, usage.Errorf(usage.Invalid, "a simulated router has no method %q", usage.Clean(method, 64))
	}
}

// head begins a usage answer.
func head(period string) []byte {
	now := time.Now().UTC().Format(time.RFC3339)
	return fmt.Appendf(nil, `{"timestamp":%q,"source":"simulator","as_of":%q,"period":%q`, now, now, period)
}

func (n *Network) current(i int, period string, limit, offset int) json.RawMessage {
	if limit <= 0 {
		limit = n.Devices
	}
	var total uint64
	for k := range n.Devices {
		c := n.Counters(i, k, period)
		total += c.Total()
	}
	dst := append(head(period), `,"devices":[`...)
	for k := offset; k < min(n.Devices, offset+limit); k++ {
		if k > offset {
			dst = append(dst, ',')
		}
		dst = n.appendDevice(dst, i, k, period)
	}
	return fmt.Appendf(dst, `],"unresolved":[],"total_unresolved":0,"total_devices":%d,"total_bytes":%d}`, n.Devices, total)
}

func (n *Network) device(i int, mac usage.MAC, period string) (json.RawMessage, error) {
	k := int(binary.BigEndian.Uint32(mac[2:])) - i*n.Devices
	if k < 0 || k >= n.Devices || n.MAC(i, k) != mac {
		return nil, usage.Errorf(usage.NotFound, "no device %s", mac)
	}
	dst := append(head(period), `,"device":`...)
	dst = append(n.appendDevice(dst, i, k, period), `,"services":[`...)
	for s := range n.Services {
		if s > 0 {
			dst = append(dst, ',')
		}
		dst = fmt.Appendf(dst, `{"service":"service-%d","proto":6,"port":%d,`, s, 1000+s)
		dst = append(appendCounters(dst, n.Counters(i, k, period)), '}')
	}
	return fmt.Appendf(dst, `],"total_services":%d}`, n.Services), nil
}

func (n *Network) appendDevice(dst []byte, i, k int, period string) []byte {
	dst = fmt.Appendf(dst, `{"mac":%q,"ip":"10.%d.%d.%d","ips":[],"hostname":"simulated-%d","last_seen":null,`,
		n.MAC(i, k), i>>8&0xff, i&0xff, 1+k%254, k)
	return append(appendCounters(dst, n.Counters(i, k, period)), '}')
}

func appendCounters(dst []byte, c usage.Counters) []byte {
	return fmt.Appendf(dst, `"bytes_rx":%d,"bytes_tx":%d,"total_bytes":%d,"packets_rx":%d,"packets_tx":%d,"connections":%d`,
		c.RxBytes, c.TxBytes, c.Total(), c.RxPackets, c.TxPackets, c.Conns)
}

// Question is one question to the relay and what a right answer contains.
type Question struct {
	Path string // of the request, with its query
	Body string // "" for none
	Want string
}

// Ask makes a question about a device of router i. The period is a number of
// the caller's, so that no two questions have the same answer.
func (n *Network) Ask(i, k int, number uint64) Question {
	period := Period(number)
	c := n.Counters(i, k, period)
	return Question{
		Path: "/api/device-usage/device/" + n.MAC(i, k).String() + "?period=" + period + "&routerId=" + string(n.ID(i)),
		Want: `"bytes_rx":` + strconv.FormatUint(c.RxBytes, 10) + `,"bytes_tx":` + strconv.FormatUint(c.TxBytes, 10) + ",",
	}
}

// AskAny makes the question of that number about some device of some router.
// Questions that follow each other go to different routers: one that works on
// four calls already would answer busy.
func (n *Network) AskAny(number uint64) Question {
	i, k := n.about(number)
	return n.Ask(i, k, number)
}

// about is the router and the device of question number.
func (n *Network) about(number uint64) (i, k int) {
	const stride = 7919 // a prime that divides no number of routers in use
	return int(number * stride % uint64(n.Routers)), int(number / uint64(n.Routers) % uint64(n.Devices))
}

// Period is a day that names a number below 3,000,000.
func Period(number uint64) string {
	number %= 3_000_000
	return fmt.Sprintf("%04d-%02d-%02d", 1000+number/336, 1+number/28%12, 1+number%28)
}
