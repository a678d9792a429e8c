package nlbwmon

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
)

const (
	// DefaultTimeout bounds an exchange: nlbwmon counts nothing while it
	// serves one, and 100,000 rows take less than half a second on a PC.
	DefaultTimeout = 2 * time.Second

	// MaxReply bounds an answer in bytes, about 900,000 rows; OpenWrt's
	// default limit is 10,000.
	MaxReply = 64 << 20

	// maxList bounds the answer to list: 16,384 periods.
	maxList = 64 << 10

	// maxText is more than the 127 bytes of socket.c's buffer.
	maxText = 256
)

// Client speaks to nlbwmon's control socket (nlbwmon's socket.c). nlbwmon
// serves one client at a time and stops counting while it sends, so an
// exchange is short: one request, one answer read to its end at once, with a
// hard time limit and, through LockPath, one reader per router.
//
// Errors are *usage.Error: kind Timeout when the caller's context ended,
// NotFound for a period that does not exist, otherwise Unavailable with the
// cause wrapped and the next step in the message.
//
// The zero values of all fields but Path are usable. A Client may be used by
// several goroutines.
type Client struct {
	Path     string        // of the socket, /var/run/nlbwmon.sock on OpenWrt
	LockPath string        // of the file locked during an exchange; "" is none
	Timeout  time.Duration // of a whole exchange with waiting for the lock; 0 is DefaultTimeout
	Order    AddrOrder     // OrderGuess is this machine's, since the socket is local
}

// Dump reads the live table (p = 0) or that of an older period. begin is
// called once with the header, visit once per row with a record it must not
// keep; both must be quick, as nlbwmon waits. begin may be nil.
//
// The header's period and interval are the daemon's current ones also when an
// older period was asked for. ErrEmpty means that nlbwmon has no such period
// or cannot read it; on ErrTruncated the rows before were visited.
func (c *Client) Dump(ctx context.Context, p Period, begin func(h Header), visit func(*usage.Record)) (Header, error) {
	var h Header
	err := c.exchange(ctx, "dump "+strconv.FormatUint(uint64(p), 10), func(r io.Reader) error {
		dec, err := NewDecoder(r, c.Order.orNative())
		if err != nil {
			return err
		}
		h = dec.Header()
		if h.Size() > MaxReply {
			return &DataError{Kind: ErrTooLarge, Entries: h.Entries}
		}
		if begin != nil {
			begin(h)
		}
		var rec usage.Record
		for {
			switch err := dec.Next(&rec); {
			case err == nil:
				visit(&rec)
			case err == io.EOF && dec.Trailing() > 0:
				return &DataError{Kind: ErrTrailing, Rows: h.Entries, Entries: h.Entries}
			case err == io.EOF:
				return nil
			default:
				return err
			}
		}
	})
	if errors.Is(err, ErrEmpty) && p != 0 {
		err = usage.Errorf(usage.NotFound, "nlbwmon has no readable data for the period %s; see which there are with: nlbw -c list: %w", p, ErrEmpty)
	}
	return h, err
}

// List asks for the periods nlbwmon knows, newest first. It begins at the
// current period and ends at the first file missing, so it is empty after each
// change of period until the next commit although older files exist; with an
// interval counted from the month's end it may name a period twice.
func (c *Client) List(ctx context.Context) ([]Period, error) {
	var periods []Period
	err := c.exchange(ctx, "list", func(r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, maxList+1))
		switch {
		case err != nil:
			return err
		case len(b) > maxList:
			return &DataError{Kind: ErrTooLarge}
		case len(b)%4 != 0:
			return &DataError{Kind: ErrTruncated}
		}
		periods = parseList(b, c.Order.orNative())
		return nil
	})
	return periods, err
}

// parseList reads the periods of a list reply, numbers in the router's order.
func parseList(b []byte, order AddrOrder) []Period {
	periods := make([]Period, 0, len(b)/4)
	for ; len(b) >= 4; b = b[4:] {
		if order == OrderBig {
			periods = append(periods, Period(binary.BigEndian.Uint32(b)))
		} else {
			periods = append(periods, Period(binary.LittleEndian.Uint32(b)))
		}
	}
	return periods
}

// Commit makes nlbwmon write its database now and returns what it says: "0 ok"
// or an error number and its text. That may write to flash: never do it on a
// timer.
func (c *Client) Commit(ctx context.Context) (string, error) {
	var text string
	err := c.exchange(ctx, "commit", func(r io.Reader) error {
		b, err := io.ReadAll(io.LimitReader(r, maxText))
		if err == nil && len(b) == 0 {
			err = &DataError{Kind: ErrEmpty}
		}
		text = usage.Clean(string(b), maxText)
		return err
	})
	return text, err
}

