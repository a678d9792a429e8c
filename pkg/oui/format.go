package oui

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/netpilot/netpilot/pkg/usage"
)

// The numbers of FORMAT.md, version 1. All integers are big-endian.
const (
	magic    = "netpoui\n"
	version  = 1
	headSize = 64
	sumAt    = 12
	sumFrom  = 16 // the checksum covers the file from here on
	pageSize = 512
	pageHead = 3 // count of blocks, offset of the first name
	keySize  = 5 // bytes of a key in the index

	perRestart = 16 // names from one noted position to the next

	maxPages   = 4096 // 2 MB of pages; the registry of 2022 needs 600
	maxSymbols = 4096
	maxDict    = 1<<15 - 1
	maxBits    = 16   // of a code
	endBit     = 0x80 // of a symbol's length: it ends a name

	// Gap codes: a gap below gapTwo is its own code.
	gapTwo    = 240 // to 251: eleven bits and some in two bytes
	gapSix    = 252 // five bytes follow
	sizeLarge = 253 // blocks are large from here on
	sizeMed   = 254
	sizeSmall = 255

	// Sizes of blocks in keys, that is in small blocks.
	blockLarge = 1 << 12
	blockMed   = 1 << 8
	blockSmall = 1
)

// head is the file's first 64 bytes.
type head struct {
	sum                  uint32
	date                 uint64 // seconds since 1970, 0 unknown
	large, medium, small uint32
	vendors              uint32
	pages                int
	symbols              int // strings in the dictionary
	dict                 int // their bytes, lengths included
}

// resident is how many bytes after the head are read at Open.
func (h *head) resident() int { return 2*maxBits + h.dict + h.pages*keySize }

// pagesAt is where the pages begin: aligned, so that none lies across two of
// the kernel's.
func (h *head) pagesAt() int64 {
	return (headSize + int64(h.resident()) + pageSize - 1) &^ (pageSize - 1)
}

// size is the length of the file.
func (h *head) size() int64 { return h.pagesAt() + int64(h.pages)*pageSize }

func (h *head) append(b []byte) []byte {
	b = append(b, magic...)
	b = binary.BigEndian.AppendUint16(b, version)
	b = binary.BigEndian.AppendUint16(b, headSize)
	b = binary.BigEndian.AppendUint32(b, h.sum)
	b = binary.BigEndian.AppendUint64(b, h.date)
	for _, n := range []uint32{h.large, h.medium, h.small, h.vendors} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	for _, n := range []int{h.pages, h.symbols, h.dict} {
		b = binary.BigEndian.AppendUint16(b, uint16(n))
	}
	return append(b, make([]byte, headSize-len(b))...)
}

// parseHead checks every count before anything is allocated for it.
func parseHead(b []byte, size int64) (head, error) {
	if len(b) < 12 || !bytes.HasPrefix(b, []byte(magic)) {
		if len(b) < 12 && bytes.HasPrefix([]byte(magic), b[:min(len(b), len(magic))]) {
			return head{}, fmt.Errorf("%w (%d bytes)", ErrDamaged, size)
		}
		return head{}, ErrFormat
	}
	if v := binary.BigEndian.Uint16(b[8:]); v > version {
		return head{}, fmt.Errorf("%w (version %d, this one reads %d)", ErrVersion, v, version)
	} else if v != version {
		return head{}, fmt.Errorf("%w (version %d)", ErrDamaged, v)
	}
	if len(b) < headSize || binary.BigEndian.Uint16(b[10:]) != headSize {
		return head{}, fmt.Errorf("%w (header)", ErrDamaged)
	}
	u16 := func(at int) int { return int(binary.BigEndian.Uint16(b[at:])) }
	u32 := func(at int) uint32 { return binary.BigEndian.Uint32(b[at:]) }
	h := head{
		sum:   u32(sumAt),
		date:  binary.BigEndian.Uint64(b[16:]),
		large: u32(24), medium: u32(28), small: u32(32), vendors: u32(36),
		pages: u16(40), symbols: u16(42), dict: u16(44),
	}
	switch {
	case h.pages > maxPages, h.symbols > maxSymbols, h.dict > maxDict,
		h.date > 1<<40,
		uint64(h.large)+uint64(h.medium)+uint64(h.small) > uint64(h.pages)*255:
		return head{}, fmt.Errorf("%w (counts)", ErrDamaged)
	case h.size() != size:
		return head{}, fmt.Errorf("%w (%d bytes, want %d)", ErrDamaged, size, h.size())
	}
	return h, nil
}

// keyOf is the address's first 36 bits without the two that mark group and
// local addresses: 34 bits, in the order of addresses.
func keyOf(m usage.MAC) uint64 {
	return uint64(m[0]>>2)<<28 | uint64(m[1])<<20 | uint64(m[2])<<12 | uint64(m[3])<<4 | uint64(m[4])>>4
}

// keyAt reads a key of keySize bytes.
func keyAt(b []byte) uint64 {
	_ = b[keySize-1]
	return uint64(b[0])<<32 | uint64(binary.BigEndian.Uint32(b[1:]))
}

// blockOf is the size that a gap code switches to.
func blockOf(code byte) uint64 {
	switch code {
	case sizeLarge:
		return blockLarge
	case sizeMed:
		return blockMed
	}
	return blockSmall
}
