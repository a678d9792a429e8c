package identity

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"math"
	"net/netip"
	"slices"

	"github.com/netpilot/netpilot/agent/checksum"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// The coding of a Memory; FORMAT.md describes it.
const (
	stateMagic = "NPIDEN\x01\n"
	stateHead  = len(stateMagic) + 8 // magic, length, CRC
	maxState   = 1 << 20

	flagMoved = 1
	flagSeen  = 2
)

var errState = errors.New("what was known of the devices is damaged")

// state appends the coded Memory: of the devices that keep likes, all if nil.
func (m *Memory) state(dst []byte, keep func(*known) bool) []byte {
	start := len(dst)
	dst = append(dst, stateMagic...)
	dst = append(dst, make([]byte, 8)...)
	dst = binary.AppendVarint(dst, m.looked)
	macs := m.macs()
	if keep != nil {
		macs = slices.DeleteFunc(macs, func(mac usage.MAC) bool { return !keep(m.devices[mac]) })
	}
	number := make(map[usage.MAC]uint64, len(macs))
	dst = binary.AppendUvarint(dst, uint64(len(macs)))
	for i, mac := range macs {
		number[mac] = uint64(i)
		k := m.devices[mac]
		dst = append(dst, mac[:]...)
		flags := byte(0)
		if k.moved {
			flags |= flagMoved
		}
		if k.last != 0 {
			flags |= flagSeen
		}
		dst = append(dst, flags)
		dst = binary.AppendVarint(dst, k.first)
		if k.last != 0 {
			dst = binary.AppendVarint(dst, k.last-k.first)
		}
		dst = append(dst, k.category)
		dst = binary.AppendUvarint(dst, uint64(k.reasons))
		dst = binary.AppendUvarint(dst, uint64(len(k.names)))
		for _, n := range k.names {
			dst = binary.AppendVarint(dst, n.from-k.first)
			dst = append(dst, byte(n.source), byte(len(n.text)))
			dst = append(dst, n.text...)
		}
	}
	addrs := sorting.Keys(m.spans, netip.Addr.Compare)
	if keep != nil {
		addrs = slices.DeleteFunc(addrs, func(a netip.Addr) bool {
			return !slices.ContainsFunc(m.spans[a], func(s span) bool { _, ok := number[s.mac]; return ok })
		})
	}
	dst = binary.AppendUvarint(dst, uint64(len(addrs)))
	for _, addr := range addrs {
		b := addr.AsSlice()
		dst = append(append(dst, byte(len(b))), b...)
		spans := m.spans[addr]
		if keep != nil {
			spans = slices.DeleteFunc(slices.Clone(spans), func(s span) bool { _, ok := number[s.mac]; return !ok })
		}
		dst = binary.AppendUvarint(dst, uint64(len(spans)))
		end := m.looked
		for i := range spans {
			s := &spans[i]
			dst = binary.AppendUvarint(dst, number[s.mac])
			dst = append(dst, byte(s.source))
			dst = binary.AppendVarint(dst, s.from-end)
			dst = binary.AppendUvarint(dst, uint64(s.to-s.from))
			end = s.to
		}
	}
	seal(dst[start:])
	return dst
}

// seal writes length and checksum of the body into the head before it.
func seal(data []byte) {
	body := data[stateHead:]
	binary.LittleEndian.PutUint32(data[len(stateMagic):], uint32(len(body)))
	binary.LittleEndian.PutUint32(data[len(stateMagic)+4:], checksum.Of(body))
}

