package usage

import (
	"encoding/json"
	"io"
	"net/netip"
	"strconv"
	"time"
)

// maxListed bounds the lists beside the main one: addresses of one device
// (IPv6 privacy addresses pile up) and unresolved addresses.
const maxListed = 100

// WriteJSON writes the answer as one JSON object, row by row.
func (a *Answer) WriteJSON(w io.Writer) error {
	o := objectWriter{w: w}
	a.writeList(&o)
	return o.flush()
}

// AppendJSON is WriteJSON into memory. It stops adding rows before the object
// would pass max bytes and says where to go on in "next_offset", as it does
// where the page's limit cut the list.
func (a *Answer) AppendJSON(dst []byte, max int) []byte {
	o := objectWriter{buf: dst, max: len(dst) + max}
	a.writeList(&o)
	return o.buf
}

func (a *Answer) writeList(o *objectWriter) {
	o.buf = append(o.buf, '{')
	a.writeHead(o)
	list := [...]string{ByDevice: "devices", ByHost: "hosts", ByService: "services", ByRecord: "records", ByGroup: "groups", ByCategory: "categories"}[a.View]
	if a.View == ByDevice {
		o.key("unresolved")
		o.list(len(a.Unresolved), Page{Limit: maxListed}, func(dst []byte, i int) []byte { return appendHost(dst, &a.Unresolved[i]) })
	}
	o.key(list)
	next := o.list(a.Len(), a.Page, func(dst []byte, i int) []byte {
		switch a.View {
		case ByHost:
			return appendHost(dst, &a.Hosts[i])
		case ByService:
			return appendService(dst, &a.Services[i])
		case ByRecord:
			return appendRecord(dst, &a.Records[i], a.Known)
		case ByGroup, ByCategory:
			return append(a.Shares[i].appendJSON(dst, a.View.String()), '}')
		}
		return appendDevice(dst, &a.Devices[i])
	})
	if next < a.Len() {
		o.number("next_offset", uint64(next))
	}
	if a.View == ByDevice {
		o.number("total_unresolved", uint64(len(a.Unresolved)))
	}
	o.number("total_"+list, uint64(a.Len()))
	o.number("total_bytes", a.Total.Total())
	o.buf = append(o.buf, '}')
}

// AppendDeviceJSON appends one device, which must be the answer's only one,
// and as many of its services as fit max bytes.
func (a *Answer) AppendDeviceJSON(dst []byte, max int) []byte {
	o := objectWriter{buf: dst, max: len(dst) + max}
	o.buf = append(o.buf, '{')
	a.writeHead(&o)
	o.key("device")
	o.buf = appendDevice(o.buf, &a.Devices[0])
	o.key("services")
	o.list(len(a.Services), Page{}, func(dst []byte, i int) []byte { return appendService(dst, &a.Services[i]) })
	o.number("total_services", uint64(len(a.Services)))
	return append(o.buf, '}')
}

func (a *Answer) writeHead(o *objectWriter) {
	o.time("timestamp", a.Timestamp)
	o.text("source", a.Source)
	o.time("as_of", a.AsOf)
	o.text("period", a.Period)
	if !a.ResetAt.IsZero() {
		o.time("reset_at", a.ResetAt)
	}
	if a.AddressOrder != "" {
		o.text("address_order", a.AddressOrder)
	}
	if a.Damage != "" {
		o.text("damage", a.Damage)
	}
	o.counting(a.Counting)
	if len(a.Interfaces) > 0 {
		o.key("interfaces")
		o.list(len(a.Interfaces), Page{Limit: maxListed}, func(dst []byte, i int) []byte {
			return append(appendCounters(AppendQuoted(append(dst, `{"name":`...), a.Interfaces[i].Name), a.Interfaces[i].Counters), '}')
		})
	}
}

// objectWriter builds one JSON object member by member without reflection:
// in buf, or through it into w where that is set.
type objectWriter struct {
	w       io.Writer
	buf     []byte
	max     int // of len(buf), without w; 0: no limit
	members int
	err     error
}

// tail is room kept for what follows a list: totals and braces.
const tail = 512

// flushAt is how much is gathered before it is written.
const flushAt = 32 << 10

func (o *objectWriter) flush() error {
	if o.err == nil && len(o.buf) > 0 {
		_, o.err = o.w.Write(o.buf)
	}
	o.buf = o.buf[:0]
	return o.err
}

func (o *objectWriter) key(name string) {
	if o.members++; o.members > 1 {
		o.buf = append(o.buf, ',')
	}
	o.buf = append(append(append(o.buf, '"'), name...), `":`...)
}

func (o *objectWriter) text(name, value string) {
	o.key(name)
	o.buf = appendTextOrNull(o.buf, value)
}

func (o *objectWriter) time(name string, t time.Time) {
	o.key(name)
	o.buf = appendTime(o.buf, t)
}

func (o *objectWriter) number(name string, n uint64) {
	o.key(name)
	o.buf = strconv.AppendUint(o.buf, n, 10)
}

// list writes rows of the page while they fit, and returns the index of the
// first row behind them.
func (o *objectWriter) list(n int, page Page, row func(dst []byte, i int) []byte) (next int) {
	from, to := page.Bounds(n)
	o.buf = append(o.buf, '[')
	for next = from; next < to; next++ {
		before := len(o.buf)
		if next > from {
			o.buf = append(o.buf, ',')
		}
		o.buf = row(o.buf, next)
		if o.max > 0 && len(o.buf)+tail > o.max && next > from {
			o.buf = o.buf[:before]
			break
		}
		if o.w != nil && len(o.buf) >= flushAt {
			_ = o.flush() // kept in o.err
		}
	}
	o.buf = append(o.buf, ']')
	return next
}

