// Package sample is the agent's task that looks at nlbwmon's table at each of
// its refreshes, has the ledger make deltas of what it sees, and books them in
// the history. While the router's clock is not set it keeps them in memory,
// stamped with the time since boot, and books them when the time is known.
package sample

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/nlbwmon"
	"github.com/netpilot/netpilot/pkg/usage"
)

// Options are a Sampler's parts. Router, History, Now and Instant must be set.
type Options struct {
	Router    *source.Router
	History   *history.Store
	Ledger    ledger.Options
	Limit     int                                  // nlbwmon's database_limit, 0 for none
	Now       func() time.Time                     // the wall clock
	NotBefore time.Time                            // a wall clock before it is not set
	Instant   func() (ledger.Instant, error)       // the clock that always runs
	Daemon    func() time.Duration                 // when nlbwmon began, since boot; 0 if unknown
	After     func(time.Duration) <-chan time.Time // nil: time.After

	// Synchronised tells whether somebody keeps the wall clock right; nil:
	// it is.
	Synchronised func() bool
	// LinkSpeed is how many bytes a second the router can carry each way, 0 if
	// unknown; nil: unknown.
	LinkSpeed func() uint64
	// Attribute finds the device that held the address at that time, for rows
	// in which nlbwmon stored no MAC. nil: nobody does.
	Attribute func(addr netip.Addr, at time.Time) (usage.MAC, bool)
	// BootFile is a file on flash that says in which boot the history was
	// last kept; "" for none. Without it nothing is booked of what nlbwmon
	// counted between a reboot and the first look.
	BootFile string
	Log      *slog.Logger

	// Watch is told of each look that succeeded, and when its rows were true;
	// the ledger and the batch are its to read until it returns. May be nil.
	Watch func(l *ledger.Ledger, b *ledger.Batch, asOf time.Time)

	// Soon asks for a look before the next is due. It must not be closed; nil
	// asks for none.
	Soon <-chan struct{}
}

// Sampler is owned by one goroutine, but for Report.
type Sampler struct {
	opts     Options
	ledger   *ledger.Ledger
	files    files
	clock    clock
	back     bool // the clock was set back since the ledger was last told
	interval nlbwmon.Interval
	speed    uint64    // the most that LinkSpeed ever said: a slower link now may have been faster before
	newest   time.Time // of what was on record before this boot
	noted    bool      // BootFile names this boot
	pending  pending
	trouble  string // the failure that stands in the log
	state    []byte // the ledger's, as the history has it
	spare    []byte // the one before

	mu     sync.Mutex // guards below
	report report
}

// New makes a Sampler that goes on where the last one stopped, if the state
// it left is still there.
func New(o Options) *Sampler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Daemon == nil {
		o.Daemon = func() time.Duration { return 0 }
	}
	s := &Sampler{
		opts: o, files: files{dir: o.Router.DatabaseDir, order: o.Router.Order},
		newest: o.History.Newest(), report: newReport(),
	}
	if o.Attribute != nil {
		s.opts.Ledger.Attribute = func(addr netip.Addr, at ledger.Instant) (usage.MAC, bool) {
			now := time.Unix(0, s.clock.Low)
			return o.Attribute(addr, now.Add(at.Since))
		}
	}
	s.ledger = s.restore()
	return s
}

