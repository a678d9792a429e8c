package gateway

import (
	"net/netip"
	"sync"
	"time"
)

// Limits of failed enrolments from one address. A token cannot be guessed; this
// keeps a confused or hostile program from keeping the database busy.
const (
	maxFailures   = 20
	failureWindow = time.Minute
	maxAddresses  = 4096 // remembered at once
)

// limiter counts failures per address in fixed windows, in bounded memory.
type limiter struct {
	mu    sync.Mutex // guards below
	tally map[netip.Prefix]tally
}

type tally struct {
	failures int
	until    time.Time // end of the window
}

func newLimiter() *limiter { return &limiter{tally: make(map[netip.Prefix]tally)} }

// network is what one party can have at will: an IPv4 address, or an IPv6 /64
// (RFC 6177 section 2). Text that is no address shares one place.
func network(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr := ap.Addr().Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits) // the zero Prefix for an address with a zone
	return p
}

// wait tells how long the address must stay away; 0 if it need not.
func (l *limiter) wait(remote string, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally[network(remote)]
	if t.failures < maxFailures || !now.Before(t.until) {
		return 0
	}
	return t.until.Sub(now)
}

// failed counts one failure.
func (l *limiter) failed(remote string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := network(remote)
	t, known := l.tally[key]
	if !known && len(l.tally) >= maxAddresses {
		l.forgetLocked(now)
	}
	if !now.Before(t.until) {
		t = tally{until: now.Add(failureWindow)}
	}
	t.failures++
	l.tally[key] = t
}

// forgetLocked makes room: windows that ended go, and if none did, all.
func (l *limiter) forgetLocked(now time.Time) {
	for key, t := range l.tally {
		if !now.Before(t.until) {
			delete(l.tally, key)
		}
	}
	if len(l.tally) >= maxAddresses {
		clear(l.tally)
	}
}
