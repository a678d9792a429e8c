package history

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"

	"github.com/netpilot/netpilot/agent/checksum"
)

// kind is how long a segment's buckets are.
type kind uint8

const (
	fiveMin  kind = iota // a quarter of a router's day in buckets of 5 minutes
	hourly               // a router's day in hours
	daily                // a router's month in days
	numKinds = 3
)

var kindNames = [numKinds]string{"5m", "1h", "1d"}

// Bucket lengths in seconds.
const (
	slotSecs = 300
	hourSecs = 3600
)

// span is [start, end) in Unix seconds, both multiples of slotSecs.
type span struct{ start, end int64 }

func (s span) has(t int64) bool { return s.start <= t && t < s.end }

// clip shortens s, which has t, so that it does not overlap o, which has not.
func (s span) clip(o span, t int64) span {
	if o.end <= t {
		s.start = max(s.start, o.end)
	} else if o.start > t {
		s.end = min(s.end, o.start)
	}
	return s
}

// segment is what the Store remembers of one file. Its buckets lie in its
// span; spans of one kind do not overlap, and a segment lies in its day and
// that in its month, which the coarser segments take as their own spans.
type segment struct {
	kind       kind
	turn       uint8 // which of those with the start; the others are not ours
	span             // ends where the next segment of the kind starts
	day, month span
	written    int64  // bytes appended
	size       int64  // bytes appended and known to the state file
	flashed    int64  // bytes that are durable in the flash directory
	seq        uint64 // of the newest change
	gaps       int
	seals      []span // what was compacted into it whole: those frames count
	dict       *dict  // for appending; nil until needed
}

// sealed finds the compacted span that has t.
func (g *segment) sealed(t int64) (span, bool) {
	for _, s := range g.seals {
		if s.has(t) {
			return s, true
		}
	}
	return span{}, false
}

// slot is the bucket of the segment's kind that has t. It lies in one finer
// segment, also where that does not begin or end with an hour.
func (g *segment) slot(t int64) span {
	within, ok := g.sealed(t)
	switch {
	case g.kind == hourly && ok:
		return g.hour(t, within)
	case g.kind == daily && ok:
		return within
	}
	return span{t, t + slotSecs}
}

// hour is the hour of t, counted from the start of g, as far as it lies in
// within.
func (g *segment) hour(t int64, within span) span {
	start := t - mod(t-g.start, hourSecs)
	return span{max(start, within.start), min(start+hourSecs, within.end)}
}

const nameLayout = "20060102T150405Z"

// maxTurn bounds segment.turn: it is one digit.
const maxTurn = 9

// name is the file's: 20260301T000000Z.5m, or 20260301T000000Z~1.5m where
// that name is taken.
func (g *segment) name() string {
	stamp := time.Unix(g.start, 0).UTC().Format(nameLayout)
	if g.turn > 0 {
		stamp += "~" + string('0'+rune(g.turn))
	}
	return stamp + "." + kindNames[g.kind]
}

// parseName is the inverse of name, nil for other files: they are not ours.
func parseName(name string) *segment {
	stamp, ext, _ := strings.Cut(name, ".")
	stamp, turn, _ := strings.Cut(stamp, "~")
	i := slices.Index(kindNames[:], ext)
	t, err := time.Parse(nameLayout, stamp)
	if i < 0 || err != nil || t.Unix()%slotSecs != 0 {
		return nil
	}
	g := &segment{kind: kind(i), span: span{start: t.Unix()}}
	if len(turn) == 1 {
		g.turn = turn[0] - '0'
	}
	if g.turn > maxTurn || g.name() != name {
		return nil
	}
	return g
}

// seed is what every CRC of the segment starts from.
func (g *segment) seed() uint32 {
	var id [10]byte
	id[0], id[1] = byte(g.kind), g.turn
	binary.LittleEndian.PutUint64(id[2:], uint64(g.start))
	return checksum.Of(id[:])
}

// A segment begins with magic, version and newline, then the header's frame.
const (
	segmentMagic = "NPHIST"
	version      = 1
	magicLen     = 8
)

// The types of frames, the first byte of the payload.
const (
	typeHeader  = 1 // the spans
	typeAdd     = 2 // more for one bucket
	typePart    = 3 // as typeAdd, of a compaction; counts once sealed
	typeSeal    = 4 // a finer segment is in here whole
	typeGap     = 5 // a span that nobody can attribute
	typeGapPart = 6 // as typeGap, of a compaction
)

// header is a new segment's first bytes.
func (g *segment) header() []byte {
	head := []byte(segmentMagic + string([]byte{version, '\n'}))
	p := []byte{typeHeader}
	for _, s := range []span{g.span, g.day, g.month} {
		p = binary.AppendVarint(p, s.start-g.start)
		p = binary.AppendVarint(p, s.end-g.start)
	}
	return appendFrame(head, g.seed(), magicLen, p)
}

// maxSpan bounds what a header may claim: a month and a day.
const maxSpan = 32 * 24 * hourSecs

func (g *segment) parseHeader(payload []byte) error {
	f := fields{p: payload[1:]}
	var spans [3]span
	for i := range spans {
		a, b := f.varint(), f.varint()
		if a > 0 || a < -maxSpan || b <= 0 || b > maxSpan || a%slotSecs != 0 || b%slotSecs != 0 {
			f.fail("span")
		}
		spans[i] = span{g.start + a, g.start + b}
	}
	if f.err != nil {
		return f.err
	}
	g.span, g.day, g.month = spans[0], spans[1], spans[2]
	return nil
}

// Seal: the finer segment's span and the number of frames of its compaction,
// which stand right before the seal.
func (g *segment) appendSeal(p []byte, child span, frames int) []byte {
	p = append(p, typeSeal)
	p = binary.AppendVarint(p, child.start-g.start)
	p = binary.AppendUvarint(p, uint64(child.end-child.start))
	return binary.AppendUvarint(p, uint64(frames))
}

func (g *segment) parseSeal(payload []byte) (child span, frames int, err error) {
	f := fields{p: payload[1:]}
	start, length, n := f.varint(), f.below(2*maxSpan), f.below(1<<31)
	if start < -maxSpan || start > maxSpan {
		f.fail("span")
	}
	return span{g.start + start, g.start + start + length}, int(n), f.err
}
