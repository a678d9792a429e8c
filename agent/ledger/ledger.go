package ledger

import (
	"errors"
	"hash/maphash"
	"net/netip"
	"slices"
	"time"

	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// The errors of Observe. After each the ledger stands where it stood before:
// nothing is lost by looking again.
var (
	// ErrNoRows: Observe without a reading, see Begin.
	ErrNoRows = errors.New("ledger: no rows were read since the last look")
	// ErrTooMany: more rows than Options.MaxRows.
	ErrTooMany = errors.New("ledger: more rows than accepted")
	// ErrStale: the rows are not newer than those of the last look, or a
	// snapshot was written before nlbwmon began.
	ErrStale = errors.New("ledger: rows older than the last look")
	// ErrAgain: the Fetcher could not answer now. After Options.Patience
	// looks the ledger goes on without and declares a gap.
	ErrAgain = errors.New("ledger: a period's file cannot be read now")
	// ErrInvalid: the look makes no sense.
	ErrInvalid = errors.New("ledger: invalid look")
)

// Defaults of Options.
const (
	DefaultLinkSpeed = 10_000_000_000 / 8 // bytes per second each way: 10 Gbit/s, more than routers of this kind carry
	DefaultRefresh   = 30 * time.Second   // nlbwmon's refresh_interval
	DefaultMaxRows   = 1 << 17            // ten times nlbwmon's default limit, 9 MB
	DefaultPatience  = 3                  // looks; at 30 s each longer than nlbwmon needs to write a file
)

const (
	maxBoot    = 64 // bytes of a boot id; the kernel's has 36
	maxNames   = 64 // names of later periods remembered
	maxBetween = 8  // periods closed between two looks that are read
)

// Options are the ledger's settings. The zero value has the defaults.
type Options struct {
	// Attribute finds the device that had the address, for rows in which
	// nlbwmon stored no MAC. May be nil.
	Attribute func(addr netip.Addr, at Instant) (usage.MAC, bool)
	LinkSpeed uint64        // bytes per second each way; more is quarantined
	Refresh   time.Duration // nlbwmon's refresh_interval
	MaxRows   int
	Patience  int
	// Last is, for a New ledger, up to when an earlier one's deltas were
	// booked, if anything is known: its state was lost, but not the books.
	Last Instant
	// KeepBefore asks for Batch.Before at the first look.
	KeepBefore bool
}

// Ledger turns looks at nlbwmon's table into deltas. It is used by one
// goroutine at a time.
type Ledger struct {
	opts Options

	known bool // prev is the table of the last look
	last  mark // of that look
	prev  *table

	cur    *table
	begun  bool     // rows were read for the next look
	aside  []*table // for files, kept between looks only while small
	floor  *table   // what a restarted nlbwmon may have begun with
	unlike bool     // a file of the last look's period or this one's is not in it
	batch  Batch
	at     Look // the look being observed
	tries  int  // looks put off since the last that succeeded
	back   bool // the clock was set back since the last that succeeded
}

// mark is what is remembered of a look besides its rows.
type mark struct {
	Instant
	period  nlbwmon.Period
	limit   int
	daemon  time.Duration
	source  Source
	began   time.Duration    // when this daemon and period were first seen
	settled bool             // 0.db is known to hold this period's table
	below   bool             // when daemon and period were first seen, the period's file held nothing above the table
	doubted bool             // the period's name may not be nlbwmon's: only the clock told it, and may have been set back
	later   []nlbwmon.Period // files named after a later period that were there when this one was first seen
	listed  bool             // later is known
}

// New makes a ledger that has seen nothing.
func New(opts Options) *Ledger {
	if opts.LinkSpeed == 0 {
		opts.LinkSpeed = DefaultLinkSpeed
	}
	if opts.Refresh <= 0 {
		opts.Refresh = DefaultRefresh
	}
	if opts.MaxRows <= 0 {
		opts.MaxRows = DefaultMaxRows
	}
	if opts.Patience <= 0 {
		opts.Patience = DefaultPatience
	}
	seed := maphash.MakeSeed()
	return &Ledger{opts: opts, prev: newTable(seed, opts.MaxRows), cur: newTable(seed, opts.MaxRows)}
}

// Begin starts a reading; the ledger is the usage.Sink of its next look.
func (l *Ledger) Begin(rows int) {
	l.cur.Begin(rows)
	l.begun = true
}

// Add takes a row of the reading. Rows of the same key are added.
func (l *Ledger) Add(r *usage.Record) { l.cur.Add(r) }

// Row is the row with r's key as the last look that succeeded saw it, or nil.
// It is good until the next look.
func (l *Ledger) Row(r *usage.Record) *usage.Record { return l.prev.find(r) }

// Last is the instant and the period of the last look that succeeded; false
// if there was none.
func (l *Ledger) Last() (Instant, nlbwmon.Period, bool) {
	return l.last.Instant, l.last.period, l.known
}

// Observe books the rows read since Begin as a look. An error leaves the
// ledger as it was: the next look covers the time of this one. The batch is
// valid until the next call.
func (l *Ledger) Observe(look Look, fetch Fetcher) (*Batch, error) {
	begun := l.begun
	l.begun = false
	l.back = l.back || look.ClockBack
	switch {
	case !begun:
		return nil, ErrNoRows
	case l.cur.over:
		return nil, ErrTooMany
	case look.Boot == "" || len(look.Boot) > maxBoot || look.Since < 0 || look.Daemon < 0 || look.Limit < UnknownLimit,
		look.Source != Socket && look.Source != Snapshot:
		return nil, ErrInvalid
	case l.known && look.Boot == l.last.Boot && look.Since <= l.last.Since,
		look.Source == Snapshot && look.Since < look.Daemon:
		return nil, ErrStale
	}
	l.at = look
	l.batch = Batch{
		From: l.last.Instant, To: look.Instant, Period: look.Period,
		Deltas: l.batch.Deltas[:0], Quarantined: l.batch.Quarantined[:0], Gaps: l.batch.Gaps[:0],
	}
	next, err := l.judge(fetch)
	l.release()
	if err != nil {
		l.tries++
		return nil, err
	}
	l.tries = 0
	// A snapshot is older than its reading: the clock may have been set in
	// between, which is then in the next look's span.
	l.back = l.back && look.Source == Snapshot && look.ClockBack
	l.batch.Period = next.period
	if l.full(l.cur) {
		l.batch.Flags |= Full
	}
	l.known, l.last = true, next
	l.prev, l.cur = l.cur, l.prev
	return &l.batch, nil
}

// judge finds out what happened since the last look and books it. It changes
// nothing of the ledger but the batch.
func (l *Ledger) judge(fetch Fetcher) (mark, error) {
	switch {
	case !l.known && l.opts.Last.Boot == "":
		return l.first(fetch)
	case !l.known && l.opts.Last.Boot == l.at.Boot:
		l.batch.From = l.opts.Last
		l.gap(StateLost, 0)
		return l.fresh(fetch)
	case !l.known:
		l.batch.From = l.opts.Last
		return l.rebooted(fetch)
	case l.last.Boot != l.at.Boot:
		return l.rebooted(fetch)
	}
	diff := l.cur.since(l.prev)
	if l.mayBeOld(diff) && l.tries < l.opts.Patience {
		return mark{}, ErrStale
	}
	switch known := l.last.daemon != 0 && l.at.Daemon != 0; {
	case known && l.last.daemon == l.at.Daemon:
		return l.same(diff, fetch)
	case known:
		return l.restarted(diff, fetch)
	}
	return l.unsure(diff, fetch)
}

// mayBeOld: the snapshot lags behind the socket, and a step of the clock
// spoils the time it seems to have. nlbwmon will have rewritten it soon.
func (l *Ledger) mayBeOld(d change) bool {
	return l.at.Source == Snapshot && l.last.source == Socket &&
		(d.setBack() || l.at.Period != 0 && l.at.Period < l.last.period)
}

// first books nothing: what nlbwmon already has is the past.
func (l *Ledger) first(fetch Fetcher) (mark, error) {
	l.batch.From = l.at.Instant
	l.batch.Flags |= First
	if l.opts.KeepBefore {
		l.batch.Before = append(l.batch.Before[:0], l.cur.rows...)
	}
	return l.fresh(fetch)
}

// fresh is the mark of a look with which a daemon or a period begins.
func (l *Ledger) fresh(fetch Fetcher) (mark, error) {
	m := mark{
		Instant: l.at.Instant, period: l.at.Period, limit: l.at.Limit, daemon: l.at.Daemon,
		source: l.at.Source, began: l.at.Since, settled: l.at.Source == Snapshot,
		// Nobody watched the clock before a first look or one in another boot.
		doubted: l.at.Source == Snapshot && (l.back || !l.known || l.last.Boot != l.at.Boot),
	}
	names, err := fetch.Periods()
	if err != nil {
		return m, l.putOff(err)
	}
	m.listed = true
	m.below = m.period != 0 && !l.mayEvict(l.cur) && (!slices.Contains(names, m.period) || l.aboveFile(m.period, fetch))
	for _, p := range names {
		if p <= m.period {
			continue
		}
		if len(m.later) == maxNames {
			m.listed = false
			break
		}
		m.later = append(m.later, p)
	}
	return m, nil
}

// AskSocket tells whether the look that is about to be made should be through
// the socket, if it answers: only nlbwmon's own header says which period its
// table is of, which a snapshot's time leaves open at first and around a
// change. Of look are needed Boot, ClockBack, and as Period the one in which
// the clock is.
func (l *Ledger) AskSocket(look Look) bool {
	return !l.known || l.last.doubted || l.back || look.ClockBack ||
		look.Boot != l.last.Boot || look.Period != l.last.period
}

// aboveFile tells whether no row of p's file is above the table.
func (l *Ledger) aboveFile(p nlbwmon.Period, fetch Fetcher) bool {
	t := l.scratch()
	t.Begin(0)
	got, err := fetch.Fetch(p, t)
	return err == nil && got == Whole && !t.over && t.within(l.cur)
}

// carry is the mark of a look that found daemon and period as they were.
func (l *Ledger) carry() mark {
	m := l.last
	m.Instant, m.limit, m.source = l.at.Instant, l.at.Limit, l.at.Source
	if l.at.Daemon != 0 {
		m.daemon = l.at.Daemon
	}
	switch {
	case m.period == 0:
		m.period = l.at.Period
	case l.at.Source == Snapshot && (l.back || l.at.Period != 0 && l.at.Period < m.period):
		m.doubted = true
	case l.at.Source == Socket && (l.at.Period == m.period || m.doubted && l.at.Period > m.period):
		m.period, m.doubted = l.at.Period, false
	}
	m.below = m.below && !l.mayEvict(l.cur)
	// nlbwmon rewrites 0.db at each refresh but the one that changes the period.
	m.settled = m.settled || m.source == Snapshot || m.Since-m.began > 3*l.opts.Refresh
	return m
}

// putOff turns a Fetcher's error into ErrAgain as long as there is patience.
func (l *Ledger) putOff(err error) error {
	if err == nil || l.tries >= l.opts.Patience {
		return nil
	}
	return errors.Join(ErrAgain, err)
}

// full tells whether nlbwmon overwrites rows of a table of that size.
func (l *Ledger) full(t *table) bool {
	return l.at.Limit > 0 && len(t.rows) >= l.at.Limit
}

// mayEvict tells whether rows of t may have been overwritten.
func (l *Ledger) mayEvict(t *table) bool { return l.at.Limit == UnknownLimit || l.full(t) }

// gap declares that the span of the look may lack bytes, once per kind and
// period.
func (l *Ledger) gap(kind Kind, p nlbwmon.Period) {
	for _, g := range l.batch.Gaps {
		if g.Kind == kind && g.Period == p {
			return
		}
	}
	l.batch.Gaps = append(l.batch.Gaps, Gap{From: l.batch.From, To: l.batch.To, Kind: kind, Period: p})
}

// scratch is an empty table for a file.
func (l *Ledger) scratch() *table {
	t := newTable(l.cur.seed, l.opts.MaxRows)
	l.aside = append(l.aside, t)
	return t
}

// release forgets what was read from files.
func (l *Ledger) release() { l.aside, l.floor, l.unlike = nil, nil, false }
