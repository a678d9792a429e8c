package sqlitetable

import (
	"encoding/binary"
	"errors"
)

const (
	// MaxRow is the largest row read, in bytes.
	MaxRow = 1 << 20

	maxDepth = 20 // SQLite's own limit, BTCURSOR_MAX_DEPTH

	leafPage     = 0x0d // table tree; section 1.6
	interiorPage = 0x05
)

// level is a page on the way from the root to the present row.
type level struct {
	page  []byte
	no    uint32
	head  int // where its header begins: 100 on page 1
	leaf  bool
	cells int
	next  int // cell to be visited next; cells means the right-most child
	used  int // bytes of its cells so far; they share the page, so less than that
}

// Rows walks a table in the order of its rowids. It holds nothing that must be
// closed and ends with its DB.
type Rows struct {
	db      *DB
	name    string
	def     definition
	decoder decoder

	levels  []level // kept for their pages; depth of them are in use
	depth   int
	visited uint64 // pages so far; in a sound database each belongs to one place
	limit   uint64

	payload []byte // a row that spilled to overflow pages
	page    []byte // an overflow page
	values  []Value
	rowID   int64
	count   uint64
	err     error
}

// newRows begins at a table's root page.
func (db *DB) newRows(name string, root uint32, def definition) *Rows {
	r := &Rows{
		db:      db,
		name:    name,
		def:     def,
		decoder: decoder{enc: db.pager.enc},
		limit:   db.pager.present(),
		values:  make([]Value, len(def.columns)),
	}
	r.err = r.push(root)
	return r
}

// Next reads the next row. It returns false at the end and at a fault, which
// Err tells apart.
func (r *Rows) Next() bool {
	if r.err != nil || r.depth == 0 {
		return false
	}
	found, err := r.next()
	if err == nil && !found {
		err = r.db.checkUnchanged()
	}
	if err != nil {
		r.err = err
		return false
	}
	if found {
		r.count++
	}
	return found
}

// Err is nil if the table was read to its end. Otherwise the rows delivered
// before it are good, and a DataError says how many there were.
func (r *Rows) Err() error {
	var data *DataError
	if errors.As(r.err, &data) {
		e := *data
		e.Table, e.Rows = r.name, r.count
		return &e
	}
	return r.err
}

// Values is the present row in the order of Table.Columns. The slice and its
// bytes are used again for the next row.
func (r *Rows) Values() []Value { return r.values }

// RowID is the present row's rowid.
func (r *Rows) RowID() int64 { return r.rowID }

// next moves to the next leaf cell and reads it.
func (r *Rows) next() (found bool, err error) {
	for r.depth > 0 {
		l := &r.levels[r.depth-1]
		i := l.next
		l.next++
		switch {
		case l.leaf && i < l.cells:
			return true, r.readRow(l, i)
		case l.leaf || i > l.cells:
			r.depth--
		default:
			child, err := l.child(i, r.db.pager.usable)
			if err != nil {
				return false, err
			}
			if err := r.push(child); err != nil {
				return false, err
			}
		}
	}
	return false, nil
}

// visit reads a page which this walk has not met before, or would have to
// count more pages than there are.
func (r *Rows) visit(no uint32, buf []byte) error {
	if no == 0 || no > r.db.pager.pages {
		return damaged(no, "page %d of %d is referred to", no, r.db.pager.pages)
	}
	if r.visited++; r.visited > r.limit {
		return damaged(no, "its pages refer to one another in a circle")
	}
	return r.db.pager.read(no, buf)
}

// push goes down to a page of the tree.
func (r *Rows) push(no uint32) error {
	if r.depth == maxDepth {
		return damaged(no, "the tree is deeper than %d pages", maxDepth)
	}
	if r.depth == len(r.levels) {
		r.levels = append(r.levels, level{page: make([]byte, r.db.pager.pageSize)})
	}
	l := &r.levels[r.depth]
	*l = level{page: l.page, no: no}
	if err := r.visit(no, l.page); err != nil {
		return err
	}
	if no == 1 {
		l.head = headerSize
	}
	switch kind := l.page[l.head]; kind {
	case leafPage:
		l.leaf = true
	case interiorPage:
	default:
		return damaged(no, "page type %d is not of a table", kind)
	}
	l.cells = int(binary.BigEndian.Uint16(l.page[l.head+3:]))
	if l.pointers()+2*l.cells > r.db.pager.usable {
		return damaged(no, "%d cells do not fit", l.cells)
	}
	r.depth++
	return nil
}

