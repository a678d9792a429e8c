package wire

import (
	"encoding/json"
	"errors"
	"strconv"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

// PushMethod is the agent's call that replicates its history (PROTOCOL.md
// section 8).
const PushMethod = "history.push"

// Push is the params of history.push.
type Push struct {
	After, Cursor uint64
	Buckets       []usage.Bucket
	Gaps          []usage.Gap
	Open          []usage.Bucket  // nil if the push does not say what is open
	AsOf          time.Time       // of Open
	Counting      json.RawMessage // nil if it does not say; part of what was decoded
}

// PushReply is the result of history.push.
type PushReply struct {
	Cursor uint64 `json:"cursor"`
}

// PushWriter gathers a push and writes it. Buckets and gaps are written as
// they come, so their memory is the caller's again at once.
type PushWriter struct {
	buckets, open, gaps []byte
	macs, services      []byte
	macAt               map[usage.MAC]int
	serviceAt           map[string]int
}

// Reset forgets all that was gathered.
func (w *PushWriter) Reset() {
	*w = PushWriter{
		buckets: w.buckets[:0], open: w.open[:0], gaps: w.gaps[:0], macs: w.macs[:0], services: w.services[:0],
		macAt: make(map[usage.MAC]int), serviceAt: make(map[string]int),
	}
}

// Len is about the bytes that Append will add.
func (w *PushWriter) Len() int {
	return len(w.buckets) + len(w.open) + len(w.gaps) + len(w.macs) + len(w.services) + 256
}

// Bucket adds a closed bucket.
func (w *PushWriter) Bucket(b *usage.Bucket) { w.buckets = w.bucket(w.buckets, b) }

// Open adds a bucket that may still change.
func (w *PushWriter) Open(b *usage.Bucket) { w.open = w.bucket(w.open, b) }

// Gap adds a gap.
func (w *PushWriter) Gap(g *usage.Gap) {
	w.gaps = strconv.AppendInt(append(comma(w.gaps), '['), g.From.UnixMilli(), 10)
	w.gaps = strconv.AppendInt(append(w.gaps, ','), g.To.UnixMilli(), 10)
	w.gaps = append(usage.AppendQuoted(append(w.gaps, ','), g.Reason), ']')
}

func comma(dst []byte) []byte {
	if len(dst) > 0 {
		return append(dst, ',')
	}
	return dst
}

func (w *PushWriter) bucket(dst []byte, b *usage.Bucket) []byte {
	dst = strconv.AppendInt(append(comma(dst), '['), b.Start.Unix(), 10)
	dst = strconv.AppendInt(append(dst, ','), int64(b.Length/time.Second), 10)
	dst = w.devices(append(dst, ",["...), b.Devices)
	dst = append(dst, "],["...)
	for i := range b.Services {
		s := &b.Services[i]
		at, ok := w.serviceAt[s.Name]
		if !ok {
			at = len(w.serviceAt)
			w.serviceAt[s.Name] = at
			w.services = usage.AppendQuoted(comma(w.services), s.Name)
		}
		dst = appendRow(dst, i, at, &s.Counters)
	}
	dst = append(dst, "],["...)
	for i := range b.Families {
		number := 6
		if b.Families[i].Family == usage.FamilyIPv4 {
			number = 4
		}
		dst = appendRow(dst, i, number, &b.Families[i].Counters)
	}
	return append(w.devices(append(dst, "],["...), b.Quarantined), "]]"...)
}

func (w *PushWriter) devices(dst []byte, list []usage.DeviceSum) []byte {
	for i := range list {
		d := &list[i]
		at, ok := w.macAt[d.MAC]
		if !ok {
			at = len(w.macAt)
			w.macAt[d.MAC] = at
			w.macs = append(d.MAC.Append(append(comma(w.macs), '"')), '"')
		}
		dst = appendRow(dst, i, at, &d.Counters)
	}
	return dst
}

func appendRow(dst []byte, i, subject int, c *usage.Counters) []byte {
	if i > 0 {
		dst = append(dst, ',')
	}
	dst = strconv.AppendInt(dst, int64(subject), 10)
	for _, n := range [...]uint64{c.RxBytes, c.TxBytes, c.RxPackets, c.TxPackets, c.Conns} {
		dst = strconv.AppendUint(append(dst, ','), n, 10)
	}
	return dst
}

// Append appends the params. With an asOf the push says what is open, which
// may be nothing; counting is left out if it is empty.
func (w *PushWriter) Append(dst []byte, after, cursor uint64, asOf time.Time, counting json.RawMessage) []byte {
	dst = strconv.AppendUint(append(dst, `{"after":`...), after, 10)
	dst = strconv.AppendUint(append(dst, `,"cursor":`...), cursor, 10)
	dst = append(append(append(dst, `,"macs":[`...), w.macs...), ']')
	dst = append(append(append(dst, `,"services":[`...), w.services...), ']')
	dst = append(append(append(dst, `,"buckets":[`...), w.buckets...), ']')
	dst = append(append(append(dst, `,"gaps":[`...), w.gaps...), ']')
	if !asOf.IsZero() {
		dst = strconv.AppendInt(append(dst, `,"as_of":`...), asOf.UnixMilli(), 10)
		dst = append(append(append(dst, `,"open":[`...), w.open...), ']')
	}
	if len(counting) > 0 {
		dst = append(append(dst, `,"counting":`...), counting...)
	}
	return append(dst, '}')
}

// maxServiceName is the longest name of a service taken, in bytes.
const maxServiceName = 32

// DecodePush reads the params of history.push. An error is of kind Invalid and
// says which member breaks the protocol.
func DecodePush(params json.RawMessage) (Push, error) {
	var p Push
	var buckets, open json.RawMessage
	d := pushReader{}
	if len(params) == 0 {
		return p, usage.Errorf(usage.Invalid, "history.push wants params")
	}
	err := members(params, func(key string, value json.RawMessage) error {
		s := scanner{b: value}
		switch key {
		case "after":
			p.After = s.number()
		case "cursor":
			p.Cursor = s.number()
		case "as_of":
			p.AsOf = s.moment()
		case "macs":
			s.list(func() {
				m, err := usage.ParseMAC(s.text())
				if err != nil {
					s.bad = true
				}
				d.macs = append(d.macs, m)
			})
		case "services":
			s.list(func() {
				name := usage.Clean(s.text(), maxServiceName)
				if name == "" {
					name = "other"
				}
				d.services = append(d.services, name)
			})
		case "gaps":
			s.list(func() {
				s.open()
				g := usage.Gap{Range: usage.Range{From: s.moment()}}
				s.comma()
				g.To = s.moment()
				s.comma()
				g.Reason = usage.Clean(s.text(), 120)
				s.close()
				p.Gaps = append(p.Gaps, g)
			})
		case "buckets":
			buckets = value
		case "open":
			open = value
		case "counting":
			p.Counting = notNull(value)
		}
		if s.bad {
			return errors.New("member " + key + " is not as history.push wants it")
		}
		return nil
	})
	if err == nil && buckets != nil {
		p.Buckets, err = d.buckets("buckets", buckets)
	}
	if err == nil && open != nil {
		p.Open, err = d.buckets("open", open)
	}
	switch {
	case err != nil:
		return Push{}, usage.Errorf(usage.Invalid, "%w", err)
	case (open == nil) != p.AsOf.IsZero():
		return Push{}, usage.Errorf(usage.Invalid, "open and as_of go together")
	}
	return p, nil
}

// pushReader reads buckets, with what their rows' numbers stand for.
type pushReader struct {
	macs     []usage.MAC
	services []string
}

func (d *pushReader) buckets(member string, value json.RawMessage) ([]usage.Bucket, error) {
	s := scanner{b: value}
	list := []usage.Bucket{}
	s.list(func() {
		s.open()
		b := usage.Bucket{Start: time.Unix(s.below(1<<40), 0)}
		s.comma()
		b.Length = time.Duration(s.below(1<<20)) * time.Second
		s.comma()
		b.Devices = d.devices(&s)
		s.comma()
		s.rows(len(d.services), func(i uint64, c usage.Counters) {
			b.Services = append(b.Services, usage.ServiceSum{Name: d.services[i], Counters: c})
		})
		s.comma()
		s.rows(7, func(i uint64, c usage.Counters) {
			family := uint8(usage.FamilyIPv4)
			if i == 6 {
				family = usage.FamilyIPv6
			} else if i != 4 {
				s.bad = true
			}
			b.Families = append(b.Families, usage.FamilySum{Family: family, Counters: c})
		})
		s.comma()
		b.Quarantined = d.devices(&s)
		s.close()
		list = append(list, b)
	})
	if s.bad {
		return nil, errors.New("member " + member + " is not as history.push wants it")
	}
	return list, nil
}

func (d *pushReader) devices(s *scanner) (list []usage.DeviceSum) {
	s.rows(len(d.macs), func(i uint64, c usage.Counters) {
		list = append(list, usage.DeviceSum{MAC: d.macs[i], Counters: c})
	})
	return list
}

// scanner reads arrays, strings and whole numbers of a value that is JSON.
// The first thing that is something else sets bad, after which all is zero.
type scanner struct {
	b   []byte
	i   int
	bad bool
}

func (s *scanner) space() {
	for !s.bad && s.i < len(s.b) && (s.b[s.i] == ' ' || s.b[s.i] == '\t' || s.b[s.i] == '\n' || s.b[s.i] == '\r') {
		s.i++
	}
}

// at tells whether c comes next, and takes it then.
func (s *scanner) at(c byte) bool {
	s.space()
	if s.bad || s.i >= len(s.b) || s.b[s.i] != c {
		return false
	}
	s.i++
	return true
}

func (s *scanner) want(c byte) {
	if !s.at(c) {
		s.bad = true
	}
}

func (s *scanner) open()  { s.want('[') }
func (s *scanner) comma() { s.want(',') }
func (s *scanner) close() { s.want(']') }

// list reads an array, each of whose elements is read by element.
func (s *scanner) list(element func()) {
	s.open()
	for n := 0; !s.bad && !s.at(']'); n++ {
		if n > 0 {
			s.comma()
		}
		element()
	}
}

// number reads a whole number up to 2^64-1.
func (s *scanner) number() uint64 {
	s.space()
	var n uint64
	first := s.i
	for ; !s.bad && s.i < len(s.b) && '0' <= s.b[s.i] && s.b[s.i] <= '9'; s.i++ {
		digit := uint64(s.b[s.i] - '0')
		if n > (1<<64-1-digit)/10 {
			s.bad = true
		}
		n = 10*n + digit
	}
	if s.bad || s.i == first || s.i < len(s.b) && (s.b[s.i] == '.' || s.b[s.i] == 'e' || s.b[s.i] == 'E') {
		s.bad = true
		return 0
	}
	return n
}

// below reads a whole number below n.
func (s *scanner) below(n uint64) int64 {
	v := s.number()
	if v >= n {
		s.bad = true
		return 0
	}
	return int64(v)
}

// moment reads Unix milliseconds.
func (s *scanner) moment() time.Time { return time.UnixMilli(s.below(1 << 50)) }

func (s *scanner) text() string {
	s.space()
	end := stringEnd(s.b, s.i)
	if s.bad || end == bad {
		s.bad = true
		return ""
	}
	t, err := text(s.b[s.i:end])
	s.i, s.bad = end, err != nil
	return t
}

// rows reads a flat array of six numbers each: a subject below n, and its
// counters.
func (s *scanner) rows(n int, row func(uint64, usage.Counters)) {
	s.list(func() {
		i := s.number()
		var c usage.Counters
		for _, to := range [...]*uint64{&c.RxBytes, &c.TxBytes, &c.RxPackets, &c.TxPackets, &c.Conns} {
			s.comma()
			*to = s.number()
		}
		if i >= uint64(n) {
			s.bad = true
		}
		if !s.bad {
			row(i, c)
		}
	})
}
