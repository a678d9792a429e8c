package history

import (
	"encoding/binary"
	"slices"

	"github.com/netpilot/netpilot/pkg/usage"
)

// maxIndex bounds a segment's dictionary; a subject past it is booked on
// index 0.
const maxIndex = 1 << 16

// dict numbers a segment's devices and services. Index 0 is never defined in
// the file: it is the zero MAC and otherService. It is also what an index
// reads as whose definition was in a damaged frame, so that the bytes still
// count and only their owner is unknown.
type dict struct {
	macs      []usage.MAC
	services  []string
	macAt     map[usage.MAC]uint32 // only in a dict for appending
	serviceAt map[string]uint32
	names     map[string]string // one copy of each name read
}

func newDict() *dict {
	d := &dict{}
	d.reset()
	return d
}

func (d *dict) reset() {
	d.macs = append(d.macs[:0], usage.MAC{})
	d.services = append(d.services[:0], otherService)
}

func (d *dict) mac(i uint32) usage.MAC {
	if int(i) >= len(d.macs) {
		return usage.MAC{}
	}
	return d.macs[i]
}

func (d *dict) service(i uint32) string {
	if int(i) >= len(d.services) || d.services[i] == "" {
		return otherService
	}
	return d.services[i]
}

// define takes over a frame's definitions.
func (d *dict) define(b *bucketFrame) {
	for i := 0; i+6 <= len(b.macs); i += 6 {
		at := int(b.macBase) + i/6
		if at >= maxIndex {
			break
		}
		d.growMACs(at + 1)
		d.macs[at] = usage.MAC(b.macs[i : i+6])
	}
	f := fields{p: b.services}
	for i := range b.svcCount {
		name := f.bytes(f.below(maxService + 1))
		at := int(b.svcBase) + i
		if f.err != nil || at >= maxIndex {
			break
		}
		d.growServices(at + 1)
		if d.names == nil {
			d.names = make(map[string]string)
		}
		own, ok := d.names[string(name)]
		if !ok {
			own = usage.Clean(string(name), maxService)
			d.names[string(name)] = own
		}
		d.services[at] = own
	}
}

func (d *dict) growMACs(n int) {
	for len(d.macs) < n {
		d.macs = append(d.macs, usage.MAC{})
	}
}

func (d *dict) growServices(n int) {
	for len(d.services) < n {
		d.services = append(d.services, "")
	}
}

// forAppending makes the ways back from subject to index. Indices up to
// those given are taken, even where their definitions were damaged.
func (d *dict) forAppending(mac, service uint32) {
	d.growMACs(int(mac) + 1)
	d.growServices(int(service) + 1)
	d.macAt = make(map[usage.MAC]uint32, len(d.macs))
	for i, m := range slices.Backward(d.macs) {
		d.macAt[m] = uint32(i)
	}
	d.serviceAt = make(map[string]uint32, len(d.services))
	for i, s := range slices.Backward(d.services) {
		d.serviceAt[s] = uint32(i)
	}
	d.macAt[usage.MAC{}], d.serviceAt[otherService] = 0, 0
	d.names = nil
}

func (d *dict) macIndex(m usage.MAC) uint32 {
	i, ok := d.macAt[m]
	if !ok && len(d.macs) < maxIndex {
		i = uint32(len(d.macs))
		d.macs = append(d.macs, m)
		d.macAt[m] = i
	}
	return i
}

func (d *dict) serviceIndex(s string) uint32 {
	i, ok := d.serviceAt[s]
	if !ok && len(d.services) < maxIndex {
		i = uint32(len(d.services))
		d.services = append(d.services, s)
		d.serviceAt[s] = i
	}
	return i
}

// appendMACs defines the devices [from, to).
func (d *dict) appendMACs(p []byte, from, to int) []byte {
	p = binary.AppendUvarint(p, uint64(to-from))
	if to > from {
		p = binary.AppendUvarint(p, uint64(from))
		for _, m := range d.macs[from:to] {
			p = append(p, m[:]...)
		}
	}
	return p
}

// appendServices defines the services [from, to).
func (d *dict) appendServices(p []byte, from, to int) []byte {
	p = binary.AppendUvarint(p, uint64(to-from))
	if to > from {
		p = binary.AppendUvarint(p, uint64(from))
		for _, s := range d.services[from:to] {
			p = append(p, byte(len(s)))
			p = append(p, s...)
		}
	}
	return p
}