// exchange sends one request and lets read take the answer.
func (c *Client) exchange(ctx context.Context, request string, read func(io.Reader) error) error {
	if err := ctx.Err(); err != nil {
		return c.explain(ctx, request, err)
	}
	timeout := c.Timeout
	if timeout == 0 {
		timeout = DefaultTimeout
	}
	deadline := time.Now().Add(timeout)
	unlock, err := c.lock(ctx, deadline)
	if err != nil {
		return err
	}
	defer unlock()
	for try := 1; ; try++ {
		conn, err := c.send(ctx, request, deadline)
		if err != nil {
			return c.explain(ctx, request, err)
		}
		// Only the context's end moves the deadline, so that explain can tell the
		// two apart.
		stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		answer := socketReader{r: io.LimitReader(conn, MaxReply+1)}
		err = read(&answer)
		stop()
		_ = conn.Close()
		if !answer.unheard || try == sendTries {
			return c.explain(ctx, request, err)
		}
	}
}

// sendTries bounds how often a request that came too late is sent again.
const sendTries = 3

// send connects and sends the request. nlbwmon hangs up 100 ms after it took
// a connection on which nothing came (socket.c), which happens to a reader
// that a busy machine holds up between the two: nothing was asked then, and
// it is asked again. exchange does so where the request came just too late to
// be read.
func (c *Client) send(ctx context.Context, request string, deadline time.Time) (net.Conn, error) {
	var dialer net.Dialer
	for try := 1; ; try++ {
		// Without the deadline: this never waits (connect(2), EAGAIN).
		conn, err := dialer.DialContext(ctx, "unix", c.Path)
		if err != nil {
			return nil, err
		}
		_ = conn.SetDeadline(deadline)
		// One write: nlbwmon receives once, at most 31 bytes, and a request of
		// blanks only would crash it.
		if _, err = io.WriteString(conn, request); err == nil {
			return conn, nil
		}
		_ = conn.Close()
		if try == sendTries || !errors.Is(err, syscall.EPIPE) {
			return nil, err
		}
	}
}

// socketReader makes a reset connection an early end: the daemon died.
type socketReader struct {
	r       io.Reader
	heard   bool // an answer began
	unheard bool // the daemon hung up with the request unread (unix(7), ECONNRESET)
}

func (s *socketReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.heard = s.heard || n > 0
	if errors.Is(err, syscall.ECONNRESET) {
		s.unheard = !s.heard
		err = fmt.Errorf("%w: %w", io.ErrUnexpectedEOF, err)
	}
	return n, err
}

// explain turns err into what a technician can act on.
func (c *Client) explain(ctx context.Context, request string, err error) error {
	if err == nil {
		return nil
	}
	if cause := ctx.Err(); cause != nil {
		return usage.Errorf(usage.Timeout, "nlbwmon %s: given up: %w", request, cause)
	}
	var data *DataError
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded):
		return usage.Errorf(usage.Unavailable, "nlbwmon took the connection at %s but did not answer %q in time; it hangs or is busy; try: service nlbwmon restart: %w", c.Path, request, err)
	case errors.Is(err, ErrTruncated):
		return usage.Errorf(usage.Unavailable, "nlbwmon ended in the middle of its answer to %q; try: service nlbwmon status: %w", request, err)
	case errors.Is(err, ErrEmpty):
		return usage.Errorf(usage.Unavailable, "nlbwmon did not answer %q; try: logread -e nlbwmon: %w", request, err)
	case errors.As(err, &data):
		return usage.Errorf(usage.Unavailable, "nlbwmon's answer to %q: %w", request, err)
	case errors.Is(err, fs.ErrNotExist):
		return usage.Errorf(usage.Unavailable, "no nlbwmon socket at %s; try: service nlbwmon status: %w", c.Path, err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return usage.Errorf(usage.Unavailable, "nlbwmon left its socket %s but does not run; try: service nlbwmon restart: %w", c.Path, err)
	case errors.Is(err, syscall.EAGAIN):
		return usage.Errorf(usage.Unavailable, "nlbwmon does not take connections at %s; it hangs; try: service nlbwmon restart: %w", c.Path, err)
	case errors.Is(err, fs.ErrPermission):
		return usage.Errorf(usage.Unavailable, "no permission for nlbwmon's socket %s; run as root: %w", c.Path, err)
	}
	return usage.Errorf(usage.Unavailable, "nlbwmon %s at %s: %w; try: service nlbwmon status", request, c.Path, err)
}
