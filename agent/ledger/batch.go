package ledger

import (
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Kind is why a gap was declared. Kinds are appended, never renumbered.
type Kind uint8

// The kinds of gap.
const (
	_         Kind = iota
	Reboot         // the router rebooted: what no commit kept is lost
	Restart        // nlbwmon restarted: what it counted since its last save may be lost, and while it was down it counted nothing
	Limit          // the table is full: rows may have been overwritten before they were read
	Tail           // a closed period's file is gone, damaged or not its last state
	Unread         // a period's file could not be read in several looks
	Ambiguous      // two explanations fit the rows; the one that counts less was taken
	Hidden         // the table was emptied with no change of period to be seen
	StateLost      // the ledger's own state was lost
)

var kindTexts = [...]string{
	Reboot:    "the router rebooted; what nlbwmon had not saved is lost",
	Restart:   "nlbwmon restarted; what it had not saved, and what passed while it was down, is lost",
	Limit:     "nlbwmon's table is full and rows were overwritten; raise database_limit",
	Tail:      "the closed period's file is gone or damaged",
	Unread:    "the period's file could not be read",
	Ambiguous: "the counters allow two explanations; the smaller was taken",
	Hidden:    "nlbwmon emptied its table without a new period, as after a step of the clock",
	StateLost: "the agent's own state was lost",
}

var kindNames = [...]string{
	Reboot: "reboot", Restart: "restart", Limit: "limit", Tail: "tail", Unread: "unread",
	Ambiguous: "ambiguous", Hidden: "hidden", StateLost: "state_lost",
}

// String is the kind's name for machines, such as "restart".
func (k Kind) String() string {
	if k == 0 || int(k) >= len(kindNames) {
		return "unknown"
	}
	return kindNames[k]
}

// Text is the kind's meaning for a person.
func (k Kind) Text() string {
	if k == 0 || int(k) >= len(kindTexts) {
		return "unknown"
	}
	return kindTexts[k]
}

// Gap is a span in which bytes may be missing from the deltas. It says that
// they may; how many nobody can know.
type Gap struct {
	From, To Instant // may lie in different boots
	Kind     Kind
	Period   nlbwmon.Period // whose file is at fault; 0 if none
}

// Flags tell what the look found out about nlbwmon.
type Flags uint8

// The flags of a Batch.
const (
	First         Flags = 1 << iota // the first look: no deltas
	Rebooted                        // the boot id changed
	Restarted                       // nlbwmon restarted, as far as can be told
	PeriodChanged                   // nlbwmon emptied its table for a new period
	Full                            // as many rows as nlbwmon's limit, or more
)

// Has tells whether all of want are set.
func (f Flags) Has(want Flags) bool { return f&want == want }

// Batch is what one look adds. Its slices belong to the ledger and are
// overwritten by the next Observe.
type Batch struct {
	From, To Instant // the deltas were counted after From, up to To
	Period   nlbwmon.Period
	Flags    Flags
	// Deltas are keyed as nlbwmon's rows; their counters are differences and
	// never all zero. A key may come more than once: add them.
	Deltas []usage.Record
	// Quarantined deltas are above what the link can carry in the time. They
	// are no part of Deltas.
	Quarantined []usage.Record
	Gaps        []Gap
	// Before is, at the first look with Options.KeepBefore, the table as it
	// stood: usage of before anyone looked.
	Before []usage.Record

	Attributed int            // deltas of a zero MAC that Attribute found a device for
	Unresolved usage.Counters // the sum of Deltas that keep the zero MAC
}
