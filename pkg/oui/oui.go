// Package oui answers who made a device: the vendor to whom the IEEE gave the
// block a hardware address lies in, from one compact file that is read in
// place through a mapping, a page of 512 bytes at a lookup.
//
// The file is optional on a router: [Open] of an absent one wraps
// [fs.ErrNotExist], and a nil [*Table] answers "" to everything. FORMAT.md in
// this folder describes the file; scripts/oui builds it.
package oui

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// What can be wrong with a table, beside what the operating system reports.
var (
	// ErrFormat is a file that is no vendor table.
	ErrFormat = errors.New("not a netpilot vendor table")
	// ErrVersion is a table of a newer netpilot.
	ErrVersion = errors.New("vendor table of a newer netpilot; install the one that came with this agent")
	// ErrDamaged is a table that is cut short or altered.
	ErrDamaged = errors.New("damaged vendor table; copy it again from the package")
)

// Info tells what a table holds.
type Info struct {
	Entries int       // blocks: the sum of the three sizes below
	Large   int       // blocks of 2^24 addresses (MA-L)
	Medium  int       // blocks of 2^20 addresses (MA-M)
	Small   int       // blocks of 2^12 addresses (MA-S and the older IAB)
	Vendors int       // distinct names
	Date    time.Time // when the registry was taken; zero if unknown
}

// Table is an open vendor table. Its methods may be called by many goroutines;
// a nil Table is an empty one.
type Table struct {
	// Fixed after Open.
	info  Info
	head  head
	code  *code
	index []byte // keySize bytes a page: the key of its first block
	last  int64  // where the file's last byte is that is not zero

	mu     sync.Mutex // guards below
	mapped []byte     // the whole file; nil after Close
	cached int        // the page in page, -1 when none
	page   [pageSize + pageTail]byte
}

// pageTail is how far beyond a page's last bit a code may be looked for.
const pageTail = 3

// Open opens the table at path, checks all of it once, a few kilobytes at a
// time, and maps it. It keeps about 16 KB in memory. A file that is replaced
// stays readable until Close; one that is cut short or written over answers ""
// from the next page that is read.
//
// It wraps [fs.ErrNotExist] when there is none, and [ErrFormat], [ErrVersion]
// or [ErrDamaged] when it cannot be used.
func Open(path string) (*Table, error) {
	// Opening a named pipe would wait for its writer.
	if st, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open vendor table: %w", err)
	} else if !st.Mode().IsRegular() {
		return nil, fmt.Errorf("open vendor table %s: %w", path, ErrFormat)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open vendor table: %w", err)
	}
	defer f.Close()
	t, err := newTable(f)
	if err != nil {
		return nil, fmt.Errorf("open vendor table %s: %w", path, err)
	}
	return t, nil
}

func newTable(f *os.File) (*Table, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	t := &Table{cached: -1}
	// The page serves as the read buffer until the first lookup.
	n, err := f.ReadAt(t.page[:headSize], 0)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if t.head, err = parseHead(t.page[:n], st.Size()); err != nil {
		return nil, err
	}
	h := t.head
	sum := crc32.NewIEEE()
	body := io.NewSectionReader(f, sumFrom, h.size()-sumFrom)
	if _, err := io.CopyBuffer(struct{ io.Writer }{sum}, struct{ io.Reader }{body}, make([]byte, 4096)); err != nil {
		return nil, err
	}
	if sum.Sum32() != h.sum {
		return nil, fmt.Errorf("%w (checksum %08x, want %08x)", ErrDamaged, sum.Sum32(), h.sum)
	}
	resident := make([]byte, h.resident())
	if _, err := f.ReadAt(resident, headSize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	// Copied, for what is left of the dictionary must not stay with it.
	t.index = bytes.Clone(resident[2*maxBits+h.dict:])
	if t.code, err = parseCode(resident, resident[2*maxBits:2*maxBits+h.dict], h.symbols); err != nil {
		return nil, err
	}
	t.info = Info{
		Entries: int(h.large) + int(h.medium) + int(h.small),
		Large:   int(h.large), Medium: int(h.medium), Small: int(h.small),
		Vendors: int(h.vendors),
	}
	if h.date != 0 {
		t.info.Date = time.Unix(int64(h.date), 0).UTC()
	}
	if _, err := f.ReadAt(t.page[:pageSize], h.size()-pageSize); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	t.last = h.size() - pageSize + int64(len(bytes.TrimRight(t.page[:pageSize], "\x00"))) - 1
	// Private, for some file systems share no mapping; nothing is written to it.
	if t.mapped, err = syscall.Mmap(int(f.Fd()), 0, int(h.size()), syscall.PROT_READ, syscall.MAP_PRIVATE); err != nil {
		return nil, fmt.Errorf("map: %w", err)
	}
	return t, nil
}

// Info tells what the table holds.
func (t *Table) Info() Info {
	if t == nil {
		return Info{}
	}
	return t.info
}

// Close unmaps the file; lookups answer "" from then on. It may be called twice.
func (t *Table) Close() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	m := t.mapped
	t.mapped, t.cached = nil, -1
	if m == nil {
		return nil
	}
	return syscall.Munmap(m)
}

