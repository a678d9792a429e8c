package nlbw

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Exit codes of stock nlbw. It returns the negated errno, of which a shell
// sees the low eight bits.
const (
	exitDone     = 0
	exitFailed   = 1
	exitNoData   = 256 - 61  // ENODATA
	exitNoDaemon = 256 - 9   // EBADF: it sends on the socket it failed to open
	exitTimedOut = 256 - 110 // ETIMEDOUT; stock nlbw would wait for ever
	maxFields    = 12        // as many as stock nlbw's table holds
	stockOptions = "c:p:S:g:o:t:s::q::e::n"
	ownOptions   = "zid:" // letters of our own
)

// column is a field of stock nlbw, in the order it prints them.
type column int8

const (
	colFamily column = iota
	colProto
	colPort
	colMAC
	colIP
	colConns
	colRxBytes
	colRxPackets
	colTxBytes
	colTxPackets
	colHost   // MAC and IP
	colLayer7 // proto and port
	columns
)

var columnNames = [columns]string{
	"family", "proto", "port", "mac", "ip", "conns", "rx_bytes", "rx_pkts", "tx_bytes", "tx_pkts", "host", "layer7",
}

// key is one field to order by.
type key struct {
	col        column
	descending bool
}

// options is a parsed command line of nlbw.
type options struct {
	command   string // show, json, csv, list, commit
	socket    string // "" where -S was not given
	protocols string // "" where -p was not given
	period    uint32 // YYYYMMDD; 0 is the live table
	group     []column
	order     []key
	plain     bool // -n
	separator byte
	quote     byte // 0: none
	escape    byte // 0: none

	// Ours.
	hours int    // -t 1, 24, 168 or 720: what the history has of them; 0: not asked
	reset bool   // -z
	names bool   // -i
	file  string // -d; "" where it was not given
}

// parse reads a command line. Where it returns false, what is wrong stands on
// stderr already and exit is the exit code.
func parse(args []string, stderr io.Writer) (o options, exit int, ok bool) {
	o = options{separator: '\t', quote: '"', escape: '"'}
	fail := func(format string, args ...any) (options, int, bool) {
		fmt.Fprintf(stderr, format+"\n", args...)
		return options{}, exitFailed, false
	}
	g := &getopt{args: args, spec: stockOptions + ownOptions, stderr: stderr}
	for opt, more := g.next(); more; opt, more = g.next() {
		switch opt.letter {
		case 'c':
			if slices.Contains([]string{"show", "json", "csv", "list", "commit"}, *opt.arg) {
				o.command = *opt.arg
			} else if o.command == "" { // behind a good one, stock nlbw overlooks it
				return fail("Unrecognized command '%s'", *opt.arg)
			}
		case 'S':
			o.socket = *opt.arg
		case 'p':
			o.protocols = *opt.arg
		case 'g', 'o':
			for rest, more := *opt.arg, true; more; {
				var name string
				whole := rest
				name, rest, more = strings.Cut(rest, ",")
				inverted := strings.HasPrefix(name, "-")
				if inverted && opt.letter == 'g' {
					return fail("Cannot invert group column")
				}
				col := slices.IndexFunc(columnNames[:], func(n string) bool {
					return strings.HasPrefix(n, strings.TrimPrefix(name, "-"))
				})
				if col < 0 {
					return fail("Unrecognized field '%s'", whole)
				}
				if len(o.group) == maxFields || len(o.order) == maxFields {
					return fail("More than %d fields after -%c", maxFields, opt.letter)
				}
				if opt.letter == 'g' {
					o.group = append(o.group, column(col))
				} else {
					o.order = append(o.order, key{column(col), inverted})
				}
			}
		case 't':
			if o.hours = map[string]int{"1": 1, "24": 24, "168": 168, "720": 720}[*opt.arg]; o.hours > 0 {
				o.period = 0 // as with two dates, the last one counts
				break
			}
			period, ok := scanDate(*opt.arg)
			if !ok {
				return fail("Unrecognized date '%s'", *opt.arg)
			}
			o.period = period
		case 'n':
			o.plain = true
		case 's':
			o.separator = first(opt.arg)
		case 'q':
			o.quote = first(opt.arg)
		case 'e':
			o.escape = first(opt.arg)
		case 'z':
			o.reset = true
		case 'i':
			o.names = true
		case 'd':
			o.file = *opt.arg
		}
	}
	if o.file != "" && o.command == "" {
		o.command = "show" // a file alone asks to be seen
	}
	if wrong := o.conflict(); wrong != "" {
		return fail("%s", wrong)
	}
	if len(o.group) == 0 && o.hours > 0 {
		o.group = []column{colHost}
	}
	if len(o.group) == 0 {
		o.group = []column{colFamily, colHost, colLayer7}
	}
	if len(o.order) == 0 {
		o.order = []key{{colRxBytes, true}, {colRxPackets, true}}
	}
	if o.command == "" && !o.reset {
		return fail("No command specified")
	}
	return o, exitDone, true
}

// conflict says which of our own options do not go together, "" if all do.
func (o *options) conflict() string {
	tables := o.command != "list" && o.command != "commit"
	switch {
	case o.reset && (o.command != "" || o.hours > 0 || o.file != "" || o.socket != "" || o.period != 0):
		return "-z resets and goes alone; print first, then reset"
	case o.file != "" && (!tables || o.hours > 0 || o.socket != "" || o.period != 0):
		return "-d reads one database file; it goes with -c json, csv or show, and without -t and -S"
	case o.hours > 0 && (!tables || o.socket != "" || o.period != 0):
		return "-t with hours goes with -c json, csv or show, and without -S"
	case o.hours > 0 && (len(o.group) > 1 || len(o.group) == 1 && subjects[o.group[0]] == ""):
		return "-t with hours: the history keeps devices, services and families apart; use one of -g host, mac, layer7, family"
	}
	return ""
}

// subjects are what the history can be grouped by, as usage.history calls it.
var subjects = [columns]string{colMAC: "device", colHost: "device", colLayer7: "service", colFamily: "family"}

// first is the first byte of an option's argument, 0 for none.
func first(arg *string) byte {
	if arg == nil || *arg == "" {
		return 0
	}
	return (*arg)[0]
}

// scanDate reads a date as scanf's "%4u-%2u-%2u" does: each number may follow
// blanks, and what comes after the third is ignored.
func scanDate(s string) (uint32, bool) {
	var period uint32
	for i, width := range [3]int{4, 2, 2} {
		if i > 0 {
			if s == "" || s[0] != '-' {
				return 0, false
			}
			s = s[1:]
		}
		s = strings.TrimLeft(s, " \t\n\v\f\r")
		n, digits := uint32(0), 0
		for digits < width && digits < len(s) && '0' <= s[digits] && s[digits] <= '9' {
			n = n*10 + uint32(s[digits]-'0')
			digits++
		}
		if digits == 0 {
			return 0, false
		}
		s = s[digits:]
		period = period*100 + n
	}
	return period, true
}
