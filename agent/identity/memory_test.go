package identity

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

var began = time.Unix(1_800_000_000, 0)

// bookOf is what a look finds: "neighbour|lease MAC IP NAME" in hosts.
func bookOf(at time.Time, hosts ...[2]host) *Book {
	var c collector
	c.reset()
	for _, pair := range hosts {
		if !pair[0].mac.IsZero() {
			c.add(pair[0], fromNeighbours)
		}
		if !pair[1].mac.IsZero() {
			c.add(pair[1], fromLeases)
		}
	}
	return c.book(at)
}

func neighbourOf(n int, ip string) [2]host {
	return [2]host{{mac: mac(n), addr: netip.MustParseAddr(ip), network: "lan"}}
}

func leaseOf(n int, ip, name string) [2]host {
	return [2]host{{}, {mac: mac(n), addr: netip.MustParseAddr(ip), name: name}}
}

func TestAttribute(t *testing.T) {
	m := newMemory()
	look := func(after time.Duration, hosts ...[2]host) {
		at := began.Add(after)
		m.observe(bookOf(at, hosts...), at, nil)
	}
	// 10.0.0.1 goes from 1 to 2 and back; 10.0.0.2 has a lease of 3 and is used by 4.
	look(0, neighbourOf(1, "10.0.0.1"), neighbourOf(4, "10.0.0.2"), leaseOf(3, "10.0.0.2", "three"))
	look(time.Minute, neighbourOf(1, "10.0.0.1"), neighbourOf(4, "10.0.0.2"), leaseOf(3, "10.0.0.2", "three"))
	look(time.Hour, neighbourOf(2, "10.0.0.1"), leaseOf(3, "10.0.0.2", "three"))
	look(2*time.Hour, neighbourOf(1, "10.0.0.1"))
	look(3*time.Hour, neighbourOf(1, "10.0.0.1"))
	look(4*time.Hour, neighbourOf(5, "fd00::5"))
	look(5*time.Hour, neighbourOf(5, "fd00::5"))
	for _, tt := range []struct {
		ip    string
		after time.Duration
		want  int // 0: not certain
	}{
		{"10.0.0.1", -time.Hour, 0},
		{"10.0.0.1", -time.Minute, 1}, // seen up to a look later
		{"10.0.0.1", 0, 1},
		{"10.0.0.1", 30 * time.Second, 1},
		{"10.0.0.1", 30 * time.Minute, 0}, // between two devices
		{"10.0.0.1", time.Hour, 2},
		{"10.0.0.1", 150 * time.Minute, 1},
		{"10.0.0.1", 3*time.Hour + 5*time.Minute, 1},
		{"10.0.0.1", 3*time.Hour + 15*time.Minute, 0},
		{"::ffff:10.0.0.1", 0, 1},
		{"10.0.0.2", 30 * time.Second, 4}, // who is there, not who has a lease
		{"10.0.0.2", time.Hour, 3},
		{"fd00::5", 270 * time.Minute, 5},
		{"fd00::6", 0, 0},
	} {
		got, ok := m.attribute(netip.MustParseAddr(tt.ip), began.Add(tt.after))
		if ok != (tt.want != 0) || ok && got != mac(tt.want) {
			t.Errorf("%s after %v: got %v, %v, want device %d", tt.ip, tt.after, got, ok, tt.want)
		}
	}
}

// TestAttributeOnce: two claims at one look have one winner, the one last
// heard of, whatever the order of the table.
func TestAttributeOnce(t *testing.T) {
	for _, order := range [][2]int{{1, 2}, {2, 1}} {
		m := newMemory()
		for i := range 3 {
			at := began.Add(time.Duration(i) * time.Minute)
			a, b := neighbourOf(order[0], "10.0.0.1"), neighbourOf(order[1], "10.0.0.1")
			a[0].weight, b[0].weight = uint32(order[0]), uint32(order[1])
			m.observe(bookOf(at, a, b), at, nil)
		}
		if got, ok := m.attribute(netip.MustParseAddr("10.0.0.1"), began.Add(time.Minute)); !ok || got != mac(1) || m.nspans != 1 {
			t.Errorf("order %v: got %v, %v in %d spans", order, got, ok, m.nspans)
		}
	}
}