// pointers is where the cell pointers begin.
func (l *level) pointers() int {
	if l.leaf {
		return l.head + 8
	}
	return l.head + 12
}

// cell is what the page holds from cell i on.
func (l *level) cell(i, usable int) ([]byte, *DataError) {
	first := l.pointers()
	off := int(binary.BigEndian.Uint16(l.page[first+2*i:]))
	if off < first+2*l.cells || off > usable-4 {
		return nil, damaged(l.no, "cell %d at byte %d", i, off)
	}
	return l.page[off:usable], nil
}

// child is page number i of an interior page, the right-most one being in the
// header.
func (l *level) child(i, usable int) (uint32, error) {
	if i == l.cells {
		return binary.BigEndian.Uint32(l.page[l.head+8:]), nil
	}
	cell, err := l.cell(i, usable)
	if err != nil {
		return 0, err
	}
	return binary.BigEndian.Uint32(cell), nil
}

// readRow reads cell i of a leaf. Rowids rise, so that no row comes twice.
func (r *Rows) readRow(l *level, i int) error {
	cell, fault := l.cell(i, r.db.pager.usable)
	if fault != nil {
		return fault
	}
	size, n := varint(cell)
	rowID, m := varint(cell[n:])
	if n == 0 || m == 0 {
		return damaged(l.no, "cell %d has no size and rowid", i)
	}
	if id := int64(rowID); r.count > 0 && id <= r.rowID {
		return damaged(l.no, "row %d comes after row %d", id, r.rowID)
	}
	record, err := r.record(l, cell[n+m:], size)
	if err != nil {
		return err
	}
	have, fault := r.decoder.decode(record, r.values)
	if fault != nil {
		fault.Page = l.no
		return fault
	}
	r.rowID = int64(rowID)
	r.finish(have)
	return nil
}

// finish turns what is stored into what SQLite shows.
func (r *Rows) finish(have int) {
	for i, c := range r.def.columns {
		v := &r.values[i]
		if i >= have {
			*v = c.missing
		}
		if n, isInt := v.Int(); isInt && c.real {
			*v = realValue(float64(n)) // stored as an integer to save space
		}
	}
	if r.def.rowID >= 0 {
		r.values[r.def.rowID] = intValue(r.rowID) // stored as null
	}
}

// record puts a row of size bytes together: what is in its cell, and the chain
// of overflow pages if that is not all (section 1.6).
func (r *Rows) record(l *level, cell []byte, size uint64) ([]byte, error) {
	p := r.db.pager
	switch {
	case size > MaxRow && size > (r.limit+1)*uint64(p.pageSize):
		return nil, damaged(l.no, "row of %d bytes", size)
	case size > MaxRow:
		return nil, &DataError{Kind: ErrTooLarge, Page: l.no, Detail: "row larger than 1 MiB"}
	}
	total, local := int(size), int(size)
	if largest := p.usable - 35; total > largest {
		least := (p.usable-12)*32/255 - 23
		if local = least + (total-least)%(p.usable-4); local > largest {
			local = least
		}
	}
	need := local
	if local < total {
		need += 4
	}
	if need > len(cell) {
		return nil, damaged(l.no, "row of %d bytes reaches beyond its page", size)
	}
	if l.used += need; l.used > p.usable {
		return nil, damaged(l.no, "its rows lie upon one another")
	}
	if local == total {
		return cell[:local], nil
	}
	r.payload = append(r.payload[:0], cell[:local]...)
	if r.page == nil {
		r.page = make([]byte, p.pageSize)
	}
	for next := binary.BigEndian.Uint32(cell[local:]); len(r.payload) < total; {
		if err := r.visit(next, r.page); err != nil {
			return nil, err
		}
		next = binary.BigEndian.Uint32(r.page)
		r.payload = append(r.payload, r.page[4:min(p.usable, 4+total-len(r.payload))]...)
	}
	return r.payload, nil
}
