package gateway

import (
	"math/rand/v2"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// paceWithin is the longest that a router is sent away for in a storm.
const paceWithin = time.Minute

// pace lets a number of routers a second connect and tells the others when
// their turn is, so that a storm is one queue and not many attempts.
type pace struct {
	mu      sync.Mutex // guards below
	every   time.Duration
	limiter *rate.Limiter // nil for no limit
	turn    time.Time     // the last one that was given away
}

func (p *pace) set(perSecond float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limiter = nil
	if perSecond > 0 {
		p.every = time.Duration(float64(time.Second) / perSecond)
		p.limiter = rate.NewLimiter(rate.Limit(perSecond), max(1, int(perSecond)))
	}
}

// wait is 0 for a router that may connect now, else when to try again.
func (p *pace) wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.limiter == nil || p.limiter.AllowN(now, 1) {
		return 0
	}
	if p.turn.Before(now) {
		p.turn = now
	}
	wait := p.turn.Sub(now) + p.every
	if wait > paceWithin {
		return paceWithin/2 + rand.N(paceWithin/2) // the queue is long: come to its end
	}
	p.turn = p.turn.Add(p.every)
	return wait
}