func appendDevice(dst []byte, d *Device) []byte {
	dst = append(dst, `{"mac":"`...)
	dst = d.MAC.Append(dst)
	dst = append(dst, `","ip":`...)
	dst = appendIP(dst, d.IP)
	dst = append(dst, `,"ips":[`...)
	for i, ip := range d.IPs[:min(len(d.IPs), maxListed)] {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendIP(dst, ip)
	}
	dst = append(dst, ']')
	dst = AppendIdentity(dst, d.MAC, &d.Identity)
	return append(appendCounters(dst, d.Counters), '}')
}

// AppendIdentity appends who mac is as the members of a JSON object that has
// others before them.
func AppendIdentity(dst []byte, mac MAC, id *Identity) []byte {
	dst = appendNames(dst, id)
	for _, m := range [...]struct{ key, text string }{
		{`,"name_source":`, id.NameSource}, {`,"vendor":`, id.Vendor},
	} {
		dst = appendTextOrNull(append(dst, m.key...), m.text)
	}
	dst = strconv.AppendBool(append(dst, `,"randomized":`...), mac.Randomized())
	dst = append(dst, `,"online":`...)
	switch id.Presence {
	case Online:
		dst = append(dst, "true"...)
	case Away:
		dst = append(dst, "false"...)
	default:
		dst = append(dst, "null"...)
	}
	return appendTime(append(dst, `,"last_seen":`...), id.LastSeen)
}

// appendNames is the part of AppendIdentity that a row of a long list has.
func appendNames(dst []byte, id *Identity) []byte {
	for _, m := range [...]struct{ key, text string }{
		{`,"hostname":`, id.Hostname}, {`,"alias":`, id.Alias}, {`,"category":`, id.Category}, {`,"group":`, id.Group},
	} {
		dst = appendTextOrNull(append(dst, m.key...), m.text)
	}
	return dst
}

func appendHost(dst []byte, h *Host) []byte {
	dst = append(dst, '{')
	if !h.MAC.IsZero() {
		dst = append(h.MAC.Append(append(dst, `"mac":"`...)), '"')
		dst = append(appendNames(dst, &h.Identity), ',')
	}
	dst = append(dst, `"ip":`...)
	dst = appendIP(dst, h.IP)
	dst = appendCounters(dst, h.Counters)
	return append(dst, '}')
}

func appendService(dst []byte, s *Service) []byte {
	dst = append(dst, `{"service":`...)
	dst = AppendQuoted(dst, s.Name)
	if s.Name != "other" {
		dst = append(dst, `,"proto":`...)
		dst = strconv.AppendUint(dst, uint64(s.Proto), 10)
		dst = append(dst, `,"port":`...)
		dst = strconv.AppendUint(dst, uint64(s.Port), 10)
	}
	dst = appendCounters(dst, s.Counters)
	return append(dst, '}')
}

func appendRecord(dst []byte, r *Record, known Services) []byte {
	family := r.familyText()
	if family == "" {
		family = "null"
	}
	dst = append(append(append(dst, `{"family":`...), family...), `,"proto":`...)
	dst = strconv.AppendUint(dst, uint64(r.Proto), 10)
	dst = append(dst, `,"port":`...)
	dst = strconv.AppendUint(dst, uint64(r.Port), 10)
	dst = append(dst, `,"mac":"`...)
	dst = r.MAC.Append(dst)
	dst = append(dst, `","ip":`...)
	dst = appendIP(dst, r.IP())
	dst = append(dst, `,"service":`...)
	dst = AppendQuoted(dst, serviceOf(r, known))
	dst = appendCounters(dst, r.Counters())
	return append(dst, '}')
}

// serviceOf is the name of a record's service, "other" where it has none.
func serviceOf(r *Record, known Services) string {
	if known != nil {
		if name, ok := known.Lookup(r.Proto, r.Port); ok {
			return Clean(name, MaxName)
		}
	}
	return "other"
}

func appendCounters(dst []byte, c Counters) []byte {
	dst = strconv.AppendUint(append(dst, `,"bytes_rx":`...), c.RxBytes, 10)
	dst = strconv.AppendUint(append(dst, `,"bytes_tx":`...), c.TxBytes, 10)
	dst = strconv.AppendUint(append(dst, `,"total_bytes":`...), c.Total(), 10)
	dst = strconv.AppendUint(append(dst, `,"packets_rx":`...), c.RxPackets, 10)
	dst = strconv.AppendUint(append(dst, `,"packets_tx":`...), c.TxPackets, 10)
	return strconv.AppendUint(append(dst, `,"connections":`...), c.Conns, 10)
}

func appendIP(dst []byte, ip netip.Addr) []byte {
	if !ip.IsValid() {
		return append(dst, "null"...)
	}
	return append(ip.AppendTo(append(dst, '"')), '"')
}

func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "null"...)
	}
	return append(t.Truncate(time.Millisecond).AppendFormat(append(dst, '"'), time.RFC3339Nano), '"')
}

func appendTextOrNull(dst []byte, s string) []byte {
	if s == "" {
		return append(dst, "null"...)
	}
	return AppendQuoted(dst, s)
}

// AppendQuoted appends s as a JSON string (RFC 8259 section 7) that a page
// may embed: bytes that are not UTF-8 become U+FFFD, and <, > and & are
// escaped.
func AppendQuoted(dst []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, _ := json.Marshal(s) // a string always marshals
			return append(dst, quoted...)
		}
	}
	return append(append(append(dst, '"'), s...), '"')
}
