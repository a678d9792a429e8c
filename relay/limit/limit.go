// Package limit bounds how often a party may do something, in bounded memory.
package limit

import (
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Table keeps one bucket of tokens for each party. It remembers at most its
// size of them: buckets that are full again are forgotten first, which changes
// nothing, and then any, which lets those parties begin anew.
type Table[K comparable] struct {
	rate  rate.Limit
	burst int
	size  int

	mu      sync.Mutex // guards below
	buckets map[K]*rate.Limiter
}

// New makes a table that lets each party do something perSecond times, and
// burst times at once. A perSecond of 0 is no limit.
func New[K comparable](perSecond float64, burst, size int) *Table[K] {
	t := &Table[K]{rate: rate.Limit(perSecond), burst: burst, size: size, buckets: make(map[K]*rate.Limiter)}
	if perSecond <= 0 {
		t.rate = rate.Inf
	}
	return t
}

// Take takes a token of the party, and returns 0. If there is none it takes
// nothing and returns when there will be one. Of time.Now it uses the monotonic
// reading, so that a clock that is set back locks nobody out.
func (t *Table[K]) Take(party K, now time.Time) time.Duration { return t.take(party, now, 1) }

// Wait is when the party may next do something, 0 for now. It takes nothing.
func (t *Table[K]) Wait(party K, now time.Time) time.Duration { return t.take(party, now, 0) }

func (t *Table[K]) take(party K, now time.Time, n int) time.Duration {
	if t.rate == rate.Inf {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	b := t.buckets[party]
	if b == nil {
		if n == 0 {
			return 0
		}
		if len(t.buckets) >= t.size {
			t.forgetLocked(now)
		}
		b = rate.NewLimiter(t.rate, t.burst)
		t.buckets[party] = b
	}
	if tokens := b.TokensAt(now); tokens < 1 {
		return time.Duration((1 - tokens) / float64(t.rate) * float64(time.Second))
	}
	b.AllowN(now, n)
	return 0
}

// forgetLocked makes room for one party.
func (t *Table[K]) forgetLocked(now time.Time) {
	for party, b := range t.buckets {
		if b.TokensAt(now) >= float64(t.burst) {
			delete(t.buckets, party)
		}
	}
	for party := range t.buckets {
		if len(t.buckets) < t.size {
			return
		}
		delete(t.buckets, party)
	}
}

// Network is what one party can have at will: an IPv4 address, or an IPv6 /64
// (RFC 6177 section 2). The text is an address and a port; all that is none
// shares one place.
func Network(remote string) netip.Prefix {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	addr := ap.Addr().Unmap()
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.WithZone("").Prefix(bits) // never fails: the bits fit
	return p
}
