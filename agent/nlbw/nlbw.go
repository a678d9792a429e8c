// Package nlbw answers the options of stock nlbw, nlbwmon's client, with the
// same bytes and exit codes as the build for musl that OpenWrt ships (client.c
// of nlbwmon at 2025-06-02). It exists so that whatever called nlbw, a script
// or the backend, can call netpilot and notice nothing but the speed.
//
// Ours are: the live table comes from the snapshot file where that is whole
// and fresh, unless -S names a socket, and counts from the last reset; nothing
// waits for ever; and what the product's plan took nlbw to have: -t 1, 24, 168
// or 720 (hours, from the router's history), -z (reset), -i (names of the
// devices), -d FILE (a database file).
package nlbw

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Daemon is where the rows come from.
type Daemon interface {
	// Live reads the table as it is now.
	Live(ctx context.Context, sink usage.Sink) error
	// Dump reads a period from the control socket at path, "" for the usual
	// one; period 0 is the live table.
	Dump(ctx context.Context, path string, period nlbwmon.Period, sink usage.Sink) error
	// List asks the daemon for its periods, newest first.
	List(ctx context.Context, path string) ([]nlbwmon.Period, error)
	// Commit makes the daemon write its database; the reply is its text.
	Commit(ctx context.Context, path string) (string, error)
	// History delivers what passed in the last so many hours by subject, one
	// of device, service and family, as rows that bear that subject alone.
	History(ctx context.Context, hours int, subject string, sink usage.Sink) error
	// Reset makes Live count from now on.
	Reset(ctx context.Context) error
	// File reads the database file at path, which may break off: damage then
	// says so, and the rows before that are good.
	File(ctx context.Context, path string, sink usage.Sink) (order nlbwmon.AddrOrder, damage, err error)
	// Names tells who the devices are; nil if that is not known.
	Names() usage.Names
	// Protocols is the path of the protocols file nlbwmon is set up with.
	Protocols() string
	// Order is how that daemon stores IPv4 addresses.
	Order() nlbwmon.AddrOrder
}

// Run does what the program nlbw does with args, its own name left out, and
// returns its exit code. Results go to stdout, complaints to stderr.
func Run(ctx context.Context, args []string, d Daemon, stdout, stderr io.Writer) int {
	o, exit, ok := parse(args, stderr)
	if !ok {
		return exit
	}
	path := o.protocols
	if path == "" {
		path = d.Protocols()
	}
	protocols, err := nlbwmon.LoadProtocols(path)
	if err != nil {
		fmt.Fprintf(stderr, "Unable to read protocol list %s: %s\n", path, strerror(err))
		return exitFailed
	}
	exit, reason := run(ctx, o, protocols, d, stdout)
	if reason != "" {
		fmt.Fprintf(stderr, "Error while processing command: %s\n", reason)
	}
	return exit
}

// Needs is what a command line would do.
type Needs struct {
	Write  bool // it makes nlbwmon write to its disk, or resets
	Files  bool // it names files of this router
	Daemon bool // it needs the agent's daemon: for the history, or for its reset
}

// NeedsOf reads args as Run does.
func NeedsOf(args []string) Needs {
	o, _, _ := parse(args, io.Discard)
	return Needs{
		Write:  o.command == "commit" || o.reset,
		Files:  o.socket != "" || o.protocols != "" || o.file != "",
		Daemon: o.hours > 0 || o.reset,
	}
}

