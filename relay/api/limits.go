package api

import (
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/netpilot/netpilot/pkg/usage"
	"github.com/netpilot/netpilot/relay/limit"
	"github.com/netpilot/netpilot/relay/store"
)

// burstFor is how long a party may have been silent to do it all at once.
const burstFor = 2 * time.Second

// maxParties bounds the keys, and the addresses, that are remembered for their
// rate.
const maxParties = 16 << 10

// limits are how many requests the API takes of each key, and of each address
// without a good key.
type limits struct {
	keys      *limit.Table[string]
	addresses *limit.Table[netip.Prefix]
}

func newLimits(perKey, perAddress float64) limits {
	burst := func(rate float64) int { return max(1, int(rate*burstFor.Seconds())) }
	return limits{
		keys:      limit.New[string](perKey, burst(perKey), maxParties),
		addresses: limit.New[netip.Prefix](perAddress, burst(perAddress), maxParties),
	}
}

// Limit sets how many requests a second each key has, and each address for
// requests without a good key; 0 is no limit, as there is at first. A good key
// is never held up by what others try from its address. GET /health is free.
func (a *API) Limit(perKey, perAddress float64) { a.limits = newLimits(perKey, perAddress) }

// admit finds the key of a request, within the limits.
func (a *API) admit(x *exchange) (store.Key, error) {
	secret, network := secretOf(x.Request), limit.Network(x.RemoteAddr)
	trusted := secret != "" && a.keys.trusts(secret, a.Now())
	if !trusted {
		if wait := a.limits.addresses.Wait(network, time.Now()); wait > 0 {
			return store.Key{}, errTooMany(wait, "requests without a good key from this address")
		}
	}
	key, err := a.keys.open(x.Context(), secret, a.Now())
	if err != nil {
		if isKind(err, usage.Unauthenticated) {
			a.limits.addresses.Take(network, time.Now())
		}
		return store.Key{}, err
	}
	if wait := a.limits.keys.Take(key.ID, time.Now()); wait > 0 {
		return key, errTooMany(wait, "requests with this key")
	}
	return key, nil
}

// openTo counts a request to what needs no key.
func (a *API) openTo(x *exchange) error {
	if wait := a.limits.addresses.Take(limit.Network(x.RemoteAddr), time.Now()); wait > 0 {
		return errTooMany(wait, "requests without a key from this address")
	}
	return nil
}

func errTooMany(wait time.Duration, what string) error {
	return &failure{status: http.StatusTooManyRequests, code: "RATE_LIMITED", retryAfter: wait,
		message: fmt.Sprintf("too many %s; try again in %v", what, wait.Round(time.Millisecond))}
}