// Run looks at once and then at each refresh until ctx ends. No failure ends
// it: the next look covers the time of one that failed.
func (s *Sampler) Run(ctx context.Context) error {
	for {
		s.say(ctx, s.Once(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-s.opts.After(s.wait()):
		case <-s.opts.Soon:
		}
	}
}

// wait is how long the next look is off: a refresh, or less where a bucket
// ends before. What was seen by then is on flash at once, so that a power cut
// costs no more than one bucket.
func (s *Sampler) wait() time.Duration {
	now := s.opts.Now()
	end := history.NextClose(now).Sub(now)
	return min(s.opts.Router.Refresh, max(end, 100*time.Millisecond))
}

// say logs changes of fortune, not repetitions.
func (s *Sampler) say(ctx context.Context, err error) {
	text := ""
	if err != nil && ctx.Err() == nil {
		text = err.Error()
	}
	if text == s.trouble {
		return
	}
	if text == "" {
		s.opts.Log.Info("sampling goes on")
	} else {
		s.opts.Log.Warn("no sample", "err", text)
	}
	s.trouble = text
}

// Once takes one look and books what it adds. An error loses nothing.
func (s *Sampler) Once(ctx context.Context) error {
	err := errors.Join(s.look(ctx), s.book())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.LinkSpeed, s.report.Waiting = s.linkSpeed(), len(s.pending.spans)
	return err
}

func (s *Sampler) look(ctx context.Context) error {
	now, at, err := s.tell()
	if err != nil {
		return err
	}
	daemon := s.opts.Daemon()
	reading, err := s.read(ctx, now, at)
	if err != nil {
		return err
	}
	if now, at, err = s.tell(); err != nil {
		return err
	}
	if s.opts.Daemon() != daemon {
		return errors.New("nlbwmon restarted while it was read; the next look will tell what it kept")
	}
	if s.opts.LinkSpeed != nil {
		s.speed = max(s.speed, s.opts.LinkSpeed())
	}
	s.interval = reading.Interval
	look := ledger.Look{
		Instant: at, Source: ledger.Socket, Period: reading.Period, Interval: reading.Interval,
		Limit: s.opts.Limit, Daemon: daemon, LinkSpeed: s.speed, ClockBack: s.back,
	}
	if reading.Source == source.Snapshot {
		look.Source = ledger.Snapshot
		// The rows were true when nlbwmon wrote them.
		if age := now.Sub(reading.AsOf); age > 0 && age < at.Since {
			look.Since -= age
		}
	}
	s.back = false // the ledger remembers, whatever it answers
	batch, err := s.ledger.Observe(look, s.files)
	switch {
	case errors.Is(err, ledger.ErrStale):
		return nil // the same snapshot as before
	case err != nil:
		return err
	}
	s.pending.add(batch)
	s.note(batch, now.Add(look.Since-at.Since))
	if s.opts.Watch != nil {
		s.opts.Watch(s.ledger, batch, now.Add(look.Since-at.Since))
	}
	return nil
}

// tell reads both clocks.
func (s *Sampler) tell() (now time.Time, at ledger.Instant, err error) {
	now, at, back, err := s.clock.read(&s.opts)
	s.back = s.back || back
	return now, at, err
}

// read fills the ledger: from the socket where only nlbwmon itself can say
// what the ledger wants to know, else from the snapshot if that will do. What
// stands in for nlbwmon counts other things and never gets into the ledger.
func (s *Sampler) read(ctx context.Context, now time.Time, at ledger.Instant) (source.Reading, error) {
	look := ledger.Look{Instant: at, ClockBack: s.back}
	if s.interval.Type != 0 {
		look.Period = s.interval.Period(now.In(s.opts.Router.Location), 0)
	}
	if s.ledger.AskSocket(look) {
		if reading, err := s.opts.Router.Read(ctx, source.Request{Source: source.Socket}, s.ledger); err == nil {
			return reading, nil
		}
	}
	return s.opts.Router.Read(ctx, source.Request{Source: source.Rows}, s.ledger)
}

// book carries what waits into the history, if the time is known. If it is
// not, what waits is kept for an agent that is started again.
func (s *Sampler) book() error {
	now, at, err := s.tell()
	if err != nil {
		return err
	}
	if !s.clock.known(now, at, s.opts.NotBefore) {
		if err := s.keep(); err != nil {
			return err
		}
		return s.opts.History.Save()
	}
	for len(s.pending.spans) > 0 {
		if err := s.bookSpan(&s.pending.spans[0], now, at); err != nil {
			return fmt.Errorf("book: %w", err)
		}
		s.pending.spans = s.pending.spans[1:]
	}
	// Only now: a state without its deltas would lose them.
	if err := s.keep(); err != nil {
		return err
	}
	if err := s.opts.History.Advance(now); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := s.opts.History.Flush(now); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}

func (s *Sampler) bookSpan(p *span, now time.Time, at ledger.Instant) error {
	dates := dates{now: now, at: at, before: s.newest, refresh: s.opts.Router.Refresh}
	r := dates.counted(p.from, p.to)
	if err := s.opts.History.Add(r, p.deltas); err != nil {
		return err
	}
	p.deltas = nil // booked: an error below must not repeat them
	if err := s.opts.History.AddQuarantined(r, p.quarantined); err != nil {
		return err
	}
	p.quarantined = nil
	for len(p.gaps) > 0 {
		g := p.gaps[0]
		if err := s.opts.History.AddGap(usage.Gap{Range: dates.span(g.From, g.To), Reason: g.Kind.Text()}); err != nil {
			return err
		}
		p.gaps = p.gaps[1:]
	}
	return nil
}
