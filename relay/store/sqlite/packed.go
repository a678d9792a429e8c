package sqlite

import (
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// A packed bucket is one byte of version and four sections: families,
// services, devices, quarantined. A section is a count and that many rows; a
// row is its subject, then rx bytes, tx bytes, rx packets, tx packets and
// connections. A family is one byte, a service its length and text, a device
// its six bytes of MAC. All numbers are uvarints (encoding/binary).
//
// Open buckets are packed one after another: start, length (uvarints, in
// seconds), size of what follows, packed bucket.
const packedVersion = 1

var errPacked = errors.New("the relay's database is damaged: a bucket of history cannot be read; restore it from a backup")

func packBucket(dst []byte, b *usage.Bucket) []byte {
	dst = append(dst, packedVersion)
	dst = binary.AppendUvarint(dst, uint64(len(b.Families)))
	for i := range b.Families {
		dst = packCounters(append(dst, b.Families[i].Family), &b.Families[i].Counters)
	}
	dst = binary.AppendUvarint(dst, uint64(len(b.Services)))
	for i := range b.Services {
		dst = binary.AppendUvarint(dst, uint64(len(b.Services[i].Name)))
		dst = packCounters(append(dst, b.Services[i].Name...), &b.Services[i].Counters)
	}
	return packDevices(packDevices(dst, b.Devices), b.Quarantined)
}

func packDevices(dst []byte, devices []usage.DeviceSum) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(devices)))
	for i := range devices {
		dst = packCounters(append(dst, devices[i].MAC[:]...), &devices[i].Counters)
	}
	return dst
}

func packCounters(dst []byte, c *usage.Counters) []byte {
	dst = binary.AppendUvarint(dst, c.RxBytes)
	dst = binary.AppendUvarint(dst, c.TxBytes)
	dst = binary.AppendUvarint(dst, c.RxPackets)
	dst = binary.AppendUvarint(dst, c.TxPackets)
	return binary.AppendUvarint(dst, c.Conns)
}

func packOpen(dst []byte, open []usage.Bucket) []byte {
	var one []byte
	for i := range open {
		one = packBucket(one[:0], &open[i])
		dst = binary.AppendUvarint(dst, uint64(open[i].Start.Unix()))
		dst = binary.AppendUvarint(dst, uint64(open[i].Length/time.Second))
		dst = append(binary.AppendUvarint(dst, uint64(len(one))), one...)
	}
	return dst
}

// unpacker reads packed bytes; the first thing wrong sets err and makes all
// that follows zero.
type unpacker struct {
	p   []byte
	err error
}

func (u *unpacker) uvarint() uint64 {
	v, n := binary.Uvarint(u.p)
	if n <= 0 {
		u.p, u.err = nil, errPacked
		return 0
	}
	u.p = u.p[n:]
	return v
}

func (u *unpacker) bytes(n uint64) []byte {
	if n > uint64(len(u.p)) {
		u.p, u.err = nil, errPacked
		return nil
	}
	b := u.p[:n]
	u.p = u.p[n:]
	return b
}

// count is a number of things of at least size bytes each.
func (u *unpacker) count(size int) int {
	n := u.uvarint()
	if n > uint64(len(u.p)/size) {
		u.p, u.err = nil, errPacked
		return 0
	}
	return int(n)
}

func (u *unpacker) counters() usage.Counters {
	return usage.Counters{RxBytes: u.uvarint(), TxBytes: u.uvarint(), RxPackets: u.uvarint(), TxPackets: u.uvarint(), Conns: u.uvarint()}
}

// The sections, in their order.
const (
	secFamily = iota
	secService
	secDevice
	secQuarantined
)

// unpack reads one packed bucket and adds the sections up to last to sums.
func (s *sums) unpack(packed []byte, last int) error {
	u := unpacker{p: packed}
	if v := u.bytes(1); u.err == nil && v[0] != packedVersion {
		return errPacked
	}
	for range u.count(6) {
		if f := u.bytes(1); u.err == nil {
			s.families.add(f[0], u.counters())
		}
	}
	if last >= secService {
		for range u.count(6) {
			if name := u.bytes(u.uvarint()); u.err == nil {
				s.services.addBytes(name, u.counters())
			}
		}
	}
	for section := secDevice; section <= last; section++ {
		sum := &s.devices
		if section == secQuarantined {
			sum = &s.quarantined
		}
		for range u.count(11) {
			if m := u.bytes(6); u.err == nil {
				sum.add(usage.MAC(m), u.counters())
			}
		}
	}
	return u.err
}

// openBucket is one of the buckets that may still change, packed.
type openBucket struct {
	start, length int64
	data          []byte
}

func unpackOpen(packed []byte) ([]openBucket, error) {
	u := unpacker{p: packed}
	var list []openBucket
	for len(u.p) > 0 {
		o := openBucket{start: int64(u.uvarint()), length: int64(u.uvarint())}
		o.data = u.bytes(u.uvarint())
		if u.err != nil {
			return nil, u.err
		}
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b openBucket) int { return int(a.start - b.start) })
	return list, nil
}

// sum adds up counters by subject, in the order of their first coming.
type sum[K comparable] struct {
	at   map[K]int
	keys []K
	sums []usage.Counters
}

func (s *sum[K]) add(k K, c usage.Counters) {
	i, ok := s.at[k]
	if !ok {
		if s.at == nil {
			s.at = make(map[K]int)
		}
		i = len(s.keys)
		s.at[k] = i
		s.keys, s.sums = append(s.keys, k), append(s.sums, usage.Counters{})
	}
	s.sums[i].Add(c)
}

func (s *sum[K]) clear() {
	clear(s.at)
	s.keys, s.sums = s.keys[:0], s.sums[:0]
}

// names sums by service. Looking a name up that is known makes no copy of it.
type names struct{ sum[string] }

func (s *names) addBytes(name []byte, c usage.Counters) {
	if i, ok := s.at[string(name)]; ok {
		s.sums[i].Add(c)
		return
	}
	s.add(string(name), c)
}

// sums is what one slot comes to.
type sums struct {
	families    sum[uint8]
	services    names
	devices     sum[usage.MAC]
	quarantined sum[usage.MAC]
}

func (s *sums) clear() {
	s.families.clear()
	s.services.clear()
	s.devices.clear()
	s.quarantined.clear()
}

// bucket is the sums as a bucket.
func (s *sums) bucket() *usage.Bucket {
	b := &usage.Bucket{}
	for i, f := range s.families.keys {
		b.Families = append(b.Families, usage.FamilySum{Family: f, Counters: s.families.sums[i]})
	}
	for i, name := range s.services.keys {
		b.Services = append(b.Services, usage.ServiceSum{Name: name, Counters: s.services.sums[i]})
	}
	for i, m := range s.devices.keys {
		b.Devices = append(b.Devices, usage.DeviceSum{MAC: m, Counters: s.devices.sums[i]})
	}
	for i, m := range s.quarantined.keys {
		b.Quarantined = append(b.Quarantined, usage.DeviceSum{MAC: m, Counters: s.quarantined.sums[i]})
	}
	return b
}
