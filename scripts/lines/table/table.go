// Package table takes the file names and line numbers out of a Go program for
// Linux, and keeps them apart.
//
// The runtime reads them for one purpose, to print traces and say where a
// caller is; in a router's flash they are a tenth of a compressed program.
// Without them a trace has the functions and how far into each, and
// scripts/lines finds the lines again. All else that the runtime knows of
// functions stays where it was, byte for byte.
package table

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"fmt"
)

// magic begins the table of Go 1.20 and later (src/internal/abi/symtab.go,
// Go120PCLnTabMagic).
const magic = 0xfffffff1

// Offsets in what the table has of each function (src/runtime/runtime2.go,
// type _func), in bytes.
const (
	offSP        = 16
	offFile      = 20
	offLine      = 24
	offCount     = 28 // of the tables after the fixed part
	offStartLine = 36
	sizeFixed    = 44
)

// Strip takes files and lines out of an ELF program of the Go linker, in place,
// and returns the table as it was. An error leaves program as it was: it is no
// such program, or of a Go version with another table.
func Strip(program []byte) (before []byte, err error) {
	f, err := elf.NewFile(bytes.NewReader(program))
	if err != nil {
		return nil, fmt.Errorf("no ELF program: %w", err)
	}
	section := f.Section(".gopclntab")
	if section == nil {
		return nil, errors.New("no program of the Go linker: it has no section .gopclntab")
	}
	end := section.Offset + section.Size
	if section.Type == elf.SHT_NOBITS || end < section.Offset || end > uint64(len(program)) {
		return nil, errors.New("section .gopclntab lies outside the file")
	}
	part := program[section.Offset:end]
	before = bytes.Clone(part)
	t := &lineTable{data: bytes.Clone(part), order: f.ByteOrder}
	if err := t.strip(); err != nil {
		return nil, fmt.Errorf("section .gopclntab: %w", err)
	}
	copy(part, t.data)
	return before, nil
}

// lineTable is the table of one program.
type lineTable struct {
	data  []byte
	order binary.ByteOrder
	used  []bool // which bytes of values are still needed

	files  []byte // per compilation unit, and their names
	values []byte // by program counter, of many kinds
	funcs  []byte // an index, and what there is of each function
}

var errShort = errors.New("it ends early or is of another version of Go")

func (t *lineTable) strip() error {
	if len(t.data) < 8 || t.order.Uint32(t.data) != magic {
		return errors.New("it is of another version of Go than this program knows")
	}
	word := int(t.data[7])
	if word != 4 && word != 8 || len(t.data) < 8+8*word {
		return errShort
	}
	head := func(i int) uint64 {
		at := t.data[8+i*word:]
		if word == 4 {
			return uint64(t.order.Uint32(at))
		}
		return t.order.Uint64(at)
	}
	count, units, values, funcs := head(0), head(4), head(6), head(7)
	if units > values || values > funcs || funcs > uint64(len(t.data)) || count > (uint64(len(t.data))-funcs)/8 {
		return errShort
	}
	t.files, t.values, t.funcs = t.data[units:values], t.data[values:funcs], t.data[funcs:]
	t.used = make([]bool, len(t.values))
	for i := range int(count) {
		if err := t.function(t.order.Uint32(t.funcs[8*i+4:])); err != nil {
			return err
		}
	}
	clear(t.files)
	for i, used := range t.used {
		if !used {
			t.values[i] = 0
		}
	}
	return nil
}

// function takes the lines of the function whose part begins at offset, and
// marks what it still needs.
func (t *lineTable) function(offset uint32) error {
	if uint64(offset)+sizeFixed > uint64(len(t.funcs)) {
		return errShort
	}
	part := t.funcs[offset:]
	tables := uint64(t.order.Uint32(part[offCount:]))
	if tables > uint64(len(part)-sizeFixed)/4 {
		return errShort
	}
	if err := t.mark(t.order.Uint32(part[offSP:])); err != nil {
		return err
	}
	for i := range tables {
		if err := t.mark(t.order.Uint32(part[sizeFixed+4*i:])); err != nil {
			return err
		}
	}
	clear(part[offFile:offCount]) // the runtime takes 0 for unknown, see pcvalue in src/runtime/symtab.go
	clear(part[offStartLine : offStartLine+4])
	return nil
}

// mark marks a table of values as used, to its end: pairs of varints, of which
// the first is 0 only behind the last or at the start.
func (t *lineTable) mark(offset uint32) error {
	if offset == 0 {
		return nil // there is none
	}
	for i, first := uint64(offset), true; ; first = false {
		value, ok := t.varint(&i)
		if !ok {
			return errShort
		}
		if value == 0 && !first {
			return nil
		}
		if _, ok = t.varint(&i); !ok {
			return errShort
		}
	}
}

// varint reads the number at i, marks it, and moves i behind it.
func (t *lineTable) varint(i *uint64) (n uint32, ok bool) {
	for shift := 0; *i < uint64(len(t.values)) && shift < 35; shift += 7 {
		b := t.values[*i]
		t.used[*i] = true
		*i++
		n |= uint32(b&0x7f) << shift
		if b < 0x80 {
			return n, true
		}
	}
	return 0, false
}