func TestNamesOverTime(t *testing.T) {
	m := newMemory()
	for i, name := range []string{"", "phone", "phone", "Annas-phone", ""} {
		at := began.Add(time.Duration(i) * time.Hour)
		m.observe(bookOf(at, leaseOf(1, "10.0.0.1", name)), at, nil)
	}
	for after, want := range map[time.Duration]string{
		-time.Hour: "phone", 0: "phone", 2 * time.Hour: "phone", 3*time.Hour - time.Second: "phone", 3 * time.Hour: "Annas-phone", 900 * time.Hour: "Annas-phone",
	} {
		if got := m.devices[mac(1)].nameAt(began.Add(after).Unix()); got.Text != want || got.Source != usage.NameLease {
			t.Errorf("after %v: got %v, want %s", after, got, want)
		}
	}
	for i := range 3 * maxNames {
		at := began.Add(time.Duration(10+i) * time.Hour)
		m.observe(bookOf(at, leaseOf(1, "10.0.0.1", fmt.Sprint("n", i))), at, nil)
	}
	if got := len(m.devices[mac(1)].names); got != maxNames {
		t.Errorf("got %d names, want %d", got, maxNames)
	}
}

// TestManyAddresses: a device with 300 addresses is one device, and keeps the
// newest.
func TestManyAddresses(t *testing.T) {
	m := newMemory()
	var all [][2]host
	for i := range 300 {
		h := neighbourOf(1, fmt.Sprintf("fd00::%x", i+1))
		h[0].weight = uint32(300 - i) // the last is the newest
		all = append(all, h)
	}
	all = append(all, neighbourOf(2, "10.0.0.2"))
	for i := range 20 {
		at := began.Add(time.Duration(i) * time.Minute)
		m.observe(bookOf(at, all...), at, nil)
	}
	if k := m.devices[mac(1)]; k.held != maxHeld || m.nspans != maxHeld+1 {
		t.Errorf("got %d spans of it, %d in all", k.held, m.nspans)
	}
	for ip, want := range map[string]bool{"fd00::12c": true, "fd00::1": false, "10.0.0.2": true} {
		if _, ok := m.attribute(netip.MustParseAddr(ip), began.Add(10*time.Minute)); ok != want {
			t.Errorf("%s: got %v, want %v", ip, ok, want)
		}
	}
	check(t, m)
}

// TestFlood: 10,000 devices that do not exist are reported and push nobody
// out.
func TestFlood(t *testing.T) {
	m := newMemory()
	var real [][2]host
	for i := range 250 {
		real = append(real, neighbourOf(1+i, fmt.Sprintf("10.0.1.%d", i)))
	}
	m.observe(bookOf(began, real...), began, nil)
	var deltas []usage.Record
	for i := range 200 { // the others are only there
		r := usage.Record{MAC: mac(1 + i), TxBytes: 1}
		r.SetIP(netip.MustParseAddr(fmt.Sprintf("10.0.1.%d", i)))
		deltas = append(deltas, r)
	}
	m.moved(deltas, began, nil)
	if m.flood.since != 0 {
		t.Error("the first look is no flood")
	}
	at := began
	rng := rand.New(rand.NewPCG(1, 2))
	for range 8 {
		at = at.Add(time.Minute)
		hosts := append([][2]host(nil), real...)
		for i := range 10_000 {
			hosts = append(hosts, [2]host{{mac: usage.MAC{2, 0xee, byte(rng.Uint32()), byte(rng.Uint32()), byte(rng.Uint32()), byte(i)},
				addr: netip.AddrFrom4([4]byte{10, 9, byte(i >> 8), byte(i)}), network: "guest"}})
		}
		m.observe(bookOf(at, hosts...), at, nil)
		check(t, m)
	}
	for i := range 250 {
		if k := m.devices[mac(1+i)]; k == nil || k.last != at.Unix() {
			t.Fatalf("device %d was pushed out", i)
		}
		if got, ok := m.attribute(netip.MustParseAddr(fmt.Sprintf("10.0.1.%d", i)), at); !ok || got != mac(1+i) {
			t.Fatalf("device %d lost its address", i)
		}
	}
	if f := m.flood; f.since != began.Unix() && f.since != began.Add(time.Minute).Unix() || f.most < 10_000 || f.network != "guest" {
		t.Errorf("got flood %+v", f)
	}
	// Over: what it made goes when others need the room.
	for range 3 {
		at = at.Add(floodWindow)
		m.observe(bookOf(at, real...), at, nil)
	}
	if m.flood.since != 0 {
		t.Errorf("the flood is over: got %+v", m.flood)
	}
	at = at.Add(2 * time.Hour)
	m.observe(bookOf(at, neighbourOf(2000, "10.0.7.7")), at, nil)
	if !m.knows(mac(2000)) {
		t.Error("no room for a new device after the flood")
	}
	check(t, m)
}

