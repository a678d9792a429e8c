package nlbw

import (
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// printer writes rows as nlbw does, through one buffer.
type printer struct {
	w         io.Writer
	buf       []byte
	err       error
	protocols *nlbwmon.Protocols
	extra     bool        // -i: add who the device is
	device    bool        // a row is one device's
	names     usage.Names // may be nil
	address   []byte      // last address printed: nlbw repeats it for a family it does not know
}

const flushAt = 32 << 10

func (p *printer) flush() error {
	if p.err == nil && len(p.buf) > 0 {
		_, p.err = p.w.Write(p.buf)
	}
	p.buf = p.buf[:0]
	return p.err
}

func (p *printer) rowDone() {
	if len(p.buf) >= flushAt {
		_ = p.flush() // kept in p.err and returned at the end
	}
}

// nameColumns are those of -i, behind all others.
var nameColumns = [...]string{"hostname", "vendor", "alias"}

// who is what nameColumns have of r's device, "" for what is not known.
func (p *printer) who(r *usage.Record) [len(nameColumns)]string {
	if !p.device || p.names == nil || r.MAC.IsZero() {
		return [len(nameColumns)]string{}
	}
	id := p.names.Identity(r.MAC, time.Time{})
	return [len(nameColumns)]string{id.Hostname, id.Vendor, id.Alias}
}

// shown is which columns json and csv print for a grouping.
func shown(group []column) [columns]bool {
	var s [columns]bool
	for _, c := range group {
		s[c] = true
	}
	if s[colHost] {
		s[colHost], s[colMAC], s[colIP] = false, true, true
	}
	if s[colLayer7] {
		s[colProto], s[colPort] = true, true
	}
	for c := colConns; c <= colTxPackets; c++ {
		s[c] = true
	}
	return s
}

func (p *printer) json(t *table) error {
	cols := shown(t.group)
	p.buf = append(p.buf, `{"columns":[`...)
	comma := ""
	for c, on := range cols {
		if on {
			p.buf = append(append(append(append(p.buf, comma...), '"'), columnNames[c]...), '"')
			comma = ","
		}
	}
	if p.extra {
		p.buf = append(p.buf, `,"hostname","vendor","alias"`...)
	}
	p.buf = append(p.buf, `],"data":[`...)
	for i := range t.rows {
		r := &t.rows[i]
		if i > 0 {
			p.buf = append(p.buf, ',')
		}
		p.buf = append(p.buf, '[')
		comma := false
		for c := range columns {
			if !cols[c] {
				continue
			}
			if comma {
				p.buf = append(p.buf, ',')
			}
			comma = true
			switch c {
			case colProto, colMAC, colIP:
				p.buf = append(p.text(append(p.buf, '"'), r, c), '"')
			case colLayer7:
				// Names go out unescaped, as nlbw prints them.
				if name, ok := p.protocols.Lookup(r.Proto, r.Port); ok {
					p.buf = append(append(append(p.buf, '"'), name...), '"')
				} else {
					p.buf = append(p.buf, "null"...)
				}
			default:
				p.buf = p.text(p.buf, r, c)
			}
		}
		if p.extra {
			for _, name := range p.who(r) {
				if name == "" {
					p.buf = append(p.buf, ",null"...)
				} else {
					p.buf = usage.AppendQuoted(append(p.buf, ','), name)
				}
			}
		}
		p.buf = append(p.buf, ']')
		p.rowDone()
	}
	p.buf = append(p.buf, "]}"...)
	return p.flush()
}

func (p *printer) csv(t *table, o *options) error {
	cols := shown(t.group)
	quoted := func(dst, text []byte) []byte {
		if o.quote != 0 {
			dst = append(dst, o.quote)
		}
		for _, b := range text {
			if b == o.escape {
				dst = append(dst, o.escape)
			}
			dst = append(dst, b)
		}
		if o.quote != 0 {
			dst = append(dst, o.quote)
		}
		return dst
	}
	comma := false
	for c, on := range cols {
		if !on {
			continue
		}
		if comma {
			p.buf = append(p.buf, o.separator)
		}
		comma = true
		p.buf = quoted(p.buf, []byte(columnNames[c]))
	}
	if p.extra {
		for _, name := range nameColumns {
			p.buf = quoted(append(p.buf, o.separator), []byte(name))
		}
	}
	p.buf = append(p.buf, '\n')
	var cell []byte
	for i := range t.rows {
		r := &t.rows[i]
		comma := false
		for c := range columns {
			if !cols[c] {
				continue
			}
			if comma {
				p.buf = append(p.buf, o.separator)
			}
			comma = true
			switch c {
			case colProto, colMAC, colIP:
				cell = p.text(cell[:0], r, c)
				p.buf = quoted(p.buf, cell)
			case colLayer7:
				if name, ok := p.protocols.Lookup(r.Proto, r.Port); ok {
					cell = append(cell[:0], name...)
					p.buf = quoted(p.buf, cell)
				}
			default:
				p.buf = p.text(p.buf, r, c)
			}
		}
		if p.extra {
			for _, name := range p.who(r) {
				p.buf = append(p.buf, o.separator)
				if name != "" {
					p.buf = quoted(p.buf, []byte(usage.SafeCell(name)))
				}
			}
		}
		p.buf = append(p.buf, '\n')
		p.rowDone()
	}
	return p.flush()
}

// text appends one cell without quotes.
func (p *printer) text(dst []byte, r *usage.Record, c column) []byte {
	switch c {
	case colFamily:
		return append(dst, familyDigit(r))
	case colProto:
		return append(dst, nlbwmon.ProtoName(r.Proto)...)
	case colPort:
		return strconv.AppendUint(dst, uint64(r.Port), 10)
	case colMAC:
		return r.MAC.Append(dst)
	case colIP:
		return append(dst, p.addr(r)...)
	}
	return strconv.AppendUint(dst, counter(r, c), 10)
}

func familyDigit(r *usage.Record) byte {
	if r.Family == usage.FamilyIPv4 {
		return '4'
	}
	return '6'
}

// addr is the text of r's address, good until the next call.
func (p *printer) addr(r *usage.Record) []byte {
	switch r.Family {
	case usage.FamilyIPv4:
		p.address = netip.AddrFrom4([4]byte(r.Addr[:4])).AppendTo(p.address[:0])
	case usage.FamilyIPv6:
		p.address = appendIPv6(p.address[:0], r.Addr)
	}
	return p.address
}

// appendIPv6 writes an address as musl's inet_ntop does. It differs from RFC
// 5952 where two runs of zero groups compete: musl takes the longest run of
// zeros and colons as text, so a run inside beats one of equal length at
// either end.
func appendIPv6(dst []byte, a [16]byte) []byte {
	start := len(dst)
	for i := 0; i < 16; i += 2 {
		if i == 12 && [12]byte(a[:12]) == [12]byte{10: 0xff, 11: 0xff} {
			dst = append(dst, ':')
			dst = netip.AddrFrom4([4]byte(a[12:])).AppendTo(dst)
			break
		}
		if i > 0 {
			dst = append(dst, ':')
		}
		dst = strconv.AppendUint(dst, uint64(a[i])<<8|uint64(a[i+1]), 16)
	}
	text := dst[start:]
	best, length := 0, 2
	for i := range text {
		if i > 0 && text[i] != ':' {
			continue
		}
		run := i
		for run < len(text) && (text[run] == ':' || text[run] == '0') {
			run++
		}
		if run-i > length {
			best, length = i, run-i
		}
	}
	if length > 3 {
		text[best], text[best+1] = ':', ':'
		rest := copy(text[best+2:], text[best+length:])
		dst = dst[:start+best+2+rest]
	}
	return dst
}

// show prints the aligned table. Sorting by a column makes it appear here,
// unlike in json and csv.
func (p *printer) show(t *table, o *options) error {
	var mark [columns]byte
	for _, c := range o.group {
		mark[c] = ' '
	}
	for c := colConns; c <= colTxPackets; c++ {
		mark[c] = ' '
	}
	for _, k := range o.order {
		mark[k.col] = '<'
		if k.descending {
			mark[k.col] = '>'
		}
	}
	p.showHead(&mark)
	for i := range t.rows {
		r := &t.rows[i]
		if mark[colFamily] != 0 {
			p.buf = append(append(append(p.buf, "IPv"...), familyDigit(r)), "  "...)
		}
		if mark[colHost] != 0 {
			p.cell(15, string(p.addr(r)), "")
			p.buf = fmt.Appendf(p.buf, " (%02x:%02x:%02x)  ", r.MAC[3], r.MAC[4], r.MAC[5])
		} else {
			if mark[colMAC] != 0 {
				p.cell(17, r.MAC.String(), "  ")
			}
			if mark[colIP] != 0 {
				p.cell(15, string(p.addr(r)), "  ")
			}
		}
		if mark[colLayer7] != 0 {
			name, ok := p.protocols.Lookup(r.Proto, r.Port)
			if !ok {
				name = "other"
			}
			p.cell(10, name, "  ")
		} else {
			if mark[colProto] != 0 {
				p.cell(10, nlbwmon.ProtoName(r.Proto), "  ")
			}
			if mark[colPort] != 0 {
				p.cell(5, strconv.Itoa(int(r.Port)), "  ")
			}
		}
		p.number(r.Conns, o.plain, "  ")
		p.number(r.RxBytes, o.plain, "B (")
		p.number(r.RxPackets, o.plain, ")  ")
		p.number(r.TxBytes, o.plain, "B (")
		p.number(r.TxPackets, o.plain, ")")
		if p.extra {
			for _, name := range p.who(r) {
				if name == "" {
					name = "-"
				}
				p.buf = append(append(p.buf, "  "...), name...)
			}
		}
		p.buf = append(p.buf, '\n')
		p.rowDone()
	}
	return p.flush()
}

func (p *printer) showHead(mark *[columns]byte) {
	head := func(c column, before, after string) {
		if mark[c] != 0 {
			p.buf = append(append(append(p.buf, before...), mark[c]), after...)
		}
	}
	head(colFamily, "", " Fam ")
	if mark[colHost] != 0 {
		head(colHost, "         ", " Host (    MAC )  ")
	} else {
		head(colMAC, "            ", " MAC  ")
		head(colIP, "           ", " IP  ")
	}
	if mark[colLayer7] != 0 {
		head(colLayer7, "  ", " Layer7  ")
	} else {
		head(colProto, "   ", " Proto  ")
		head(colPort, "", " Port ")
	}
	head(colConns, "  ", " Conn.  ")
	head(colRxBytes, " ", " Downld. (")
	head(colRxPackets, " ", " Pkts. )   ")
	head(colTxBytes, " ", " Upload (")
	head(colTxPackets, " ", " Pkts. )")
	if p.extra {
		p.buf = append(p.buf, "  Hostname  Vendor  Alias"...)
	}
	p.buf = append(p.buf, '\n')
}

// cell right-aligns text by bytes, as printf does.
func (p *printer) cell(width int, text, after string) {
	for range width - len(text) {
		p.buf = append(p.buf, ' ')
	}
	p.buf = append(append(p.buf, text...), after...)
}

// number prints n in eight columns and a blank, or with a unit of 1024s and
// two digits cut, not rounded.
func (p *printer) number(n uint64, plain bool, after string) {
	unit := uint64(1) << 60
	for _, name := range []byte("EPTGMK") {
		if !plain && n > unit {
			p.cell(4, strconv.FormatUint(n/unit, 10), ".")
			hundredths := n % unit * 100 / unit // overflows above 184 PB, there as here
			if hundredths < 10 {
				p.buf = append(p.buf, '0')
			}
			p.buf = strconv.AppendUint(p.buf, hundredths, 10)
			p.buf = append(append(append(p.buf, ' '), name), after...)
			return
		}
		unit >>= 10
	}
	p.cell(8, strconv.FormatUint(n, 10), " ")
	p.buf = append(p.buf, after...)
}

// list prints one period a line.
func list(w io.Writer, periods []nlbwmon.Period) error {
	var b strings.Builder
	for _, period := range periods {
		b.WriteString(period.String())
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}