// Lookup returns the vendor of the smallest registered block around mac. ok is
// false and vendor empty when there is none: for an unregistered or privately
// registered block, for locally administered (random) and group addresses, for
// the zero address, which is no device, and when the file cannot be read.
//
// A vendor is printable UTF-8 of at most [usage.MaxName] bytes.
func (t *Table) Lookup(mac usage.MAC) (vendor string, ok bool) {
	var buf [usage.MaxName]byte
	name, ok := t.Append(buf[:0], mac)
	return string(name), ok
}

// Append appends the vendor of mac to dst, as [Table.Lookup] finds it; dst comes
// back unchanged when there is none. It allocates only to grow dst.
func (t *Table) Append(dst []byte, mac usage.MAC) ([]byte, bool) {
	// The two lowest bits of the first byte mark group and locally
	// administered addresses (IEEE 802-2014 section 8.4).
	if t == nil || mac[0]&0x03 != 0 || mac.IsZero() {
		return dst, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	key := keyOf(mac)
	n := t.pageOf(key)
	if n < 0 || !t.loadLocked(n) {
		return dst, false
	}
	at := t.findLocked(n, key)
	if at < 0 {
		return dst, false
	}
	return t.code.decode(dst, t.page[:], at)
}

// pageOf is the last page that begins at or before key, or -1.
func (t *Table) pageOf(key uint64) int {
	lo, hi := 0, t.head.pages
	for lo < hi {
		mid := int(uint(lo+hi) / 2)
		if keyAt(t.index[mid*keySize:]) <= key {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo - 1
}

// loadLocked makes page n the cached one.
func (t *Table) loadLocked(n int) bool {
	if t.mapped == nil {
		return false
	}
	if n == t.cached {
		return true
	}
	t.cached = -1
	if !t.copyPageLocked(n) {
		return false
	}
	t.cached = n
	return true
}

// copyPageLocked copies page n out of the mapping. It returns false when the
// file below was cut short or written over, or the storage cannot be read: the
// kernel then raises SIGBUS, which would end the program.
func (t *Table) copyPageLocked(n int) (ok bool) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	copy(t.page[:pageSize], t.mapped[t.head.pagesAt()+int64(n)*pageSize:])
	// What is cut off reads as zeros up to the end of the kernel's page.
	return t.mapped[t.last] != 0 && binary.BigEndian.Uint32(t.mapped[sumAt:]) == t.head.sum
}

// findLocked is the bit of the cached page n at which the name of the block
// around key begins, or -1.
func (t *Table) findLocked(n int, key uint64) int {
	p := &t.page
	count, at := int(p[0]), int(binary.BigEndian.Uint16(p[1:]))
	restarts := max(0, count-1) / perRestart
	if at < pageHead+2*restarts || at > pageSize {
		return -1
	}
	keys := p[pageHead : at-2*restarts]
	next := keyAt(t.index[n*keySize:]) // one past the block before
	size := uint64(blockLarge)
	for i := 0; i < count && len(keys) > 0; {
		c := keys[0]
		var gap uint64
		switch {
		case c < gapTwo:
			gap, keys = uint64(c), keys[1:]
		case c < gapSix:
			if len(keys) < 2 {
				return -1
			}
			gap, keys = gapTwo+(uint64(c-gapTwo)<<8|uint64(keys[1])), keys[2:]
		case c == gapSix:
			if len(keys) < 1+keySize {
				return -1
			}
			gap, keys = keyAt(keys[1:]), keys[1+keySize:]
		default:
			size, keys = blockOf(c), keys[1:]
			continue
		}
		start := (next+size-1)&^(size-1) + gap*size
		if start > key {
			return -1
		}
		next = start + size
		if key < next {
			pos := 8 * at
			if r := i / perRestart; r > 0 {
				pos += int(binary.BigEndian.Uint16(p[at-2*(restarts-r+1):]))
			}
			for i %= perRestart; i > 0 && pos >= 0; i-- {
				pos = t.code.skip(p[:], pos)
			}
			return pos
		}
		i++
	}
	return -1
}
