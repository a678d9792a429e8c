package adb

import (
	"encoding/binary"
	"fmt"
)

// builder makes an ADB block. Equal bytes are written once, as apk-tools does,
// so the order of calls decides the bytes that come out.
type builder struct {
	data []byte
	seen map[string]uint32 // bytes written, and where
	err  error             // the first one; the values after it mean nothing
}

func newBuilder() *builder {
	return &builder{data: make([]byte, headerSize), seen: map[string]uint32{}}
}

func (b *builder) fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// finish sets the root and returns the block.
func (b *builder) finish(root value) ([]byte, error) {
	if b.err != nil {
		return nil, b.err
	}
	binary.LittleEndian.PutUint32(b.data[4:], uint32(root))
	return b.data, nil
}

// raw appends p at the next multiple of align and returns where that is.
func (b *builder) raw(p []byte, align int) uint32 {
	for len(b.data)%align != 0 {
		b.data = append(b.data, 0)
	}
	off := len(b.data)
	if len(p) > dataMask-off {
		b.fail(fmt.Errorf("adb: more than %d bytes of metadata", dataMask))
		return 0
	}
	b.data = append(b.data, p...)
	return uint32(off)
}

// add is raw for bytes that may share a place with equal ones before them.
func (b *builder) add(p []byte, align int) value {
	off, ok := b.seen[string(p)]
	if !ok || off%uint32(align) != 0 {
		off = b.raw(p, align)
		b.seen[string(p)] = off
	}
	return value(off)
}

func encodeBlob(s string) (p []byte, typ value, align int) {
	switch n := len(s); {
	case n > 0xffff:
		return append(binary.LittleEndian.AppendUint32(nil, uint32(n)), s...), typeBlob32, 4
	case n > 0xff:
		return append(binary.LittleEndian.AppendUint16(nil, uint16(n)), s...), typeBlob16, 2
	default:
		return append([]byte{byte(n)}, s...), typeBlob8, 1
	}
}

func (b *builder) blob(s string) value {
	if s == "" {
		return null
	}
	p, typ, align := encodeBlob(s)
	return typ | b.add(p, align)
}

func (b *builder) number(n uint64) value {
	switch {
	case n > 0xffff_ffff:
		return typeInt64 | b.add(binary.LittleEndian.AppendUint64(nil, n), 4)
	case n > dataMask:
		return typeInt32 | b.add(binary.LittleEndian.AppendUint32(nil, uint32(n)), 4)
	default:
		return typeInt | value(n)
	}
}

// numberOrNull is number, with null for 0: a field that is not set.
func (b *builder) numberOrNull(n uint64) value {
	if n == 0 {
		return null
	}
	return b.number(n)
}

// object writes slots, of which the first is overwritten with their number.
// Null at the end is cut; if nothing is left the object is null. Arrays have
// the type of an object in the files of apk-tools, hence here.
func (b *builder) object(slots []value) value { return b.typed(slots, typeObject) }

func (b *builder) typed(slots []value, typ value) value {
	n := len(slots)
	for n > 1 && slots[n-1] == null {
		n--
	}
	if n <= 1 {
		return null
	}
	p := binary.LittleEndian.AppendUint32(make([]byte, 0, 4*n), uint32(n))
	for _, v := range slots[1:n] {
		p = binary.LittleEndian.AppendUint32(p, uint32(v))
	}
	return typ | b.add(p, 4)
}

// maxDepth is more than any schema here is deep.
const maxDepth = 8

// copyFrom writes value v of another block and all it refers to. A 64-bit
// number is aligned to 8 here and to 4 in number, as in apk-tools' adb_w_copy
// and adb_w_int.
func (b *builder) copyFrom(d *db, v value, depth int) value {
	if depth > maxDepth {
		b.fail(fmt.Errorf("%w: nested too deeply", ErrFormat))
	}
	if b.err != nil {
		return null
	}
	typ := v & typeMask
	switch typ {
	case typeSpecial, typeInt:
		return v
	case typeInt32, typeInt64:
		n, err := d.number(v)
		if err != nil {
			b.fail(err)
			return null
		}
		if typ == typeInt32 {
			return typ | b.add(binary.LittleEndian.AppendUint32(nil, uint32(n)), 4)
		}
		return typ | b.add(binary.LittleEndian.AppendUint64(nil, n), 8)
	case typeBlob8, typeBlob16, typeBlob32:
		s, err := d.blob(v)
		if err != nil {
			b.fail(err)
		}
		return b.blob(s)
	case typeObject, typeArray:
		slots, err := d.slots(v)
		if err != nil {
			b.fail(err)
			return null
		}
		for i, w := range slots[1:] {
			slots[i+1] = b.copyFrom(d, w, depth+1)
		}
		return b.typed(slots, typ)
	default:
		b.fail(fmt.Errorf("%w: value %08x has no type", ErrFormat, uint32(v)))
		return null
	}
}
