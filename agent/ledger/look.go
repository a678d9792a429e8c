package ledger

import (
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Instant is a moment by the router's monotonic clock, which runs on while
// the wall clock is unset or jumps.
type Instant struct {
	Boot  string        // the kernel's boot id (/proc/sys/kernel/random/boot_id)
	Since time.Duration // since that boot, sleep included (CLOCK_BOOTTIME)
}

// Source is which of nlbwmon's two doors the rows came through. They differ
// in what a restart may set back, see the package comment.
type Source uint8

// The sources of a look.
const (
	Socket   Source = iota + 1 // the table as it is now; the header's period is the daemon's own
	Snapshot                   // /tmp/0.db, the table at nlbwmon's last refresh; its period is told by the file's time
)

// Unlimited and UnknownLimit are the values of Look.Limit that are no limit.
const (
	Unlimited    = 0
	UnknownLimit = -1
)

// Look says when and how the rows now in the ledger's sink were read.
type Look struct {
	// Instant is when the rows were true: for a snapshot when nlbwmon wrote
	// it, not when it was read.
	Instant
	Source   Source
	Period   nlbwmon.Period   // 0: unknown
	Interval nlbwmon.Interval // kept for the reader of Batch; the ledger does not compute periods
	Limit    int              // nlbwmon's database_limit; Unlimited or UnknownLimit
	// Daemon is when the running nlbwmon began, since boot, as its process
	// tells; 0: unknown. It must be read before and after the rows and be the
	// same. Without it a restart that sets nothing back goes unseen. A
	// snapshot from before it is another life's and refused.
	Daemon time.Duration
	// LinkSpeed is Options.LinkSpeed where it is known better now; 0: it is not.
	LinkSpeed uint64
	// ClockBack: the wall clock was set back since the last look that
	// succeeded, at its reading or later. nlbwmon
	// then saves under an older period's name, and no file proves anything.
	// Comparing the clock's offset at each look tells it, but for a step back
	// and forth; timerfd_create(2) with TFD_TIMER_CANCEL_ON_SET tells all.
	ClockBack bool
}

// Fetched is what became of the request for a period's file.
type Fetched uint8

// What a Fetcher found.
const (
	Gone    Fetched = iota // no such file, or one nlbwmon refuses
	Whole                  // all rows were delivered
	Damaged                // the rows before the damage were delivered
	Twofold                // whole, but X.db lies beside X.db.gz: one of them is old, and nlbwmon reads the latter
	Both                   // Damaged and Twofold
)

// Fetcher reads the files in nlbwmon's database directory for the ledger. It
// is called within Observe, only at first looks, period changes, restarts and
// reboots. An error means "not now": the same question may be answered later.
type Fetcher interface {
	// Periods lists the periods that have a file, in any order.
	Periods() ([]nlbwmon.Period, error)
	// Fetch delivers the rows of p's file as nlbwmon itself would read it: as
	// committed if p still runs, else as closed. The header of a socket's
	// answer is not that of the file, so only p counts.
	Fetch(p nlbwmon.Period, sink usage.Sink) (Fetched, error)
	// Written is when p's file was last written, by the router's clock; zero if
	// that is not known. Only the order of such times counts.
	Written(p nlbwmon.Period) time.Time
}
