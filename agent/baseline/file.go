package baseline

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/netpilot/netpilot/agent/checksum"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// The file is the magic, the members of state in their order, and a CRC-32C
// of all before it. Numbers are varints, times milliseconds since 1970, texts
// their length and bytes. A row repeats its host only where that changes: some
// 15 bytes a row.
const magic = "npb\x01"

// Bounds of the file.
const (
	maxRows    = 20_000 // twice nlbwmon's default limit
	maxDevices = 256    // that were reset apart from the rest
	maxDone    = 64     // ids remembered
	maxID      = 64     // bytes of an id
	maxFile    = 2 << 20
)

var errDamaged = errors.New("damaged")

// encode is the file's content.
func (s *state) encode() []byte {
	b := []byte(magic)
	number := func(n uint64) { b = binary.AppendUvarint(b, n) }
	stamp := func(t time.Time) {
		if t.IsZero() {
			number(0)
			return
		}
		b = binary.AppendVarint(b, t.UnixMilli())
	}
	text := func(s string) {
		number(uint64(len(s)))
		b = append(b, s...)
	}
	number(uint64(s.period))
	text(s.boot)
	stamp(s.at)
	number(uint64(len(s.devices)))
	for _, d := range s.devices {
		b = append(b, d.mac[:]...)
		stamp(d.at)
	}
	number(uint64(len(s.done)))
	for _, d := range s.done {
		text(d.id)
		stamp(d.at)
	}
	number(uint64(len(s.rows)))
	var last usage.Record
	for i := range s.rows {
		r := &s.rows[i]
		if i > 0 && r.MAC == last.MAC && r.Family == last.Family && r.Addr == last.Addr {
			b = append(b, 0)
		} else {
			b = append(append(append(b, 1), r.MAC[:]...), r.Family)
			b = append(b, r.Addr[:addrLen(r.Family)]...)
		}
		b = binary.BigEndian.AppendUint16(append(b, r.Proto), r.Port)
		for _, n := range [...]uint64{r.Conns, r.RxBytes, r.RxPackets, r.TxBytes, r.TxPackets} {
			number(n)
		}
		last = *r
	}
	return binary.BigEndian.AppendUint32(b, checksum.Of(b))
}

func addrLen(family uint8) int {
	if family == usage.FamilyIPv4 {
		return 4
	}
	return 16
}

// decode reads a file's content; what is not whole is errDamaged.
func decode(b []byte) (*state, error) {
	tail := len(b) - 4
	if tail < len(magic) || !bytes.HasPrefix(b, []byte(magic)) || checksum.Of(b[:tail]) != binary.BigEndian.Uint32(b[tail:]) {
		return nil, errDamaged
	}
	r := reader{b: b[len(magic):tail]}
	s := &state{period: nlbwmon.Period(r.number(1<<32 - 1)), boot: r.text(maxID), at: r.stamp()}
	for range r.number(maxDevices) {
		d := deviceReset{at: time.Time{}}
		copy(d.mac[:], r.take(len(d.mac)))
		d.at = r.stamp()
		s.devices = append(s.devices, d)
	}
	for range r.number(maxDone) {
		s.done = append(s.done, done{r.text(maxID), r.stamp()})
	}
	n := r.number(maxRows)
	var row usage.Record
	for i := uint64(0); i < n && !r.bad; i++ {
		if flag := r.take(1); flag != nil && flag[0] == 1 {
			row = usage.Record{}
			copy(row.MAC[:], r.take(len(row.MAC)))
			if f := r.take(1); f != nil {
				row.Family = f[0]
			}
			copy(row.Addr[:], r.take(addrLen(row.Family)))
		}
		if f := r.take(3); f != nil {
			row.Proto, row.Port = f[0], binary.BigEndian.Uint16(f[1:])
		}
		for _, c := range [...]*uint64{&row.Conns, &row.RxBytes, &row.RxPackets, &row.TxBytes, &row.TxPackets} {
			*c = r.number(1<<64 - 1)
		}
		s.rows = append(s.rows, row)
	}
	if r.bad || len(r.b) > 0 || !slices.IsSortedFunc(s.rows, compare) {
		return nil, errDamaged
	}
	return s, nil
}

// reader takes numbers off b; bad says that one was missing or too large.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return nil
	}
	part := r.b[:n]
	r.b = r.b[n:]
	return part
}

func (r *reader) number(most uint64) uint64 {
	n, size := binary.Uvarint(r.b)
	if size <= 0 || n > most {
		r.bad = true
		return 0
	}
	r.take(size)
	return n
}

func (r *reader) text(most int) string { return string(r.take(int(r.number(uint64(most))))) }

func (r *reader) stamp() time.Time {
	n, size := binary.Varint(r.b)
	if size <= 0 || r.bad {
		r.bad = true
		return time.Time{}
	}
	r.take(size)
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMilli(n)
}
