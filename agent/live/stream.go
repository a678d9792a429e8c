package live

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/netpilot/netpilot/agent/ledger"
	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/pkg/wire"
)

// The stream's times and bounds (PROTOCOL.md section 5).
const (
	Every          = 2 * time.Second
	For            = 60 * time.Second // after the last start a subscription ends
	maxSubscribers = 5                // the local door serves 8 clients: some stay free for calls
)

// Method names the notifications.
const Method = "usage.live"

// Stream sends rates to whoever subscribed. Its fields are set once, before
// Run.
type Stream struct {
	Refresh   time.Duration               // nlbwmon's refresh interval
	Refreshed func() time.Time            // when nlbwmon last refreshed, zero if unknown
	Names     func() (usage.Names, error) // who the devices are
	Now       func() time.Time            // the router's clock

	// Look is asked to look at nlbwmon's table now, since that has changed;
	// it must not wait.
	Look func()

	mu    sync.Mutex // guards below
	subs  map[wire.Peer]time.Time
	wake  chan struct{} // made by New
	rates usage.Rates
}

// New makes s ready.
func New(s *Stream) *Stream {
	s.subs, s.wake = make(map[wire.Peer]time.Time), make(chan struct{}, 1)
	s.rates.Devices = []usage.Rate{}
	return s
}

// Observe takes what a look added; the rows were true at asOf.
func (s *Stream) Observe(b *ledger.Batch, asOf time.Time) {
	r := ratesOf(b, asOf)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rates = r
}

// Start subscribes p, or prolongs its subscription.
func (s *Stream) Start(p wire.Peer) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, renewed := s.subs[p]; !renewed && len(s.subs) >= maxSubscribers {
		return &usage.Error{Kind: usage.Busy, Message: "the live stream has its most subscribers already; end another top", RetryAfter: For}
	}
	s.subs[p] = time.Now().Add(For)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// Stop ends p's subscription, if it has one.
func (s *Stream) Stop(p wire.Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.subs, p)
}

// Run sends rates while there are subscribers, until ctx ends.
func (s *Stream) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.wake:
		}
		tick := time.NewTicker(Every)
		var seen time.Time // the refresh that was last asked to be looked at
		for going := true; going; {
			select {
			case <-ctx.Done():
				tick.Stop()
				return nil
			case <-tick.C:
			}
			if at := s.Refreshed(); !at.IsZero() && !at.Equal(seen) {
				seen = at
				s.Look()
			}
			going = s.send()
		}
		tick.Stop()
	}
}

// send notifies the subscribers and tells whether there are any.
func (s *Stream) send() bool {
	s.mu.Lock()
	rates := s.rates
	var to []wire.Peer
	for p, until := range s.subs {
		select {
		case <-p.Done():
			delete(s.subs, p)
			continue
		default:
		}
		if time.Now().After(until) {
			delete(s.subs, p)
			continue
		}
		to = append(to, p)
	}
	s.mu.Unlock()
	if len(to) == 0 {
		return false
	}
	names, _ := s.Names() // they only dress the numbers up
	params, err := json.Marshal(at(rates, s.Now(), s.Refresh, names))
	if err != nil {
		return true // a time no JSON can hold: the clock will be set
	}
	for _, p := range to {
		p.Notify(Method, params)
	}
	return true
}
