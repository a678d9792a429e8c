// Package truth tells whether the router's counting is right, and why not: a
// table of checks, each with its evidence and its cure, which doctor runs and
// of which every usage answer carries what matters to it, and a meter that
// compares what was attributed to devices with what the WAN moved.
//
// A check reads the router's files below a root and asks the kernel through a
// narrow interface. It has a deadline, changes nothing, and what it cannot
// look at is a note and never a guess.
package truth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/netpilot/netpilot/agent/config"
	"github.com/netpilot/netpilot/agent/netfilter"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/agent/uplink"
	"github.com/netpilot/netpilot/pkg/sorting"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Severity is how bad a finding is.
type Severity string

// The severities. A router with nothing but notes is healthy.
const (
	Error   Severity = "error"   // nothing, or not the truth, is counted or delivered
	Warning Severity = "warning" // something is wrong, or soon will be
	Note    Severity = "note"    // good to know
)

// Finding is what a check found.
type Finding struct {
	ID       string   `json:"id"`
	Severity Severity `json:"severity"`
	Text     string   `json:"text"`
	Evidence string   `json:"evidence"` // what was seen, and where
	Cure     string   `json:"cure"`     // one line
	Undo     string   `json:"undo"`     // one line, "" where there is nothing to undo
	Fixable  bool     `json:"fixable"`  // doctor --fix ID does it
	Fixed    bool     `json:"fixed"`    // it was done, and can be undone

	skews bool // it makes the numbers wrong
	fix   *fix // nil: it cannot be automated
}

// Report is what all checks found, the worst first.
type Report struct {
	Healthy  bool      `json:"healthy"` // no errors, no warnings
	Findings []Finding `json:"findings"`
}

// Kernel is what the checks ask of the running system besides its files.
type Kernel interface {
	// Flowtables lists nftables' flowtables.
	Flowtables(context.Context) ([]netfilter.Flowtable, error)
	// Event makes a flow to port and tells whether listeners are told of it.
	Event(context.Context) (heard bool, port int, err error)
	// Space is what is free on path's file system, and all of it, in bytes.
	Space(path string) (free, size uint64, err error)
	// Service runs an init script's action.
	Service(ctx context.Context, path, action string) error
}

// Daemon is what only the running agent knows.
type Daemon struct {
	Running   bool
	Silent    bool            // it runs and did not say how it is
	Link      bool            // the link to the relay is up
	LinkError *uplink.Failure // why not; nil if unknown
	History   string          // what is wrong with the history, "" if nothing
	Flood     string          // what MAC flood there is, "" if none
	Counting  *usage.Counting // by its meter
}

// Router is one router to examine. Its exported fields are set once.
type Router struct {
	Root    Root
	Kernel  Kernel // nil if the files are not those of this machine
	Nlbwmon config.Nlbwmon
	Source  *source.Router
	Build   time.Time // a clock before it is not set
	Now     func() time.Time
	Relay   string // host of the relay, "" if not enrolled
	Secure  bool   // the relay is reached by https
	CAFile  string // as configured
	// Probe tries to reach the relay once, up to its word on the secret, and
	// Reach only up to verified TLS, which disturbs no link; nil where there is
	// nothing to try.
	Probe, Reach func(context.Context) error
	// Daemon asks the running agent; never nil.
	Daemon func(context.Context) Daemon

	patience time.Duration // bounds a check; 0 is within

	mu      sync.Mutex       // guards below
	hanging map[string]*look // by check: what nobody waits for any more
}

// check is one family of findings.
type check struct {
	name string
	ids  string // of all it may find
	// quick checks only read small files or ask the kernel: each usage answer
	// rests on them.
	quick bool
	run   func(context.Context, *Router) ([]Finding, error)
}

// checks is the table of all.
func checks() []check {
	return []check{
		{"config", "config-damaged", false, checkConfig},
		{"nlbwmon", "nlbwmon-missing nlbwmon-stopped nlbwmon-frozen nlbwmon-permission nlbwmon-failing", false, checkNlbwmon},
		{"conntrack", "conntrack-missing conntrack-acct conntrack-events-off", true, checkConntrack},
		{"events", "conntrack-events", false, checkEvents},
		{"netlink", "netlink-drops rmem-max", true, checkNetlink},
		{"offload", "offload-software offload-hardware", true, checkOffload},
		{"networks", "local-network wan-local", true, checkNetworks},
		{"table", "table-full", true, checkTable},
		{"interval", "period-interval", true, checkInterval},
		{"database", "database-ram stale-gz", false, checkDatabase},
		{"disk", "disk-full", false, checkDisk},
		{"clock", "clock-unset", true, checkClock},
		{"relay", "ca-bundle not-enrolled relay-dns relay-connect relay-tls relay-clock relay-token relay-config relay-other", false, checkRelay},
		{"agent", "agent-stopped agent-silent history mac-flood accuracy", false, checkAgent},
	}
}

