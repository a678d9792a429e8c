package history

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/netpilot/netpilot/agent/checksum"
)

// A frame is marker, length of the payload (uint16), CRC (uint32), payload;
// integers are little-endian. See FORMAT.md section 2.
const (
	frameMark  = 0xa5
	frameHead  = 7
	maxPayload = 1<<16 - 1
)

// errFrame is wrapped by all that is wrong with a frame's payload although
// its CRC holds: our bug, or somebody's forgery.
var errFrame = errors.New("malformed frame")

// frameCRC binds the payload to its segment (seed) and its place in it, so
// that a stale block of another file, or of this one, is no frame here.
func frameCRC(seed uint32, off int64, payload []byte) uint32 {
	var place [10]byte
	binary.LittleEndian.PutUint64(place[:], uint64(off))
	binary.LittleEndian.PutUint16(place[8:], uint16(len(payload)))
	return checksum.Extend(checksum.Extend(seed, place[:]), payload)
}

// appendFrame frames payload, which is to stand at offset off of the segment.
func appendFrame(dst []byte, seed uint32, off int64, payload []byte) []byte {
	dst = append(dst, frameMark)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(payload)))
	dst = binary.LittleEndian.AppendUint32(dst, frameCRC(seed, off, payload))
	return append(dst, payload...)
}

// reader reads a file's frames through one small buffer, which serves one
// file after the other.
type reader struct {
	f    io.ReaderAt
	size int64 // bytes of f that count
	seed uint32
	buf  []byte
	at   int64 // offset of buf[0] in f
	bad  error // the medium's, not the data's
	idle int   // bytes checked in vain
}

// readAhead is what is read at once: a day of hours fits, and is then not read
// twice.
const readAhead = 32 << 10

// maxIdle bounds the search for the next frame behind a damaged one, in bytes
// checked in vain, so that a file made of lengths does not occupy the router
// for hours. The rest of the file then counts as damaged.
const maxIdle = 32 << 20

// reset makes r read the first size bytes of f.
func (r *reader) reset(f io.ReaderAt, size int64, seed uint32) {
	*r = reader{f: f, size: size, seed: seed, buf: r.buf[:0]}
}

// bytes gives n bytes at off, valid until the next call; nil past the end or
// if the medium fails, which then stands in r.bad.
func (r *reader) bytes(off int64, n int) []byte {
	if off < 0 || off+int64(n) > r.size {
		return nil
	}
	if off < r.at || off+int64(n) > r.at+int64(len(r.buf)) {
		want := int(min(int64(max(n, readAhead)), r.size-off))
		if cap(r.buf) < want {
			r.buf = make([]byte, max(want, readAhead))
		}
		r.buf, r.at = r.buf[:want], off
		if m, err := r.f.ReadAt(r.buf, off); m < want {
			r.buf = r.buf[:max(m, 0)]
			if err != nil && err != io.EOF {
				r.bad = err
			}
			if m < n {
				return nil
			}
		}
	}
	return r.buf[off-r.at:][:n]
}

// frame gives the payload of the whole, undamaged frame at off and where the
// next one starts; nil if there is none.
func (r *reader) frame(off int64) (payload []byte, next int64) {
	head := r.bytes(off, frameHead)
	if head == nil || head[0] != frameMark {
		return nil, 0
	}
	n := int(binary.LittleEndian.Uint16(head[1:]))
	sum := binary.LittleEndian.Uint32(head[3:])
	if n == 0 {
		return nil, 0
	}
	all := r.bytes(off, frameHead+n)
	if all == nil || frameCRC(r.seed, off, all[frameHead:]) != sum {
		r.idle += n
		return nil, 0
	}
	return all[frameHead:], off + int64(frameHead+n)
}

// scan calls good for every undamaged frame from off on, and bad for what
// lies between two of them. What follows the last one is a torn tail, which
// is the caller's to find: end is where the last good frame ends.
func (r *reader) scan(off int64, good func(off, next int64, payload []byte) error, bad func(from, to int64)) (end int64, err error) {
	end = off
	for off < r.size && r.bad == nil && r.idle < maxIdle {
		payload, next := r.frame(off)
		if payload == nil {
			off++ // look for the next frame; the CRC knows its place
			continue
		}
		if off > end {
			bad(end, off)
		}
		if err := good(off, next, payload); err != nil {
			if !errors.Is(err, errFrame) {
				return end, err
			}
			bad(off, next)
		}
		off, end = next, next
	}
	if r.bad != nil {
		return end, fmt.Errorf("read at byte %d: %w", off, r.bad)
	}
	return end, nil
}

// fields decodes varints; the first fault sticks.
type fields struct {
	p   []byte
	err error
}

func (f *fields) fail(what string) {
	if f.err == nil {
		f.err = fmt.Errorf("%w: %s", errFrame, what)
	}
	f.p = nil
}

func (f *fields) uvarint() uint64 {
	v, n := binary.Uvarint(f.p)
	if n <= 0 {
		f.fail("number")
		return 0
	}
	f.p = f.p[n:]
	return v
}

// below is an unsigned number that must be less than limit.
func (f *fields) below(limit uint64) int64 {
	v := f.uvarint()
	if v >= limit {
		f.fail("number too large")
		return 0
	}
	return int64(v)
}

func (f *fields) varint() int64 {
	v, n := binary.Varint(f.p)
	if n <= 0 {
		f.fail("number")
		return 0
	}
	f.p = f.p[n:]
	return v
}

func (f *fields) bytes(n int64) []byte {
	if n < 0 || n > int64(len(f.p)) {
		f.fail("text longer than the frame")
		return nil
	}
	b := f.p[:n]
	f.p = f.p[n:]
	return b
}
