// Package source is where nlbwmon's counters come from: the live snapshot
// file, the control socket, the nlbw command, a period file or a file someone
// names. It chooses, and each reading says which answered, how old that is,
// and why the better ones did not.
package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// The names of the sources, in the order Auto tries them.
const (
	Auto     = "auto"
	Nlbwmon  = "nlbwmon" // as Auto, but nothing besides nlbwmon's own table
	Rows     = "rows"    // as Nlbwmon, but no text of nlbw: its rows are not told apart as nlbwmon's are
	Snapshot = "snapshot"
	Socket   = "socket"
	Nlbw     = "nlbw"
	File     = "file"   // of a period, in nlbwmon's database directory
	SQLite   = "sqlite" // a file another program keeps, such as /tmp/nlbw.db
)

// Router is one router's nlbwmon. Its fields are set once.
type Router struct {
	SnapshotPath string
	SocketPath   string
	SocketWithin time.Duration // of one exchange with nlbwmon; 0 is nlbwmon.DefaultTimeout
	LockPath     string        // of the one reader a router may have
	NlbwPath     string        // the stock client
	NlbwWithin   time.Duration // of one run of it; 0 is 10 s
	SQLitePath   string        // of the SQLite file that may be there, /tmp/nlbw.db; "" for none
	Service      FindService   // for rows of such a file that name a service and no port; nil knows none
	DatabaseDir  string
	Refresh      time.Duration     // nlbwmon's refresh interval
	Order        nlbwmon.AddrOrder // how IPv4 is stored; OrderGuess for a router that is not this machine
	Location     *time.Location    // the router's zone, which names periods
	Now          func() time.Time
	Kernel       *Kernel // what stands in for nlbwmon; nil for nothing
	Kept         *Kept   // the daemon's memory of the last snapshot; nil reads it each time
}

// FindService tells a protocol and port by the name of their service.
type FindService func(name string) (proto uint8, port uint16, ok bool)

// Request says what to read.
type Request struct {
	Source string         // a name above, or the path of a database file; "" is Auto
	Period nlbwmon.Period // 0: the one that runs now
}

// Attempt is a source that was asked and could not serve.
type Attempt struct {
	Source string
	Err    error
}

// Reading is who answered.
type Reading struct {
	Source   string
	Period   nlbwmon.Period // 0 if unknown
	Interval nlbwmon.Interval
	AsOf     time.Time // when nlbwmon last brought the rows up to date, as far as known
	Rows     int
	Order    nlbwmon.AddrOrder
	Guessed  bool      // the order was told by the look of the addresses
	Tried    []Attempt // better sources that failed
	Damage   error     // the source broke off; the rows before that are good

	// Blind is what a source other than nlbwmon cannot see, for a person.
	Blind      []string
	Interfaces []usage.Interface    // the whole answer of the source of that name
	Table      string               // of the SQLite file that was read
	Hostnames  map[usage.MAC]string // as the source itself knows them; nlbwmon knows none
}

// Read fills sink from the best source that serves the request. With Auto
// that is, for the running period, the live snapshot if it is whole and
// younger than two refreshes, then the socket, then the nlbw command, then
// the SQLite file if there is one, then what the kernel counts; for a
// closed period its file, which costs nlbwmon nothing, then the socket, then
// the command. An error is of kind Unavailable, NotFound or Invalid, and says
// what each source answered. A named file that breaks off is no error: the
// good rows are there and Reading.Damage says what is wrong.
func (r *Router) Read(ctx context.Context, req Request, sink usage.Sink) (Reading, error) {
	count := &counter{Sink: sink}
	reading, err := r.read(ctx, req, count)
	reading.Rows = count.rows
	return reading, err
}

func (r *Router) read(ctx context.Context, req Request, sink usage.Sink) (Reading, error) {
	var order []string
	switch req.Source {
	case Auto, "":
		order = []string{Snapshot, Socket, Nlbw, SQLite, Conntrack, Stations, Interfaces}
		if r.Kernel == nil {
			order = order[:4]
		}
		if req.Period != 0 {
			order = []string{File, Socket, Nlbw}
		}
	case Nlbwmon:
		order = []string{Snapshot, Socket, Nlbw}
	case Rows:
		order = []string{Snapshot, Socket}
	case Snapshot, Socket, Nlbw, File, SQLite, Conntrack, Stations, Interfaces:
		order = []string{req.Source}
	default:
		return r.readFile(ctx, req, sink)
	}
	var tried []Attempt
	for _, name := range order {
		reading, err := r.readOne(ctx, name, req.Period, sink)
		if err == nil {
			reading.Source, reading.Tried = name, tried
			return reading, nil
		}
		if ctx.Err() != nil {
			return Reading{}, fmt.Errorf("read nlbwmon: %w", context.Cause(ctx))
		}
		if name == SQLite && req.Source != SQLite && errors.Is(err, fs.ErrNotExist) {
			continue // hardly any router has one
		}
		tried = append(tried, Attempt{name, err})
	}
	return Reading{Tried: tried}, r.failed(req, tried)
}

