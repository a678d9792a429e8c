package ledgertest

import (
	"fmt"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Config is a router's setting.
type Config struct {
	Clock    time.Time     // the wall clock at the first boot
	Refresh  time.Duration // nlbwmon's refresh_interval
	Commit   time.Duration // nlbwmon's commit_interval
	Limit    int           // nlbwmon's database_limit; 0 is none
	Interval nlbwmon.Interval
	Compress bool
	Flash    bool // the database directory outlives a reboot
}

// Count is one addition to nlbwmon's table.
type Count struct {
	Key Key
	usage.Counters
}

// saved is a file of rows.
type saved struct {
	rows []usage.Record
	seen Seen
	at   time.Duration
	wall time.Time
}

// Seen is how much of a Router's past a reading shows.
type Seen struct {
	Counts int           // of Router.Counted
	Rolls  int           // of Router.RolledFrom
	Life   time.Duration // Router.Daemon when it was written
}

// files of a period; nlbwmon reads the compressed one if there are both.
type files struct{ plain, gz *saved }

// Router is the simulated router.
type Router struct {
	Config
	Boot    int
	Now     time.Duration // since boot
	Counted []Count       // all that ever went into the table, in time's order

	wallOff   time.Time // the wall clock at Now 0
	dir       map[nlbwmon.Period]*files
	snapshot  *saved // /tmp/0.db
	flows     []*Flow
	neighbour map[byte]usage.MAC

	Daemon      time.Duration // when nlbwmon began, and no two lives alike; 0 while it is down
	lives       int
	table       *table
	period      nlbwmon.Period // of the table (the header's timestamp)
	pristine    bool
	compress    bool // as it was when nlbwmon began
	nextRefresh time.Duration
	nextCommit  time.Duration
	RolledFrom  []nlbwmon.Period // each period the table was emptied of, ever
	ClockBack   bool             // the clock was set back since the test last cleared this
	WasFull     bool             // the table was at its limit since the test last cleared this
	Merges      int              // merges that were left out, see the package comment
}

// Flow is a conntrack entry with what passed since nlbwmon last asked.
type Flow struct {
	Host byte // the last byte of its address
	Port uint16
	rx   usage.Counters
}

// New boots a router for the first time, with nlbwmon running.
func New(c Config) *Router {
	r := &Router{Config: c, Boot: 1, wallOff: c.Clock, dir: map[nlbwmon.Period]*files{}, neighbour: map[byte]usage.MAC{}}
	r.Start()
	return r
}

// Wall is what the router's clock shows.
func (r *Router) Wall() time.Time { return r.wallOff.Add(r.Now) }

func (r *Router) clockPeriod() nlbwmon.Period { return r.Interval.Period(r.Wall(), 0) }

// Period is the header's timestamp of the running daemon.
func (r *Router) Period() nlbwmon.Period { return r.period }

// AtLimit tells whether the table is full.
func (r *Router) AtLimit() bool {
	return r.table != nil && r.table.limit > 0 && len(r.table.rows) >= r.table.limit
}

// Step lets time pass; nlbwmon's timers fire in it.
func (r *Router) Step(d time.Duration) {
	end := r.Now + d
	for r.Daemon != 0 && min(r.nextRefresh, r.nextCommit) <= end {
		if r.nextCommit < r.nextRefresh {
			r.Now = r.nextCommit
			r.nextCommit += r.Config.Commit
			r.persist(r.clockPeriod())
			continue
		}
		r.Now = r.nextRefresh
		r.nextRefresh += r.Refresh
		r.refresh()
	}
	r.Now = end
}

// StepClock sets the wall clock forth or back.
func (r *Router) StepClock(d time.Duration) {
	r.wallOff = r.wallOff.Add(d)
	r.ClockBack = r.ClockBack || d < 0
}

// SetMAC changes who answers for a host's address; the zero MAC is nobody.
func (r *Router) SetMAC(host byte, mac usage.MAC) { r.neighbour[host] = mac }

// Open begins a flow: conntrack's NEW event.
func (r *Router) Open(host byte, port uint16) *Flow {
	f := &Flow{Host: host, Port: port}
	r.flows = append(r.flows, f)
	if r.Daemon != 0 {
		r.archive()
		r.count(r.record(f, usage.Counters{}), true)
	}
	return f
}

// Flows are the open ones.
func (r *Router) Flows() []*Flow { return r.flows }

// Move lets a flow carry bytes.
func (r *Router) Move(f *Flow, rx, tx uint64) {
	f.rx.Add(usage.Counters{RxBytes: rx, RxPackets: rx/1400 + 1, TxBytes: tx, TxPackets: tx/1400 + 1})
}

// Shut ends flow i: conntrack's DESTROY event, with the last bytes.
func (r *Router) Shut(i int) {
	f := r.flows[i]
	r.flows = append(r.flows[:i:i], r.flows[i+1:]...)
	if r.Daemon != 0 {
		r.archive()
		r.count(r.record(f, f.rx), false)
	}
}

func (r *Router) record(f *Flow, c usage.Counters) usage.Record {
	mac, ok := r.neighbour[f.Host]
	if !ok {
		mac = usage.MAC{2, 0, 0, 0, 0, f.Host}
	}
	return usage.Record{
		Family: usage.FamilyIPv4, Proto: 6, Port: f.Port, MAC: mac, Addr: [16]byte{192, 168, 77, f.Host},
		Conns: c.Conns, RxBytes: c.RxBytes, RxPackets: c.RxPackets, TxBytes: c.TxBytes, TxPackets: c.TxPackets,
	}
}

// count is parse_event: an event or a dump that may insert counts a
// connection, any other only adds to a row that is there.
func (r *Router) count(rec usage.Record, insert bool) {
	if insert {
		rec.Conns = 1
		r.table.insert(rec)
	} else if !r.table.update(rec) {
		return
	}
	r.Counted = append(r.Counted, Count{KeyOf(&rec), rec.Counters()})
	r.WasFull = r.WasFull || r.AtLimit()
}

// conntrack is nfnetlink_dump: all flows' counters are read and zeroed.
func (r *Router) conntrack(insert bool) {
	for _, f := range r.flows {
		r.count(r.record(f, f.rx), insert)
		f.rx = usage.Counters{}
	}
}

// String says where the router stands.
func (r *Router) String() string {
	rows := -1
	if r.table != nil {
		rows = len(r.table.rows)
	}
	return fmt.Sprintf("boot %d +%s, clock %s, nlbwmon %s, period %d, %d rows, %d counts",
		r.Boot, r.Now, r.Wall().Format("2006-01-02 15:04:05"), r.Daemon, r.period, rows, len(r.Counted))
}

// Skip lets a long time pass at the cost of one refresh and one commit: while
// nothing else happens the others change nothing, but that the clock may pass
// several periods at once, as it does where no event and no refresh falls into
// a whole one.
func (r *Router) Skip(d time.Duration) {
	r.Now += d
	r.nextRefresh = max(r.nextRefresh, r.Now)
	r.nextCommit = max(r.nextCommit, r.Now)
}