const (
	// within bounds a check.
	within = 4 * time.Second
	// grace is how much longer all of them may take, with one that hangs where
	// no deadline reaches: in the kernel, at a file of a mount whose server is
	// gone. On a busy router a check whose time is over needs some of it to say
	// what it has found.
	grace = 900 * time.Millisecond
)

// Examine runs every check. It returns within five seconds whatever hangs.
func (r *Router) Examine(ctx context.Context) Report {
	rep := Report{Healthy: true, Findings: append([]Finding{}, r.examine(ctx, checks())...)} // a list in JSON, also without any
	for i := range rep.Findings {
		f := &rep.Findings[i]
		f.Fixable = f.fix != nil
		f.Fixed = r.recorded(f.ID)
		if f.fix != nil && f.Undo == "" {
			f.Undo = "netpilot-agent doctor --undo " + f.ID
		}
		rep.Healthy = rep.Healthy && f.Severity == Note
	}
	return rep
}

func (r *Router) examine(ctx context.Context, table []check) []Finding {
	patience := cmp.Or(r.patience, within)
	all, cancelAll := context.WithTimeout(ctx, patience+grace)
	defer cancelAll()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	looks := make([]*look, len(table))
	for i, c := range table {
		looks[i] = r.look(ctx, c)
	}
	var found []Finding
	for i, c := range table {
		l := looks[i]
		select {
		case <-l.done:
		case <-all.Done():
		}
		if l.over() {
			found = append(found, l.found...)
			continue
		}
		r.leave(c, l)
		found = append(found, unread(c, errHangs))
	}
	rank := map[Severity]int{Error: 0, Warning: 1, Note: 2}
	sorting.Stable(found, func(a, b Finding) int { return cmp.Compare(rank[a.Severity], rank[b.Severity]) })
	return found
}

var errHangs = errors.New("a file or the kernel does not answer; is the server of a network file system gone? (see: mount)")

// look is one run of a check.
type look struct {
	done  chan struct{} // closed when it is over
	found []Finding     // then
}

func (l *look) over() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// look begins a check. One that an earlier look still hangs in is not begun
// again: that look is given, so that there is never more than one.
func (r *Router) look(ctx context.Context, c check) *look {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.hanging[c.name]; l != nil && !l.over() {
		return l
	}
	delete(r.hanging, c.name)
	l := &look{done: make(chan struct{})}
	go func() { // ends with the check: by its context, or when the kernel lets go of it
		defer close(l.done)
		found, err := c.run(ctx, r)
		if err != nil {
			found = append(found, unread(c, err))
		}
		l.found = found
	}()
	return l
}

// leave notes that nobody waits for a look any more.
func (r *Router) leave(c check, l *look) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.hanging == nil {
		r.hanging = make(map[string]*look)
	}
	r.hanging[c.name] = l
}

// unread says that a check could not look.
func unread(c check, err error) Finding {
	f := Finding{ID: unreadID(c), Severity: Note, Evidence: usage.Clean(err.Error(), 300),
		Text: "could not look at " + c.name, Cure: "run netpilot-agent doctor as root on the router"}
	if !errors.Is(err, fs.ErrPermission) {
		f.Cure = "look at the file or command it names"
	}
	return f
}

func unreadID(c check) string { return c.name + "-unread" }

// Quick is what the checks that cost little find. It is for each usage answer
// and should be remembered for a while.
func (r *Router) Quick(ctx context.Context) []Finding {
	table := slices.DeleteFunc(checks(), func(c check) bool { return !c.quick })
	return r.examine(ctx, table)
}

// Find runs the checks until the one finding, for a fix.
func (r *Router) find(ctx context.Context, id string) (*Finding, error) {
	table := slices.DeleteFunc(checks(), func(c check) bool { return !slices.Contains(strings.Fields(c.ids), id) })
	if len(table) == 0 || id == "" {
		return nil, usage.Errorf(usage.Invalid, "no check finds %q; see: netpilot-agent doctor", usage.Clean(id, 64))
	}
	for _, f := range r.examine(ctx, table) {
		switch f.ID {
		case id:
			return &f, nil
		case unreadID(table[0]):
			return nil, usage.Errorf(usage.Unavailable, "%s: %s: %s", id, f.Text, f.Evidence)
		}
	}
	return nil, usage.Errorf(usage.NotFound, "%s: nothing to fix now", id)
}

// IDs are all that doctor may find.
func IDs() []string {
	var ids []string
	for _, c := range checks() {
		ids = append(ids, strings.Fields(c.ids)...)
	}
	return ids
}

// Reasons are the findings that make numbers wrong, as reasons of a Counting.
func Reasons(c *usage.Counting, found []Finding) {
	for _, f := range found {
		if f.skews {
			c.Add(true, usage.Reason{ID: f.ID, Text: f.Text, Cure: f.Cure})
		}
	}
}

func sprintf(format string, args ...any) string {
	return usage.Clean(fmt.Sprintf(format, args...), 400)
}
