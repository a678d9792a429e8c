package adb

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// ErrFormat is wrapped by every error about bytes that are not what the format
// allows.
var ErrFormat = errors.New("malformed apk v3 file")

// A value is one 32-bit word: the type in the upper four bits, in the others
// the value itself or where in the ADB block it is (apk-tools' src/adb.h).
type value uint32

const (
	typeMask = 0xf000_0000
	dataMask = 0x0fff_ffff

	typeSpecial = 0x0000_0000
	typeInt     = 0x1000_0000 // the lower 28 bits are the number
	typeInt32   = 0x2000_0000
	typeInt64   = 0x3000_0000
	typeBlob8   = 0x8000_0000 // length in 1 byte, then the bytes
	typeBlob16  = 0x9000_0000 // length in 2 bytes
	typeBlob32  = 0xa000_0000 // length in 4 bytes
	typeArray   = 0xd000_0000
	typeObject  = 0xe000_0000

	null value = 0
)

// headerSize is the start of an ADB block: oldest version that can read it,
// version, two reserved bytes, the root value.
const headerSize = 8

// A file that refers to the same array many times can be small and mean a great
// deal. What one walk over a database may touch is therefore counted: nodeCost
// for each value and its length for each blob. The budget serves 26,000
// packages of an index.
const (
	walkBudget = 1 << 25
	nodeCost   = 64
)

// db reads an ADB block. Strings it returns share memory with the block.
type db struct {
	data   string
	budget int
}

// openDB checks the header of an ADB block and returns its root value.
func openDB(block []byte) (*db, value, error) {
	if len(block) < headerSize {
		return nil, null, fmt.Errorf("%w: ADB block of %d bytes", ErrFormat, len(block))
	}
	if block[0] != 0 {
		return nil, null, fmt.Errorf("%w: needs a reader of ADB version %d", ErrFormat, block[0])
	}
	root := value(binary.LittleEndian.Uint32(block[4:]))
	return &db{data: string(block), budget: walkBudget}, root, nil
}

func (d *db) charge(n int) error {
	if d.budget -= nodeCost + n; d.budget < 0 {
		return fmt.Errorf("%w: too large when unfolded", ErrFormat)
	}
	return nil
}

// at returns n bytes at the place v names, plus skip.
func (d *db) at(v value, skip, n uint64) (string, error) {
	off := uint64(v&dataMask) + skip
	if n > uint64(len(d.data)) || off > uint64(len(d.data))-n {
		return "", fmt.Errorf("%w: value %08x points outside the block", ErrFormat, uint32(v))
	}
	return d.data[off : off+n], nil
}

// blob returns a string value, "" for null.
func (d *db) blob(v value) (string, error) {
	var width uint64
	switch v & typeMask {
	case typeSpecial:
		if v == null {
			return "", nil
		}
	case typeBlob8:
		width = 1
	case typeBlob16:
		width = 2
	case typeBlob32:
		width = 4
	}
	if width == 0 {
		return "", fmt.Errorf("%w: value %08x is no string", ErrFormat, uint32(v))
	}
	head, err := d.at(v, 0, width)
	if err != nil {
		return "", err
	}
	n := littleEndian(head)
	s, err := d.at(v, width, n)
	if err != nil {
		return "", err
	}
	return s, d.charge(len(s))
}

// number returns an integer value, 0 for null.
func (d *db) number(v value) (uint64, error) {
	var width uint64
	switch v & typeMask {
	case typeInt:
		return uint64(v & dataMask), nil
	case typeInt32:
		width = 4
	case typeInt64:
		width = 8
	default:
		if v == null {
			return 0, nil
		}
		return 0, fmt.Errorf("%w: value %08x is no number", ErrFormat, uint32(v))
	}
	s, err := d.at(v, 0, width)
	if err != nil {
		return 0, err
	}
	return littleEndian(s), d.charge(0)
}

// slots returns an object's or array's values: slot 0 is their number, itself
// included, and the fields or items begin at 1. Null has none. apk-tools writes
// arrays with the type of an object too, so the two are not told apart.
func (d *db) slots(v value) ([]value, error) {
	if v == null {
		return nil, nil
	}
	if t := v & typeMask; t != typeObject && t != typeArray {
		return nil, fmt.Errorf("%w: value %08x is no object", ErrFormat, uint32(v))
	}
	if v&3 != 0 {
		return nil, fmt.Errorf("%w: object at %#x is not aligned", ErrFormat, uint32(v&dataMask))
	}
	head, err := d.at(v, 0, 4)
	if err != nil {
		return nil, err
	}
	n := littleEndian(head)
	if n == 0 {
		return nil, fmt.Errorf("%w: object at %#x without slots", ErrFormat, uint32(v&dataMask))
	}
	s, err := d.at(v, 0, 4*n)
	if err != nil {
		return nil, err
	}
	if err := d.charge(4 * int(n)); err != nil {
		return nil, err
	}
	list := make([]value, n)
	for i := range list {
		list[i] = value(littleEndian(s[4*i : 4*i+4]))
	}
	return list, nil
}

func littleEndian(s string) uint64 {
	var n uint64
	for i := len(s) - 1; i >= 0; i-- {
		n = n<<8 | uint64(s[i])
	}
	return n
}
