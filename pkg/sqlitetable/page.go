package sqlitetable

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	headerSize = 100 // bytes of page 1 before its tree page
	maxPage    = 65536
	minUsable  = 480 // section 1.3.4
)

var magic = []byte("SQLite format 3\x00")

// pager finds the present version of each page, in the log or in the file.
type pager struct {
	file     io.ReaderAt
	fileSize int64
	wal      *wal // nil if there is none to be used

	pageSize int
	usable   int    // pageSize less what extensions reserve at a page's end
	pages    uint32 // pages of the database, as it says itself
	enc      encoding
}

// pageSizeOf checks the start of a header and returns the page size.
func pageSizeOf(h []byte) (int, error) {
	if !bytes.Equal(h[:len(magic)], magic) {
		return 0, &DataError{Kind: ErrNotDatabase, Detail: "it does not begin with \"SQLite format 3\""}
	}
	size := int(binary.BigEndian.Uint16(h[16:]))
	if size == 1 {
		size = maxPage // section 1.3.2
	}
	if size < 512 || size&(size-1) != 0 {
		return 0, &DataError{Kind: ErrNotDatabase, Detail: fmt.Sprintf("page size %d", size)}
	}
	return size, nil
}

// readHeader takes over the header of page 1 (section 1.3), which may be a
// newer one from the log.
func (p *pager) readHeader() error {
	page := make([]byte, p.pageSize)
	if err := p.read(1, page); err != nil {
		return err
	}
	size, err := pageSizeOf(page)
	if err != nil {
		return err
	}
	if size != p.pageSize {
		return damaged(1, "page size %d in the file and %d in the log", p.pageSize, size)
	}
	if v := page[19]; v > 2 {
		return &DataError{Kind: ErrVersion, Detail: fmt.Sprintf("read version %d", v)}
	}
	p.usable = size - int(page[20])
	if p.usable < minUsable {
		return damaged(1, "%d of %d bytes reserved", page[20], size)
	}
	if page[21] != 64 || page[22] != 32 || page[23] != 32 {
		return damaged(1, "payload fractions %d, %d, %d", page[21], page[22], page[23])
	}
	if format := binary.BigEndian.Uint32(page[44:]); format > 4 {
		return &DataError{Kind: ErrVersion, Detail: fmt.Sprintf("schema format %d", format)}
	}
	p.enc = encoding(binary.BigEndian.Uint32(page[56:]))
	switch p.enc {
	case utf8Text, utf16leText, utf16beText:
	case 0:
		p.enc = utf8Text // nothing was ever written
	default:
		return damaged(1, "text encoding %d", p.enc)
	}
	// Section 1.3.8: the size counts only if the writer knew the field.
	p.pages = binary.BigEndian.Uint32(page[28:])
	if p.pages == 0 || !bytes.Equal(page[24:28], page[92:96]) {
		p.pages = uint32(min(p.fileSize/int64(p.pageSize), 1<<32-1))
	}
	if p.wal != nil && p.wal.pages != 0 {
		p.pages = p.wal.pages
	}
	return nil
}

// present is how many pages can be there at most, whatever the header says.
func (p *pager) present() uint64 {
	n := uint64(p.fileSize)/uint64(p.pageSize) + 1
	if p.wal != nil {
		n += uint64(len(p.wal.frames))
	}
	return min(n, uint64(p.pages))
}

// read fills buf, of a page's size, with page no.
func (p *pager) read(no uint32, buf []byte) error {
	if p.wal != nil {
		if ok, err := p.wal.read(no, buf); ok || err != nil {
			return err
		}
	}
	n, err := p.file.ReadAt(buf, int64(no-1)*int64(p.pageSize))
	switch {
	case n == len(buf):
		return nil
	case errors.Is(err, io.EOF):
		return &DataError{Kind: ErrTruncated, Page: no, Detail: fmt.Sprintf("it has %d of the page's %d bytes", n, len(buf))}
	}
	return fmt.Errorf("read page %d: %w", no, err)
}
