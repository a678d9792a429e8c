package nlbwmontest

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// handle answers one request as socket.c does. A request without a word makes
// nlbwmon follow a nil pointer.
func (d *Daemon) handle(w io.Writer, request []byte) (crashed bool) {
	request, _, _ = bytes.Cut(request, []byte{0})
	words := strings.FieldsFunc(string(request), func(r rune) bool { return r == ' ' || r == '\t' || r == '\n' })
	if len(words) == 0 {
		return true
	}
	if d.opts.Reply != nil {
		if answer, ok := d.opts.Reply(string(request)); ok {
			_, _ = w.Write(answer)
			return false
		}
	}
	// A client that went away is no fault: nlbwmon only logs it.
	switch words[0] {
	case "dump":
		arg := "0"
		if len(words) > 1 {
			arg = words[1]
		}
		return d.dump(w, arg)
	case "list":
		d.list(w)
	case "commit":
		_, _ = io.WriteString(w, d.Commit())
	}
	return false
}

// dump sends header and rows, one write each. Unknown and unreadable periods
// are answered with nothing.
func (d *Daemon) dump(w io.Writer, arg string) (crashed bool) {
	p, ok := parseArg(arg)
	if !ok {
		return false
	}
	h := nlbwmon.Header{Interval: d.opts.Interval, Compact: d.opts.Compact}
	var rows []usage.Record
	if p == 0 {
		d.mu.Lock()
		h.Period = d.period
		rows = d.sorted(d.opts.Order)
		d.mu.Unlock()
	} else {
		var t table
		if err := d.loadPeriod(&t, p); err != nil {
			return false
		}
		h.Period = d.opts.Interval.Period(d.opts.Now(), 0) // not p: socket.c
		rows = t.sorted(d.opts.Order)
	}
	h.Entries = uint32(len(rows))
	buf := nlbwmon.AppendHeader(nil, h)
	if _, err := w.Write(buf); err != nil {
		return false
	}
	for i := range rows {
		if d.opts.DieAfterRows > 0 && i == d.opts.DieAfterRows {
			return true
		}
		if !d.wait(d.opts.RowDelay) {
			return false
		}
		buf = nlbwmon.AppendRecord(buf[:0], &rows[i], d.opts.Order, d.opts.Compact)
		if _, err := w.Write(buf); err != nil {
			return false
		}
	}
	return false
}

// list sends the periods from the current one backwards until a file is
// missing or its header is refused.
func (d *Daemon) list(w io.Writer) {
	for offset := 0; ; offset-- {
		p := d.opts.Interval.Period(d.opts.Now(), offset)
		if d.checkPeriod(p) != nil {
			return
		}
		var b [4]byte
		if d.opts.Order == nlbwmon.OrderBig {
			binary.BigEndian.PutUint32(b[:], uint32(p))
		} else {
			binary.LittleEndian.PutUint32(b[:], uint32(p))
		}
		if _, err := w.Write(b[:]); err != nil {
			return
		}
	}
}

// parseArg is strtoul as socket.c uses it, into an int.
func parseArg(arg string) (nlbwmon.Period, bool) {
	n, err := strconv.ParseInt(arg, 10, 64)
	return nlbwmon.Period(n), err == nil
}

// errnoText is what commit answers: number and text of the C library.
func errnoText(err error) string {
	if err == nil {
		return "0 ok"
	}
	errno := syscall.EIO
	_ = errors.As(err, &errno)
	text := errno.Error()
	first, size := utf8.DecodeRuneInString(text)
	return strconv.Itoa(int(errno)) + " " + string(unicode.ToUpper(first)) + text[size:]
}

// wait returns false if the daemon ended before.
func (d *Daemon) wait(delay time.Duration) bool {
	if delay <= 0 {
		return true
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-d.ctx.Done():
		return false
	}
}
