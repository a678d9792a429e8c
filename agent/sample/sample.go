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
	"time"

	"github.com/netpilot/netpilot/agent/history"
	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/agent/source"
	"github.com/netpilot/netpilot/pkg/usage"
)

// blobName is where the ledger's state lies in the history's directory: one
// file with the buckets, so that a restart neither loses nor repeats a delta.
const blobName = "ledger"

// Options are a Sampler's parts; all but Log must be set.
type Options struct {
	Router    *source.Router
	History   *history.Store
	Ledger    ledger.Options
	Limit     int                            // nlbwmon's database_limit, 0 for none
	Now       func() time.Time               // the wall clock
	NotBefore time.Time                      // a wall clock before it is not set
	Instant   func() (ledger.Instant, error) // the clock that always runs
	Daemon    func() time.Duration           // when nlbwmon began, since boot; 0 if unknown
	Log       *slog.Logger

	// Watch is told of each look that succeeded, and when its rows were true;
	// the ledger and the batch are its to read until it returns. May be nil.
	Watch func(l *ledger.Ledger, b *ledger.Batch, asOf time.Time)

	// Soon asks for a look before the next is due. It must not be closed; nil
	// asks for none.
	Soon <-chan struct{}
}

// Sampler is owned by one goroutine.
type Sampler struct {
	opts    Options
	ledger  *ledger.Ledger
	files   files
	pending pending
	trouble string // the failure that stands in the log
}

// New makes a Sampler that goes on where the last one stopped, if the state
// it left is still there.
func New(o Options) *Sampler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sampler{opts: o, files: files{dir: o.Router.DatabaseDir, order: o.Router.Order}}
	if state := o.History.Blob(blobName); state != nil {
		l, err := ledger.Restore(state, o.Ledger)
		if err == nil {
			s.ledger = l
			return s
		}
		o.Log.Warn("the ledger's state is of no use; counting starts anew", "err", err)
	}
	s.ledger = ledger.New(o.Ledger)
	return s
}

// Run looks at once and then at each refresh until ctx ends. No failure ends
// it: the next look covers the time of one that failed.
func (s *Sampler) Run(ctx context.Context) error {
	tick := time.NewTicker(s.opts.Router.Refresh)
	defer tick.Stop()
	for {
		s.report(ctx, s.Once(ctx))
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-s.opts.Soon:
		}
	}
}

// report logs changes of fortune, not repetitions.
func (s *Sampler) report(ctx context.Context, err error) {
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
	err := s.look(ctx)
	return errors.Join(err, s.book())
}

func (s *Sampler) look(ctx context.Context) error {
	daemon := s.opts.Daemon()
	reading, err := s.opts.Router.Read(ctx, source.Request{Source: source.Nlbwmon}, s.ledger)
	if err != nil {
		return err
	}
	at, err := s.opts.Instant()
	if err != nil {
		return err
	}
	if s.opts.Daemon() != daemon {
		return errors.New("nlbwmon restarted while it was read; the next look will tell what it kept")
	}
	look := ledger.Look{
		Instant: at, Source: ledger.Socket, Period: reading.Period, Interval: reading.Interval,
		Limit: s.opts.Limit, Daemon: daemon,
	}
	if reading.Source == source.Snapshot {
		look.Source = ledger.Snapshot
		// The rows were true when nlbwmon wrote them.
		if age := s.opts.Now().Sub(reading.AsOf); age > 0 && age < at.Since {
			look.Since -= age
		}
	}
	batch, err := s.ledger.Observe(look, s.files)
	switch {
	case errors.Is(err, ledger.ErrStale):
		return nil // the same snapshot as before
	case err != nil:
		return err
	}
	s.pending.add(batch)
	if s.opts.Watch != nil {
		s.opts.Watch(s.ledger, batch, s.opts.Now().Add(look.Since-at.Since))
	}
	return nil
}

// book carries what waits into the history, if the time is known.
func (s *Sampler) book() error {
	now := s.opts.Now()
	if now.Before(s.opts.NotBefore) {
		return nil
	}
	at, err := s.opts.Instant()
	if err != nil {
		return err
	}
	for len(s.pending.spans) > 0 {
		p := &s.pending.spans[0]
		r := wall(p.from, p.to, now, at)
		if err := s.opts.History.Add(r, p.deltas); err != nil {
			return fmt.Errorf("book: %w", err)
		}
		p.deltas = nil // booked: an error below must not repeat them
		if err := s.opts.History.AddQuarantined(r, p.quarantined); err != nil {
			return fmt.Errorf("book: %w", err)
		}
		p.quarantined = nil
		for len(p.gaps) > 0 {
			g := p.gaps[0]
			if err := s.opts.History.AddGap(usage.Gap{Range: wall(g.From, g.To, now, at), Reason: g.Kind.Text()}); err != nil {
				return fmt.Errorf("book: %w", err)
			}
			p.gaps = p.gaps[1:]
		}
		s.pending.spans = s.pending.spans[1:]
	}
	// Only now: a state without its deltas would lose them.
	if _, _, known := s.ledger.Last(); known {
		if err := s.opts.History.PutBlob(blobName, s.ledger.State(nil)); err != nil {
			return err
		}
	}
	if err := s.opts.History.Advance(now); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := s.opts.History.Flush(now); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	return nil
}
