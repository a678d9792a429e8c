package history

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/netpilot/netpilot/pkg/usage"
)

// frame is one decoded frame, valid until the next.
type frame struct {
	typ       byte
	off, next int64
	bucket    bucketFrame // typeAdd, typePart
	gap       usage.Gap   // typeGap, typeGapPart
	seq       uint64
	child     span // typeSeal
	parts     int
}

// at is the second by which the frame belongs to a span.
func (f *frame) at() int64 {
	if f.typ == typeGap || f.typ == typeGapPart {
		return gapAt(f.gap)
	}
	return f.bucket.slot.start
}

// Why a file is no segment of ours.
var (
	errNewer   = errors.New("written by a newer netpilot-agent; it is left alone: upgrade the agent to read it")
	errForeign = errors.New("no history segment; it is left alone")
	errStub    = errors.New("no whole header: the power was cut as it was made")
)

// walk decodes the frames of r, which is set to g's file. What is damaged is
// told to bad. A header sets g's spans. It returns where the last frame ends.
func walk(g *segment, r *reader, visit func(*frame) error, bad func(from, to int64)) (end int64, err error) {
	magic := r.bytes(0, magicLen)
	switch {
	case magic == nil && r.bad != nil:
		return 0, fmt.Errorf("read: %w", r.bad)
	case magic == nil:
		return 0, errStub
	case bytes.Equal(magic, make([]byte, magicLen)):
		return 0, errStub // its first block was never written
	case !bytes.HasPrefix(magic, []byte(segmentMagic)) || magic[magicLen-1] != '\n':
		return 0, errForeign
	case magic[len(segmentMagic)] > version:
		return 0, errNewer
	case magic[len(segmentMagic)] < version:
		return 0, errForeign
	}
	fr := &frame{}
	return r.scan(magicLen, func(off, next int64, payload []byte) error {
		*fr = frame{typ: payload[0], off: off, next: next}
		var err error
		switch fr.typ {
		case typeHeader:
			if off != magicLen {
				return fmt.Errorf("%w: second header", errFrame)
			}
			err = g.parseHeader(payload)
		case typeAdd, typePart:
			fr.bucket, err = parseBucket(g.start, payload)
			fr.seq = fr.bucket.seq
		case typeGap, typeGapPart:
			fr.gap, fr.seq, err = parseGap(g.start, payload)
		case typeSeal:
			fr.child, fr.parts, err = g.parseSeal(payload)
		default:
			err = fmt.Errorf("%w: unknown type", errFrame)
		}
		if err != nil {
			return err
		}
		return visit(fr)
	}, bad)
}

// entry is where one frame stands that counts.
type entry struct {
	slot span
	seq  uint64
	off  int64
	typ  byte // typeAdd or typeGap, also for those of a compaction
}

// index is a segment's frames and dictionary.
type index struct {
	seg     *segment
	file    File
	entries []entry
	dict    *dict
}

// files reads segments of one directory. Its buffers serve one after another.
type files struct {
	fs   FS
	dir  string
	rd   reader
	rows []row
	free []*index
	lost int64 // bytes of damaged frames come across
}

// index reads g's first g.size bytes.
func (v *files) index(g *segment) (*index, error) {
	f, err := v.fs.Open(filepath.Join(v.dir, g.name()), false)
	if err != nil {
		return nil, fmt.Errorf("history segment: %w", err)
	}
	ix := &index{dict: newDict()}
	if n := len(v.free); n > 0 {
		ix, v.free = v.free[n-1], v.free[:n-1]
		ix.entries = ix.entries[:0]
		ix.dict.reset()
	}
	ix.seg, ix.file = g, f
	head := *g // what the header says of the spans is known already
	v.rd.reset(f, g.size, g.seed())
	_, err = walk(&head, &v.rd, func(fr *frame) error {
		e := entry{slot: fr.bucket.slot, seq: fr.seq, off: fr.off, typ: fr.typ}
		switch fr.typ {
		case typeHeader, typeSeal:
			return nil
		case typeGap, typeGapPart:
			e.typ = typeGap
			e.slot = span{fr.at(), fr.at() + 1}
		default:
			e.typ = typeAdd
			ix.dict.define(&fr.bucket)
		}
		if fr.typ == typePart || fr.typ == typeGapPart {
			if _, ok := g.sealed(fr.at()); !ok {
				return nil
			}
		}
		ix.entries = append(ix.entries, e)
		return nil
	}, func(from, to int64) { v.lost += to - from })
	if err != nil {
		v.release(ix)
		return nil, fmt.Errorf("history segment %s: %w", g.name(), err)
	}
	return ix, nil
}

// release closes the file and keeps the buffers.
func (v *files) release(ix *index) {
	ix.file.Close()
	ix.file = nil
	v.free = append(v.free, ix)
}

// payload reads the frame of e again.
func (v *files) payload(ix *index, e entry) ([]byte, error) {
	if v.rd.f != ix.file || v.rd.size != ix.seg.size {
		v.rd.reset(ix.file, ix.seg.size, ix.seg.seed())
	}
	p, _ := v.rd.frame(e.off)
	if p == nil {
		return nil, fmt.Errorf("history segment %s: the frame at byte %d cannot be read again", ix.seg.name(), e.off)
	}
	return p, nil
}

// bucketRows reads the rows of e, of all sections or only one, valid until the
// next call.
func (v *files) bucketRows(ix *index, e entry, only int) ([]row, error) {
	p, err := v.payload(ix, e)
	if err != nil {
		return nil, err
	}
	b, err := parseBucket(ix.seg.start, p)
	if err == nil {
		v.rows, err = b.appendTo(v.rows[:0], only)
	}
	if err != nil {
		v.lost += int64(len(p))
		return nil, nil // damaged, and counted as such
	}
	return v.rows, nil
}

func (v *files) gap(ix *index, e entry) (usage.Gap, error) {
	p, err := v.payload(ix, e)
	if err != nil {
		return usage.Gap{}, err
	}
	g, _, err := parseGap(ix.seg.start, p)
	return g, err
}
