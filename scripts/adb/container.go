package adb

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// MaxSize is the largest file taken, in bytes, before and after inflation. An
// index of all of OpenWrt has about 3 MB, the agent 8 MB.
const MaxSize = 32 << 20

// blockTypes, in the upper two bits of a block's first word; the lower 30 are
// its length with the word. Type 3 is for blocks of over 1 GiB.
const (
	blockADB  = 0
	blockSig  = 1
	blockData = 2

	blockAlign  = 8
	sizeMask    = 1<<30 - 1
	fileHeader  = 8 // magic and schema
	blockHeader = 4
)

// Container is a file taken apart into its blocks.
type Container struct {
	Schema     Schema
	ADB        []byte   // the metadata, and what a signature is about
	Signatures [][]byte // see Sign
	Data       [][]byte // contents of files, with the file's place in the metadata
}

// Parse reads a package or an index, compressed or not. It checks the frame
// only; Verify, Package and Index look inside. The error wraps ErrFormat unless
// it is r's.
func Parse(r io.Reader) (*Container, error) {
	b, err := readBounded(r)
	if err != nil {
		return nil, err
	}
	if b, err = inflate(b); err != nil {
		return nil, err
	}
	if len(b) < fileHeader || string(b[:4]) != "ADB." {
		return nil, fmt.Errorf("%w: no ADB magic", ErrFormat)
	}
	c := &Container{Schema: Schema(b[4:8])}
	if c.Schema != SchemaPackage && c.Schema != SchemaIndex {
		return nil, fmt.Errorf("%w: unknown schema %q", ErrFormat, b[4:8])
	}
	for rest := b[fileHeader:]; len(rest) > 0; {
		var typ uint32
		var p []byte
		if typ, p, rest, err = cutBlock(rest); err != nil {
			return nil, err
		}
		switch {
		case typ == blockADB && c.ADB == nil:
			c.ADB = p
		case typ == blockSig && c.ADB != nil && c.Data == nil:
			c.Signatures = append(c.Signatures, p)
		case typ == blockData && c.ADB != nil && c.Schema == SchemaPackage:
			c.Data = append(c.Data, p)
		default:
			return nil, fmt.Errorf("%w: block of type %d out of place", ErrFormat, typ)
		}
	}
	if _, _, err := openDB(c.ADB); err != nil {
		return nil, err
	}
	return c, nil
}

func readBounded(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("read apk v3 file: %w", err)
	}
	if len(b) > MaxSize {
		return nil, fmt.Errorf("%w: more than %d bytes", ErrFormat, MaxSize)
	}
	return b, nil
}

// inflate undoes the compression that the fourth byte tells: '.' none, 'd'
// deflate, 'c' what the next two bytes say, algorithm and level.
func inflate(b []byte) ([]byte, error) {
	var packed []byte
	switch {
	case bytes.HasPrefix(b, []byte("ADBd")):
		packed = b[4:]
	case len(b) >= 6 && string(b[:4]) == "ADBc" && b[4] == 1:
		packed = b[6:]
	case len(b) >= 6 && string(b[:4]) == "ADBc":
		return nil, fmt.Errorf("%w: compression %d is not supported", ErrFormat, b[4])
	default:
		return b, nil
	}
	in := bytes.NewReader(packed)
	out, err := readBounded(flate.NewReader(in))
	var corrupt flate.CorruptInputError
	if errors.As(err, &corrupt) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fmt.Errorf("%w: %v", ErrFormat, err)
	}
	if err != nil {
		return nil, err
	}
	if in.Len() > 0 {
		return nil, fmt.Errorf("%w: %d bytes after the end", ErrFormat, in.Len())
	}
	return out, nil
}

// cutBlock takes the first block off b, with the zeros that pad it.
func cutBlock(b []byte) (typ uint32, payload, rest []byte, err error) {
	if len(b) < blockHeader {
		return 0, nil, nil, fmt.Errorf("%w: ends in a block's header", ErrFormat)
	}
	word := binary.LittleEndian.Uint32(b)
	typ, size := word>>30, int(word&sizeMask)
	padded := (size + blockAlign - 1) &^ (blockAlign - 1)
	if size < blockHeader || padded > len(b) {
		return 0, nil, nil, fmt.Errorf("%w: block of %d bytes where %d are left", ErrFormat, size, len(b))
	}
	for _, c := range b[size:padded] {
		if c != 0 {
			return 0, nil, nil, fmt.Errorf("%w: padding that is not zero", ErrFormat)
		}
	}
	return typ, b[blockHeader:size:size], b[padded:], nil
}

// Bytes returns the file uncompressed, as apk mkpkg --compression none makes
// it. It fails if the file would be larger than MaxSize.
func (c *Container) Bytes() ([]byte, error) {
	b := append([]byte("ADB."), c.Schema...)
	b, err := appendBlock(b, blockADB, c.ADB)
	if err != nil {
		return nil, err
	}
	for _, p := range c.Signatures {
		if b, err = appendBlock(b, blockSig, p); err != nil {
			return nil, err
		}
	}
	for _, p := range c.Data {
		if b, err = appendBlock(b, blockData, p); err != nil {
			return nil, err
		}
	}
	return b, nil
}

func appendBlock(b []byte, typ uint32, p []byte) ([]byte, error) {
	if len(b)+len(p)+blockHeader+blockAlign > MaxSize {
		return nil, fmt.Errorf("adb: file of more than %d bytes", MaxSize)
	}
	b = binary.LittleEndian.AppendUint32(b, typ<<30|uint32(len(p)+blockHeader))
	b = append(b, p...)
	for len(b)%blockAlign != 0 {
		b = append(b, 0)
	}
	return b, nil
}

// Compressed returns the file with deflate, as apk-tools makes it unless told
// otherwise. The bytes depend on the version of Go.
func (c *Container) Compressed() ([]byte, error) {
	b, err := c.Bytes()
	if err != nil {
		return nil, err
	}
	out := bytes.NewBufferString("ADBd")
	w, err := flate.NewWriter(out, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(b); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}