func TestPinned(t *testing.T) {
	m := newMemory()
	m.observe(bookOf(began, neighbourOf(1, "10.0.0.1")), began, nil)
	for i := range maxKnown {
		at := began.Add(time.Duration(i) * time.Minute)
		m.observe(bookOf(at, neighbourOf(10+i, "10.0.0.9")), at, func(o usage.MAC) bool { return o == mac(1) })
	}
	if !m.knows(mac(1)) || len(m.devices) > maxKnown {
		t.Errorf("the owner's device is known: %v, of %d", m.knows(mac(1)), len(m.devices))
	}
	check(t, m)
}

func TestClockBack(t *testing.T) {
	m := newMemory()
	ahead := began.AddDate(3, 0, 0)
	m.observe(bookOf(ahead, neighbourOf(1, "10.0.0.1"), leaseOf(1, "10.0.0.1", "one")), ahead, nil)
	m.observe(bookOf(began, neighbourOf(1, "10.0.0.1"), leaseOf(1, "10.0.0.1", "one")), began, nil)
	k := m.devices[mac(1)]
	if k.first != began.Unix() || k.last != began.Unix() || k.names[0].from != began.Unix() {
		t.Errorf("got %+v", k)
	}
	if got, ok := m.attribute(netip.MustParseAddr("10.0.0.1"), began); !ok || got != mac(1) {
		t.Errorf("got %v, %v", got, ok)
	}
	check(t, m)
}

func TestExpire(t *testing.T) {
	m := newMemory()
	m.observe(bookOf(began, neighbourOf(1, "10.0.0.1")), began, nil)
	late := began.Add(keepKnown + time.Hour)
	m.observe(bookOf(late), late, nil)
	if m.knows(mac(1)) || m.nspans != 0 {
		t.Error("a device of more than 400 days ago is known")
	}
}

// check tells whether the counts are those of the spans, and no two of one
// address overlap.
func check(t *testing.T, m *Memory) {
	t.Helper()
	held := make(map[usage.MAC]int)
	n := 0
	for addr, spans := range m.spans {
		if len(spans) == 0 || len(spans) > maxHolder {
			t.Errorf("%v has %d spans", addr, len(spans))
		}
		for i, s := range spans {
			n++
			held[s.mac]++
			if s.to < s.from || i > 0 && s.from < spans[i-1].to {
				t.Errorf("%v: span %+v behind %+v", addr, s, spans[max(i-1, 0)])
			}
		}
	}
	if n != m.nspans || n > maxSpans || len(m.devices) > maxKnown {
		t.Errorf("%d spans, counted %d; %d devices", n, m.nspans, len(m.devices))
	}
	for mac, k := range m.devices {
		if k.held != held[mac] {
			t.Errorf("%v: holds %d, counted %d", mac, held[mac], k.held)
		}
		delete(held, mac)
	}
	for mac := range held {
		t.Errorf("%v is not known and holds an address", mac)
	}
}

