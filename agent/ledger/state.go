package ledger

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/netpilot/netpilot/agent/checksum"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// ErrState is what Restore returns, wrapped with the reason, for bytes that
// are no ledger's state. The caller goes on with New and Options.Last.
var ErrState = errors.New("ledger: not a state of the ledger")

// The layout of a state, all numbers big-endian:
//
//	magic "npLg", version 1, source, flags (1 a look was made, 2 settled, 4 listed, 8 doubted, 16 clock set back,
//	32 file below the table), length of boot id
//	since ns 8, began ns 8, daemon 8, period 4, limit 4, tries 2, later periods 2, rows 4
//	boot id, later periods 4 each, rows 66 each, CRC-32C of all before
const (
	stateMagic   = "npLg"
	stateVersion = 1
	stateHead    = 8 + 8 + 8 + 8 + 4 + 4 + 2 + 2 + 4
	stateRow     = keySize + 5*8
)

const (
	stateKnown = 1 << iota
	stateSettled
	stateListed
	stateDoubted
	stateBack
	stateBelow
)

// State appends to dst what Restore needs to go on as if nothing had
// happened: rows, period, boot. It is meant for a file in RAM; after a reboot
// it is of no use but for the instant of the last look.
func (l *Ledger) State(dst []byte) []byte {
	start := len(dst)
	m := &l.last
	flags := byte(0)
	if l.known {
		flags |= stateKnown
	}
	if m.settled {
		flags |= stateSettled
	}
	if m.listed {
		flags |= stateListed
	}
	if m.doubted {
		flags |= stateDoubted
	}
	if m.below {
		flags |= stateBelow
	}
	if l.back {
		flags |= stateBack
	}
	rows := l.prev.rows
	if !l.known {
		rows = nil
	}
	dst = slices.Grow(dst, stateHead+len(m.Boot)+4*len(m.later)+len(rows)*stateRow+4)
	dst = append(dst, stateMagic...)
	dst = append(dst, stateVersion, byte(m.source), flags, byte(len(m.Boot)))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Since))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.began))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.daemon))
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.period))
	dst = binary.BigEndian.AppendUint32(dst, uint32(int32(m.limit)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(min(l.tries, 1<<16-1)))
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.later)))
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(rows)))
	dst = append(dst, m.Boot...)
	for _, p := range m.later {
		dst = binary.BigEndian.AppendUint32(dst, uint32(p))
	}
	var key [keySize]byte
	for i := range rows {
		r := &rows[i]
		putKey(&key, r)
		dst = append(dst, key[:]...)
		for _, n := range [...]uint64{r.Conns, r.RxBytes, r.RxPackets, r.TxBytes, r.TxPackets} {
			dst = binary.BigEndian.AppendUint64(dst, n)
		}
	}
	return binary.BigEndian.AppendUint32(dst, checksum.Of(dst[start:]))
}

// Restore makes a ledger from what State gave. It returns an error wrapping
// ErrState for bytes that are cut off, damaged, of another version, or not
// consistent, and allocates no more than a few times their size.
func Restore(state []byte, opts Options) (*Ledger, error) {
	l := New(opts)
	if err := l.restore(state); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrState, err)
	}
	return l, nil
}

func (l *Ledger) restore(b []byte) error {
	if len(b) < stateHead+4 || string(b[:4]) != stateMagic {
		return errors.New("too short, or another file")
	}
	if b[4] != stateVersion {
		return fmt.Errorf("version %d, this program knows %d", b[4], stateVersion)
	}
	body, sum := b[:len(b)-4], b[len(b)-4:]
	if checksum.Of(body) != binary.BigEndian.Uint32(sum) {
		return errors.New("checksum")
	}
	flags, boot := body[6], int(body[7])
	m := mark{
		period:  nlbwmon.Period(binary.BigEndian.Uint32(body[32:])),
		limit:   int(int32(binary.BigEndian.Uint32(body[36:]))),
		daemon:  time.Duration(binary.BigEndian.Uint64(body[24:])),
		source:  Source(body[5]),
		began:   time.Duration(binary.BigEndian.Uint64(body[16:])),
		settled: flags&stateSettled != 0,
		listed:  flags&stateListed != 0,
		doubted: flags&stateDoubted != 0,
		below:   flags&stateBelow != 0,
	}
	m.Since = time.Duration(binary.BigEndian.Uint64(body[8:]))
	l.tries = int(binary.BigEndian.Uint16(body[40:]))
	later := int(binary.BigEndian.Uint16(body[42:]))
	rows := uint64(binary.BigEndian.Uint32(body[44:]))
	known := flags&stateKnown != 0
	if boot > maxBoot || later > maxNames || rows > uint64(l.opts.MaxRows) ||
		uint64(len(body)) != uint64(stateHead+boot+4*later)+rows*stateRow {
		return errors.New("length")
	}
	if known != (boot > 0) || known != (m.source == Socket || m.source == Snapshot) ||
		m.Since < 0 || m.began < 0 || m.daemon < 0 || m.limit < UnknownLimit || !known && rows > 0 ||
		flags&^(stateKnown|stateSettled|stateListed|stateDoubted|stateBack|stateBelow) != 0 {
		return errors.New("inconsistent")
	}
	body = body[stateHead:]
	m.Boot, body = string(body[:boot]), body[boot:]
	for range later {
		m.later = append(m.later, nlbwmon.Period(binary.BigEndian.Uint32(body)))
		body = body[4:]
	}
	l.prev.Begin(int(rows))
	for ; len(body) > 0; body = body[stateRow:] {
		r := stateRecord(body)
		l.prev.Add(&r)
	}
	if uint64(len(l.prev.rows)) != rows {
		return errors.New("a row comes twice")
	}
	l.known, l.last, l.back = known, m, flags&stateBack != 0
	return nil
}

// stateRecord reads a row.
func stateRecord(b []byte) usage.Record {
	r := usage.Record{Family: b[0], Proto: b[1], Port: binary.BigEndian.Uint16(b[2:]), MAC: usage.MAC(b[4:10]), Addr: [16]byte(b[10:26])}
	b = b[keySize:]
	r.Conns = binary.BigEndian.Uint64(b)
	r.RxBytes = binary.BigEndian.Uint64(b[8:])
	r.RxPackets = binary.BigEndian.Uint64(b[16:])
	r.TxBytes = binary.BigEndian.Uint64(b[24:])
	r.TxPackets = binary.BigEndian.Uint64(b[32:])
	return r
}