func (r *Router) readOne(ctx context.Context, name string, period nlbwmon.Period, sink usage.Sink) (Reading, error) {
	switch name {
	case Snapshot:
		if period != 0 {
			return Reading{}, usage.Errorf(usage.Invalid, "the snapshot holds the running period only; leave the period out, or ask another source")
		}
		return r.readSnapshot(sink)
	case Socket:
		return r.readSocket(ctx, period, sink)
	case Nlbw:
		return r.readCommand(ctx, period, sink)
	case SQLite:
		return r.readSQLite(ctx, period, sink)
	case Conntrack, Stations, Interfaces:
		if period != 0 {
			return Reading{}, usage.Errorf(usage.Invalid, "the kernel has no periods; leave the period out, or ask another source")
		}
		return r.readKernel(ctx, name, sink)
	}
	if period == 0 {
		return Reading{}, usage.Errorf(usage.Invalid, "a period file needs its period as YYYY-MM-DD")
	}
	f, err := nlbwmon.OpenPeriod(r.DatabaseDir, period, r.Order)
	if err != nil {
		return Reading{}, err
	}
	reading, err := drain(f, sink)
	if err == nil && reading.Damage != nil {
		// Another source may have it whole; the file may be half rewritten.
		return Reading{}, reading.Damage
	}
	return reading, err
}

func (r *Router) readSocket(ctx context.Context, period nlbwmon.Period, sink usage.Sink) (Reading, error) {
	header, err := r.Client("").Dump(ctx, period, func(nlbwmon.Header) { sink.Begin(0) }, sink.Add)
	if err != nil {
		return Reading{}, err
	}
	reading := Reading{Period: header.Period, Interval: header.Interval, Order: r.clientOrder()}
	if period != 0 {
		reading.Period = period // the header bears the running one whatever was asked
	} else {
		reading.AsOf = r.Refreshed()
	}
	return reading, nil
}

// readSQLite reads the SQLite file some programs keep where nlbwmon has none.
func (r *Router) readSQLite(ctx context.Context, period nlbwmon.Period, sink usage.Sink) (Reading, error) {
	if period != 0 {
		return Reading{}, usage.Errorf(usage.Invalid, "an SQLite file has no periods; leave the period out")
	}
	if _, err := os.Stat(r.SQLitePath); err != nil {
		return Reading{}, err // names the path
	}
	return readSQLite(ctx, r.SQLitePath, r.Service, sink)
}

// readFile reads the database file that a person named, of any router and
// either kind.
func (r *Router) readFile(ctx context.Context, req Request, sink usage.Sink) (Reading, error) {
	if req.Period != 0 {
		return Reading{}, usage.Errorf(usage.Invalid, "a named file is a period of its own; leave the period out")
	}
	if isSQLite(req.Source) {
		return readSQLite(ctx, req.Source, r.Service, sink)
	}
	f, err := nlbwmon.OpenFile(req.Source, nlbwmon.OrderGuess)
	switch {
	case errors.Is(err, fs.ErrNotExist) && !strings.ContainsAny(req.Source, "./"):
		return Reading{}, usage.Errorf(usage.Invalid, "no source %q; choose auto, snapshot, socket, nlbw, sqlite, conntrack, stations, interfaces, or give the path of a database file", req.Source)
	case errors.Is(err, fs.ErrNotExist):
		return Reading{}, usage.Errorf(usage.NotFound, "%w", err)
	case err != nil:
		return Reading{}, usage.Errorf(usage.Unavailable, "%w", err)
	}
	reading, err := drain(f, sink)
	reading.Source = filepath.Clean(req.Source)
	return reading, err
}

// drain reads an open database file to its end and closes it.
func drain(f *nlbwmon.File, sink usage.Sink) (Reading, error) {
	defer f.Close()
	order, guessed := f.Order()
	reading := Reading{Period: f.Header().Period, Interval: f.Header().Interval, AsOf: f.ModTime(), Order: order, Guessed: guessed}
	sink.Begin(0)
	reading.Damage = each(f, sink.Add)
	return reading, nil
}

// failed says what every source answered and what to do.
func (r *Router) failed(req Request, tried []Attempt) error {
	if len(tried) == 1 {
		err := tried[0].Err
		switch {
		case usage.KindOf(err) != usage.Internal:
			return err
		case req.Period != 0 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, nlbwmon.ErrEmpty)):
			return usage.Errorf(usage.NotFound, "%w; see: netpilot-agent nlbw -c list", err)
		case errors.Is(err, fs.ErrNotExist):
			return usage.Errorf(usage.NotFound, "%w", err)
		}
		return usage.Errorf(usage.Unavailable, "%w", err)
	}
	absent := false // said by nlbwmon itself, not for want of an answer
	var text strings.Builder
	for _, t := range tried {
		absent = absent || req.Period != 0 && errors.Is(t.Err, nlbwmon.ErrEmpty)
		if text.Len() > 0 {
			text.WriteString("; ")
		}
		fmt.Fprintf(&text, "%s: %v", t.Source, t.Err)
	}
	if absent {
		return usage.Errorf(usage.NotFound, "no period %s on this router; see: netpilot-agent nlbw -c list (%s)", req.Period, text.String())
	}
	return usage.Errorf(usage.Unavailable, "nlbwmon cannot be read; is it running? try: service nlbwmon status (%s)", text.String())
}

// each calls visit for every row of rows; an error says what broke off.
func each(rows nlbwmon.Rows, visit func(*usage.Record)) error {
	var rec usage.Record
	for {
		switch err := rows.Next(&rec); err {
		case nil:
			visit(&rec)
		case io.EOF: // alone, unwrapped: the end of whole data
			return nil
		default:
			return err
		}
	}
}

// counter counts the rows of the last attempt.
type counter struct {
	usage.Sink
	rows int
}

func (c *counter) Begin(rows int) {
	c.rows = 0
	c.Sink.Begin(rows)
}

func (c *counter) Add(r *usage.Record) {
	c.rows++
	c.Sink.Add(r)
}