// run is one command. The reason is "" where it succeeded.
func run(ctx context.Context, o options, protocols *nlbwmon.Protocols, d Daemon, stdout io.Writer) (exit int, reason string) {
	if o.reset {
		if err := d.Reset(ctx); err != nil {
			return exitFailed, err.Error()
		}
		return exitDone, ""
	}
	switch o.command {
	case "list":
		periods, err := d.List(ctx, o.socket)
		if err != nil {
			return failure(err)
		}
		return written(list(stdout, periods))
	case "commit":
		reply, err := d.Commit(ctx, o.socket)
		if err != nil {
			return failure(err)
		}
		if _, err := fmt.Fprintln(stdout, reply); err != nil {
			return written(err)
		}
		return committed(reply)
	}
	t := newTable(o.group, d.Order())
	t.Begin(0)
	var damage, err error
	switch {
	case o.file != "":
		t.order, damage, err = d.File(ctx, o.file, t)
	case o.hours > 0:
		err = d.History(ctx, o.hours, subjects[o.group[0]], t)
	case o.period == 0 && o.socket == "":
		err = d.Live(ctx, t)
	default:
		err = d.Dump(ctx, o.socket, nlbwmon.Period(o.period), t)
	}
	if err != nil && (o.file != "" || o.hours > 0) {
		return exitFailed, err.Error()
	}
	if err != nil {
		return failure(err)
	}
	t.sort(o.order)
	p := &printer{w: stdout, buf: make([]byte, 0, flushAt+4<<10), protocols: protocols}
	if o.names {
		p.extra, p.names = true, d.Names()
		p.device = slices.Contains(o.group, colMAC) || slices.Contains(o.group, colHost)
	}
	if exit, reason = p.print(t, &o); damage != nil && exit == exitDone {
		return exitFailed, "only the good part is printed: " + damage.Error()
	}
	return exit, reason
}

// print writes the table as the command says.
func (p *printer) print(t *table, o *options) (exit int, reason string) {
	switch o.command {
	case "json":
		return written(p.json(t))
	case "csv":
		return written(p.csv(t, o))
	}
	return written(p.show(t, o))
}

// failure maps what went wrong with the daemon to stock nlbw's few answers:
// no socket, one that refuses or may not be opened all read "Bad file
// descriptor", and a reply that is missing or cut "No data available".
func failure(err error) (int, string) {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.ECONNREFUSED):
		return exitNoDaemon, "Bad file descriptor"
	case errors.Is(err, os.ErrDeadlineExceeded), errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled), usage.KindOf(err) == usage.Timeout:
		return exitTimedOut, "Operation timed out"
	}
	return exitNoData, "No data available"
}

func written(err error) (int, string) {
	if err != nil {
		return exitFailed, "write: " + err.Error()
	}
	return exitDone, ""
}

// committed reads the errno that opens the daemon's reply, as nlbw does.
func committed(reply string) (int, string) {
	number, _, _ := strings.Cut(reply, " ")
	errno, err := strconv.Atoi(number)
	if err != nil || errno == 0 {
		return exitDone, ""
	}
	text, ok := musl[syscall.Errno(errno)]
	if !ok {
		text = "No error information"
	}
	return -errno & 0xff, text
}

// musl is its strerror for what nlbwmon's commit and opening a file can meet.
var musl = map[syscall.Errno]string{
	syscall.EPERM:        "Operation not permitted",
	syscall.ENOENT:       "No such file or directory",
	syscall.EIO:          "I/O error",
	syscall.EBADF:        "Bad file descriptor",
	syscall.ENOMEM:       "Out of memory",
	syscall.EACCES:       "Permission denied",
	syscall.EEXIST:       "File exists",
	syscall.ENOTDIR:      "Not a directory",
	syscall.EISDIR:       "Is a directory",
	syscall.EINVAL:       "Invalid argument",
	syscall.EMFILE:       "No file descriptors available",
	syscall.EFBIG:        "File too large",
	syscall.ENOSPC:       "No space left on device",
	syscall.EROFS:        "Read-only file system",
	syscall.ERANGE:       "Result not representable",
	syscall.ELOOP:        "Symbolic link loop",
	syscall.ENAMETOOLONG: "Filename too long",
	syscall.EDQUOT:       "Quota exceeded",
}

func strerror(err error) string {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		if text, ok := musl[errno]; ok {
			return text
		}
	}
	return "No error information"
}