// TestRandomLife: whatever happens, the Memory stays consistent, within its
// bounds, and comes back from its coding as it was.
func TestRandomLife(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	m := newMemory()
	at := began
	for range 400 {
		at = at.Add(time.Duration(rng.IntN(7200)-600) * time.Second)
		var hosts [][2]host
		for range rng.IntN(40) {
			h := neighbourOf(1+rng.IntN(300), fmt.Sprintf("10.0.0.%d", rng.IntN(40)))
			h[0].weight = uint32(rng.IntN(3))
			if rng.IntN(2) == 0 {
				h = leaseOf(1+rng.IntN(300), fmt.Sprintf("10.0.0.%d", rng.IntN(40)), fmt.Sprint("n", rng.IntN(3)))
			}
			hosts = append(hosts, h)
		}
		m.observe(bookOf(at, hosts...), at, nil)
		var deltas []usage.Record
		for range rng.IntN(20) {
			r := usage.Record{MAC: mac(rng.IntN(300)), TxBytes: uint64(rng.IntN(2)), RxBytes: 1}
			r.SetIP(netip.AddrFrom4([4]byte{10, 0, 0, byte(rng.IntN(40))}))
			deltas = append(deltas, r)
		}
		m.moved(deltas, at.Add(time.Duration(rng.IntN(120)-100)*time.Second), nil)
		if rng.IntN(20) == 0 {
			m.forget([]usage.MAC{mac(1 + rng.IntN(300))})
		}
		check(t, m)
	}
	data := m.state(nil, nil)
	back, err := restore(data)
	if err != nil {
		t.Fatal(err)
	}
	check(t, back)
	if again := back.state(nil, nil); string(again) != string(data) {
		t.Error("another coding of what came back")
	}
	if back.digest() != m.digest() {
		t.Error("another digest")
	}
	flash, err := restore(m.state(nil, worthFlash))
	if err != nil {
		t.Fatal(err)
	}
	check(t, flash)
	for mac, k := range m.devices {
		if got := flash.knows(mac); got != worthFlash(k) {
			t.Errorf("%v on flash: %v", mac, got)
		}
	}
	for i := range data { // half written, or a bit turned over
		if _, err := restore(data[:i]); err == nil {
			t.Fatalf("the first %d of %d bytes were taken", i, len(data))
		}
	}
	for range 2000 {
		i, bit := rng.IntN(len(data)), byte(1)<<rng.IntN(8)
		data[i] ^= bit
		if _, err := restore(data); err == nil {
			t.Fatalf("taken with byte %d changed", i)
		}
		data[i] ^= bit
	}
}

func FuzzRestore(f *testing.F) {
	m := newMemory()
	f.Add(m.state(nil, nil)[stateHead:])
	m.observe(bookOf(began, neighbourOf(1, "10.0.0.1"), leaseOf(2, "10.0.0.2", "two"), neighbourOf(1, "fd00::1")), began, nil)
	f.Add(m.state(nil, nil)[stateHead:])
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := restore(sealed(body))
		if err != nil {
			return
		}
		check(t, m)
		// A number may be written longer than it needs to be, so not the same
		// bytes but the same Memory.
		data := m.state(nil, nil)
		back, err := restore(data)
		if err != nil {
			t.Fatalf("what was restored does not restore: %v", err)
		}
		if string(back.state(nil, nil)) != string(data) {
			t.Fatal("another coding of what came back")
		}
		m.observe(bookOf(began, neighbourOf(1, "10.0.0.1"), neighbourOf(9, "10.0.0.9")), began, nil)
		check(t, m)
	})
}

// sealed is a body with a good head, as an attacker would make it.
func sealed(body []byte) []byte {
	data := append([]byte(stateMagic), make([]byte, 8)...)
	data = append(data, body...)
	seal(data)
	return data
}