// restore decodes a Memory. Whatever the bytes, what comes back is within all
// bounds; an error says that they are not a Memory's.
func restore(data []byte) (*Memory, error) {
	if len(data) < stateHead || len(data) > maxState || !bytes.HasPrefix(data, []byte(stateMagic)) {
		return nil, errState
	}
	body := data[stateHead:]
	if binary.LittleEndian.Uint32(data[len(stateMagic):]) != uint32(len(body)) ||
		binary.LittleEndian.Uint32(data[len(stateMagic)+4:]) != checksum.Of(body) {
		return nil, errState
	}
	m := newMemory()
	d := decoder{p: body}
	m.looked = d.time()
	macs := make([]usage.MAC, d.count(maxKnown))
	for i := range macs {
		copy(macs[i][:], d.take(6))
		flags := d.byte()
		k := &known{first: d.time(), moved: flags&flagMoved != 0}
		if flags&flagSeen != 0 {
			k.last = d.since(k.first)
		}
		k.category = d.byte()
		k.reasons = uint16(d.uvarint())
		for range d.count(maxNames) {
			n := named{from: d.since(k.first), source: source(d.byte())}
			n.text = string(d.take(int(d.byte())))
			if n.source >= sources || n.text == "" || usage.Clean(n.text, usage.MaxName) != n.text {
				return nil, errState
			}
			if last := len(k.names) - 1; last >= 0 && (k.names[last].from > n.from || k.names[last].text == n.text) {
				return nil, errState
			}
			k.names = append(k.names, n)
		}
		if d.bad || !isDevice(macs[i]) || i > 0 && slices.Compare(macs[i-1][:], macs[i][:]) >= 0 || k.category >= uint8(len(usage.Categories)) {
			return nil, errState
		}
		m.devices[macs[i]] = k
	}
	var before netip.Addr
	for range d.count(maxSpans) {
		addr, ok := netip.AddrFromSlice(d.take(int(d.byte())))
		if !ok || addr.Is4In6() || !before.Less(addr) {
			return nil, errState
		}
		before = addr
		spans := make([]span, d.count(maxHolder))
		end := m.looked
		for i := range spans {
			n := d.uvarint()
			if n >= uint64(len(macs)) {
				return nil, errState
			}
			s := span{mac: macs[n], source: source(d.byte()), from: d.since(end)}
			length := d.uvarint()
			if s.to = s.from + int64(length); length > maxTime || s.to > maxTime || i > 0 && s.from < end || s.source >= sources {
				return nil, errState
			}
			end = s.to
			spans[i] = s
			m.devices[s.mac].held++
			m.nspans++
		}
		if d.bad || len(spans) == 0 || m.nspans > maxSpans {
			return nil, errState
		}
		m.spans[addr] = spans
	}
	if d.bad || len(d.p) > 0 {
		return nil, errState
	}
	return m, nil
}

// maxTime bounds times, so that no sum of a few overflows: the year 8921556.
const maxTime = math.MaxInt64 >> 15

// decoder reads fields; a bad one makes it bad for good and reads as zero.
type decoder struct {
	p   []byte
	bad bool
}

func (d *decoder) fail() {
	d.bad, d.p = true, nil
}

func (d *decoder) take(n int) []byte {
	if n > len(d.p) {
		d.fail()
		return make([]byte, n)
	}
	b := d.p[:n]
	d.p = d.p[n:]
	return b
}

func (d *decoder) byte() byte { return d.take(1)[0] }

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.p)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.p = d.p[n:]
	return v
}

// count is how many things follow, each of at least a byte.
func (d *decoder) count(most int) int {
	n := d.uvarint()
	if n > uint64(most) || n > uint64(len(d.p)) {
		d.fail()
		return 0
	}
	return int(n)
}

func (d *decoder) varint() int64 {
	v, n := binary.Varint(d.p)
	if n <= 0 {
		d.fail()
		return 0
	}
	d.p = d.p[n:]
	return v
}

func (d *decoder) time() int64 { return d.since(0) }

func (d *decoder) since(base int64) int64 {
	v := d.varint()
	if v > maxTime || v < -maxTime || base+v > maxTime || base+v < -maxTime {
		d.fail()
		return 0
	}
	return base + v
}

// worthFlash tells whether a device is kept on flash: one that used the
// network, or was seen on more than one day. A flood is not.
func worthFlash(k *known) bool { return k.moved || k.last-k.first > 24*3600 }

// macs are those of all devices, in order.
func (m *Memory) macs() []usage.MAC {
	return sorting.Keys(m.devices, func(a, b usage.MAC) int { return slices.Compare(a[:], b[:]) })
}

// digest tells what goes to flash from what went there before. That a device
// is still there is no change; the copy on flash may be hours old anyway.
func (m *Memory) digest() uint64 {
	h := fnv.New64a()
	var scratch []byte
	for _, mac := range m.macs() {
		k := m.devices[mac]
		if !worthFlash(k) {
			continue
		}
		scratch = append(append(scratch[:0], mac[:]...), k.category)
		scratch = binary.AppendVarint(scratch, k.last/(24*3600))
		for _, n := range k.names {
			scratch = append(binary.AppendVarint(scratch, n.from), n.text...)
		}
		_, _ = h.Write(binary.AppendUvarint(scratch, uint64(k.held)))
	}
	return h.Sum64()
}
