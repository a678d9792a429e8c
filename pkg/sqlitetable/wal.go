package sqlitetable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	walMagic     = 0x377f0682 // its last bit is set if checksums are big-endian
	walVersion   = 3007000
	walHeader    = 32
	frameHeader  = 24
	maxLogFrames = 1 << 17 // 512 MiB of 4 KiB pages; SQLite cleans up at 1,000 frames
)

// wal is a write-ahead log (section 4) up to its last commit.
type wal struct {
	file     io.ReaderAt
	pageSize int
	frames   map[uint32]uint32 // page number to the index of its latest frame
	pages    uint32            // pages of the database at the last commit, 0 without one
}

// checksum is that of section 4.2. Its halves go on from frame to frame.
type checksum struct {
	order  binary.ByteOrder
	s0, s1 uint32
}

// add takes in b, a multiple of 8 bytes.
func (c *checksum) add(b []byte) {
	s0, s1 := c.s0, c.s1
	for ; len(b) >= 8; b = b[8:] {
		s0 += c.order.Uint32(b) + s1
		s1 += c.order.Uint32(b[4:]) + s0
	}
	c.s0, c.s1 = s0, s1
}

// matches compares with a stored sum, which is always big-endian.
func (c *checksum) matches(b []byte) bool {
	return binary.BigEndian.Uint32(b) == c.s0 && binary.BigEndian.Uint32(b[4:]) == c.s1
}

// readWAL indexes the committed frames. Without a valid header or frame the log
// holds nothing, which is no error: it is what an unfinished write leaves.
func readWAL(f io.ReaderAt, pageSize int) (*wal, error) {
	w := &wal{file: f, pageSize: pageSize, frames: map[uint32]uint32{}}
	var header [walHeader]byte
	if ok, err := readWhole(f, header[:], 0); !ok {
		return w, err
	}
	word := func(i int) uint32 { return binary.BigEndian.Uint32(header[4*i:]) }
	sum := checksum{order: binary.LittleEndian}
	if word(0)&1 != 0 {
		sum.order = binary.BigEndian
	}
	sum.add(header[:24])
	if word(0)&^1 != walMagic || !sum.matches(header[24:]) {
		return w, nil
	}
	if word(1) != walVersion {
		return nil, &DataError{Kind: ErrVersion, Detail: fmt.Sprintf("log version %d", word(1))}
	}
	if word(2) != uint32(pageSize) {
		return nil, damaged(0, "the -wal file beside it has pages of %d bytes, not %d", word(2), pageSize)
	}
	return w, w.index(sum, header[16:24])
}

// index reads frames for as long as salt and checksum are right. Those after
// the last commit belong to a transaction that is not finished.
func (w *wal) index(sum checksum, salts []byte) error {
	frame := make([]byte, frameHeader+w.pageSize)
	var pending []uint32 // page numbers since the last commit
	committed := uint32(0)
	for {
		i := committed + uint32(len(pending))
		if i == maxLogFrames {
			return &DataError{Kind: ErrTooLarge, Detail: fmt.Sprintf("the -wal file has over %d pages", maxLogFrames)}
		}
		if ok, err := readWhole(w.file, frame, w.offset(i)); !ok {
			return err
		}
		page := binary.BigEndian.Uint32(frame)
		sum.add(frame[:8])
		sum.add(frame[frameHeader:])
		if page == 0 || !bytes.Equal(frame[8:16], salts) || !sum.matches(frame[16:]) {
			return nil
		}
		pending = append(pending, page)
		if size := binary.BigEndian.Uint32(frame[4:]); size != 0 {
			for j, page := range pending {
				w.frames[page] = committed + uint32(j)
			}
			committed, pending, w.pages = i+1, pending[:0], size
		}
	}
}

// offset is where frame i begins.
func (w *wal) offset(i uint32) int64 {
	return walHeader + int64(i)*int64(frameHeader+w.pageSize)
}

// read fills buf with the latest version of page no, if the log has one.
func (w *wal) read(no uint32, buf []byte) (found bool, err error) {
	i, found := w.frames[no]
	if !found {
		return false, nil
	}
	ok, err := readWhole(w.file, buf, w.offset(i)+frameHeader)
	if err == nil && !ok {
		err = &DataError{Kind: ErrChanged, Page: no, Detail: "the -wal file became shorter"}
	}
	return true, err
}

// readWhole fills buf; ok is false if the file ends before.
func readWhole(f io.ReaderAt, buf []byte, off int64) (ok bool, err error) {
	n, err := f.ReadAt(buf, off)
	switch {
	case n == len(buf):
		return true, nil
	case errors.Is(err, io.EOF):
		return false, nil
	}
	return false, fmt.Errorf("read write-ahead log: %w", err)
}
