package uplink

import (
	"errors"
	"time"
)

// Waits before the next dial (PROTOCOL.md sections 2, 6 and 7).
const (
	firstWait    = 1 * time.Second
	longestWait  = 60 * time.Second
	goodAfter    = 60 * time.Second // a link that lasted so long starts the back-off anew
	replacedWait = 60 * time.Second // +-50 %
	revokedWait  = 30 * time.Minute // +-50 %
	clockWait    = 5 * time.Second  // +-20 %
	maxWait      = time.Hour        // the longest a relay may ask for
)

// Wait is what a failure says of the next dial; the zero Wait is the back-off.
type Wait struct {
	Rule WaitRule
	For  time.Duration
}

// WaitRule is how For is used.
type WaitRule uint8

// The rules.
const (
	WaitBackoff WaitRule = iota // For is not used
	WaitExact                   // For
	WaitAtLeast                 // For, plus up to as much again
	WaitSpread                  // For +-50 %
)

// backoff counts the failures that came one after another. Routers that lost
// power together must not return together, so half of its wait is fixed and
// half random. It belongs to one goroutine.
type backoff struct {
	rand func() float64
	step time.Duration // the next wait before jitter; 0: firstWait
}

// next is how long to wait after a link that was good so long and ended with
// err. byRelay tells that the relay asked for the wait.
func (b *backoff) next(err error, good time.Duration, clockUnset bool) (wait time.Duration, byRelay bool) {
	if good >= goodAfter {
		b.step = 0
	}
	var f *Failure
	var w Wait
	if errors.As(err, &f) {
		w = f.Wait
	}
	switch {
	case w.Rule == WaitExact:
		return w.For, true
	case w.Rule == WaitAtLeast:
		return w.For + b.random(w.For), true
	case w.Rule == WaitSpread:
		return spread(w.For, 0.5, b.rand()), true
	case clockUnset: // nothing is reachable until it is set, which is soon
		return spread(clockWait, 0.2, b.rand()), false
	}
	step := max(b.step, firstWait)
	b.step = min(2*step, longestWait)
	return step/2 + b.random(step/2), false
}

func (b *backoff) random(d time.Duration) time.Duration {
	return time.Duration(float64(d) * b.rand())
}

// spread is d changed by up to the share, evenly, with r in [0, 1).
func spread(d time.Duration, share, r float64) time.Duration {
	return time.Duration(float64(d) * (1 - share + 2*share*r))
}
